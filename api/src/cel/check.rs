//! Types before values: names that do not exist, fields that an object cannot have, operators and
//! functions for which the types do not fit. What is `dyn` is left to the evaluation.

use crate::cel::arithmetic;
use crate::cel::library::{self, Function};
use crate::cel::syntax::{Binary, Entry, Expr, Fold, Literal, Loop, Node};
use crate::cel::types::Type;
use crate::cel::{CompileError, Environment};

type Checked = Result<Type, CompileError>;

/// An operation of a JSON patch.
const JSON_PATCH: &str = "JSONPatch";
/// What it has.
const JSON_PATCH_FIELDS: &[&str] = &["op", "path", "from", "value"];

/// Types that expressions name as values.
const TYPE_NAMES: &[&str] = &[
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "optional_type",
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
    library::IP,
    library::CIDR,
    library::URL,
    library::QUANTITY,
    library::SEMVER,
    library::FORMAT,
];

/// Whether a name, perhaps with dots, is a type's.
pub(crate) fn is_type_name(name: &str) -> bool {
    TYPE_NAMES.contains(&name)
}

/// The type of an expression in an environment.
pub(crate) fn check(text: &str, expression: &Expr, environment: &Environment) -> Checked {
    Checker { text, environment, bound: Vec::new() }.expression(expression)
}

struct Checker<'a> {
    text: &'a str,
    environment: &'a Environment,
    bound: Vec<(&'a str, Type)>,
}

impl<'a> Checker<'a> {
    fn fault<T>(&self, at: u32, message: impl Into<String>) -> Result<T, CompileError> {
        Err(CompileError::at(self.text, at, message.into()))
    }

    fn no_overload<T>(&self, at: u32, name: &str, arguments: &[Type]) -> Result<T, CompileError> {
        let list: Vec<String> = arguments.iter().map(Type::to_string).collect();
        self.fault(at, format!("found no matching overload for '{name}' applied to '({})'", list.join(", ")))
    }

    /// An object of a declared type; what fields it may have is known of the smallest type alone.
    fn message(&mut self, at: u32, name: &str, fields: &'a [Entry<(Expr, Expr)>]) -> Checked {
        if !self.environment.makes(name) {
            return self.fault(at, format!("undeclared reference to '{name}' (in container '')"));
        }
        for entry in fields {
            let (key, value) = &entry.value;
            if let (JSON_PATCH, Node::Literal(Literal::Text(field))) = (name, &key.node)
                && !JSON_PATCH_FIELDS.contains(&&**field)
            {
                return self.fault(key.at, format!("undefined field '{field}'"));
            }
            self.expression(value)?;
        }
        Ok(Type::Map(Type::Text.into(), Type::Dyn.into()))
    }

    fn variable(&self, name: &str) -> Option<Type> {
        let bound = self.bound.iter().rev().find(|(one, _)| *one == name).map(|(_, kind)| kind.clone());
        bound.or_else(|| self.environment.variable(name).cloned())
    }

    fn expression(&mut self, expression: &'a Expr) -> Checked {
        let at = expression.at;
        match &expression.node {
            Node::Literal(literal) => Ok(literal_type(literal)),
            Node::Name(name) => match self.variable(name) {
                Some(kind) => Ok(kind),
                None if is_type_name(name) => Ok(Type::Type),
                None => self.fault(at, format!("undeclared reference to '{name}' (in container '')")),
            },
            Node::Select { operand, field, optional } => self.select(expression, operand, field, *optional),
            Node::Has { operand, field } => {
                let kind = self.expression(operand)?;
                self.field(at, &kind, field).map(|_| Type::Bool)
            }
            Node::Index { operand, index, optional } => {
                let kinds = [self.expression(operand)?, self.expression(index)?];
                let found = self.index(at, &kinds)?;
                Ok(if *optional { Type::optional(found) } else { found })
            }
            Node::Call { function, target, arguments } => {
                self.call(at, function, target.as_deref(), arguments)
            }
            Node::List(items) => {
                let mut kind: Option<Type> = None;
                for item in items {
                    let found = self.expression(&item.value)?;
                    let found = if item.optional { inner(&found) } else { found };
                    kind = Some(kind.map_or(found.clone(), |kind| kind.join(&found)));
                }
                Ok(Type::list(kind.unwrap_or(Type::Dyn)))
            }
            Node::Map(entries) => {
                let (mut keys, mut values): (Option<Type>, Option<Type>) = (None, None);
                for entry in entries {
                    let (key, value) = (self.expression(&entry.value.0)?, self.expression(&entry.value.1)?);
                    let value = if entry.optional { inner(&value) } else { value };
                    keys = Some(keys.map_or(key.clone(), |kind| kind.join(&key)));
                    values = Some(values.map_or(value.clone(), |kind| kind.join(&value)));
                }
                Ok(Type::Map(keys.unwrap_or(Type::Dyn).into(), values.unwrap_or(Type::Dyn).into()))
            }
            Node::Message(name, fields) => self.message(at, name, fields),
            Node::Not(operand) => {
                let kind = self.expression(operand)?;
                self.want_bool(at, "!_", &[kind])
            }
            Node::Negate(operand) => {
                let kind = self.expression(operand)?;
                match kind {
                    Type::Int | Type::Double | Type::Duration | Type::Dyn => Ok(kind),
                    kind => self.no_overload(at, "-_", &[kind]),
                }
            }
            Node::Binary(operator, left, right) => {
                let kinds = [self.expression(left)?, self.expression(right)?];
                self.binary(at, *operator, &kinds)
            }
            Node::And(terms) => self.terms(at, "_&&_", terms),
            Node::Or(terms) => self.terms(at, "_||_", terms),
            Node::Choice(parts) => {
                let [condition, yes, no] = &**parts;
                let kinds = [self.expression(condition)?, self.expression(yes)?, self.expression(no)?];
                if !Type::Bool.admits(&kinds[0]) || !kinds[1].admits(&kinds[2]) {
                    return self.no_overload(at, "_?_:_", &kinds);
                }
                Ok(kinds[1].join(&kinds[2]))
            }
            Node::Loop(each) => self.each(each),
            Node::Bind { name, value, body } => {
                let kind = self.expression(value)?;
                self.within(&[(name, kind)], body)
            }
        }
    }

    fn within(&mut self, bound: &[(&'a String, Type)], body: &'a Expr) -> Checked {
        let before = self.bound.len();
        self.bound.extend(bound.iter().map(|(name, kind)| (name.as_str(), kind.clone())));
        let found = self.expression(body);
        self.bound.truncate(before);
        found
    }

    fn want_bool(&self, at: u32, name: &str, kinds: &[Type]) -> Checked {
        if kinds.iter().all(|kind| Type::Bool.admits(kind)) {
            Ok(Type::Bool)
        } else {
            self.no_overload(at, name, kinds)
        }
    }

    fn terms(&mut self, at: u32, name: &str, terms: &'a [Expr]) -> Checked {
        let kinds = terms.iter().map(|term| self.expression(term)).collect::<Result<Vec<Type>, _>>()?;
        for pair in kinds.windows(2) {
            self.want_bool(at, name, pair)?;
        }
        Ok(Type::Bool)
    }

    fn select(&mut self, whole: &'a Expr, operand: &'a Expr, field: &str, optional: bool) -> Checked {
        if let Some(name) = whole.dotted()
            && is_type_name(&name)
            && self.variable(name.split('.').next().unwrap_or_default()).is_none()
        {
            return Ok(Type::Type);
        }
        let kind = self.expression(operand)?;
        let found = self.field(whole.at, &kind, field)?;
        let absent = optional || matches!(kind, Type::Optional(_));
        Ok(if absent { Type::optional(inner(&found)) } else { found })
    }

    fn field(&self, at: u32, kind: &Type, field: &str) -> Checked {
        match kind {
            Type::Dyn | Type::Named(_) => Ok(Type::Dyn),
            Type::Map(_, value) => Ok((**value).clone()),
            Type::Object(object) => match object.field(field) {
                Some((_, kind)) => Ok(kind.clone()),
                None => self.fault(at, format!("undefined field '{field}'")),
            },
            Type::Optional(inner) => self.field(at, inner, field),
            other => self.fault(at, format!("type '{other}' does not support field selection")),
        }
    }

    fn index(&self, at: u32, kinds: &[Type; 2]) -> Checked {
        match (&kinds[0], &kinds[1]) {
            (Type::Dyn, _) => Ok(Type::Dyn),
            (Type::List(item), Type::Int | Type::Uint | Type::Dyn) => Ok((**item).clone()),
            (Type::Map(key, value), index) if key.admits(index) => Ok((**value).clone()),
            (Type::Optional(inner), index) => {
                self.index(at, &[(**inner).clone(), index.clone()]).map(Type::optional)
            }
            _ => self.no_overload(at, "_[_]", kinds),
        }
    }

    fn binary(&self, at: u32, operator: Binary, kinds: &[Type; 2]) -> Checked {
        let [left, right] = kinds;
        let fits = match operator {
            Binary::Equal | Binary::NotEqual => left.admits(right),
            Binary::In => match right {
                Type::List(item) => item.admits(left),
                Type::Map(key, _) => key.admits(left),
                Type::Dyn => true,
                _ => false,
            },
            Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
                let ordered = !matches!(
                    left,
                    Type::List(_)
                        | Type::Map(..)
                        | Type::Object(_)
                        | Type::Null
                        | Type::Type
                        | Type::Named(_)
                        | Type::Optional(_)
                );
                left.is_number() && right.is_number() || ordered && left.admits(right)
            }
            _ => {
                return match arithmetic::result(operator, left, right) {
                    Some(kind) => Ok(kind),
                    None => self.no_overload(at, operator.name(), kinds),
                };
            }
        };
        if fits { Ok(Type::Bool) } else { self.no_overload(at, operator.name(), kinds) }
    }

    fn call(&mut self, at: u32, function: &str, target: Option<&'a Expr>, arguments: &'a [Expr]) -> Checked {
        if let (Some(target), "optMap" | "optFlatMap") = (target, function) {
            return self.optional_map(at, function, target, arguments);
        }
        let mut kinds = Vec::with_capacity(arguments.len() + 1);
        for part in target.into_iter().chain(arguments) {
            kinds.push(self.expression(part)?);
        }
        let of_host = target.is_some() && matches!(kinds[0], Type::Dyn | Type::Named(_));
        let mut known = false;
        let mut found: Option<Type> = None;
        for signature in library::signatures(function, target.is_some()) {
            known = true;
            if fits(signature, &kinds) {
                let result = signature.result.result(kinds.first());
                found = Some(found.map_or(result.clone(), |before| before.join(&result)));
            }
        }
        match found {
            Some(kind) => Ok(kind),
            None if of_host && !is_of_library(&kinds[0]) => Ok(Type::Dyn),
            None if !known => {
                self.fault(at, format!("undeclared reference to '{function}' (in container '')"))
            }
            None if target.is_some() => {
                let list: Vec<String> = kinds[1..].iter().map(Type::to_string).collect();
                let applied = format!("{}.({})", kinds[0], list.join(", "));
                self.fault(at, format!("found no matching overload for '{function}' applied to '{applied}'"))
            }
            None => self.no_overload(at, function, &kinds),
        }
    }

    fn optional_map(&mut self, at: u32, function: &str, target: &'a Expr, arguments: &'a [Expr]) -> Checked {
        let kind = self.expression(target)?;
        let (Some(Node::Literal(Literal::Text(name))), Some(body)) =
            (arguments.first().map(|argument| &argument.node), arguments.get(1))
        else {
            return self.no_overload(at, function, &[kind]);
        };
        let before = self.bound.len();
        self.bound.push((name, inner(&kind)));
        let found = self.expression(body);
        self.bound.truncate(before);
        let found = found?;
        Ok(if function == "optMap" { Type::optional(found) } else { found })
    }

    fn each(&mut self, each: &'a Loop) -> Checked {
        let range = self.expression(&each.range)?;
        if !matches!(range, Type::List(_) | Type::Map(..) | Type::Dyn) {
            let message = format!(
                "expression of type '{range}' cannot be range of a comprehension (must be list, map, or dynamic)"
            );
            return self.fault(each.range.at, message);
        }
        let bound = match (&each.second, &range) {
            (None, range) => vec![(&each.first, range.item())],
            (Some(second), Type::List(item)) => vec![(&each.first, Type::Int), (second, (**item).clone())],
            (Some(second), Type::Map(key, value)) => {
                vec![(&each.first, (**key).clone()), (second, (**value).clone())]
            }
            (Some(second), _) => vec![(&each.first, Type::Dyn), (second, Type::Dyn)],
        };
        if let Some(filter) = &each.filter {
            let kind = self.within(&bound, filter)?;
            self.want_bool(filter.at, "_?_:_", &[kind])?;
        }
        let body = self.within(&bound, &each.body)?;
        match each.fold {
            Fold::All => self.want_bool(each.body.at, "_&&_", &[Type::Bool, body]),
            Fold::Exists => self.want_bool(each.body.at, "_||_", &[Type::Bool, body]),
            Fold::ExistsOne => self.want_bool(each.body.at, "_?_:_", &[body]),
            Fold::Filter => {
                self.want_bool(each.body.at, "_?_:_", &[body])?;
                Ok(Type::list(range.item()))
            }
            Fold::Map => Ok(Type::list(body)),
            Fold::TransformMap => Ok(Type::Map(bound[0].1.clone().into(), body.into())),
        }
    }
}

fn fits(signature: &Function, kinds: &[Type]) -> bool {
    signature.arguments.len() == kinds.len()
        && signature.arguments.iter().zip(kinds).all(|(wanted, kind)| wanted.admits(kind))
}

/// Whether the methods of a type are all in the library.
fn is_of_library(kind: &Type) -> bool {
    matches!(kind, Type::Named(name) if is_type_name(name))
}

fn inner(kind: &Type) -> Type {
    match kind {
        Type::Optional(inner) => (**inner).clone(),
        other => other.clone(),
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::Text(_) => Type::Text,
        Literal::Bytes(_) => Type::Bytes,
    }
}

//! The value of an expression, with every step paid for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cel::arithmetic;
use crate::cel::check::is_type_name;
use crate::cel::library::{self, failed};
use crate::cel::meter::Meter;
use crate::cel::syntax::{Binary, Entry, Expr, Fold, Literal, Loop, Node};
use crate::cel::value::{Dictionary, Key, Text, Value};
use crate::cel::{EvaluateError, Inputs};

type Result<'a> = std::result::Result<Value<'a>, EvaluateError>;

/// One evaluation.
pub(crate) struct Evaluation<'a, 'b, 'm> {
    pub inputs: &'b Inputs<'a>,
    pub meter: Meter<'m>,
    pub bound: Vec<(&'a str, Value<'a>)>,
}

impl<'a> Evaluation<'a, '_, '_> {
    /// The value of an expression.
    pub(crate) fn value(&mut self, expression: &'a Expr) -> Result<'a> {
        match &expression.node {
            Node::Literal(literal) => Ok(literal_value(literal)),
            Node::Name(name) => self.name(name),
            Node::Select { operand, field, optional } => {
                self.meter.charge(1)?;
                self.select(expression, operand, field, *optional)
            }
            Node::Has { operand, field } => {
                self.meter.charge(1)?;
                let operand = self.value(operand)?;
                Ok(Value::Bool(has(&operand, field)?))
            }
            Node::Index { operand, index, optional } => {
                self.meter.charge(1)?;
                let (operand, index) = (self.value(operand)?, self.value(index)?);
                at_index(operand, &index, *optional)
            }
            Node::Call { function, target, arguments } => self.call(function, target.as_deref(), arguments),
            Node::List(items) => self.list(items),
            Node::Map(entries) | Node::Message(_, entries) => self.map(entries),
            Node::Not(operand) => self.truth(operand).map(|truth| Value::Bool(!truth)),
            Node::Negate(operand) => {
                self.meter.charge(1)?;
                arithmetic::negate(&self.value(operand)?)
            }
            Node::Binary(operator, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.binary(*operator, &left, &right)
            }
            Node::And(terms) => self.terms(terms, false),
            Node::Or(terms) => self.terms(terms, true),
            Node::Choice(parts) => {
                let [condition, yes, no] = &**parts;
                self.meter.charge(1)?;
                if self.truth(condition)? { self.value(yes) } else { self.value(no) }
            }
            Node::Loop(each) => self.each(each),
            Node::Bind { name, value, body } => {
                let value = self.value(value)?;
                self.within(&[(name, value)], |this| this.value(body))
            }
        }
    }

    fn name(&mut self, name: &'a str) -> Result<'a> {
        self.meter.charge(1)?;
        if let Some((_, value)) = self.bound.iter().rev().find(|(one, _)| *one == name) {
            return Ok(value.clone());
        }
        match self.inputs.get(name) {
            Some(value) => Ok(value.clone()),
            None if is_type_name(name) => Ok(Value::Type(Arc::from(name))),
            None => Err(failed(format!("no such attribute(s): {name}"))),
        }
    }

    fn truth(&mut self, expression: &'a Expr) -> std::result::Result<bool, EvaluateError> {
        match self.value(expression)? {
            Value::Bool(truth) => Ok(truth),
            _ => Err(EvaluateError::NoSuchOverload),
        }
    }

    fn within<T>(&mut self, bound: &[(&'a String, Value<'a>)], work: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.bound.len();
        self.bound.extend(bound.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let done = work(self);
        self.bound.truncate(before);
        done
    }

    /// `&&` and `||`: one decisive term decides, even beside terms that fail.
    fn terms(&mut self, terms: &'a [Expr], decisive: bool) -> Result<'a> {
        let mut failure = None;
        for term in terms {
            self.meter.charge(1)?;
            match self.truth(term) {
                Ok(truth) if truth == decisive => return Ok(Value::Bool(decisive)),
                Ok(_) => {}
                Err(EvaluateError::TooExpensive) => return Err(EvaluateError::TooExpensive),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn select(&mut self, whole: &'a Expr, operand: &'a Expr, field: &'a str, optional: bool) -> Result<'a> {
        if let Some(name) = whole.dotted()
            && is_type_name(&name)
        {
            return Ok(Value::Type(Arc::from(name)));
        }
        let operand = self.value(operand)?;
        let (operand, optional) = match operand {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => (*inner, true),
            other => (other, optional),
        };
        let found = match &operand {
            Value::Map(entries) => entries.field(field),
            Value::Host(host) => match host.field(field) {
                Some(found) => Some(found?),
                None => None,
            },
            _ => return Err(EvaluateError::NoSuchOverload),
        };
        match (found, optional) {
            (found, true) => Ok(Value::Optional(found.map(Box::new))),
            (Some(found), false) => Ok(found),
            (None, false) => Err(failed(format!("no such key: {field}"))),
        }
    }

    fn call(&mut self, function: &'a str, target: Option<&'a Expr>, arguments: &'a [Expr]) -> Result<'a> {
        self.meter.charge(1)?;
        if let (Some(target), "optMap" | "optFlatMap") = (target, function) {
            return self.optional_map(function, target, arguments);
        }
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for part in target.into_iter().chain(arguments) {
            values.push(self.value(part)?);
        }
        if target.is_some()
            && let Some(Value::Host(host)) = values.first()
            && let Some(done) = host.call(function, &values[1..])
        {
            return done;
        }
        let fits = |signature: &&library::Function| {
            signature.arguments.len() == values.len()
                && signature.arguments.iter().zip(&values).all(|(wanted, value)| wanted.takes(value))
        };
        match library::signatures(function, target.is_some()).find(fits) {
            Some(signature) => (signature.run)(&mut self.meter, &values),
            None => Err(EvaluateError::NoSuchOverload),
        }
    }

    fn optional_map(&mut self, function: &str, target: &'a Expr, arguments: &'a [Expr]) -> Result<'a> {
        let [name, body] = arguments else { return Err(EvaluateError::NoSuchOverload) };
        let Node::Literal(Literal::Text(name)) = &name.node else {
            return Err(EvaluateError::NoSuchOverload);
        };
        match self.value(target)? {
            Value::Optional(None) => Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => {
                self.bound.push((name, *inner));
                let done = self.value(body);
                self.bound.pop();
                if function == "optMap" { done.map(Value::some) } else { done }
            }
            _ => Err(EvaluateError::NoSuchOverload),
        }
    }

    fn list(&mut self, items: &'a [Entry<Expr>]) -> Result<'a> {
        self.meter.charge(10)?;
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            match (self.value(&item.value)?, item.optional) {
                (Value::Optional(inner), true) => out.extend(inner.map(|inner| *inner)),
                (value, _) => out.push(value),
            }
        }
        Ok(Value::list(out))
    }

    fn map(&mut self, entries: &'a [Entry<(Expr, Expr)>]) -> Result<'a> {
        self.meter.charge(30)?;
        let mut out = BTreeMap::new();
        for entry in entries {
            let (key, value) = (self.value(&entry.value.0)?, self.value(&entry.value.1)?);
            let key = Key::of(&key).ok_or_else(|| failed("unsupported key type"))?;
            let value = match (value, entry.optional) {
                (Value::Optional(None), true) => continue,
                (Value::Optional(Some(inner)), true) => *inner,
                (value, _) => value,
            };
            if out.insert(key.clone(), value).is_some() {
                return Err(failed(format!("insert failed: key {} already exists", key.value().shown())));
            }
        }
        Ok(Value::Map(Dictionary::Owned(Arc::new(out))))
    }

    fn binary(&mut self, operator: Binary, left: &Value<'a>, right: &Value<'a>) -> Result<'a> {
        let smaller = left.size().min(right.size()) as u64;
        self.meter.charge(1 + smaller / 10)?;
        let order = || left.compare(right).ok_or(EvaluateError::NoSuchOverload);
        let truth = match operator {
            Binary::Equal => left.equals(right, &mut self.meter)?,
            Binary::NotEqual => !left.equals(right, &mut self.meter)?,
            // A number that is none compares with nothing.
            Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual
                if is_nan(left) || is_nan(right) =>
            {
                false
            }
            Binary::Less => order()?.is_lt(),
            Binary::LessOrEqual => order()?.is_le(),
            Binary::Greater => order()?.is_gt(),
            Binary::GreaterOrEqual => order()?.is_ge(),
            Binary::In => match right {
                Value::List(_) => library::contains(&mut self.meter, right, left)?,
                Value::Map(entries) => entries.get(left).is_some(),
                _ => return Err(EvaluateError::NoSuchOverload),
            },
            operator => return arithmetic::apply(&mut self.meter, operator, left, right),
        };
        Ok(Value::Bool(truth))
    }

    fn each(&mut self, each: &'a Loop) -> Result<'a> {
        let range = self.value(&each.range)?;
        let pairs: Vec<(Value<'a>, Option<Value<'a>>)> = match (&range, &each.second) {
            (Value::List(_), None) => {
                library::items(&mut self.meter, &range)?.into_iter().map(|item| (item, None)).collect()
            }
            (Value::List(_), Some(_)) => {
                let items = library::items(&mut self.meter, &range)?.into_iter().enumerate();
                items.map(|(index, item)| (Value::Int(index as i64), Some(item))).collect()
            }
            (Value::Map(entries), second) => {
                self.meter.charge(entries.len() as u64)?;
                let entries = entries.entries().into_iter();
                entries.map(|(key, value)| (key, second.as_ref().map(|_| value))).collect()
            }
            _ => return Err(EvaluateError::NoSuchOverload),
        };
        match each.fold {
            Fold::All => self.decide(each, pairs, false),
            Fold::Exists => self.decide(each, pairs, true),
            Fold::ExistsOne => {
                let mut count = 0;
                for pair in pairs {
                    count += usize::from(self.holds(each, &pair, &each.body)?);
                }
                Ok(Value::Bool(count == 1))
            }
            Fold::Filter => {
                let mut out = Vec::new();
                for pair in pairs {
                    if self.holds(each, &pair, &each.body)? {
                        out.push(pair.0);
                    }
                }
                Ok(Value::list(out))
            }
            Fold::Map | Fold::TransformMap => self.transform(each, pairs),
        }
    }

    /// One step of a loop.
    fn step(&mut self, each: &'a Loop, pair: &(Value<'a>, Option<Value<'a>>), body: &'a Expr) -> Result<'a> {
        self.meter.charge(1)?;
        match (&each.second, &pair.1) {
            (Some(second), Some(value)) => {
                let bound = [(&each.first, pair.0.clone()), (second, value.clone())];
                self.within(&bound, |this| this.value(body))
            }
            _ => self.within(&[(&each.first, pair.0.clone())], |this| this.value(body)),
        }
    }

    fn holds(
        &mut self,
        each: &'a Loop,
        pair: &(Value<'a>, Option<Value<'a>>),
        body: &'a Expr,
    ) -> std::result::Result<bool, EvaluateError> {
        match self.step(each, pair, body)? {
            Value::Bool(truth) => Ok(truth),
            _ => Err(EvaluateError::NoSuchOverload),
        }
    }

    fn decide(
        &mut self,
        each: &'a Loop,
        pairs: Vec<(Value<'a>, Option<Value<'a>>)>,
        decisive: bool,
    ) -> Result<'a> {
        let mut failure = None;
        for pair in pairs {
            match self.holds(each, &pair, &each.body) {
                Ok(truth) if truth == decisive => return Ok(Value::Bool(decisive)),
                Ok(_) => {}
                Err(EvaluateError::TooExpensive) => return Err(EvaluateError::TooExpensive),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn transform(&mut self, each: &'a Loop, pairs: Vec<(Value<'a>, Option<Value<'a>>)>) -> Result<'a> {
        let (mut list, mut map) = (Vec::new(), BTreeMap::new());
        for pair in pairs {
            if let Some(filter) = &each.filter
                && !self.holds(each, &pair, filter)?
            {
                continue;
            }
            let made = self.step(each, &pair, &each.body)?;
            match each.fold {
                Fold::TransformMap => {
                    let key = Key::of(&pair.0).ok_or(EvaluateError::NoSuchOverload)?;
                    map.insert(key, made);
                }
                _ => list.push(made),
            }
        }
        Ok(match each.fold {
            Fold::TransformMap => Value::Map(Dictionary::Owned(Arc::new(map))),
            _ => Value::list(list),
        })
    }
}

fn is_nan(value: &Value<'_>) -> bool {
    matches!(value, Value::Double(number) if number.is_nan())
}

fn has(operand: &Value<'_>, field: &str) -> std::result::Result<bool, EvaluateError> {
    match operand {
        Value::Map(entries) => Ok(entries.field(field).is_some()),
        Value::Host(host) => Ok(host.field(field).is_some()),
        Value::Optional(None) => Ok(false),
        Value::Optional(Some(inner)) => has(inner, field),
        _ => Err(EvaluateError::NoSuchOverload),
    }
}

fn at_index<'a>(operand: Value<'a>, index: &Value<'a>, optional: bool) -> Result<'a> {
    let (operand, optional) = match operand {
        Value::Optional(None) => return Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => (*inner, true),
        other => (other, optional),
    };
    let (found, missing) = match (&operand, index) {
        (Value::List(items), Value::Int(_) | Value::Uint(_)) => {
            let at = usize::try_from(library::whole(index)).ok();
            (at.and_then(|at| items.get(at)), format!("index out of bounds: {}", index.shown()))
        }
        (Value::List(items), Value::Double(number)) if number.fract() == 0.0 && *number >= 0.0 => {
            (items.get(*number as usize), format!("index out of bounds: {}", index.shown()))
        }
        (Value::Map(entries), key) => (entries.get(key), format!("no such key: {}", key.shown())),
        _ => return Err(EvaluateError::NoSuchOverload),
    };
    match (found, optional) {
        (found, true) => Ok(Value::Optional(found.map(Box::new))),
        (Some(found), false) => Ok(found),
        (None, false) => Err(failed(missing)),
    }
}

fn literal_value(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(truth) => Value::Bool(*truth),
        Literal::Int(number) => Value::Int(*number),
        Literal::Uint(number) => Value::Uint(*number),
        Literal::Double(number) => Value::Double(*number),
        Literal::Text(text) => Value::Text(Text::Borrowed(text)),
        Literal::Bytes(bytes) => Value::Bytes(bytes.clone()),
    }
}

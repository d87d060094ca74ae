//! A structural schema, compiled from the JSON of a CustomResourceDefinition.
//!
//! It is a tree of what pruning, defaulting, validation and server-side apply ask of a place;
//! prose is left out. What a schema may say is checked with the definition, not here: whatever is
//! malformed counts as not said.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use regex::Regex;
use serde_json::Value;

use crate::cel::{self, ObjectType, Type};
use crate::custom::rules::Rule;
use crate::schema::ListType;

/// The JSON type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// `{}`
    Object,
    /// `[]`
    Array,
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// A truth value.
    Boolean,
}

impl Base {
    fn read(name: &str) -> Option<Base> {
        Some(match name {
            "object" => Base::Object,
            "array" => Base::Array,
            "string" => Base::String,
            "integer" => Base::Integer,
            "number" => Base::Number,
            "boolean" => Base::Boolean,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Base::Object => "object",
            Base::Array => "array",
            Base::String => "string",
            Base::Integer => "integer",
            Base::Number => "number",
            Base::Boolean => "boolean",
        }
    }
}

/// What fields may be there beside the named ones.
#[derive(Debug)]
pub(crate) enum Additional {
    /// Any with any value.
    Any,
    /// Any with a value of this schema.
    Values(Box<Structural>),
}

/// The schema of a place.
#[derive(Debug, Default)]
pub struct Structural {
    pub(crate) base: Option<Base>,
    pub(crate) nullable: bool,
    pub(crate) preserve: bool,
    pub(crate) embedded: bool,
    pub(crate) int_or_string: bool,
    pub(crate) properties: BTreeMap<Box<str>, Structural>,
    pub(crate) additional: Option<Additional>,
    pub(crate) items: Option<Box<Structural>>,
    pub(crate) default: Option<Value>,
    pub(crate) list_type: Option<ListType>,
    pub(crate) list_keys: Vec<Box<str>>,
    pub(crate) atomic: bool,
    pub(crate) limits: Option<Box<Limits>>,
    pub(crate) rules: Vec<Rule>,
    /// The type that rules see.
    pub(crate) kind: Option<Box<Type>>,
}

/// What values are allowed, beyond the type.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub format: Option<String>,
    pub pattern: Option<Pattern>,
    pub values: Vec<Value>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub exclusive_minimum: bool,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<f64>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
    pub unique: bool,
    pub required: Vec<Box<str>>,
    pub all_of: Vec<Structural>,
    pub any_of: Vec<Structural>,
    pub one_of: Vec<Structural>,
    pub not: Option<Box<Structural>>,
}

/// A pattern that is compiled when it is first needed.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    fn new(text: &str) -> Pattern {
        Pattern { text: text.to_owned(), compiled: OnceLock::new() }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| cel::compile_pattern(&self.text).ok());
        compiled.as_ref().is_none_or(|pattern| pattern.is_match(text))
    }
}

/// A rule that does not compile: where, its JSON, and why.
#[derive(Debug)]
pub struct RuleFault {
    /// The path of the schema below the root, such as `properties[spec]`.
    pub path: String,
    /// Which of the rules there.
    pub index: usize,
    /// `rule`, `messageExpression` or `fieldPath`.
    pub field: &'static str,
    /// The rule as it is written.
    pub rule: Value,
    /// What is wrong.
    pub why: String,
}

/// Compiles schemas.
#[derive(Debug, Default)]
pub struct Compiler {
    /// What is wrong with rules.
    pub faults: Vec<RuleFault>,
    /// Whether rules are compiled at all.
    without_rules: bool,
}

/// Where a schema is in the schema of the whole object.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a str,
    /// Whether it is that of a whole object, with `apiVersion`, `kind` and `metadata`.
    whole: bool,
    /// Whether an old value can be told to be that of the same place.
    correlated: bool,
}

impl Structural {
    /// Compiles the schema of a version, `openAPIV3Schema`.
    pub fn root(schema: &Value) -> Structural {
        Compiler::default().root(schema)
    }

    /// Whether defaults are anywhere in it.
    pub(crate) fn has_defaults(&self) -> bool {
        let additional = match &self.additional {
            Some(Additional::Values(values)) => values.has_defaults(),
            _ => false,
        };
        self.default.is_some()
            || additional
            || self.items.as_ref().is_some_and(|items| items.has_defaults())
            || self.properties.values().any(Structural::has_defaults)
    }

    /// The schema of a field, named or not.
    pub(crate) fn field(&self, name: &str) -> Option<&Structural> {
        self.properties.get(name).or(match &self.additional {
            Some(Additional::Values(values)) => Some(values),
            _ => None,
        })
    }
}

impl Compiler {
    /// Compiles the schema of a whole object.
    pub fn root(&mut self, schema: &Value) -> Structural {
        self.schema(schema, Place { path: "", whole: true, correlated: true }).0
    }

    /// Compiles a schema of values only, as in `anyOf`.
    fn branches(&mut self, schema: &Value, field: &str) -> Vec<Structural> {
        let mut compiler = Compiler { without_rules: true, ..Compiler::default() };
        let place = Place { path: "", whole: false, correlated: false };
        let list = schema.get(field).and_then(Value::as_array);
        list.into_iter().flatten().map(|branch| compiler.schema(branch, place).0).collect()
    }

    fn schema(&mut self, schema: &Value, place: Place<'_>) -> (Structural, Type) {
        let text = |field: &str| schema.get(field).and_then(Value::as_str);
        let truth = |field: &str| schema.get(field).and_then(Value::as_bool).unwrap_or(false);
        let embedded = truth("x-kubernetes-embedded-resource");
        let mut out = Structural {
            base: text("type").and_then(Base::read),
            nullable: truth("nullable"),
            preserve: truth("x-kubernetes-preserve-unknown-fields"),
            embedded,
            int_or_string: truth("x-kubernetes-int-or-string"),
            default: schema.get("default").filter(|default| !default.is_null()).cloned(),
            list_type: match text("x-kubernetes-list-type") {
                Some("map") => Some(ListType::Map),
                Some("set") => Some(ListType::Set),
                Some("atomic") => Some(ListType::Atomic),
                _ => None,
            },
            list_keys: texts(schema, "x-kubernetes-list-map-keys"),
            atomic: text("x-kubernetes-map-type") == Some("atomic"),
            limits: self.limits(schema),
            ..Structural::default()
        };
        let kind = self.children(schema, place, &mut out);
        let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
        if let Some(rules) = rules.filter(|rules| !rules.is_empty() && !self.without_rules) {
            for (index, rule) in rules.iter().enumerate() {
                let (compiled, faults) = Rule::compile(rule, &kind, place.correlated);
                out.rules.push(compiled);
                self.faults.extend(faults.into_iter().map(|(field, why)| RuleFault {
                    path: place.path.to_owned(),
                    index,
                    field,
                    rule: rule.clone(),
                    why,
                }));
            }
            out.kind = Some(Box::new(kind.clone()));
        }
        (out, kind)
    }

    /// The types of the fields of a whole object, as expressions outside its schema see them.
    pub fn types(schema: &Value) -> Vec<(String, Type)> {
        let mut compiler = Compiler { without_rules: true, ..Compiler::default() };
        let place = Place { path: "", whole: false, correlated: false };
        let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        fields.map(|(name, field)| (name.clone(), compiler.schema(field, place).1)).collect()
    }

    /// Compiles what is below a place; the answer is the type that rules see there.
    fn children(&mut self, schema: &Value, place: Place<'_>, out: &mut Structural) -> Type {
        let below =
            |step: String| if place.path.is_empty() { step } else { format!("{}.{step}", place.path) };
        let mut fields: Vec<(String, Type)> = Vec::new();
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let path = below(format!("properties[{name}]"));
            let whole =
                property.get("x-kubernetes-embedded-resource").and_then(Value::as_bool).unwrap_or(false);
            let (child, kind) =
                self.schema(property, Place { path: &path, whole, correlated: place.correlated });
            fields.push((name.clone(), kind));
            out.properties.insert(name.as_str().into(), child);
        }
        let mut values = None;
        match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => {
                out.additional = Some(Additional::Any);
                values = Some(Type::Dyn);
            }
            Some(additional @ Value::Object(_)) => {
                let path = below("additionalProperties".to_owned());
                let (child, kind) = self.schema(additional, Place { path: &path, whole: false, ..place });
                out.additional = Some(Additional::Values(Box::new(child)));
                values = Some(kind);
            }
            _ => {}
        }
        let mut item = Type::Dyn;
        if let Some(items @ Value::Object(_)) = schema.get("items") {
            let path = below("items".to_owned());
            let whole = items.get("x-kubernetes-embedded-resource").and_then(Value::as_bool).unwrap_or(false);
            let correlated = place.correlated && out.list_type == Some(ListType::Map);
            let (child, kind) = self.schema(items, Place { path: &path, whole, correlated });
            out.items = Some(Box::new(child));
            item = kind;
        }
        if place.whole {
            fields.retain(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
            let metadata = [("name".to_owned(), Type::Text), ("generateName".to_owned(), Type::Text)];
            fields.push(("apiVersion".to_owned(), Type::Text));
            fields.push(("kind".to_owned(), Type::Text));
            fields.push(("metadata".to_owned(), Type::Object(Arc::new(ObjectType::new(metadata)))));
        }
        let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
        match out.base {
            _ if out.int_or_string => Type::Dyn,
            Some(Base::Object) => match values {
                Some(values) => Type::map(values),
                None => Type::Object(Arc::new(ObjectType::new(fields))),
            },
            Some(Base::Array) => Type::list(item),
            Some(Base::String) => match format {
                "date-time" | "datetime" | "date" => Type::Timestamp,
                "duration" => Type::Duration,
                "byte" => Type::Bytes,
                _ => Type::Text,
            },
            Some(Base::Integer) => Type::Int,
            Some(Base::Number) => Type::Double,
            Some(Base::Boolean) => Type::Bool,
            None => Type::Dyn,
        }
    }

    fn limits(&mut self, schema: &Value) -> Option<Box<Limits>> {
        let number = |field: &str| schema.get(field).and_then(Value::as_f64);
        let count = |field: &str| schema.get(field).and_then(Value::as_u64);
        let truth = |field: &str| schema.get(field).and_then(Value::as_bool).unwrap_or(false);
        let named = [
            "format",
            "pattern",
            "enum",
            "minimum",
            "maximum",
            "multipleOf",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "minProperties",
            "maxProperties",
            "uniqueItems",
            "required",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
        ];
        if !named.iter().any(|field| schema.get(*field).is_some_and(|value| !value.is_null())) {
            return None;
        }
        let not = schema.get("not").filter(|not| not.is_object()).map(|not| {
            let place = Place { path: "", whole: false, correlated: false };
            Box::new(Compiler { without_rules: true, ..Compiler::default() }.schema(not, place).0)
        });
        Some(Box::new(Limits {
            format: schema.get("format").and_then(Value::as_str).map(str::to_owned),
            pattern: schema
                .get("pattern")
                .and_then(Value::as_str)
                .filter(|p| !p.is_empty())
                .map(Pattern::new),
            values: schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
            minimum: number("minimum"),
            maximum: number("maximum"),
            exclusive_minimum: truth("exclusiveMinimum"),
            exclusive_maximum: truth("exclusiveMaximum"),
            multiple_of: number("multipleOf").filter(|of| *of > 0.0),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            unique: truth("uniqueItems"),
            required: texts(schema, "required"),
            all_of: self.branches(schema, "allOf"),
            any_of: self.branches(schema, "anyOf"),
            one_of: self.branches(schema, "oneOf"),
            not,
        }))
    }
}

fn texts(schema: &Value, field: &str) -> Vec<Box<str>> {
    let list = schema.get(field).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(Box::from).collect()
}

//! Types of expressions, as far as they are known before anything is evaluated.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The type of an expression or variable.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Known only when it is evaluated.
    Dyn,
    /// `null`
    Null,
    /// A truth value.
    Bool,
    /// A whole number of 64 bits with sign.
    Int,
    /// A whole number of 64 bits without sign.
    Uint,
    /// A floating-point number.
    Double,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// A point in time.
    Timestamp,
    /// A length of time.
    Duration,
    /// A list of these.
    List(Arc<Type>),
    /// A map with these keys and values.
    Map(Arc<Type>, Arc<Type>),
    /// An object with these fields.
    Object(Arc<ObjectType>),
    /// A value that may be absent.
    Optional(Arc<Type>),
    /// A type as a value.
    Type,
    /// A type of the library, such as `kubernetes.Quantity`, or of whoever evaluates.
    Named(&'static str),
}

/// The type of an object: its fields by the names that expressions use for them.
#[derive(Debug, Default, PartialEq)]
pub struct ObjectType {
    fields: BTreeMap<String, (String, Type)>,
}

impl ObjectType {
    /// The type with these fields, by their names in JSON. Fields that no expression can name are left out.
    pub fn new(fields: impl IntoIterator<Item = (String, Type)>) -> ObjectType {
        let named = |(name, kind): (String, Type)| Some((escape(&name)?, (name, kind)));
        ObjectType { fields: fields.into_iter().filter_map(named).collect() }
    }

    /// The name in JSON and the type of a field by the name that expressions use.
    pub(crate) fn field(&self, name: &str) -> Option<(&str, &Type)> {
        self.fields.get(name).map(|(name, kind)| (name.as_str(), kind))
    }

    /// The type of a field by its name in JSON.
    pub(crate) fn of_json(&self, name: &str) -> Option<&Type> {
        self.fields.get(&escape(name)?).map(|(_, kind)| kind)
    }
}

/// What a field's type is when nothing is said of it.
pub(crate) static DYN: Type = Type::Dyn;

impl Type {
    /// A list of `item`.
    pub fn list(item: Type) -> Type {
        Type::List(Arc::new(item))
    }

    /// A map of text to `value`.
    pub fn map(value: Type) -> Type {
        Type::Map(Arc::new(Type::Text), Arc::new(value))
    }

    /// A value that may be absent.
    pub fn optional(inner: Type) -> Type {
        Type::Optional(Arc::new(inner))
    }

    /// Whether a value of type `other` may stand where this one is wanted.
    pub(crate) fn admits(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Dyn, _) | (_, Type::Dyn) => true,
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => a.admits(b),
            (Type::Map(k, v), Type::Map(l, w)) => k.admits(l) && v.admits(w),
            (Type::Object(_), Type::Map(..)) | (Type::Map(..), Type::Object(_)) => true,
            (Type::Null, other) | (other, Type::Null) => matches!(
                other,
                Type::Null
                    | Type::Object(_)
                    | Type::Optional(_)
                    | Type::Named(_)
                    | Type::Timestamp
                    | Type::Duration
            ),
            (a, b) => a == b,
        }
    }

    /// The type of what is one of two.
    pub(crate) fn join(&self, other: &Type) -> Type {
        if self == other { self.clone() } else { Type::Dyn }
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Type::Int | Type::Uint | Type::Double | Type::Dyn)
    }

    /// The type of the items of a list or the keys of a map.
    pub(crate) fn item(&self) -> Type {
        match self {
            Type::List(item) => (**item).clone(),
            Type::Map(key, _) => (**key).clone(),
            Type::Object(_) => Type::Text,
            _ => Type::Dyn,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dyn => f.write_str("dyn"),
            Type::Null => f.write_str("null"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::Text => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Timestamp => f.write_str("google.protobuf.Timestamp"),
            Type::Duration => f.write_str("google.protobuf.Duration"),
            Type::List(item) => write!(f, "list({item})"),
            Type::Map(key, value) => write!(f, "map({key}, {value})"),
            Type::Object(_) => f.write_str("object"),
            Type::Optional(inner) => write!(f, "optional_type({inner})"),
            Type::Type => f.write_str("type"),
            Type::Named(name) => f.write_str(name),
        }
    }
}

/// Names that expressions write between underscores.
const KEYWORDS: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

const ESCAPES: [(&str, &str); 4] =
    [("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")];

/// How expressions name the field `name`; `None` if they cannot.
pub fn escape(name: &str) -> Option<String> {
    if KEYWORDS.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if let Some((plain, escaped)) = ESCAPES.iter().find(|(plain, _)| rest.starts_with(plain)) {
            out.push_str(escaped);
            rest = &rest[plain.len()..];
            continue;
        }
        let fits = c == '_' || c.is_ascii_alphabetic() || c.is_ascii_digit() && !out.is_empty();
        if !fits {
            return None;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    (!out.is_empty()).then_some(out)
}

/// The field that expressions name so.
pub(crate) fn unescape(name: &str) -> String {
    if !name.contains("__") {
        return name.to_owned();
    }
    if let Some(word) = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"))
        && KEYWORDS.contains(&word)
    {
        return word.to_owned();
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        match ESCAPES.iter().find(|(_, escaped)| rest.starts_with(escaped)) {
            Some((plain, escaped)) => {
                out.push_str(plain);
                rest = &rest[escaped.len()..];
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{escape, unescape};

    #[test]
    fn names_are_escaped_and_back() {
        for (name, escaped) in [
            ("replicas", "replicas"),
            ("namespace", "__namespace__"),
            ("int", "int"),
            ("a_b", "a_b"),
            ("a__b", "a__underscores__b"),
            ("x-prop", "x__dash__prop"),
            ("redact__d", "redact__underscores__d"),
            ("a.b/c", "a__dot__b__slash__c"),
        ] {
            assert_eq!(escape(name).as_deref(), Some(escaped));
            assert_eq!(unescape(escaped), name);
        }
        for name in ["", "1a", "a b", "é"] {
            assert_eq!(escape(name), None);
        }
    }
}

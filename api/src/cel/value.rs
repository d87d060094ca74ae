//! Values while an expression is evaluated.
//!
//! JSON is not converted: a value is a view of it together with its type, and what is selected is
//! a view again. Only what an expression makes is owned.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Map, Value as Json, json};

use crate::cel::EvaluateError;
use crate::cel::duration::Duration;
use crate::cel::meter::Meter;
use crate::cel::types::{DYN, ObjectType, Type, unescape};
use crate::quantity::Quantity;
use crate::time::Timestamp;

/// A value.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number without sign.
    Uint(u64),
    /// A floating-point number.
    Double(f64),
    /// Text.
    Text(Text<'a>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A point in time.
    Timestamp(Timestamp),
    /// A length of time.
    Duration(Duration),
    /// A list.
    List(List<'a>),
    /// A map or an object.
    Map(Dictionary<'a>),
    /// A value that may be absent.
    Optional(Option<Box<Value<'a>>>),
    /// A type.
    Type(Arc<str>),
    /// `kubernetes.Quantity`
    Quantity(Quantity),
    /// `net.IP`
    Ip(IpAddr),
    /// `net.CIDR`: an address, perhaps with host bits, and the length of the prefix.
    Cidr(IpAddr, u8),
    /// `kubernetes.URL`
    Url(Arc<super::url::Url>),
    /// `kubernetes.Semver`
    Semver(Arc<super::semver::Semver>),
    /// `kubernetes.NamedFormat`
    Format(super::format::Named),
    /// Something of whoever evaluates.
    Host(Arc<dyn Host<'a> + 'a>),
}

/// Something that only whoever evaluates knows: an authorizer, variables that are worked out when read.
pub trait Host<'a>: fmt::Debug + Send + Sync {
    /// The name of its type.
    fn type_name(&self) -> &'static str;
    /// The value of a field; `None` if there is none of this name.
    fn field(&self, name: &str) -> Option<Result<Value<'a>, EvaluateError>>;
    /// The result of a method; `None` if there is none of this name for these arguments.
    fn call(&self, method: &str, arguments: &[Value<'a>]) -> Option<Result<Value<'a>, EvaluateError>>;
}

/// Text that is somewhere else, or that an expression made.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// Of an object.
    Borrowed(&'a str),
    /// Made.
    Shared(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

/// A list.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// Of an object, with the type of its items.
    View(&'a [Json], &'a Type),
    /// Made.
    Owned(Arc<Vec<Value<'a>>>),
}

/// A map or an object.
#[derive(Clone, Debug)]
pub enum Dictionary<'a> {
    /// An object of a known type, or of none.
    Object(&'a Map<String, Json>, Option<&'a ObjectType>),
    /// A map with free keys and values of one type.
    View(&'a Map<String, Json>, &'a Type),
    /// Made.
    Owned(Arc<BTreeMap<Key, Value<'a>>>),
}

/// The key of an entry of a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number above those of [`Key::Int`].
    Uint(u64),
    /// Text.
    Text(Arc<str>),
}

impl Key {
    /// The key a value is; numbers of either sign are the same keys.
    pub(crate) fn of(value: &Value<'_>) -> Option<Key> {
        match value {
            Value::Bool(truth) => Some(Key::Bool(*truth)),
            Value::Int(number) => Some(Key::Int(*number)),
            Value::Uint(number) => Some(i64::try_from(*number).map_or(Key::Uint(*number), Key::Int)),
            Value::Double(number) if number.fract() == 0.0 && number.abs() < 9e18 => {
                Some(Key::Int(*number as i64))
            }
            Value::Text(text) => Some(Key::Text(Arc::from(&**text))),
            _ => None,
        }
    }

    pub(crate) fn value<'a>(&self) -> Value<'a> {
        match self {
            Key::Bool(truth) => Value::Bool(*truth),
            Key::Int(number) => Value::Int(*number),
            Key::Uint(number) => Value::Uint(*number),
            Key::Text(text) => Value::Text(Text::Shared(text.clone())),
        }
    }
}

impl<'a> List<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            List::View(items, _) => items.len(),
            List::Owned(items) => items.len(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            List::View(items, kind) => items.get(index).map(|item| Value::view(item, kind)),
            List::Owned(items) => items.get(index).cloned(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<'a> Dictionary<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Dictionary::Object(fields, _) | Dictionary::View(fields, _) => fields.len(),
            Dictionary::Owned(entries) => entries.len(),
        }
    }

    /// The value of a key, as `map[key]` asks for it.
    pub(crate) fn get(&self, key: &Value<'_>) -> Option<Value<'a>> {
        match (self, key) {
            (Dictionary::Owned(entries), key) => entries.get(&Key::of(key)?).cloned(),
            (Dictionary::View(fields, kind), Value::Text(key)) => {
                fields.get(&**key).map(|value| Value::view(value, kind))
            }
            (Dictionary::Object(fields, kind), Value::Text(key)) => {
                let kind = kind.and_then(|kind| kind.of_json(key)).unwrap_or(&DYN);
                fields.get(&**key).map(|value| Value::view(value, kind))
            }
            _ => None,
        }
    }

    /// The value of a field, as `object.field` asks for it.
    pub(crate) fn field(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Dictionary::Object(fields, Some(kind)) => {
                let (name, kind) = kind.field(name)?;
                fields.get(name).map(|value| Value::view(value, kind))
            }
            Dictionary::Object(fields, None) => {
                let found = fields.get(name).or_else(|| fields.get(&unescape(name)));
                found.map(|value| Value::view(value, &DYN))
            }
            _ => self.get(&Value::Text(Text::Shared(Arc::from(name)))),
        }
    }

    pub(crate) fn entries(&self) -> Vec<(Value<'a>, Value<'a>)> {
        let text = |key: &'a String| Value::Text(Text::Borrowed(key));
        match self {
            Dictionary::Object(fields, kind) => fields
                .iter()
                .map(|(key, value)| {
                    let kind = kind.and_then(|kind| kind.of_json(key)).unwrap_or(&DYN);
                    (text(key), Value::view(value, kind))
                })
                .collect(),
            Dictionary::View(fields, kind) => {
                fields.iter().map(|(key, value)| (text(key), Value::view(value, kind))).collect()
            }
            Dictionary::Owned(entries) => {
                entries.iter().map(|(key, value)| (key.value(), value.clone())).collect()
            }
        }
    }
}

impl<'a> Value<'a> {
    /// JSON as a value of a type.
    pub fn view(json: &'a Json, kind: &'a Type) -> Value<'a> {
        match (json, kind) {
            (Json::Null, _) => Value::Null,
            (Json::Bool(truth), _) => Value::Bool(*truth),
            (Json::Number(number), Type::Double) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
            (Json::Number(number), Type::Int) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Value::Int(whole),
                (None, float) => Value::Int(float.unwrap_or(0.0) as i64),
            },
            (Json::Number(number), _) => match (number.as_i64(), number.as_u64()) {
                (Some(whole), _) => Value::Int(whole),
                (None, Some(whole)) => Value::Uint(whole),
                (None, None) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            (Json::String(text), kind) => special(text, kind).unwrap_or(Value::Text(Text::Borrowed(text))),
            (Json::Array(items), Type::List(item)) => Value::List(List::View(items, item)),
            (Json::Array(items), _) => Value::List(List::View(items, &DYN)),
            (Json::Object(fields), Type::Object(kind)) => Value::Map(Dictionary::Object(fields, Some(kind))),
            (Json::Object(fields), Type::Map(_, value)) => Value::Map(Dictionary::View(fields, value)),
            (Json::Object(fields), _) => Value::Map(Dictionary::Object(fields, None)),
        }
    }

    /// JSON of no known type as a value.
    pub fn of(json: &'a Json) -> Value<'a> {
        Value::view(json, &DYN)
    }

    /// Text that is made.
    pub fn text(text: impl Into<Arc<str>>) -> Value<'a> {
        Value::Text(Text::Shared(text.into()))
    }

    /// A list that is made.
    pub fn list(items: Vec<Value<'a>>) -> Value<'a> {
        Value::List(List::Owned(Arc::new(items)))
    }

    pub(crate) fn some(value: Value<'a>) -> Value<'a> {
        Value::Optional(Some(Box::new(value)))
    }

    /// The name of its type.
    pub fn type_name(&self) -> &str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::Text(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Optional(_) => "optional_type",
            Value::Type(_) => "type",
            Value::Quantity(_) => super::library::QUANTITY,
            Value::Ip(_) => super::library::IP,
            Value::Cidr(..) => super::library::CIDR,
            Value::Url(_) => super::library::URL,
            Value::Semver(_) => super::library::SEMVER,
            Value::Format(_) => super::library::FORMAT,
            Value::Host(host) => host.type_name(),
        }
    }

    /// Whether two values are equal; numbers of different types are by amount. Every pair that is looked at is paid
    /// for.
    pub(crate) fn equals(&self, other: &Value<'_>, meter: &mut Meter<'_>) -> Result<bool, EvaluateError> {
        meter.charge(1 + self.size().min(other.size()) as u64 / 10)?;
        Ok(match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => **a == **b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::List(a), Value::List(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(b.iter()) {
                    if !a.equals(&b, meter)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Map(a), Value::Map(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (key, value) in a.entries() {
                    match b.get(&key) {
                        Some(other) if value.equals(&other, meter)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Value::Optional(Some(a)), Value::Optional(Some(b))) => a.equals(b, meter)?,
            (Value::Optional(a), Value::Optional(b)) => a.is_none() && b.is_none(),
            (Value::Type(a), Value::Type(b)) => a == b,
            (Value::Ip(a), Value::Ip(b)) => a == b,
            (Value::Cidr(a, n), Value::Cidr(b, m)) => (a, n) == (b, m),
            (Value::Url(a), Value::Url(b)) => a == b,
            (Value::Format(a), Value::Format(b)) => a == b,
            (a, b) => a.compare(b) == Some(Ordering::Equal),
        })
    }

    /// Pays for everything that is in it, as often as it is in it.
    pub(crate) fn weigh(&self, meter: &mut Meter<'_>) -> Result<(), EvaluateError> {
        match self {
            Value::List(items) => {
                meter.charge(1)?;
                items.iter().try_for_each(|item| item.weigh(meter))
            }
            Value::Map(entries) => {
                meter.charge(1)?;
                entries.entries().iter().try_for_each(|(_, value)| value.weigh(meter))
            }
            Value::Optional(Some(inner)) => inner.weigh(meter),
            other => meter.charge(other.size() as u64 / 10),
        }
    }

    /// The order of two values that have one.
    pub(crate) fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
            (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
            (Value::Double(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
            (Value::Int(a), Value::Double(b)) => (*a as f64).partial_cmp(b),
            (Value::Double(a), Value::Uint(b)) => a.partial_cmp(&(*b as f64)),
            (Value::Uint(a), Value::Double(b)) => (*a as f64).partial_cmp(b),
            (Value::Text(a), Value::Text(b)) => Some((**a).cmp(&**b)),
            (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            (Value::Quantity(a), Value::Quantity(b)) => Some(a.cmp(b)),
            (Value::Semver(a), Value::Semver(b)) => Some(a.order(b)),
            _ => None,
        }
    }

    /// How much there is of it, which is what work on it costs.
    pub(crate) fn size(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(items) => items.len(),
            Value::Map(entries) => entries.len(),
            _ => 1,
        }
    }

    /// The value as JSON; what JSON has no form for is its text.
    pub fn to_json(&self) -> Json {
        match self {
            Value::Null | Value::Optional(None) | Value::Host(_) => Json::Null,
            Value::Bool(truth) => json!(truth),
            Value::Int(number) => json!(number),
            Value::Uint(number) => json!(number),
            Value::Double(number) => json!(number),
            Value::Text(text) => json!(&**text),
            Value::Bytes(bytes) => json!(base64::engine::general_purpose::STANDARD.encode(bytes)),
            Value::Timestamp(time) => json!(time),
            Value::List(items) => items.iter().map(|item| item.to_json()).collect(),
            Value::Map(entries) => {
                let entry = |(key, value): (Value<'_>, Value<'_>)| (key.shown(), value.to_json());
                Json::Object(entries.entries().into_iter().map(entry).collect())
            }
            Value::Optional(Some(value)) => value.to_json(),
            other => json!(other.shown()),
        }
    }

    /// The value as `string()` and `format()` write it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Value::Null => "null".to_owned(),
            Value::Bool(truth) => truth.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Uint(number) => number.to_string(),
            Value::Double(number) => double(*number),
            Value::Text(text) => (**text).to_owned(),
            Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::Timestamp(time) if time.as_micros() % 1_000_000 == 0 => time.seconds(),
            Value::Timestamp(time) => time.micros(),
            Value::Duration(duration) => duration.to_string(),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| item.shown()).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Map(entries) => {
                let entry =
                    |(key, value): &(Value<'_>, Value<'_>)| format!("{}: {}", key.shown(), value.shown());
                let entries: Vec<String> = entries.entries().iter().map(entry).collect();
                format!("{{{}}}", entries.join(", "))
            }
            Value::Optional(None) => "optional.none()".to_owned(),
            Value::Optional(Some(value)) => format!("optional({})", value.shown()),
            Value::Type(name) => name.to_string(),
            Value::Quantity(quantity) => quantity.to_string(),
            Value::Ip(address) => address.to_string(),
            Value::Cidr(address, length) => format!("{address}/{length}"),
            Value::Url(url) => url.to_string(),
            Value::Semver(version) => version.to_string(),
            Value::Format(named) => named.name().to_owned(),
            Value::Host(host) => host.type_name().to_owned(),
        }
    }
}

fn special<'a>(text: &str, kind: &Type) -> Option<Value<'a>> {
    match kind {
        Type::Timestamp => {
            let midnight = || Timestamp::parse(&format!("{text}T00:00:00Z"));
            Timestamp::parse(text).or_else(|_| midnight()).ok().map(Value::Timestamp)
        }
        Type::Duration => Duration::parse(text).map(Value::Duration),
        Type::Bytes => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
            Some(Value::Bytes(bytes.into()))
        }
        _ => None,
    }
}

/// A floating-point number as Go's `%g` prints it.
pub(crate) fn double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    number.to_string()
}

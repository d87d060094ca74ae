//! Does an object hold what its schema says? In the words of Kubernetes' validation.
//!
//! On a change, what is as it was before is not looked at again: an object that became wrong
//! because its schema changed can still be changed elsewhere.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::cel::{self, Url};
use crate::custom::rules::{root, type_word};
use crate::custom::structural::{Base, Limits, Structural};
use crate::error::{CauseReason, FieldError};
use crate::name;
use crate::schema::ListType;
use crate::time::Timestamp;

/// Errors beyond this many are not looked for.
const MOST: usize = 100;
/// How deep `anyOf` and its like may be nested while an object is checked.
const BRANCHES: usize = 16;

/// The path of a field.
pub(crate) fn child(path: &str, name: &str, bracket: bool) -> String {
    match (bracket, path) {
        (true, path) => format!("{path}[{name}]"),
        (false, "") => name.to_owned(),
        (false, path) => format!("{path}.{name}"),
    }
}

/// The item of an old list that has the keys of an item.
pub(crate) fn keyed<'a>(schema: &Structural, old: &'a Value, item: &Value) -> Option<&'a Value> {
    let same = |other: &&Value| schema.list_keys.iter().all(|key| other.get(&**key) == item.get(&**key));
    old.as_array()?.iter().find(same)
}

/// Looks through an object.
pub(crate) struct Validator {
    pub errors: Vec<FieldError>,
    branches: usize,
}

impl Validator {
    pub(crate) fn new() -> Validator {
        Validator { errors: Vec::new(), branches: 0 }
    }

    fn push(&mut self, error: FieldError) {
        if self.errors.len() < MOST {
            self.errors.push(error);
        }
    }

    /// Checks a value, and against the old one if there is any.
    pub(crate) fn value(&mut self, schema: &Structural, path: &str, value: &Value, old: Option<&Value>) {
        if old == Some(value) || self.errors.len() >= MOST {
            return;
        }
        if value.is_null() && schema.nullable {
            return;
        }
        if let Some(wrong) = wrong_type(schema, value) {
            let word = type_word(value);
            return self.push(FieldError::type_invalid(root(path), word, &must_be(path, &wrong, word)));
        }
        if let Some(limits) = &schema.limits {
            self.limits(limits, schema, path, value);
        }
        match value {
            Value::Object(fields) => self.fields(schema, path, fields, old),
            Value::Array(items) => self.items(schema, path, items, old),
            _ => {}
        }
    }

    fn fields(&mut self, schema: &Structural, path: &str, fields: &Map<String, Value>, old: Option<&Value>) {
        if schema.embedded {
            self.embedded(path, fields);
        }
        for (name, value) in fields {
            let Some(below) = schema.field(name) else { continue };
            let path = child(path, name, false);
            self.value(below, &path, value, old.and_then(|old| old.get(name)));
        }
    }

    fn embedded(&mut self, path: &str, fields: &Map<String, Value>) {
        for field in ["apiVersion", "kind"] {
            if fields.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
                self.push(FieldError::required(child(path, field, false), "must not be empty"));
            }
        }
        if fields.get("metadata").is_some_and(|metadata| !metadata.is_object()) {
            let path = child(path, "metadata", false);
            self.push(FieldError::type_invalid(&path, "metadata", "must be an object"));
        }
    }

    fn items(&mut self, schema: &Structural, path: &str, items: &[Value], old: Option<&Value>) {
        match schema.list_type {
            Some(ListType::Set) => self.distinct(path, items, Value::clone),
            Some(ListType::Map) => self.distinct(path, items, |item| {
                let key = |key: &str| Some((key.to_owned(), item.get(key)?.clone()));
                Value::Object(schema.list_keys.iter().filter_map(|name| key(name)).collect())
            }),
            _ => {}
        }
        let Some(below) = &schema.items else { return };
        for (index, item) in items.iter().enumerate() {
            let old = match schema.list_type {
                Some(ListType::Map) => old.and_then(|old| keyed(schema, old, item)),
                _ => None,
            };
            self.value(below, &format!("{path}[{index}]"), item, old);
        }
    }

    fn distinct(&mut self, path: &str, items: &[Value], key: impl Fn(&Value) -> Value) {
        let mut seen = HashSet::new();
        for (index, item) in items.iter().enumerate() {
            let key = key(item);
            if !seen.insert(key.to_string()) {
                self.push(FieldError::duplicate(format!("{path}[{index}]"), &key));
            }
        }
    }

    fn says(&mut self, path: &str, value: &Value, what: &str) {
        self.push(FieldError::invalid(root(path), value, &format!("{path} in body {what}")));
    }

    fn limits(&mut self, limits: &Limits, schema: &Structural, path: &str, value: &Value) {
        match value {
            Value::String(text) => self.text(limits, path, value, text),
            Value::Number(number) => self.number(limits, path, value, number.as_f64().unwrap_or(0.0)),
            Value::Array(items) => self.list(limits, path, value, items),
            Value::Object(fields) => self.object(limits, path, value, fields),
            _ => {}
        }
        if !limits.values.is_empty() && !limits.values.iter().any(|one| same(one, value)) {
            let shown = |value: &Value| match value {
                Value::String(text) => format!("{text:?}"),
                other => format!("{:?}", other.to_string()),
            };
            let list: Vec<String> = limits.values.iter().map(shown).collect();
            let message = FieldError::not_supported(root(path), value, &[]).message + &list.join(", ");
            let field = root(path).to_owned();
            self.push(FieldError { field, reason: CauseReason::NotSupported, message });
        }
        if self.branches < BRANCHES {
            self.branches += 1;
            self.junctors(limits, schema, path, value);
            self.branches -= 1;
        }
    }

    fn text(&mut self, limits: &Limits, path: &str, value: &Value, text: &str) {
        let length = text.chars().count() as u64;
        if let Some(most) = limits.max_length.filter(|most| length > *most) {
            self.push(FieldError::too_long(root(path), most as usize));
        }
        if let Some(least) = limits.min_length.filter(|least| length < *least) {
            self.says(path, value, &format!("should be at least {least} chars long"));
        }
        if let Some(pattern) = limits.pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
            self.says(path, value, &format!("should match '{}'", pattern.text));
        }
        if let Some(format) = limits.format.as_ref().filter(|format| !has_format(format, text)) {
            self.push(FieldError::type_invalid(root(path), value, &must_be(path, format, text)));
        }
    }

    fn number(&mut self, limits: &Limits, path: &str, value: &Value, number: f64) {
        if let Some(most) = limits.maximum {
            if limits.exclusive_maximum && number >= most {
                self.says(path, value, &format!("should be less than {most}"));
            } else if !limits.exclusive_maximum && number > most {
                self.says(path, value, &format!("should be less than or equal to {most}"));
            }
        }
        if let Some(least) = limits.minimum {
            if limits.exclusive_minimum && number <= least {
                self.says(path, value, &format!("should be greater than {least}"));
            } else if !limits.exclusive_minimum && number < least {
                self.says(path, value, &format!("should be greater than or equal to {least}"));
            }
        }
        if let Some(of) = limits.multiple_of
            && (number / of).fract() != 0.0
        {
            self.says(path, value, &format!("should be a multiple of {of}"));
        }
        let range = match limits.format.as_deref() {
            Some("int32") => Some((f64::from(i32::MIN), f64::from(i32::MAX))),
            Some("float") => Some((f64::from(f32::MIN), f64::from(f32::MAX))),
            _ => None,
        };
        if range.is_some_and(|(low, high)| !(low..=high).contains(&number)) {
            let format = limits.format.as_deref().unwrap_or_default();
            self.says(path, value, &format!("must be of type {format}: {:?}", value.to_string()));
        }
    }

    fn list(&mut self, limits: &Limits, path: &str, value: &Value, items: &[Value]) {
        let count = items.len() as u64;
        if let Some(most) = limits.max_items.filter(|most| count > *most) {
            self.push(FieldError::too_many(root(path), items.len(), most as usize));
        }
        if let Some(least) = limits.min_items.filter(|least| count < *least) {
            self.says(path, value, &format!("should have at least {least} items"));
        }
        if limits.unique {
            let mut seen = HashSet::new();
            if !items.iter().all(|item| seen.insert(item.to_string())) {
                self.says(path, value, "shouldn't contain duplicates");
            }
        }
    }

    fn object(&mut self, limits: &Limits, path: &str, value: &Value, fields: &Map<String, Value>) {
        let count = fields.len() as u64;
        if let Some(most) = limits.max_properties.filter(|most| count > *most) {
            self.push(FieldError::too_many(root(path), fields.len(), most as usize));
        }
        if let Some(least) = limits.min_properties.filter(|least| count < *least) {
            self.says(path, value, &format!("should have at least {least} properties"));
        }
        for name in limits.required.iter().filter(|name| !fields.contains_key(&***name)) {
            self.push(FieldError::required(child(path, name, false), ""));
        }
    }

    /// What is wrong with a value by another schema.
    fn tried(&self, schema: &Structural, path: &str, value: &Value) -> Vec<FieldError> {
        let mut other = Validator { errors: Vec::new(), branches: self.branches };
        other.value(schema, path, value, None);
        other.errors
    }

    fn junctors(&mut self, limits: &Limits, schema: &Structural, path: &str, value: &Value) {
        let nowhere = |what: &str| FieldError::invalid("<nil>", "", &format!("{path:?} must {what}"));
        // That an int-or-string is an integer or a string is known already.
        let known = schema.int_or_string && is_int_or_string(&limits.any_of);
        if !(known || limits.any_of.is_empty()) {
            let mut failures: Option<Vec<FieldError>> = None;
            let fits = limits.any_of.iter().any(|branch| {
                let errors = self.tried(branch, path, value);
                let fits = errors.is_empty();
                failures = failures.take().or(Some(errors));
                fits
            });
            if !fits {
                self.push(nowhere("validate at least one schema (anyOf)"));
                failures.into_iter().flatten().for_each(|error| self.push(error));
            }
        }
        if !limits.one_of.is_empty() {
            let tried: Vec<Vec<FieldError>> =
                limits.one_of.iter().map(|branch| self.tried(branch, path, value)).collect();
            match tried.iter().filter(|errors| errors.is_empty()).count() {
                1 => {}
                0 => {
                    self.push(nowhere("validate one and only one schema (oneOf). Found none valid"));
                    tried.into_iter().next().into_iter().flatten().for_each(|error| self.push(error));
                }
                count => self.push(nowhere(&format!(
                    "validate one and only one schema (oneOf). Found {count} valid alternatives"
                ))),
            }
        }
        if !limits.all_of.is_empty() {
            let mut valid = 0;
            for branch in &limits.all_of {
                let errors = self.tried(branch, path, value);
                valid += usize::from(errors.is_empty());
                errors.into_iter().for_each(|error| self.push(error));
            }
            if valid != limits.all_of.len() {
                let none = if valid == 0 { ". None validated" } else { "" };
                self.push(nowhere(&format!("validate all the schemas (allOf){none}")));
            }
        }
        if let Some(not) = &limits.not
            && self.tried(not, path, value).is_empty()
        {
            self.push(nowhere("not validate the schema (not)"));
        }
    }
}

fn must_be(path: &str, what: &str, found: &str) -> String {
    format!("{path} in body must be of type {what}: {found:?}")
}

/// The type a value should have, if it has another.
fn wrong_type(schema: &Structural, value: &Value) -> Option<String> {
    if schema.int_or_string {
        let fits = value.is_string() || value.is_i64() || value.is_u64();
        return (!fits).then(|| "integer,string".to_owned());
    }
    let base = schema.base?;
    let fits = match base {
        Base::Object => value.is_object(),
        Base::Array => value.is_array(),
        Base::String => value.is_string(),
        Base::Boolean => value.is_boolean(),
        Base::Number => value.is_number(),
        Base::Integer => value.as_f64().is_some_and(|number| number.fract() == 0.0),
    };
    (!fits).then(|| base.name().to_owned())
}

fn is_int_or_string(branches: &[Structural]) -> bool {
    let bases: Vec<Option<Base>> = branches.iter().map(|branch| branch.base).collect();
    bases == [Some(Base::Integer), Some(Base::String)]
}

/// Whether two values are the same, numbers by amount.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

/// Whether text has a format; unknown formats are every text's.
fn has_format(format: &str, text: &str) -> bool {
    let base64 = |text| base64::engine::general_purpose::STANDARD.decode(text).is_ok();
    match format {
        "date-time" | "datetime" => Timestamp::parse(text).is_ok(),
        "date" => text.len() == 10 && Timestamp::parse(&format!("{text}T00:00:00Z")).is_ok(),
        "duration" => cel::Duration::parse(text).is_some(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "ip" => text.parse::<std::net::IpAddr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => cel::is_uuid(text),
        "byte" => base64(text),
        "uri" => Url::parse(text).is_some(),
        "hostname" => name::dns1123_subdomain(&text.to_ascii_lowercase()).is_ok(),
        "email" => text.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty() && !host.is_empty() && !text.contains([' ', '\n']) && !host.contains('@')
        }),
        "k8s-short-name" => name::dns1123_label(text).is_ok(),
        "k8s-long-name" => name::dns1123_subdomain(text).is_ok(),
        "hexcolor" => {
            let hex = text.strip_prefix('#').unwrap_or(text);
            matches!(hex.len(), 3 | 6) && hex.bytes().all(|c| c.is_ascii_hexdigit())
        }
        _ => true,
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((ip, length)) = text.split_once('/') else { return false };
    let most = match ip.parse::<std::net::IpAddr>() {
        Ok(ip) if ip.is_ipv4() => 32,
        Ok(_) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= most)
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let pair = |part: &&str| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit());
    matches!(parts.len(), 6 | 8 | 20) && parts.iter().all(pair)
}

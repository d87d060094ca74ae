//! JSON (and YAML) read as strictly as kube-apiserver reads it: a key given twice is noticed.
//!
//! The last of several equal keys wins, as in Go, and each repetition is reported with its
//! path; whether that is an error or a warning is the caller's `fieldValidation`. Depth is
//! bounded (serde_json's 128 levels), so that no document can exhaust the stack.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Repeated keys beyond this many are not remembered.
const MOST: usize = 100;

/// Bytes that are not one JSON value.
#[derive(Debug, thiserror::Error)]
#[error("the body is not valid JSON")]
pub struct StrictError(#[source] serde_json::Error);

/// The one JSON value in `bytes`, and the paths of fields that were given more than once.
pub fn strict_json(bytes: &[u8]) -> Result<(Value, Vec<String>), StrictError> {
    let duplicates = RefCell::new(Vec::new());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = At { step: None, duplicates: &duplicates }.deserialize(&mut reader).map_err(StrictError)?;
    reader.end().map_err(StrictError)?;
    Ok((value, duplicates.into_inner()))
}

/// What any reader holds, and the paths of fields that it gave more than once.
pub fn strict<'de, D: Deserializer<'de>>(reader: D) -> Result<(Value, Vec<String>), D::Error> {
    let duplicates = RefCell::new(Vec::new());
    let value = At { step: None, duplicates: &duplicates }.deserialize(reader)?;
    Ok((value, duplicates.into_inner()))
}

/// How many levels of lists and objects a value has; a scalar has none.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Where the reader is: a list on the stack, rendered only when there is something to say.
struct Step<'a> {
    parent: Option<&'a Step<'a>>,
    name: Name<'a>,
}

enum Name<'a> {
    Key(&'a str),
    Index(usize),
}

impl Step<'_> {
    fn render(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.render(out);
        }
        match self.name {
            Name::Index(index) => out.push_str(&format!("[{index}]")),
            Name::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
        }
    }
}

struct At<'a> {
    step: Option<&'a Step<'a>>,
    duplicates: &'a RefCell<Vec<String>>,
}

impl At<'_> {
    fn note_duplicate(&self, step: &Step<'_>) {
        let mut duplicates = self.duplicates.borrow_mut();
        let mut path = String::new();
        step.render(&mut path);
        if duplicates.len() < MOST && !duplicates.contains(&path) {
            duplicates.push(path);
        }
    }
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let step = Step { parent: self.step, name: Name::Index(list.len()) };
            match items.next_element_seed(At { step: Some(&step), duplicates: self.duplicates })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let step = Step { parent: self.step, name: Name::Key(&key) };
            if object.contains_key(&key) {
                self.note_duplicate(&step);
            }
            let value = entries.next_value_seed(At { step: Some(&step), duplicates: self.duplicates })?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_what_serde_json_reads() {
        for text in [
            "null",
            "-1",
            "18446744073709551615",
            "1.5",
            r#""a\nb""#,
            r#"[1,[],{"a":{"b":[null,true]}}]"#,
            " {} ",
        ] {
            let (value, duplicates) = strict_json(text.as_bytes()).unwrap();
            assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
            assert!(duplicates.is_empty());
        }
        for text in ["", "{", "1 2", "{\"a\":}", "nul", "{\"a\" 1}"] {
            assert!(strict_json(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn names_duplicates_and_keeps_the_last() {
        let text =
            br#"{"spec":{"a":1,"containers":[{"name":"x"},{"name":"y","name":"z"}],"a":2},"spec":{"b":1}}"#;
        let (value, duplicates) = strict_json(text).unwrap();
        assert_eq!(value, serde_json::json!({"spec": {"b": 1}}));
        assert_eq!(duplicates, ["spec.containers[1].name", "spec.a", "spec"]);
    }

    #[test]
    fn depth_is_bounded() {
        let text = "[".repeat(100_000);
        assert!(strict_json(text.as_bytes()).is_err());
        let text = format!("{}{}", "{\"a\":".repeat(127), "1") + &"}".repeat(127);
        assert!(strict_json(text.as_bytes()).is_ok());
    }
}

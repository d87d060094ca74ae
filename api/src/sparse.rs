//! Reading of a JSON text only what lies on a few paths.
//!
//! Whoever asks many large objects for one field each (a node for the Pods of its own) would spend nearly all his time
//! on what he throws away.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The object of `text` with those of its fields that lie on one of `paths`; null if it is no JSON. What lies beyond the
/// end of a path is there as a whole. At most 64 paths are told apart: with more, everything is read.
pub fn along(text: &[u8], paths: &[&[&str]]) -> Value {
    if paths.len() > 64 {
        return serde_json::from_slice(text).unwrap_or(Value::Null);
    }
    Along { paths, on: u64::MAX, depth: 0 }
        .deserialize(&mut serde_json::Deserializer::from_slice(text))
        .unwrap_or(Value::Null)
}

/// A value at some depth, and the paths that lead there.
#[derive(Clone, Copy)]
struct Along<'p> {
    paths: &'p [&'p [&'p str]],
    /// One bit a path.
    on: u64,
    depth: usize,
}

impl Along<'_> {
    fn each(&self) -> impl Iterator<Item = (u64, &[&str])> {
        let all = self.paths.iter().enumerate().map(|(at, path)| (1 << at, *path));
        all.filter(|(bit, _)| self.on & bit != 0)
    }

    /// Whether a path ends here.
    fn ends(&self) -> bool {
        self.each().any(|(_, path)| path.len() <= self.depth)
    }

    /// The paths that go on with a field.
    fn through(&self, field: &str) -> u64 {
        let with = self.each().filter(|(_, path)| path.get(self.depth) == Some(&field));
        with.fold(0, |on, (bit, _)| on | bit)
    }
}

impl<'de> DeserializeSeed<'de> for Along<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.ends() {
            return serde::Deserialize::deserialize(deserializer);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Along<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(wanted) = map.next_key_seed(Key(self))? {
            match wanted {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some((field, on)) => {
                    let value = map.next_value_seed(Along { on, depth: self.depth + 1, ..self })?;
                    fields.insert(field, value);
                }
            }
        }
        Ok(Value::Object(fields))
    }

    // No path goes on here.

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// The name of a field: told with the paths that go through it, if there are any.
struct Key<'p>(Along<'p>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<(String, u64)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<(String, u64)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, field: &str) -> Result<Self::Value, E> {
        let on = self.0.through(field);
        Ok((on != 0).then(|| (field.to_owned(), on)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_lies_on_no_path_is_not_there() {
        let text =
            br#"{"kind":"Pod","spec":{"nodeName":"a","containers":[{"name":"b"}],"deep":{"x":{"y":[1]}}},
            "status":"none","n":1}"#;
        let cases: [(&[&[&str]], Value); 6] = [
            (&[], json!({})),
            (&[&["spec", "nodeName"]], json!({"spec": {"nodeName": "a"}})),
            (&[&["spec", "nodeName"], &["kind"]], json!({"kind": "Pod", "spec": {"nodeName": "a"}})),
            (&[&["spec", "deep", "x"], &["none"]], json!({"spec": {"deep": {"x": {"y": [1]}}}})),
            (&[&["spec", "containers", "name"]], json!({"spec": {"containers": null}})),
            (&[&["status", "phase"], &["n", "m"]], json!({"status": null, "n": null})),
        ];
        for (paths, expected) in cases {
            assert_eq!(along(text, paths), expected, "{paths:?}");
        }
        let twice = br#"{"a":{"b":1},"a":{"\u0062":2,"c":3}}"#;
        assert_eq!(
            along(twice, &[&["a", "b"]]),
            json!({"a": {"b": 2}}),
            "the last one counts; names may be escaped"
        );
        assert_eq!(along(twice, &[&["a"], &["a", "b"]]), json!({"a": {"b": 2, "c": 3}}));
        assert_eq!(along(b"no JSON", &[&["kind"]]), Value::Null);
        let many = [["kind"].as_slice(); 65];
        assert_eq!(along(text, &many)["n"], 1);
    }
}

//! The version 2 document in protobuf: the messages of gnostic's `openapi.v2`, which clients that know no version 3
//! ask for.
//!
//! Written from the document in JSON, one path and one definition after the other, so that no tree of the whole ever
//! exists. What the messages have no number for is left out; the `x-` extensions are kept as the JSON they are.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::protobuf::wire::{put_bytes, put_varint};

/// What a field holds.
enum Type {
    Text,
    Truth,
    /// Any value, as the text of its JSON.
    Json,
    Texts,
    One(&'static Message),
    Many(&'static Message),
    /// An object whose fields are alike: a list of names and values.
    Named(&'static Type),
    /// In messages that wrap it, in fields of these numbers.
    Inside(&'static [u32], &'static Type),
    /// A parameter: of the body, the path or the query.
    Parameters,
}

/// A message: its fields by their names in JSON, and the number of its extensions (0 is none).
struct Message {
    fields: &'static [(&'static str, u32, Type)],
    extensions: u32,
}

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Type::Text),
        ("format", 2, Type::Text),
        ("title", 3, Type::Text),
        ("description", 4, Type::Text),
        ("default", 5, Type::Json),
        ("pattern", 13, Type::Text),
        ("uniqueItems", 16, Type::Truth),
        ("required", 19, Type::Texts),
        ("additionalProperties", 21, Type::Inside(&[1], &Type::One(&SCHEMA))),
        ("type", 22, Type::Inside(&[1], &Type::Text)),
        ("items", 23, Type::Inside(&[1], &Type::One(&SCHEMA))),
        ("allOf", 24, Type::Many(&SCHEMA)),
        ("properties", 25, Type::Named(&Type::One(&SCHEMA))),
        ("readOnly", 27, Type::Truth),
        ("example", 30, Type::Json),
    ],
    extensions: 31,
};

static INFO: Message =
    Message { fields: &[("title", 1, Type::Text), ("version", 2, Type::Text)], extensions: 7 };

static PATH: Message = Message {
    fields: &[
        ("get", 2, Type::One(&OPERATION)),
        ("put", 3, Type::One(&OPERATION)),
        ("post", 4, Type::One(&OPERATION)),
        ("delete", 5, Type::One(&OPERATION)),
        ("options", 6, Type::One(&OPERATION)),
        ("head", 7, Type::One(&OPERATION)),
        ("patch", 8, Type::One(&OPERATION)),
        ("parameters", 9, Type::Parameters),
    ],
    extensions: 10,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Type::Texts),
        ("summary", 2, Type::Text),
        ("description", 3, Type::Text),
        ("operationId", 5, Type::Text),
        ("produces", 6, Type::Texts),
        ("consumes", 7, Type::Texts),
        ("parameters", 8, Type::Parameters),
        ("responses", 9, Type::Named(&Type::Inside(&[1], &Type::One(&RESPONSE)))),
        ("schemes", 10, Type::Texts),
        ("deprecated", 11, Type::Truth),
    ],
    extensions: 13,
};

static RESPONSE: Message = Message {
    fields: &[("description", 1, Type::Text), ("schema", 2, Type::Inside(&[1], &Type::One(&SCHEMA)))],
    extensions: 5,
};

static BODY_PARAMETER: Message = Message {
    fields: &[
        ("description", 1, Type::Text),
        ("name", 2, Type::Text),
        ("in", 3, Type::Text),
        ("required", 4, Type::Truth),
        ("schema", 5, Type::One(&SCHEMA)),
    ],
    extensions: 6,
};

static QUERY_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Type::Truth),
        ("in", 2, Type::Text),
        ("description", 3, Type::Text),
        ("name", 4, Type::Text),
        ("type", 6, Type::Text),
        ("format", 7, Type::Text),
        ("uniqueItems", 20, Type::Truth),
    ],
    extensions: 23,
};

static PATH_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Type::Truth),
        ("in", 2, Type::Text),
        ("description", 3, Type::Text),
        ("name", 4, Type::Text),
        ("type", 5, Type::Text),
        ("format", 6, Type::Text),
        ("uniqueItems", 19, Type::Truth),
    ],
    extensions: 22,
};

static IN_BODY: Type = Type::Inside(&[1, 1], &Type::One(&BODY_PARAMETER));
static IN_PATH: Type = Type::Inside(&[1, 2, 4], &Type::One(&PATH_PARAMETER));
static IN_QUERY: Type = Type::Inside(&[1, 2, 3], &Type::One(&QUERY_PARAMETER));

static SECURITY: Message = Message {
    fields: &[
        ("type", 1, Type::Text),
        ("name", 2, Type::Text),
        ("in", 3, Type::Text),
        ("description", 4, Type::Text),
    ],
    extensions: 5,
};

/// A field of the document whose value is an object of many: its name, its number, the number of a member in it, and
/// the type of one.
const COLLECTIONS: &[(&str, u32, u32, Type)] = &[
    ("paths", 8, 2, Type::One(&PATH)),
    ("definitions", 9, 1, Type::One(&SCHEMA)),
    ("securityDefinitions", 13, 1, Type::Inside(&[2], &Type::One(&SECURITY))),
];

/// The document `json` as an `openapi.v2.Document`.
///
/// # Errors
/// When `json` is no JSON object.
pub fn encode(json: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::Deserializer::from_slice(json).deserialize_map(Document)
}

/// Reads the document and writes what it reads.
struct Document;

impl<'de> Visitor<'de> for Document {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an OpenAPI document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<u8>, A::Error> {
        let mut out = Vec::new();
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if let Some((_, number, member, of)) = COLLECTIONS.iter().find(|(name, ..)| *name == key) {
                put_bytes(&mut out, *number, &map.next_value_seed(Collection { member: *member, of })?);
            } else {
                match key.as_ref() {
                    "swagger" => put(1, &Type::Text, &map.next_value()?, &mut out),
                    "info" => put(2, &Type::One(&INFO), &map.next_value()?, &mut out),
                    _ => drop(map.next_value::<IgnoredAny>()?),
                }
            }
        }
        Ok(out)
    }
}

/// Reads an object of many alike and writes each as a named member.
struct Collection<'a> {
    member: u32,
    of: &'a Type,
}

impl<'de> DeserializeSeed<'de> for Collection<'_> {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Collection<'_> {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of many alike")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<u8>, A::Error> {
        let mut out = Vec::new();
        while let Some((name, value)) = map.next_entry::<Cow<'_, str>, Value>()? {
            put_named(self.member, &name, self.of, &value, &mut out);
        }
        Ok(out)
    }
}

fn put(number: u32, of: &Type, value: &Value, out: &mut Vec<u8>) {
    match (of, value) {
        (Type::Text, Value::String(text)) => put_bytes(out, number, text.as_bytes()),
        (Type::Truth, Value::Bool(truth)) => put_varint(out, number, u64::from(*truth)),
        (Type::Json, value) => put_bytes(out, number, &any(value)),
        (Type::Texts, Value::Array(texts)) => {
            texts.iter().filter_map(Value::as_str).for_each(|text| put_bytes(out, number, text.as_bytes()));
        }
        (Type::One(message), Value::Object(fields)) => put_bytes(out, number, &bytes(message, fields)),
        (Type::Many(message), Value::Array(items)) => {
            items.iter().for_each(|item| put(number, &Type::One(message), item, out));
        }
        (Type::Named(of), Value::Object(fields)) => {
            let mut inner = Vec::new();
            fields.iter().for_each(|(name, value)| put_named(1, name, of, value, &mut inner));
            put_bytes(out, number, &inner);
        }
        (Type::Inside([], of), value) => put(number, of, value, out),
        (Type::Inside([inner, deeper @ ..], of), value) => {
            let mut bytes = Vec::new();
            put(*inner, &Type::Inside(deeper, of), value, &mut bytes);
            put_bytes(out, number, &bytes);
        }
        (Type::Parameters, Value::Array(items)) => {
            items.iter().for_each(|item| put(number, parameter(item), item, out));
        }
        _ => {}
    }
}

fn parameter(value: &Value) -> &'static Type {
    match value.get("in").and_then(Value::as_str) {
        Some("body") => &IN_BODY,
        Some("path") => &IN_PATH,
        _ => &IN_QUERY,
    }
}

fn put_named(number: u32, name: &str, of: &Type, value: &Value, out: &mut Vec<u8>) {
    let mut member = Vec::new();
    put_bytes(&mut member, 1, name.as_bytes());
    put(2, of, value, &mut member);
    put_bytes(out, number, &member);
}

fn bytes(message: &Message, object: &Map<String, Value>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, number, of) in message.fields {
        if let Some(value) = object.get(*name) {
            put(*number, of, value, &mut out);
        }
    }
    for (name, value) in object.iter().filter(|(name, _)| name.starts_with("x-")) {
        put_named(message.extensions, name, &Type::Json, value, &mut out);
    }
    out
}

/// Gnostic keeps any value as YAML, of which JSON is a part.
fn any(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 2, value.to_string().as_bytes());
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::encode;
    use crate::protobuf::wire::{Payload, Reader};

    /// What is in the fields of these numbers, one in the other: all of them, in their order.
    fn at<'a>(message: &'a [u8], path: &[u32]) -> Vec<&'a [u8]> {
        let Some((number, rest)) = path.split_first() else { return vec![message] };
        let mut reader = Reader::new(message);
        let mut found = Vec::new();
        while let Some((field, payload)) = reader.next().unwrap() {
            if let (true, Payload::Bytes(bytes)) = (field == *number, payload) {
                found.extend(at(bytes, rest));
            }
        }
        found
    }

    fn text<'a>(message: &'a [u8], path: &[u32]) -> Vec<&'a str> {
        at(message, path).into_iter().map(|bytes| std::str::from_utf8(bytes).unwrap()).collect()
    }

    #[test]
    fn every_part_has_its_place() {
        let json = br##"{
            "swagger": "2.0", "info": {"title": "T", "version": "v1"},
            "paths": {"/a": {
                "get": {"operationId": "readA", "produces": ["j", "p"], "x-kubernetes-action": "get",
                        "parameters": [{"name": "q", "in": "query", "type": "string"}],
                        "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/A"}}}},
                "post": {"parameters": [{"name": "body", "in": "body", "schema": {"$ref": "#/definitions/A"}}]},
                "parameters": [{"name": "namespace", "in": "path", "type": "string", "required": true}]
            }},
            "definitions": {"A": {
                "type": "object", "description": "An A.", "required": ["spec"],
                "properties": {"spec": {"type": "array", "items": {"type": "string"}},
                               "more": {"additionalProperties": {"type": "integer", "format": "int32"}}},
                "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "A"}]
            }},
            "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
            "unknown": {"x": [1]}
        }"##;
        let document = encode(json).unwrap();
        for (path, expected) in [
            (&[1][..], &["2.0"][..]),
            (&[2, 1], &["T"]),
            (&[8, 2, 1], &["/a"]),
            (&[8, 2, 2, 2, 5], &["readA"]),
            (&[8, 2, 2, 2, 6], &["j", "p"]),
            (&[8, 2, 2, 2, 8, 1, 2, 3, 4], &["q"]),
            (&[8, 2, 2, 2, 9, 1, 1], &["200"]),
            (&[8, 2, 2, 2, 9, 1, 2, 1, 2, 1, 1], &["#/definitions/A"]),
            (&[8, 2, 2, 2, 13, 1], &["x-kubernetes-action"]),
            (&[8, 2, 2, 2, 13, 2, 2], &["\"get\""]),
            (&[8, 2, 2, 4, 8, 1, 1, 5, 1], &["#/definitions/A"]),
            (&[8, 2, 2, 9, 1, 2, 4, 4], &["namespace"]),
            (&[9, 1, 1], &["A"]),
            (&[9, 1, 2, 4], &["An A."]),
            (&[9, 1, 2, 19], &["spec"]),
            (&[9, 1, 2, 22, 1], &["object"]),
            (&[9, 1, 2, 25, 1, 1], &["more", "spec"]),
            (&[9, 1, 2, 25, 1, 2, 21, 1, 22, 1], &["integer"]),
            (&[9, 1, 2, 25, 1, 2, 23, 1, 22, 1], &["string"]),
            (&[9, 1, 2, 31, 2, 2], &[r#"[{"group":"","kind":"A","version":"v1"}]"#]),
            (&[13, 1, 1], &["BearerToken"]),
            (&[13, 1, 2, 2, 2], &["authorization"]),
        ] {
            assert_eq!(text(&document, path), expected, "{path:?}");
        }
        assert!(encode(b"[]").is_err());
    }

    #[test]
    fn no_definition_is_lost() {
        let json = crate::openapi::v2(&[]);
        let document = encode(&json).unwrap();
        let names = text(&document, &[9, 1, 1]);
        let whole: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(names.len(), whole["definitions"].as_object().unwrap().len());
        assert!(names.contains(&"io.k8s.api.core.v1.Pod"));
        assert!(document.len() < json.len());
    }
}

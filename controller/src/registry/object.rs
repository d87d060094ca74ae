//! An object as the registry keeps and gives it: bytes and a revision.
//!
//! Stored bytes are JSON with sorted keys, but `kind`, `apiVersion` and `metadata` first, in this order, so that the
//! revision can be spliced into the metadata on the way out without reading the rest, and so that nothing a user
//! wrote comes before the place where it goes.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;

use bytes::Bytes;
use edge_api::watch;
use serde::Deserialize;
use serde_json::Value;

use crate::store::Revision;

/// What every stored object has exactly once before anything that a user chose.
const METADATA: &[u8] = b"\"metadata\":{";

/// The part of the metadata that decisions about many objects need, read without reading the object.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Header<'a> {
    /// The name.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// The namespace; empty for cluster-scoped objects.
    #[serde(borrow)]
    pub namespace: Cow<'a, str>,
    /// The uid.
    #[serde(borrow)]
    pub uid: Cow<'a, str>,
    /// The labels.
    #[serde(borrow)]
    pub labels: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// When the object is to be gone.
    #[serde(borrow)]
    pub deletion_timestamp: Option<Cow<'a, str>>,
}

/// An object with the revision at which it is current. Cheap to clone; parsed only on request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// When the object was last written; zero if it never was (a dry run).
    pub revision: Revision,
    /// JSON as [`encode`] writes it, without `metadata.resourceVersion`.
    pub stored: Bytes,
}

impl Object {
    /// The object as clients see it, parsed.
    pub fn value(&self) -> Value {
        let mut value: Value = serde_json::from_slice(&self.stored).unwrap_or(Value::Null);
        if self.revision > Revision::ZERO
            && let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.insert("resourceVersion".to_owned(), Value::String(self.revision.to_string()));
        }
        value
    }

    /// The object as clients see it, as JSON.
    pub fn json(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.stored.len() + 48);
        self.write(&mut out);
        out.into()
    }

    /// Appends the object as JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_from(0, out);
    }

    /// Appends the object as JSON without `kind` and `apiVersion`, as lists of built-in kinds hold it.
    pub fn write_item(&self, out: &mut Vec<u8>) {
        let start = self.metadata_start().saturating_sub(METADATA.len());
        if start > 0 {
            out.push(b'{');
        }
        self.write_from(start, out);
    }

    /// Appends one line of a watch stream around the object.
    pub fn write_event(&self, event: watch::Event, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(event.wire().as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        self.write(out);
        out.extend_from_slice(b"}\n");
    }

    /// Whether it is stored as this kind in this version.
    pub fn is_of(&self, kind: &str, api_version: &str) -> bool {
        self.stored.starts_with(format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",").as_bytes())
    }

    /// The header, read from the metadata alone.
    pub fn header(&self) -> Header<'_> {
        let metadata = &self.stored[self.metadata_start().saturating_sub(1)..];
        Header::deserialize(&mut serde_json::Deserializer::from_slice(metadata)).unwrap_or_default()
    }

    fn write_from(&self, start: usize, out: &mut Vec<u8>) {
        let at = self.metadata_start();
        if at == 0 || self.revision == Revision::ZERO {
            out.extend_from_slice(&self.stored[start..]);
            return;
        }
        out.extend_from_slice(&self.stored[start..at]);
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(self.revision.to_string().as_bytes());
        out.extend_from_slice(if self.stored.get(at) == Some(&b'}') { b"\"" } else { b"\"," });
        out.extend_from_slice(&self.stored[at..]);
    }

    /// The offset just after the brace that opens the metadata; zero if the bytes are not of [`encode`].
    fn metadata_start(&self) -> usize {
        let found = self.stored.windows(METADATA.len()).position(|window| window == METADATA);
        found.map_or(0, |at| at + METADATA.len())
    }
}

/// Whether Kubernetes does not write a field of the metadata that holds this.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// The stored form of an object, without what is not stored.
pub fn encode(object: impl Borrow<Value>) -> Bytes {
    let Some(fields) = object.borrow().as_object() else { return Bytes::new() };
    let mut out = Vec::with_capacity(1024);
    out.push(b'{');
    for name in ["kind", "apiVersion"] {
        write_field(name, fields.get(name).unwrap_or(&Value::Null), &mut out);
    }
    out.push(b',');
    out.extend_from_slice(METADATA);
    let metadata = fields.get("metadata").and_then(Value::as_object);
    let kept = |(name, value): &(&String, &Value)| {
        !is_blank(value) && !matches!(name.as_str(), "resourceVersion" | "selfLink")
    };
    for (name, value) in metadata.into_iter().flatten().filter(kept) {
        write_field(name, value, &mut out);
    }
    out.push(b'}');
    let others = fields.iter().filter(|(name, value)| {
        !value.is_null() && !matches!(name.as_str(), "kind" | "apiVersion" | "metadata")
    });
    for (name, value) in others {
        write_field(name, value, &mut out);
    }
    out.push(b'}');
    out.into()
}

fn write_field(name: &str, value: &Value, out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    serde_json::to_writer(&mut *out, name).expect("a string is JSON and a vector takes it");
    out.push(b':');
    serde_json::to_writer(&mut *out, value).expect("a tree is JSON and a vector takes it");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::{Object, encode};
    use crate::store::Revision;

    fn object() -> Object {
        let value = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "data": {"metadata": "\"metadata\":{", "a": "{\"metadata\":{}}"},
            "metadata": {"name": "a", "resourceVersion": "9", "selfLink": "x", "labels": {"x": "y"}},
        });
        Object { revision: Revision(42), stored: encode(value) }
    }

    #[test]
    fn the_revision_is_spliced_into_the_metadata() {
        let text = String::from_utf8(object().json().to_vec()).unwrap();
        assert!(text.starts_with(
            "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"42\",\"labels\""
        ));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), object().value());
        assert_eq!(object().value()["metadata"]["resourceVersion"], "42");
    }

    #[test]
    fn items_of_lists_have_no_type() {
        let mut out = Vec::new();
        object().write_item(&mut out);
        let mut expected = object().value();
        expected.as_object_mut().unwrap().retain(|key, _| key != "kind" && key != "apiVersion");
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
    }

    #[test]
    fn the_header_is_read_alone() {
        let object = object();
        let header = object.header();
        assert_eq!((header.name.as_ref(), header.labels["x"].as_ref()), ("a", "y"));
        assert!(header.deletion_timestamp.is_none());
    }

    #[test]
    fn a_dry_run_has_no_revision() {
        let dry = Object { revision: Revision::ZERO, ..object() };
        assert!(dry.value()["metadata"].get("resourceVersion").is_none());
        assert_eq!(dry.json(), dry.stored);
    }

    #[test]
    fn encoding_what_was_stored_changes_nothing() {
        assert_eq!(encode(object().value()), object().stored);
        let empty = Object { revision: Revision(1), stored: encode(json!({"kind": "A", "metadata": {}})) };
        assert_eq!(empty.value()["metadata"], json!({"resourceVersion": "1"}));
        assert!(serde_json::from_slice::<Value>(&empty.json()).is_ok());
    }
}

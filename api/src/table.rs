//! `meta.k8s.io/v1` Table replies: what kubectl prints.
//!
//! One function for a list, one object or one watch event. Negotiation of the content type is the
//! API server's.

use crate::kind::Kind;
use crate::meta;
use crate::time::Timestamp;
use serde_json::{Value, json};

/// What each row carries of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IncludeObject {
    /// The metadata alone, as PartialObjectMetadata.
    #[default]
    Metadata,
    /// Nothing.
    None,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// From the query parameter `includeObject`; `None` for a word that does not exist.
    pub fn from_query(word: &str) -> Option<IncludeObject> {
        match word {
            "" | "Metadata" => Some(IncludeObject::Metadata),
            "None" => Some(IncludeObject::None),
            "Object" => Some(IncludeObject::Object),
            _ => None,
        }
    }
}

/// Whether the table says what its columns are. A watch says so once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headings {
    /// With `columnDefinitions`.
    Shown,
    /// Without.
    Omitted,
}

/// The Table of some objects. `list_metadata` is the list's (or, for one object, its revision's)
/// `metadata`.
pub fn table<'a>(
    kind: &Kind,
    objects: impl IntoIterator<Item = &'a Value>,
    list_metadata: Value,
    include: IncludeObject,
    headings: Headings,
    now: Timestamp,
) -> Value {
    let rows: Vec<Value> = objects.into_iter().map(|object| row(kind, object, include, now)).collect();
    let columns = match headings {
        Headings::Shown => columns(kind),
        Headings::Omitted => Value::Null,
    };
    json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "Table",
        "metadata": list_metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

/// The `columnDefinitions` of a kind.
pub fn columns(kind: &Kind) -> Value {
    kind.headings().into()
}

/// One row.
pub fn row(kind: &Kind, object: &Value, include: IncludeObject, now: Timestamp) -> Value {
    let mut row = json!({ "cells": kind.cells(object, now) });
    match include {
        IncludeObject::None => {}
        IncludeObject::Metadata => row["object"] = partial(object),
        IncludeObject::Object => row["object"] = object.clone(),
    }
    row
}

/// An object's PartialObjectMetadata.
pub fn partial(object: &Value) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadata",
        "metadata": meta::at(object, &["metadata"]).cloned().unwrap_or_else(|| json!({})),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_headings_rows_and_objects() {
        let kind = Kind::PLAIN;
        let object = json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}, "data": {"x": "y"}});
        let now = Timestamp::from_seconds(0);
        let list = json!({"resourceVersion": "7"});
        let shown = table(&kind, [&object], list, IncludeObject::Metadata, Headings::Shown, now);
        assert_eq!(shown["columnDefinitions"][0]["format"], "name");
        assert_eq!(shown["metadata"]["resourceVersion"], "7");
        assert_eq!(shown["rows"][0]["cells"], json!(["a", "2026-01-01T00:00:00Z"]));
        assert_eq!(shown["rows"][0]["object"]["kind"], "PartialObjectMetadata");
        assert_eq!(shown["rows"][0]["object"].get("data"), None);
        let bare = table(&kind, [&object], json!({}), IncludeObject::None, Headings::Omitted, now);
        assert_eq!((&bare["columnDefinitions"], bare["rows"][0].get("object")), (&Value::Null, None));
        let whole = row(&kind, &object, IncludeObject::Object, now);
        assert_eq!(whole["object"], object);
        assert_eq!(IncludeObject::from_query("Object"), Some(IncludeObject::Object));
        assert_eq!(IncludeObject::from_query("object"), None);
    }
}

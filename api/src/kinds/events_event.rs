//! `events.k8s.io/v1` Event: the same objects as core's, in their newer shape.
//!
//! They are stored in core's shape; this file renames fields on the way in and out.

use crate::kind::{Alias, Field, Kind};
use crate::kinds::event;
use crate::meta;
use crate::validate::{self, At, Errors};
use serde_json::Value;

/// The newer name of each field, and the older one.
const NAMES: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// The table entry.
pub static KIND: Kind = Kind {
    group: "events.k8s.io",
    version: "v1",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    schema: "io.k8s.api.events.v1.Event",
    columns: event::KIND.columns,
    row,
    fields: &[
        Field::new("regarding.kind", &["regarding", "kind"]),
        Field::new("regarding.namespace", &["regarding", "namespace"]),
        Field::new("regarding.name", &["regarding", "name"]),
        Field::new("regarding.uid", &["regarding", "uid"]),
        Field::new("regarding.apiVersion", &["regarding", "apiVersion"]),
        Field::new("regarding.resourceVersion", &["regarding", "resourceVersion"]),
        Field::new("regarding.fieldPath", &["regarding", "fieldPath"]),
        Field::new("reason", &["reason"]),
        Field::new("reportingController", &["reportingController"]),
        Field::new("type", &["type"]),
    ],
    checks,
    volatility: event::KIND.volatility,
    alias: Some(Alias { of: &event::KIND, store, load }),
    ..Kind::PLAIN
};

fn rename(object: &mut Value, api_version: &str, names: impl Iterator<Item = (&'static str, &'static str)>) {
    let Some(object) = object.as_object_mut() else { return };
    for (from, to) in names {
        if let Some(value) = object.remove(from) {
            object.insert(to.to_owned(), value);
        }
    }
    object.insert("apiVersion".to_owned(), api_version.into());
}

fn store(object: &mut Value) {
    rename(object, "v1", NAMES.iter().copied());
}

fn load(object: &mut Value) {
    rename(object, "events.k8s.io/v1", NAMES.iter().map(|&(newer, older)| (older, newer)));
}

/// An event is about an object of its own namespace, or about one without.
fn checks(event: &At<'_>, errors: &mut Errors) {
    event::same_namespace(event, &event.get("regarding").get("namespace"), errors);
    validate::required(&event.get("reportingController"), "", errors);
    validate::required(&event.get("reportingInstance"), "", errors);
    validate::required(&event.get("action"), "", errors);
    validate::required(&event.get("reason"), "", errors);
    validate::required(&event.get("eventTime"), "", errors);
    validate::one_of(&event.get("type"), &["Normal", "Warning"], errors);
}

/// A row of an event in either shape.
fn row(object: &Value, now: crate::time::Timestamp) -> Vec<Value> {
    if meta::at(object, &["regarding"]).is_none() {
        return event::row(object, now);
    }
    let mut stored = object.clone();
    store(&mut stored);
    event::row(&stored, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shapes_go_both_ways() {
        let newer = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "regarding": {"kind": "Pod", "name": "a"},
            "note": "x", "reportingController": "c", "deprecatedCount": 2});
        let mut object = newer.clone();
        store(&mut object);
        let older = json!({"apiVersion": "v1", "kind": "Event", "involvedObject": {"kind": "Pod", "name": "a"},
            "message": "x", "reportingComponent": "c", "count": 2});
        assert_eq!(object, older);
        load(&mut object);
        assert_eq!(object, newer);
        let now = crate::time::Timestamp::from_seconds(0);
        assert_eq!(row(&newer, now), event::row(&older, now));
        assert_eq!(KIND.key_prefix(), "/core/events");
    }
}

//! Event: something that happened to an object.

use crate::compact::object;
use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Field, Kind, Volatility};
use crate::kinds::endpoints::ObjectReference;
use crate::meta;
use crate::meta::ObjectMeta;
use crate::time::{self, MicroTime, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::Value;

object! {
    /// An Event.
    struct Event {
        /// Metadata.
        metadata: ObjectMeta,
        /// The object it is about.
        involved_object: ObjectReference,
        /// One word for machines.
        reason: String,
        /// One sentence for people.
        message: String,
        /// Who says so.
        source: EventSource,
        /// When it happened first.
        first_timestamp: Option<Timestamp>,
        /// When it happened last.
        last_timestamp: Option<Timestamp>,
        /// How often it happened.
        count: i32,
        /// `Normal` or `Warning`.
        #[serde(rename = "type")]
        type_: String,
        /// When it happened, in the newer shape.
        event_time: Option<MicroTime>,
        /// How often it happened, in the newer shape.
        series: Option<EventSeries>,
        /// What was done.
        action: String,
        /// Another object it is about.
        related: Option<ObjectReference>,
        /// Who says so, in the newer shape.
        reporting_component: String,
        /// Which instance of it says so.
        reporting_instance: String,
    }

    /// Who says so.
    struct EventSource {
        /// The component.
        component: String,
        /// The node.
        host: String,
    }

    /// How often something happened.
    struct EventSeries {
        /// So often.
        count: i32,
        /// The last time.
        last_observed_time: Option<MicroTime>,
    }
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    schema: "io.k8s.api.core.v1.Event",
    columns: &[
        Column::new("Last Seen", "string", "When it was last seen."),
        Column::new("Type", "string", "Normal or Warning."),
        Column::new("Reason", "string", "One word for what happened."),
        Column::new("Object", "string", "The object it is about."),
        Column::wide("Subobject", "string", "The part of the object it is about."),
        Column::wide("Source", "string", "Who says so."),
        Column::new("Message", "string", "What happened."),
        Column::wide("First Seen", "string", "When it was first seen."),
        Column::wide("Count", "string", "How often it was seen."),
        Column { priority: 1, ..Column::NAME },
    ],
    row,
    fields: &[
        Field::new("involvedObject.kind", &["involvedObject", "kind"]),
        Field::new("involvedObject.namespace", &["involvedObject", "namespace"]),
        Field::new("involvedObject.name", &["involvedObject", "name"]),
        Field::new("involvedObject.uid", &["involvedObject", "uid"]),
        Field::new("involvedObject.apiVersion", &["involvedObject", "apiVersion"]),
        Field::new("involvedObject.resourceVersion", &["involvedObject", "resourceVersion"]),
        Field::new("involvedObject.fieldPath", &["involvedObject", "fieldPath"]),
        Field::new("reason", &["reason"]),
        Field::new("reportingComponent", &["reportingComponent"]),
        Field::new("source", &["source", "component"]),
        Field::new("type", &["type"]),
    ],
    defaults,
    checks,
    volatility: |_| Volatility::Volatile,
    ..Kind::PLAIN
};

pub(super) fn row(event: &Value, now: Timestamp) -> Vec<Value> {
    let time_at = |path: &[&str]| Timestamp::parse(meta::text(event, path)).ok();
    let happened = time_at(&["eventTime"]);
    let first = time_at(&["firstTimestamp"]).or(happened);
    let last = time_at(&["lastTimestamp"]).or(first);
    let (last, count) = match meta::at(event, &["series"]) {
        Some(series) => (time_at(&["series", "lastObservedTime"]).or(last), meta::number(series, &["count"])),
        None => (last, meta::number(event, &["count"]).filter(|&count| count > 0)),
    };
    let object = |field: &str| meta::text(event, &["involvedObject", field]);
    let kind = object("kind").to_lowercase();
    let name = match object("name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        time::age(last, now).into(),
        meta::text(event, &["type"]).into(),
        meta::text(event, &["reason"]).into(),
        name.into(),
        object("fieldPath").into(),
        source(event).into(),
        meta::text(event, &["message"]).trim().into(),
        time::age(first, now).into(),
        count.unwrap_or(1).to_string().into(),
        meta::name(event).into(),
    ]
}

/// `component, host`, from the older or the newer fields.
fn source(event: &Value) -> String {
    let first =
        |paths: [&[&str]; 2]| paths.map(|path| meta::text(event, path)).into_iter().find(|t| !t.is_empty());
    let component = first([&["source", "component"], &["reportingComponent"]]).unwrap_or("");
    match first([&["source", "host"], &["reportingInstance"]]) {
        Some(host) => format!("{component}, {host}"),
        None => component.to_owned(),
    }
}

/// The newer name of who says so is filled in from the older one.
pub(super) fn defaults(event: &mut Value) {
    let mirrored = [("component", "reportingComponent"), ("host", "reportingInstance")];
    for (from, to) in mirrored {
        let text = meta::text(event, &["source", from]).to_owned();
        fill::blank(event, to, &text);
    }
    fill::object(event, "source");
    fill::object(event, "involvedObject");
}

/// An event is about an object of its own namespace, or about one without.
fn checks(event: &At<'_>, errors: &mut Errors) {
    same_namespace(event, &event.get("involvedObject").get("namespace"), errors);
    if event.get("eventTime").is_set() {
        validate::required(&event.get("reportingComponent"), "", errors);
        validate::required(&event.get("reason"), "", errors);
        validate::optional_one_of(&event.get("type"), &["Normal", "Warning"], errors);
    }
}

/// Events about objects without a namespace are in `default`, and those about others with them.
pub(super) fn same_namespace(event: &At<'_>, of_object: &At<'_>, errors: &mut Errors) {
    let namespace = event.get("metadata").get("namespace").text();
    let fits = match of_object.text() {
        "" => matches!(namespace, "default" | "kube-system"),
        other => other == namespace,
    };
    if !fits {
        let why = "does not match event.namespace";
        errors.push(FieldError::invalid(&of_object.path, of_object.text(), why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_shown_as_kubectl_shows_it() {
        let now = Timestamp::parse("2026-01-01T00:10:00Z").expect("a time");
        let event = json!({
            "metadata": {"name": "web.1", "namespace": "default"},
            "involvedObject": {"kind": "Pod", "name": "web", "namespace": "default", "fieldPath": "spec.containers{web}"},
            "type": "Warning", "reason": "BackOff", "message": "again\n", "count": 3,
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:09:30Z",
            "source": {"component": "edged", "host": "edge-1"},
        });
        let expected = [
            "30s",
            "Warning",
            "BackOff",
            "pod/web",
            "spec.containers{web}",
            "edged, edge-1",
            "again",
            "10m",
            "3",
            "web.1",
        ];
        assert_eq!(row(&event, now), expected);
        let newer = json!({"eventTime": "2026-01-01T00:05:00.000000Z", "reportingComponent": "x",
            "series": {"count": 7, "lastObservedTime": "2026-01-01T00:09:00.000000Z"}});
        assert_eq!(row(&newer, now)[0], "60s");
        assert_eq!(row(&newer, now)[8], "7");
    }

    #[test]
    fn an_event_stays_in_its_object_s_namespace() {
        let mut event =
            json!({"metadata": {"name": "a", "namespace": "b"}, "involvedObject": {"namespace": "c"}});
        assert_eq!(
            KIND.validate(&event)[0].to_string(),
            "involvedObject.namespace: Invalid value: \"c\": does not match event.namespace"
        );
        event["involvedObject"]["namespace"] = "b".into();
        assert_eq!(KIND.validate(&event), []);
    }
}

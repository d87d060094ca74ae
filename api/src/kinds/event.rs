//! Event: something that happened to an object.

use crate::compact::object;
use crate::kind::Kind;
use crate::kinds::endpoints::ObjectReference;
use crate::meta::ObjectMeta;
use crate::time::{MicroTime, Timestamp};

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
    ..Kind::PLAIN
};

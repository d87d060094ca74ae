//! Event: something that happened to an object.

use crate::kind::Kind;

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

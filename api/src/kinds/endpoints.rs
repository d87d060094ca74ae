//! Endpoints: the older list of a Service's addresses.

use crate::kind::Kind;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    schema: "io.k8s.api.core.v1.Endpoints",
    ..Kind::PLAIN
};

//! Pod: containers that live and die together.

use crate::kind::{Generation, Kind, Subresource};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    schema: "io.k8s.api.core.v1.Pod",
    subresources: &[Subresource::Status, Subresource::Binding, Subresource::Eviction, Subresource::Log],
    generation: Generation::Spec,
    ..Kind::PLAIN
};

//! Pod: containers that live and die together.

mod spec;
mod status;

pub use spec::*;
pub use status::*;

use crate::kind::{Generation, Kind, Subresource};
use crate::meta::ObjectMeta;
use serde::{Deserialize, Serialize};

/// A Pod, as far as it is read here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What is wished.
    pub spec: PodSpec,
    /// What is.
    pub status: PodStatus,
}

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

//! ReplicaSet: so many Pods of one template.

use crate::kind::{Generation, Kind, ScalePaths, Subresource};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    categories: &["all"],
    schema: "io.k8s.api.apps.v1.ReplicaSet",
    subresources: &[Subresource::Status, Subresource::Scale],
    generation: Generation::Spec,
    scale: Some(ScalePaths {
        replicas: &["spec", "replicas"],
        status_replicas: &["status", "replicas"],
        selector: &["spec", "selector"],
    }),
    ..Kind::PLAIN
};

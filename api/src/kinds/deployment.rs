//! Deployment: replicas of a Pod, and how they are replaced.

use crate::kind::{Generation, Kind, ScalePaths, Subresource};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    schema: "io.k8s.api.apps.v1.Deployment",
    subresources: &[Subresource::Status, Subresource::Scale],
    generation: Generation::SpecAndAnnotations,
    scale: Some(ScalePaths {
        replicas: &["spec", "replicas"],
        status_replicas: &["status", "replicas"],
        selector: &["spec", "selector"],
    }),
    ..Kind::PLAIN
};

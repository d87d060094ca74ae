//! Ingress: which host and path leads to which Service.

use crate::kind::{Generation, Kind, Subresource};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    version: "v1",
    kind: "Ingress",
    plural: "ingresses",
    singular: "ingress",
    short_names: &["ing"],
    schema: "io.k8s.api.networking.v1.Ingress",
    subresources: &[Subresource::Status],
    generation: Generation::Spec,
    ..Kind::PLAIN
};

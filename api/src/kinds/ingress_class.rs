//! IngressClass: who serves an Ingress.

use crate::kind::{Generation, Kind, Scope};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    version: "v1",
    kind: "IngressClass",
    plural: "ingressclasses",
    singular: "ingressclass",
    scope: Scope::Cluster,
    schema: "io.k8s.api.networking.v1.IngressClass",
    generation: Generation::Spec,
    ..Kind::PLAIN
};

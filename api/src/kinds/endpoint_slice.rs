//! EndpointSlice: addresses behind a Service.

use crate::kind::{Generation, Kind};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "discovery.k8s.io",
    version: "v1",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    schema: "io.k8s.api.discovery.v1.EndpointSlice",
    generation: Generation::Spec,
    ..Kind::PLAIN
};

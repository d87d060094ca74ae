//! Lease: a sign of life.

use crate::kind::Kind;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "coordination.k8s.io",
    version: "v1",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    schema: "io.k8s.api.coordination.v1.Lease",
    ..Kind::PLAIN
};

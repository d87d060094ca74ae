//! Node: a host that runs Pods.

use crate::kind::{Kind, Scope, Subresource};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    scope: Scope::Cluster,
    schema: "io.k8s.api.core.v1.Node",
    subresources: &[Subresource::Status],
    ..Kind::PLAIN
};

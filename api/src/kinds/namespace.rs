//! Namespace: a room for names.

use crate::kind::{Kind, Scope, Subresource};
use crate::name::NameRule;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    scope: Scope::Cluster,
    schema: "io.k8s.api.core.v1.Namespace",
    subresources: &[Subresource::Status, Subresource::Finalize],
    verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
    name_rule: NameRule::Label,
    ..Kind::PLAIN
};

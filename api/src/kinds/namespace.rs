//! Namespace: a room for names.

use crate::compact::object;
use crate::kind::{Kind, Scope, Subresource};
use crate::meta::{Condition, ObjectMeta};
use crate::name::NameRule;

object! {
    /// A Namespace.
    struct Namespace {
        /// Metadata.
        metadata: ObjectMeta,
        /// What is wished.
        spec: NamespaceSpec,
        /// What is.
        status: NamespaceStatus,
    }

    /// What is wished of a Namespace.
    struct NamespaceSpec {
        /// What must happen before it may go.
        finalizers: Vec<String>,
    }

    /// What a Namespace is.
    struct NamespaceStatus {
        /// `Active` or `Terminating`.
        phase: String,
        /// Why it is not gone yet.
        conditions: Vec<Condition>,
    }
}

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

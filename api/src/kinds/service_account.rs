//! ServiceAccount: who a Pod is.

use crate::kind::{Kind, Subresource};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    schema: "io.k8s.api.core.v1.ServiceAccount",
    subresources: &[Subresource::Token],
    ..Kind::PLAIN
};

//! ServiceAccount: who a Pod is.

use crate::compact::object;
use crate::kind::{Kind, Subresource};
use crate::kinds::pod::LocalObjectReference;
use crate::meta::ObjectMeta;

object! {
    /// A ServiceAccount.
    struct ServiceAccount {
        /// Metadata.
        metadata: ObjectMeta,
        /// Credentials of registries for its Pods.
        image_pull_secrets: Vec<LocalObjectReference>,
        /// Whether its Pods get a token; yes if absent.
        automount_service_account_token: Option<bool>,
    }
}

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

//! ServiceAccount: who a Pod is.

use crate::compact::object;
use crate::kind::{Column, Kind, Subresource};
use crate::kinds::pod::LocalObjectReference;
use crate::meta;
use crate::meta::ObjectMeta;
use crate::time::{self, Timestamp};
use serde_json::Value;

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
    columns: &[Column::NAME, Column::new("Secrets", "string", "How many secrets it may use."), Column::AGE],
    row,
    ..Kind::PLAIN
};

fn row(account: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(account).into(),
        meta::items(account, &["secrets"]).len().into(),
        time::age(meta::creation_timestamp(account), now).into(),
    ]
}

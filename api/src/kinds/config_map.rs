//! ConfigMap: settings for Pods.

use crate::compact::object;
use crate::kind::Kind;
use crate::meta::ObjectMeta;
use std::collections::BTreeMap;

object! {
    /// A ConfigMap.
    struct ConfigMap {
        /// Metadata.
        metadata: ObjectMeta,
        /// Texts.
        data: BTreeMap<String, String>,
        /// Bytes, in base64.
        binary_data: BTreeMap<String, String>,
        /// Whether it never changes.
        immutable: Option<bool>,
    }
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    schema: "io.k8s.api.core.v1.ConfigMap",
    ..Kind::PLAIN
};

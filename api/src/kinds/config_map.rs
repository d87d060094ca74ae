//! ConfigMap: settings for Pods.

use crate::kind::Kind;

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

//! Secret: settings that are not shown.

use crate::kind::Kind;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    schema: "io.k8s.api.core.v1.Secret",
    ..Kind::PLAIN
};

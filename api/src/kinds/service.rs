//! Service: one name and address for many Pods.

use crate::kind::{Kind, Subresource};
use crate::name::NameRule;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    schema: "io.k8s.api.core.v1.Service",
    subresources: &[Subresource::Status],
    name_rule: NameRule::Label1035,
    ..Kind::PLAIN
};

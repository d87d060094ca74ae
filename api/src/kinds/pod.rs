//! Pod: containers that live and die together.

mod spec;
mod status;

mod cells;
mod default;
mod update;

mod ephemeral;
mod resize;

mod containers;
mod security;
mod volumes;

mod validate;

mod warnings;

pub use default::{pull_policy, template as default_template};
pub use spec::*;
pub use status::*;
pub use update::qos_class;
pub use validate::{
    node_selector as validate_node_selector, spec as validate_spec, template as validate_template,
};
pub(crate) use warnings::spec as spec_warnings;

use crate::kind::{Field, Generation, Kind, Subresource};
use crate::meta::ObjectMeta;
use serde::{Deserialize, Serialize};

/// A Pod, as far as it is read here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What is wished.
    pub spec: PodSpec,
    /// What is.
    pub status: PodStatus,
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    schema: "io.k8s.api.core.v1.Pod",
    subresources: &[
        Subresource::Status,
        Subresource::Binding,
        Subresource::Eviction,
        Subresource::Log,
        Subresource::Exec,
        Subresource::Attach,
        Subresource::PortForward,
        Subresource::Proxy,
        Subresource::EphemeralContainers,
        Subresource::Resize,
    ],
    generation: Generation::Spec,
    columns: cells::COLUMNS,
    row: cells::row,
    fields: &[
        Field::new("spec.nodeName", &["spec", "nodeName"]),
        Field::new("spec.host", &["spec", "nodeName"]),
        Field::new("spec.restartPolicy", &["spec", "restartPolicy"]),
        Field::new("spec.schedulerName", &["spec", "schedulerName"]),
        Field::new("spec.serviceAccountName", &["spec", "serviceAccountName"]),
        Field { name: "spec.hostNetwork", path: &["spec", "hostNetwork"], absent: "false" },
        Field::new("status.phase", &["status", "phase"]),
        Field::new("status.podIP", &["status", "podIP"]),
        Field::new("status.podIPs", &["status", "podIP"]),
        Field::new("status.nominatedNodeName", &["status", "nominatedNodeName"]),
    ],
    defaults: default::pod,
    warnings: |pod, warnings| spec_warnings(&pod.get("spec"), warnings),
    create: update::create,
    checks: validate::pod,
    create_checks: validate::create,
    update_checks: update::checks,
    parts: &[ephemeral::PART, resize::PART],
    volatility: update::volatility,
    ..Kind::PLAIN
};

//! The small struct of each kind that controllers and the scheduler read.
//!
//! They are read straight from the stored bytes, with no tree in between, and hold only what somebody here looks at;
//! whoever writes an object takes the whole from [`crate::mirror::Object::tree`].

mod network;
mod node;
mod pod;
mod resources;
mod role;
mod social;
mod storage;
mod workload;

mod batch;
mod sets;

pub use batch::{Completion, Concurrency, CronJob, Job};
pub use network::{EndpointSlice, SERVICE_NAME, Service, ServicePort};
pub use node::{LARGE_IMAGE, Lease, Node, NodeCondition, Taint, tolerates};
pub use pod::{NodeAffinity, NodeTerm, Phase, Pod, PodClaim, PodPort, PreferredTerm, Toleration};
pub use resources::{Load, Resources};
pub use role::ClusterRole;
pub use sets::{Budget, DaemonSet, Replacement, Revision, StatefulSet};
pub use social::{Peers, PodTerm, Social, Spread};
pub use storage::{Binding, Claim, Likeness, StorageClass, Volume, is_default};
pub use workload::{
    Condition, Deployment, IntOrPercent, ReplicaSet, Rolling, Strategy, TEMPLATE_HASH, fnv, template_digest,
};

use edge_api::kinds::custom_resource_definition::Definition;
use serde::Deserialize;
use serde_json::Value;

use crate::mirror::object::Shape;

/// A kind of which controllers read the metadata only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bare;

impl Shape for Bare {
    fn read(_: &[u8]) -> serde_json::Result<Bare> {
        Ok(Bare)
    }
}

impl Shape for Definition {
    fn read(source: &[u8]) -> serde_json::Result<Definition> {
        serde_json::from_slice(source)
    }
}

/// A CertificateSigningRequest: what was decided about it, and whether it has its certificate.
#[derive(Clone, Debug, Default)]
pub struct Signing {
    /// `Approved`, `Denied` and `Failed`.
    pub conditions: Vec<Condition>,
    /// Whether the certificate is there.
    pub issued: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SigningForm {
    status: SigningStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SigningStatus {
    conditions: Vec<Condition>,
    certificate: Option<String>,
}

impl Shape for Signing {
    fn read(source: &[u8]) -> serde_json::Result<Signing> {
        let SigningForm { status } = serde_json::from_slice(source)?;
        let issued = status.certificate.is_some_and(|certificate| !certificate.is_empty());
        Ok(Signing { conditions: status.conditions, issued })
    }
}

/// A ResourceQuota: what it limits, as written and as its status repeats it.
#[derive(Clone, Debug, Default)]
pub struct Quota {
    /// As written.
    pub hard: Value,
    /// As counted.
    pub counted: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct QuotaForm {
    spec: QuotaHard,
    status: QuotaHard,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct QuotaHard {
    hard: Value,
}

impl Shape for Quota {
    fn read(source: &[u8]) -> serde_json::Result<Quota> {
        let form: QuotaForm = serde_json::from_slice(source)?;
        Ok(Quota { hard: form.spec.hard, counted: form.status.hard })
    }
}

/// A namespace.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    /// `Active` or `Terminating`.
    pub phase: String,
    /// What must be done before it goes, beside its metadata's finalizers.
    pub finalizers: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamespaceForm {
    spec: NamespaceSpec,
    status: NamespaceStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamespaceSpec {
    finalizers: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamespaceStatus {
    phase: String,
}

impl Shape for Namespace {
    fn read(source: &[u8]) -> serde_json::Result<Namespace> {
        let form: NamespaceForm = serde_json::from_slice(source)?;
        Ok(Namespace { phase: form.status.phase, finalizers: form.spec.finalizers })
    }
}

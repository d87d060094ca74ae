//! Nodes and the Leases by which they say that they live.

use edge_api::time::{MicroTime, Timestamp};
use serde::Deserialize;

use crate::mirror::object::Shape;
use crate::mirror::shape::pod::Toleration;
use crate::mirror::shape::resources::{Quantities, Resources};

/// A reason for Pods to stay away from a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Taint {
    /// What it is about.
    pub key: String,
    /// More about it.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
    /// Since when, for `NoExecute`.
    pub time_added: Option<Timestamp>,
}

/// Whether a Pod puts up with a taint.
pub fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| {
        (toleration.effect.is_empty() || toleration.effect == taint.effect)
            && match toleration.operator.as_str() {
                "Exists" => toleration.key.is_empty() || toleration.key == taint.key,
                _ => toleration.key == taint.key && toleration.value == taint.value,
            }
    })
}

/// A condition of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeCondition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When the node last said so.
    pub last_heartbeat_time: Option<Timestamp>,
    /// When `status` last changed.
    pub last_transition_time: Option<Timestamp>,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Whether new Pods stay away.
    pub unschedulable: bool,
    /// Reasons for Pods to stay away.
    pub taints: Vec<Taint>,
    /// The part of the Pod range that is its own.
    pub pod_cidrs: Vec<String>,
    /// What Pods can have of it.
    pub allocatable: Resources,
    /// How many Pods it can run.
    pub pods: i64,
    /// Its conditions.
    pub conditions: Vec<NodeCondition>,
    /// The large images it has, by name; small ones are fetched as quickly as said.
    pub images: Vec<(String, i64)>,
}

/// Images below this many bytes are the same to the scheduler wherever they are, as in Kubernetes.
pub const LARGE_IMAGE: i64 = 23 * 1024 * 1024;

/// An image's name as nodes report it: with a tag.
pub fn image_name(image: &str) -> String {
    if image.rfind(':').is_none_or(|colon| image.rfind('/').is_some_and(|slash| colon < slash)) {
        return format!("{image}:latest");
    }
    image.to_owned()
}

impl Node {
    /// The condition `Ready`.
    pub fn ready(&self) -> Option<&NodeCondition> {
        self.conditions.iter().find(|c| c.kind == "Ready")
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Form {
    spec: Spec,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    unschedulable: bool,
    taints: Vec<Taint>,
    #[serde(rename = "podCIDR")]
    pod_cidr: String,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    allocatable: Quantities,
    conditions: Vec<NodeCondition>,
    images: Vec<ImageForm>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ImageForm {
    names: Vec<String>,
    size_bytes: i64,
}

impl Shape for Node {
    fn read(source: &[u8]) -> serde_json::Result<Node> {
        let Form { spec, status } = serde_json::from_slice(source)?;
        let mut allocatable = status.allocatable.amounts;
        let pods = allocatable.other.remove("pods").unwrap_or(0);
        let mut pod_cidrs = spec.pod_cidrs;
        if pod_cidrs.is_empty() && !spec.pod_cidr.is_empty() {
            pod_cidrs.push(spec.pod_cidr);
        }
        let large = status.images.into_iter().filter(|image| image.size_bytes >= LARGE_IMAGE);
        let mut images: Vec<(String, i64)> = large
            .flat_map(|image| image.names.into_iter().map(move |name| (image_name(&name), image.size_bytes)))
            .collect();
        images.sort();
        images.dedup_by(|one, other| one.0 == other.0);
        Ok(Node {
            images,
            unschedulable: spec.unschedulable,
            taints: spec.taints,
            pod_cidrs,
            allocatable,
            pods,
            conditions: status.conditions,
        })
    }
}

/// A Lease.
#[derive(Clone, Debug)]
pub struct Lease {
    /// When it was last renewed.
    pub renewed: Option<Timestamp>,
    /// For how many seconds that holds.
    pub seconds: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LeaseForm {
    spec: LeaseSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LeaseSpec {
    renew_time: Option<MicroTime>,
    lease_duration_seconds: i64,
}

impl Shape for Lease {
    fn read(source: &[u8]) -> serde_json::Result<Lease> {
        let LeaseForm { spec } = serde_json::from_slice(source)?;
        Ok(Lease { renewed: spec.renew_time.map(|t| t.0), seconds: spec.lease_duration_seconds })
    }
}

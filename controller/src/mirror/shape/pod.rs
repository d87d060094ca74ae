//! Pods.

use std::borrow::Cow;
use std::sync::Arc;

use edge_api::kinds::pod::{DISRUPTION_TARGET, Disruption};
use edge_api::time::Timestamp;
use serde::Deserialize;

use crate::mirror::object::{Meta, MetaOnly, Name, Object, Shape, share};
use crate::mirror::selector::{Labels, Requirement};
use crate::mirror::shape::node::image_name;
use crate::mirror::shape::resources::{ContainerForm, Load, Quantities, Resources, effective, load};
use crate::mirror::shape::social::{PodTermsForm, Social, SpreadForm};

/// Where a Pod is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Phase {
    /// Not all containers run yet.
    #[default]
    Pending,
    /// At least one container runs.
    Running,
    /// All containers ended well.
    Succeeded,
    /// All containers ended, one of them badly.
    Failed,
    /// The node does not say.
    #[serde(other)]
    Unknown,
}

/// A port of a Pod's container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPort {
    /// Its name, or nothing.
    pub name: String,
    /// Its number.
    pub number: i64,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The node's port that leads to it; 0 for none.
    pub host_port: i64,
    /// The node's address of that port; empty for all.
    pub host_ip: String,
}

/// A taint that a Pod puts up with.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Toleration {
    /// The taint's key; empty for all.
    pub key: String,
    /// `Exists`, or `Equal` (also when empty).
    pub operator: String,
    /// The taint's value.
    pub value: String,
    /// The taint's effect; empty for all.
    pub effect: String,
    /// For how long, with the effect `NoExecute`; none for ever.
    pub toleration_seconds: Option<i64>,
}

/// Requirements of a node that must hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeTerm {
    /// About its labels.
    pub match_expressions: Vec<Requirement>,
    /// About `metadata.name`.
    pub match_fields: Vec<Requirement>,
}

impl NodeTerm {
    /// Whether a node meets all of it; a term that demands nothing matches nothing.
    pub fn matches(&self, node: &Meta) -> bool {
        if self.match_expressions.is_empty() && self.match_fields.is_empty() {
            return false;
        }
        let fields = [("metadata.name".to_owned(), node.name.to_string())].into();
        self.match_expressions.iter().all(|requirement| requirement.matches(&node.labels))
            && self.match_fields.iter().all(|requirement| requirement.matches(&fields))
    }
}

/// A term that is liked, and how much.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(default)]
pub struct PreferredTerm {
    /// 1 to 100.
    pub weight: i64,
    /// What is liked.
    pub preference: NodeTerm,
}

/// What a Pod asks of its node beside `nodeSelector`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAffinity {
    /// One of these terms must hold; none is no demand.
    pub required: Option<Vec<NodeTerm>>,
    /// What is liked.
    pub preferred: Vec<PreferredTerm>,
}

/// A claim that a Pod uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodClaim {
    /// Its name.
    pub name: String,
    /// The volume for which it is made, if it lives and dies with the Pod.
    pub ephemeral: Option<String>,
}

impl PodClaim {
    /// Its place, as a claim of this Pod.
    pub fn of(&self, pod: &Object<Pod>) -> Name {
        Name { namespace: pod.meta.namespace.clone(), name: self.name.as_str().into() }
    }
}

/// A Pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The node it is bound to.
    pub node: Option<String>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Whether its Ready condition is `True`.
    pub ready: bool,
    /// Since when that is so, or not.
    pub ready_since: Option<Timestamp>,
    /// Its addresses, the first one first.
    pub ips: Vec<String>,
    /// Its containers' ports.
    pub ports: Arc<Vec<PodPort>>,
    /// What it needs of its node.
    pub requests: Resources,
    /// What it counts for where nodes are compared by how full they are.
    pub load: Load,
    /// Labels that its node must have.
    pub node_selector: Labels,
    /// What else it asks of its node.
    pub affinity: Option<Box<NodeAffinity>>,
    /// What it asks of the Pods around it.
    pub social: Option<Box<Social>>,
    /// Taints it puts up with.
    pub tolerations: Arc<Vec<Toleration>>,
    /// Whether our scheduler is to bind it.
    pub ours: bool,
    /// Whether it waits for its scheduling gates.
    pub gated: bool,
    /// More important ones go first.
    pub priority: i64,
    /// Whether less important ones may have to make room for it.
    pub preempts: bool,
    /// The node where others make room for it.
    pub nominated: Option<String>,
    /// Whether it has been given up because its node is gone, after which nobody runs it.
    pub given_up: bool,
    /// Its containers' images, as nodes report them; of Pods without a node only.
    pub images: Vec<String>,
    /// The claims of its volumes.
    pub claims: Vec<PodClaim>,
    /// The most restarts of any of its containers.
    pub restarts: i64,
    /// The message of its condition `PodScheduled=False`, if it has one.
    pub unschedulable: Option<String>,
    /// The name by which its headless Service lists it.
    pub hostname: String,
    /// The headless Service that lists it by name.
    pub subdomain: String,
    /// When its node began it.
    pub started: Option<Timestamp>,
}

impl Pod {
    /// Whether it has ended for good.
    pub fn finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Whether it has been ready for `seconds`, and if not yet, when it will have been.
    pub fn available(&self, seconds: i64, now: Timestamp) -> Result<(), Option<Timestamp>> {
        if !self.ready {
            return Err(None);
        }
        if seconds == 0 {
            return Ok(());
        }
        let Some(since) = self.ready_since else { return Err(None) };
        let long = std::time::Duration::from_secs(seconds.unsigned_abs());
        let then = since.plus(long);
        // Ready since a time far ahead, it was so before the clock was set back; that is no reason to replace it.
        if then <= now || since > now.plus(long) { Ok(()) } else { Err(Some(then)) }
    }
}

/// A Pod is read with each of its changes. What is only looked at stays where it stands.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Form<'a> {
    #[serde(borrow)]
    metadata: MetaForm<'a>,
    #[serde(borrow)]
    spec: Spec<'a>,
    #[serde(borrow)]
    status: Status<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MetaForm<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec<'a> {
    node_name: String,
    #[serde(borrow)]
    containers: Vec<ContainerForm<'a>>,
    #[serde(borrow)]
    init_containers: Vec<ContainerForm<'a>>,
    overhead: Option<Quantities>,
    node_selector: Labels,
    affinity: AffinityForm,
    tolerations: Arc<Vec<Toleration>>,
    #[serde(borrow)]
    scheduler_name: Cow<'a, str>,
    scheduling_gates: Vec<serde::de::IgnoredAny>,
    priority: i64,
    #[serde(borrow)]
    preemption_policy: Cow<'a, str>,
    topology_spread_constraints: Vec<SpreadForm>,
    #[serde(borrow)]
    volumes: Vec<VolumeForm<'a>>,
    hostname: String,
    subdomain: String,
    host_network: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct VolumeForm<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    persistent_volume_claim: Option<ClaimForm<'a>>,
    ephemeral: Option<serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClaimForm<'a> {
    #[serde(borrow)]
    claim_name: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AffinityForm {
    node_affinity: Option<NodeAffinityForm>,
    pod_affinity: PodTermsForm,
    pod_anti_affinity: PodTermsForm,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeAffinityForm {
    required_during_scheduling_ignored_during_execution: Option<TermsForm>,
    preferred_during_scheduling_ignored_during_execution: Vec<PreferredTerm>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TermsForm {
    node_selector_terms: Vec<NodeTerm>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status<'a> {
    phase: Phase,
    #[serde(borrow)]
    conditions: Vec<ConditionForm<'a>>,
    #[serde(rename = "podIP")]
    pod_ip: String,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<Address>,
    container_statuses: Vec<ContainerStatus>,
    start_time: Option<Timestamp>,
    nominated_node_name: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ConditionForm<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    last_transition_time: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Address {
    ip: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    restart_count: i64,
}

impl Shape for Pod {
    const LABELLED: bool = true;

    fn read(source: &[u8]) -> serde_json::Result<Pod> {
        let Form { metadata, mut spec, status } = serde_json::from_slice(source)?;
        let condition = |kind: &str| status.conditions.iter().find(|c| c.r#type == kind);
        let ready = condition("Ready");
        let disrupted = condition(DISRUPTION_TARGET).filter(|c| c.status == "True");
        let scheduled = condition("PodScheduled").filter(|c| c.status == "False");
        let mut ips: Vec<String> = status.pod_ips.into_iter().map(|a| a.ip).collect();
        if ips.is_empty() && !status.pod_ip.is_empty() {
            ips.push(status.pod_ip);
        }
        let spread = std::mem::take(&mut spec.topology_spread_constraints);
        let near = std::mem::take(&mut spec.affinity.pod_affinity);
        let apart = std::mem::take(&mut spec.affinity.pod_anti_affinity);
        let has_rules = !(spread.is_empty() && near.is_empty() && apart.is_empty());
        let labels = match has_rules {
            true => serde_json::from_slice::<MetaOnly>(source)?.metadata.labels,
            false => Arc::default(),
        };
        let free = spec.node_name.is_empty();
        let images = spec.containers.iter().filter(|c| free && !c.image.is_empty());
        Ok(Pod {
            images: images.map(|container| image_name(&container.image)).collect(),
            claims: claims(&metadata.name, &spec.volumes),
            social: Social::of(near, apart, spread, &metadata.namespace, &labels),
            load: load(&spec.containers, &spec.init_containers, spec.overhead.as_ref()),
            preempts: spec.preemption_policy != "Never",
            nominated: Some(status.nominated_node_name).filter(|node| free && !node.is_empty()),
            given_up: disrupted.is_some_and(|c| c.reason == Disruption::GARBAGE.reason),
            requests: effective(&spec.containers, &spec.init_containers, spec.overhead.as_ref()),
            ports: Arc::new(ports(&spec.containers, &spec.init_containers, spec.host_network)),
            affinity: affinity(spec.affinity),
            node: Some(spec.node_name).filter(|n| !n.is_empty()),
            phase: status.phase,
            ready: ready.is_some_and(|c| c.status == "True"),
            ready_since: ready.and_then(|c| c.last_transition_time),
            ips,
            node_selector: spec.node_selector,
            tolerations: spec.tolerations,
            ours: matches!(&*spec.scheduler_name, "" | "default-scheduler"),
            gated: !spec.scheduling_gates.is_empty(),
            priority: spec.priority,
            restarts: status.container_statuses.iter().map(|c| c.restart_count).max().unwrap_or(0),
            unschedulable: scheduled.map(|c| c.message.clone().into_owned()),
            hostname: spec.hostname,
            subdomain: spec.subdomain,
            started: status.start_time,
        })
    }

    fn share(&mut self, other: &Pod) {
        share(&mut self.ports, &other.ports);
        share(&mut self.tolerations, &other.tolerations);
    }

    fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }
}

fn affinity(form: AffinityForm) -> Option<Box<NodeAffinity>> {
    let form = form.node_affinity?;
    Some(Box::new(NodeAffinity {
        required: form.required_during_scheduling_ignored_during_execution.map(|t| t.node_selector_terms),
        preferred: form.preferred_during_scheduling_ignored_during_execution,
    }))
}

/// The claims of volumes; a generic ephemeral volume has one that is named after Pod and volume.
fn claims(pod: &str, volumes: &[VolumeForm<'_>]) -> Vec<PodClaim> {
    let one = |volume: &VolumeForm<'_>| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(PodClaim { name: claim.claim_name.clone().into_owned(), ephemeral: None }),
        (None, Some(_)) => {
            let ephemeral = Some(volume.name.clone().into_owned());
            Some(PodClaim { name: format!("{pod}-{}", volume.name), ephemeral })
        }
        (None, None) => None,
    };
    volumes.iter().filter_map(one).collect()
}

fn ports(containers: &[ContainerForm<'_>], init: &[ContainerForm<'_>], host_network: bool) -> Vec<PodPort> {
    let sidecars = init.iter().filter(|c| c.sidecar());
    let forms = containers.iter().chain(sidecars).flat_map(|c| &c.ports);
    forms
        .map(|port| PodPort {
            name: port.name.clone(),
            number: port.container_port,
            protocol: if port.protocol.is_empty() { "TCP".to_owned() } else { port.protocol.clone() },
            host_port: if host_network && port.host_port == 0 { port.container_port } else { port.host_port },
            host_ip: port.host_ip.clone(),
        })
        .collect()
}

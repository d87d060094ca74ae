//! StatefulSets, DaemonSets, the revisions of their templates, and budgets of disruption.

use edge_api::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

use crate::mirror::object::Shape;
use crate::mirror::selector::{LabelSelector, Labels, Selector};
use crate::mirror::shape::pod::{NodeTerm, Toleration};
use crate::mirror::shape::workload::{Condition, IntOrPercent, conditions, fnv};

/// How Pods of an old template are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// When somebody deletes them.
    OnDelete,
    /// One after the other.
    Rolling,
}

/// A StatefulSet.
#[derive(Clone, Debug)]
pub struct StatefulSet {
    /// How many Pods are wanted.
    pub replicas: i64,
    /// The number of the first one.
    pub start: i64,
    /// Which Pods are its own.
    pub selector: Selector,
    /// How long a Pod must be ready to be available, in seconds.
    pub min_ready_seconds: i64,
    /// Whether Pods come and go without waiting for each other.
    pub parallel: bool,
    /// How Pods of an old template are replaced.
    pub replacement: Replacement,
    /// Pods with a lower number keep the old template.
    pub partition: i64,
    /// How many may be missing while they are replaced.
    pub max_unavailable: IntOrPercent,
    /// How many old templates are kept.
    pub history_limit: i64,
    /// The names of its claims.
    pub claims: Vec<String>,
    /// Whether claims go with the set.
    pub deletes_with_set: bool,
    /// Whether claims go with Pods that are scaled away.
    pub deletes_when_scaled: bool,
    /// The whole status, as stored.
    pub status: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatefulForm {
    spec: StatefulSpec,
    status: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StatefulSpec {
    replicas: Option<i64>,
    ordinals: Ordinals,
    selector: Option<LabelSelector>,
    min_ready_seconds: i64,
    pod_management_policy: String,
    update_strategy: StrategyForm,
    revision_history_limit: Option<i64>,
    volume_claim_templates: Vec<ClaimForm>,
    persistent_volume_claim_retention_policy: RetentionForm,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ordinals {
    start: i64,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StrategyForm {
    r#type: String,
    rolling_update: RollingForm,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RollingForm {
    partition: i64,
    max_unavailable: Value,
    max_surge: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClaimForm {
    metadata: NameForm,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NameForm {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RetentionForm {
    when_deleted: String,
    when_scaled: String,
}

impl StrategyForm {
    fn replacement(&self) -> Replacement {
        if self.r#type == "OnDelete" { Replacement::OnDelete } else { Replacement::Rolling }
    }
}

impl Shape for StatefulSet {
    fn read(source: &[u8]) -> serde_json::Result<StatefulSet> {
        let StatefulForm { spec, status } = serde_json::from_slice(source)?;
        let rolling = &spec.update_strategy.rolling_update;
        let retention = &spec.persistent_volume_claim_retention_policy;
        Ok(StatefulSet {
            replicas: spec.replicas.unwrap_or(1),
            start: spec.ordinals.start,
            min_ready_seconds: spec.min_ready_seconds,
            parallel: spec.pod_management_policy == "Parallel",
            replacement: spec.update_strategy.replacement(),
            partition: rolling.partition,
            max_unavailable: IntOrPercent::read(&rolling.max_unavailable).unwrap_or(IntOrPercent::Count(1)),
            history_limit: spec.revision_history_limit.unwrap_or(10),
            deletes_with_set: retention.when_deleted == "Delete",
            deletes_when_scaled: retention.when_scaled == "Delete",
            claims: spec.volume_claim_templates.into_iter().map(|claim| claim.metadata.name).collect(),
            selector: Selector::of(spec.selector),
            status,
        })
    }
}

/// A DaemonSet.
#[derive(Clone, Debug)]
pub struct DaemonSet {
    /// Which Pods are its own.
    pub selector: Selector,
    /// How long a Pod must be ready to be available, in seconds.
    pub min_ready_seconds: i64,
    /// How Pods of an old template are replaced.
    pub replacement: Replacement,
    /// How many nodes may be without while they are replaced.
    pub max_unavailable: IntOrPercent,
    /// How many nodes may have two.
    pub max_surge: IntOrPercent,
    /// How many old templates are kept.
    pub history_limit: i64,
    /// The node that the template names.
    pub node_name: String,
    /// Labels that nodes must have.
    pub node_selector: Labels,
    /// Terms one of which nodes must meet; none is no demand.
    pub node_terms: Option<Vec<NodeTerm>>,
    /// Taints that its Pods put up with.
    pub tolerations: Vec<Toleration>,
    /// Whether its Pods use the host's network.
    pub host_network: bool,
    /// The whole status, as stored.
    pub status: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DaemonForm {
    spec: DaemonSpec,
    status: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DaemonSpec {
    selector: Option<LabelSelector>,
    min_ready_seconds: i64,
    update_strategy: StrategyForm,
    revision_history_limit: Option<i64>,
    template: TemplateForm,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TemplateForm {
    spec: PodForm,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodForm {
    node_name: String,
    node_selector: Labels,
    affinity: AffinityForm,
    tolerations: Vec<Toleration>,
    host_network: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AffinityForm {
    node_affinity: NodeAffinityForm,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeAffinityForm {
    required_during_scheduling_ignored_during_execution: Option<TermsForm>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TermsForm {
    node_selector_terms: Vec<NodeTerm>,
}

impl Shape for DaemonSet {
    fn read(source: &[u8]) -> serde_json::Result<DaemonSet> {
        let DaemonForm { spec, status } = serde_json::from_slice(source)?;
        let rolling = &spec.update_strategy.rolling_update;
        let pod = spec.template.spec;
        let required = pod.affinity.node_affinity.required_during_scheduling_ignored_during_execution;
        Ok(DaemonSet {
            min_ready_seconds: spec.min_ready_seconds,
            replacement: spec.update_strategy.replacement(),
            max_unavailable: IntOrPercent::read(&rolling.max_unavailable).unwrap_or(IntOrPercent::Count(1)),
            max_surge: IntOrPercent::read(&rolling.max_surge).unwrap_or(IntOrPercent::Count(0)),
            history_limit: spec.revision_history_limit.unwrap_or(10),
            node_name: pod.node_name,
            node_selector: pod.node_selector,
            node_terms: required.map(|terms| terms.node_selector_terms),
            tolerations: pod.tolerations,
            host_network: pod.host_network,
            selector: Selector::of(spec.selector),
            status,
        })
    }
}

/// A ControllerRevision.
#[derive(Clone, Copy, Debug)]
pub struct Revision {
    /// Which of its owner's templates; the latest has the highest number.
    pub number: i64,
    /// A digest of what it holds.
    pub data: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RevisionForm {
    revision: i64,
    data: Value,
}

impl Shape for Revision {
    const LABELLED: bool = true;

    fn read(source: &[u8]) -> serde_json::Result<Revision> {
        let form: RevisionForm = serde_json::from_slice(source)?;
        Ok(Revision { number: form.revision, data: fnv(&serde_json::to_vec(&form.data)?) })
    }
}

/// A PodDisruptionBudget.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Which Pods it is about.
    pub selector: Selector,
    /// How many must stay.
    pub min_available: Option<IntOrPercent>,
    /// How many may be missing.
    pub max_unavailable: Option<IntOrPercent>,
    /// Pods whose eviction was granted, and when.
    pub disrupted: BTreeMap<String, Timestamp>,
    /// The whole status, as stored.
    pub status: Value,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BudgetForm {
    spec: BudgetSpec,
    status: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BudgetSpec {
    selector: Option<LabelSelector>,
    min_available: Value,
    max_unavailable: Value,
}

impl Shape for Budget {
    fn read(source: &[u8]) -> serde_json::Result<Budget> {
        let BudgetForm { spec, status } = serde_json::from_slice(source)?;
        let disrupted = status.get("disruptedPods").cloned().unwrap_or_default();
        Ok(Budget {
            selector: Selector::of(spec.selector),
            min_available: IntOrPercent::read(&spec.min_available),
            max_unavailable: IntOrPercent::read(&spec.max_unavailable),
            disrupted: serde_json::from_value(disrupted).unwrap_or_default(),
            conditions: conditions(&status),
            status,
        })
    }
}

//! Deployments and ReplicaSets.

use edge_api::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::mirror::object::Shape;
use crate::mirror::selector::{Labels, Selector};

/// A condition of any kind's status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word for machines.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: Option<Timestamp>,
    /// When anything last changed.
    pub last_update_time: Option<Timestamp>,
}

/// A number or a share of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntOrPercent {
    /// So many.
    Count(i64),
    /// So many of a hundred.
    Percent(i64),
}

impl IntOrPercent {
    /// As an object carries it.
    pub fn read(value: &Value) -> Option<IntOrPercent> {
        match value {
            Value::Number(number) => number.as_i64().map(IntOrPercent::Count),
            Value::String(text) => text.strip_suffix('%')?.parse().ok().map(IntOrPercent::Percent),
            _ => None,
        }
    }

    /// The number it means of `total`, a part rounded up.
    pub fn up(self, total: i64) -> i64 {
        match self {
            IntOrPercent::Count(count) => count,
            IntOrPercent::Percent(percent) => (total * percent + 99).div_euclid(100),
        }
    }

    /// The number it means of `total`, a part rounded down.
    pub fn down(self, total: i64) -> i64 {
        match self {
            IntOrPercent::Count(count) => count,
            IntOrPercent::Percent(percent) => (total * percent).div_euclid(100),
        }
    }
}

/// How far a rolling update may leave the wanted number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// Above it.
    pub max_surge: IntOrPercent,
    /// Below it.
    pub max_unavailable: IntOrPercent,
}

/// How a Deployment replaces its Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// All old ones go before the first new one comes.
    Recreate,
    /// A few at a time.
    RollingUpdate(Rolling),
}

/// A Deployment.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// How many Pods are wanted.
    pub replicas: i64,
    /// Which Pods are its own.
    pub selector: Selector,
    /// How Pods are replaced.
    pub strategy: Strategy,
    /// How long a Pod must be ready to be available, in seconds.
    pub min_ready_seconds: i64,
    /// Whether the template's changes wait.
    pub paused: bool,
    /// How many old ReplicaSets are kept.
    pub history_limit: i64,
    /// After how many seconds without progress a rollout has failed; none for never.
    pub progress_deadline: Option<i64>,
    /// A digest of the Pod template without the hash label.
    pub template: u64,
    /// The template's labels.
    pub template_labels: Labels,
    /// The whole status, as stored, for comparison.
    pub status: Value,
    /// The status' conditions.
    pub conditions: Vec<Condition>,
    /// How often a template's hash met another's.
    pub collision_count: i64,
    /// The generation the status speaks of.
    pub observed_generation: i64,
}

/// A ReplicaSet or a ReplicationController.
#[derive(Clone, Debug)]
pub struct ReplicaSet {
    /// How many Pods are wanted.
    pub replicas: i64,
    /// Which Pods are its own.
    pub selector: Selector,
    /// How long a Pod must be ready to be available, in seconds.
    pub min_ready_seconds: i64,
    /// A digest of the Pod template without the hash label.
    pub template: u64,
    /// The template's labels.
    pub template_labels: Labels,
    /// The whole status, as stored, for comparison.
    pub status: Value,
    /// The status' conditions.
    pub conditions: Vec<Condition>,
    /// Pods that were there when the status was written.
    pub current: i64,
    /// Of those, the ready ones.
    pub ready: i64,
    /// Of those, the ones ready for long enough.
    pub available: i64,
    /// Pods that were on their way out beside those.
    pub terminating: i64,
    /// The generation the status speaks of.
    pub observed_generation: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Form {
    spec: Spec,
    status: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    replicas: Option<i64>,
    selector: Value,
    min_ready_seconds: i64,
    paused: bool,
    revision_history_limit: Option<i64>,
    progress_deadline_seconds: Option<i64>,
    strategy: StrategyForm,
    template: Value,
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
    max_surge: Value,
    max_unavailable: Value,
}

/// The label by which the ReplicaSets of a Deployment tell their Pods apart.
pub const TEMPLATE_HASH: &str = "pod-template-hash";

/// A digest of a template, blind to the hash label; equal templates have equal digests.
pub fn template_digest(template: &Value) -> u64 {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(TEMPLATE_HASH);
        if labels.is_empty()
            && let Some(meta) = template.get_mut("metadata").and_then(Value::as_object_mut)
        {
            meta.remove("labels");
        }
    }
    let bytes = serde_json::to_vec(&template).unwrap_or_default();
    fnv(&bytes)
}

/// FNV-1a, 64 bits.
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The conditions of a status.
pub fn conditions(status: &Value) -> Vec<Condition> {
    let list = status.get("conditions").cloned().unwrap_or_default();
    serde_json::from_value(list).unwrap_or_default()
}

fn labels(template: &Value) -> Labels {
    let labels = template.pointer("/metadata/labels").cloned().unwrap_or_default();
    serde_json::from_value(labels).unwrap_or_default()
}

fn number(status: &Value, field: &str) -> i64 {
    status.get(field).and_then(Value::as_i64).unwrap_or(0)
}

impl Shape for Deployment {
    fn read(source: &[u8]) -> serde_json::Result<Deployment> {
        let Form { spec, status } = serde_json::from_slice(source)?;
        let share = |value: &Value| IntOrPercent::read(value).unwrap_or(IntOrPercent::Percent(25));
        let strategy = if spec.strategy.r#type == "Recreate" {
            Strategy::Recreate
        } else {
            Strategy::RollingUpdate(Rolling {
                max_surge: share(&spec.strategy.rolling_update.max_surge),
                max_unavailable: share(&spec.strategy.rolling_update.max_unavailable),
            })
        };
        Ok(Deployment {
            replicas: spec.replicas.unwrap_or(1),
            selector: Selector::read(&spec.selector),
            strategy,
            min_ready_seconds: spec.min_ready_seconds,
            paused: spec.paused,
            history_limit: spec.revision_history_limit.unwrap_or(10),
            progress_deadline: spec.progress_deadline_seconds.filter(|s| *s != i64::from(i32::MAX)),
            template: template_digest(&spec.template),
            template_labels: labels(&spec.template),
            conditions: conditions(&status),
            collision_count: number(&status, "collisionCount"),
            observed_generation: number(&status, "observedGeneration"),
            status,
        })
    }
}

impl Shape for ReplicaSet {
    const LABELLED: bool = true;

    fn read(source: &[u8]) -> serde_json::Result<ReplicaSet> {
        let Form { spec, status } = serde_json::from_slice(source)?;
        Ok(ReplicaSet {
            replicas: spec.replicas.unwrap_or(1),
            selector: Selector::read(&spec.selector),
            min_ready_seconds: spec.min_ready_seconds,
            template: template_digest(&spec.template),
            template_labels: labels(&spec.template),
            conditions: conditions(&status),
            current: number(&status, "replicas"),
            ready: number(&status, "readyReplicas"),
            available: number(&status, "availableReplicas"),
            terminating: number(&status, "terminatingReplicas"),
            observed_generation: number(&status, "observedGeneration"),
            status,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surge_rounds_up_and_unavailability_down() {
        let quarter = IntOrPercent::Percent(25);
        assert_eq!((quarter.up(3), quarter.down(3)), (1, 0));
        assert_eq!((quarter.up(8), quarter.down(8)), (2, 2));
        assert_eq!((IntOrPercent::Count(2).up(3), IntOrPercent::Percent(100).down(7)), (2, 7));
    }

    #[test]
    fn the_digest_is_blind_to_the_hash_label() {
        let plain = serde_json::json!({"metadata": {"labels": {"a": "b"}}, "spec": {}});
        let hashed =
            serde_json::json!({"metadata": {"labels": {"a": "b", "pod-template-hash": "x"}}, "spec": {}});
        assert_eq!(template_digest(&plain), template_digest(&hashed));
    }
}

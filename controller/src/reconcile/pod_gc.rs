//! Pods that nobody else removes: bound to a node that is gone, deleted before they were bound, or ended long ago.
//!
//! One that has not ended has failed then: nobody else will ever say so, and a Job waits for it.

use std::sync::Arc;
use std::time::Duration;

use edge_api::kind::Kind;
use edge_api::kinds;
use edge_api::kinds::pod::Disruption;
use edge_api::time::Timestamp;
use serde_json::json;

use crate::mirror::{Delta, Detail, Name, Object, Pod, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Plan, Write};

const POD: &Kind = &kinds::pod::KIND;

/// How many ended Pods are kept.
const THRESHOLD: usize = 12_500;
/// How long a Pod may name a node that nobody has heard of: it may be about to join.
const QUARANTINE: Duration = Duration::from_secs(40);

/// The table's entry. Its keys are nodes without a namespace, Pods with one, and nothing at all for ended Pods.
pub const CONTROLLER: Controller =
    Controller { name: "pod-garbage-collector", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    match &delta.detail {
        Detail::Node((_, None)) => wake(delta.key.clone()),
        Detail::Pod((_, Some(pod))) => {
            match &pod.body.node {
                _ if is_left(pod) => wake(delta.key.clone()),
                Some(node) if world.nodes.get("", node).is_none() => wake(Name::new("", node)),
                None if pod.meta.deleting() => wake(delta.key.clone()),
                _ => {}
            }
            if pod.body.finished() && world.finished.len() > THRESHOLD {
                wake(Name::default());
            }
        }
        _ => {}
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let mut plan = Plan::nothing();
    if !key.namespace.is_empty() {
        let goes = |pod: &&Arc<Object<Pod>>| pod.meta.deleting() && pod.body.node.is_none() || is_left(pod);
        let pod = world.pods.at(key).filter(goes);
        remove(&pod.into_iter().collect::<Vec<_>>(), None, &mut plan);
    } else if key.name.is_empty() {
        let surplus = world.finished.len().saturating_sub(THRESHOLD);
        let oldest = world.finished.iter().take(surplus).filter_map(|(_, key)| world.pods.at(key));
        remove(&oldest.collect::<Vec<_>>(), None, &mut plan);
    } else if world.nodes.at(key).is_none() {
        let mut lost = Vec::new();
        for pod in world.pods.on_node(&key.name) {
            let then = pod.meta.creation_timestamp.map_or(world.now, |time| time.plus(QUARANTINE));
            if then <= world.now {
                lost.push(pod);
            } else {
                plan.wake(then);
            }
        }
        remove(&lost, Some(world.now), &mut plan);
    }
    plan
}

/// Whether a plan of ours that was to remove the Pod ended half-way. Its node may be back by now.
fn is_left(pod: &Object<Pod>) -> bool {
    pod.body.given_up && pod.body.finished()
}

/// Takes Pods away at once. `lost` is the time, if it is because their node is gone.
fn remove(pods: &[&Arc<Object<Pod>>], lost: Option<Timestamp>, plan: &mut Plan) {
    let unended = pods.iter().filter(|pod| !pod.body.finished());
    plan.together(unended.map(|pod| failed(pod, lost)).collect());
    plan.together(pods.iter().map(|pod| Write::delete(POD, &pod.meta).at_once()).collect());
}

fn failed(pod: &Object<Pod>, lost: Option<Timestamp>) -> Write {
    let mut tree = pod.tree();
    tree["status"]["phase"] = json!("Failed");
    if let Some(now) = lost {
        Disruption::GARBAGE.tell(&mut tree, now);
    }
    Write::status(POD, pod.key(), pod.revision, tree)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::Value;

    use super::*;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;

    fn plan(key: &Name, node: Value, deleted: Value, phase: &str) -> Plan {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "default", "deletionTimestamp": deleted,
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": node}, "status": {"phase": phase}});
        reconcile(key, &Ledger::with(Timestamp::parse("2026-01-01T01:00:00Z").unwrap(), &[pod]).world())
    }

    #[test]
    fn what_was_given_up_goes_although_its_node_is_back() {
        let left = |phase: &str, reason: &str| {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
                "spec": {"nodeName": "there"}, "status": {"phase": phase, "conditions":
                    [{"type": "DisruptionTarget", "status": "True", "reason": reason}]}});
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "there"}});
            let world = Ledger::with(Timestamp::from_seconds(0), &[pod, node]).world();
            reconcile(&Name::new("default", "p"), &world).writes().count()
        };
        assert_eq!(left("Failed", Disruption::GARBAGE.reason), 1);
        assert_eq!(left("Running", Disruption::GARBAGE.reason), 0, "whoever runs it will say how it ended");
        assert_eq!(left("Failed", "PreemptionByScheduler"), 0);
    }

    #[test]
    fn a_pod_that_nobody_runs_has_failed_and_goes() {
        let (node, pod) = (Name::new("", "gone"), Name::new("default", "p"));
        let deleted = json!("2026-01-01T00:30:00Z");
        let cases = [
            (&node, json!("gone"), Value::Null, "Running", Some("DeletionByPodGC"), 2),
            (&pod, Value::Null, deleted.clone(), "Pending", None, 2),
            (&node, json!("gone"), Value::Null, "Succeeded", None, 1),
            (&pod, json!("there"), deleted, "Running", None, 0),
        ];
        for (key, on, deleted, phase, reason, stages) in cases {
            let plan = plan(key, on, deleted, phase);
            assert_eq!(plan.stages.len(), stages, "{phase}");
            let writes: Vec<&Write> = plan.writes().collect();
            if let [first, _] = writes[..] {
                let Act::Status(said) = &first.act else { panic!("{first:?}") };
                assert_eq!(said["status"]["phase"], "Failed");
                assert_eq!(said["status"]["conditions"][0]["reason"].as_str(), reason);
            }
            assert!(writes.last().is_none_or(|last| matches!(last.act, Act::Delete { grace: Some(0), .. })));
        }
    }
}

//! Nodes: silent ones become `Unknown`, conditions become taints, and Pods leave nodes whose taints they do not put up
//! with.
//!
//! What is not seen is not dead: silence is measured by this process' own clock and not counted while this process did
//! not run, and when no node at all is ready, nothing is evicted, since then it is likelier that the fault is here.

use std::time::Duration;

use edge_api::kind::Kind;
use edge_api::kinds;
use edge_api::kinds::pod::Disruption;
use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::mirror::{
    Delta, Detail, NODE_LEASES, Name, Node, NodeCondition, Object, Pod, Taint, Toleration, World,
};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Note, Plan, Write};

const KIND: &Kind = &kinds::node::KIND;
const POD: &Kind = &kinds::pod::KIND;

/// How long a node may be silent.
const GRACE: Duration = Duration::from_secs(50);
/// How long Pods stay on a node that is not ready or not reachable unless they say otherwise.
const DEFAULT_TOLERATION: i64 = 300;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Conditions, the status in which they keep Pods away, and the taint by which they do.
const TAINTS: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];

/// The table's entry.
pub const CONTROLLER: Controller =
    Controller { name: "node-lifecycle-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    match &delta.detail {
        Detail::Node((before, after)) => {
            wake(delta.key.clone());
            // Whether others may be evicted depends on whether any node is ready.
            let ready = |node: &Option<std::sync::Arc<Object<Node>>>| {
                node.as_ref().is_some_and(|node| is_ready(node))
            };
            if ready(before) != ready(after) {
                let others = world.nodes.all().filter(|node| !node.body.taints.is_empty());
                others.for_each(|node| wake(node.key()));
            }
        }
        // A Lease that goes on being renewed needs no look: the timer finds it in time.
        Detail::Lease((before, after)) if &*delta.key.namespace == NODE_LEASES => {
            let key = Name::new("", &delta.key.name);
            let unknown = world
                .nodes
                .at(&key)
                .is_some_and(|node| node.body.ready().is_some_and(|c| c.status == "Unknown"));
            if before.is_none() || after.is_none() || unknown {
                wake(key);
            }
        }
        Detail::Pod((before, Some(pod))) => {
            let moved = before.as_ref().is_none_or(|before| before.body.node != pod.body.node);
            if let Some(node) = pod.body.node.as_ref().filter(|_| moved)
                && world.nodes.get("", node).is_some_and(|node| !node.body.taints.is_empty())
            {
                wake(Name::new("", node));
            }
        }
        _ => {}
    }
}

fn is_ready(node: &Object<Node>) -> bool {
    node.body.ready().is_some_and(|condition| condition.status == "True")
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let Some(node) = world.nodes.at(key) else { return Plan::nothing() };
    let mut plan = Plan::nothing();
    let heard = world.heard.get(&*key.name).copied().unwrap_or(world.now);
    let silent = silent_from(heard);
    let known = node.body.ready().is_none_or(|condition| condition.status != "Unknown");
    if silent > world.now {
        plan.wake(silent);
    } else if known {
        plan.then(lost(node, world));
        return plan;
    }
    if let Some(write) = taint(node, world.now) {
        plan.then(write);
        return plan;
    }
    evict(node, world, &mut plan);
    plan
}

/// From when on a node is taken for lost that was heard of last at a time: on a full second, so that one look is for all
/// whose time comes within it.
fn silent_from(heard: Timestamp) -> Timestamp {
    let next = Duration::from_micros(999_999);
    Timestamp::from_seconds(heard.plus(GRACE + next).as_seconds())
}

/// What is not heard of is unknown, not false.
fn lost(node: &Object<Node>, world: &World) -> Write {
    let mut tree = node.tree();
    let mut conditions = tree["status"]["conditions"].as_array().cloned().unwrap_or_default();
    for kind in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        let found = conditions.iter_mut().find(|condition| condition["type"] == kind);
        match found {
            Some(condition) if condition["status"] != "Unknown" => {
                condition["status"] = json!("Unknown");
                condition["reason"] = json!("NodeStatusUnknown");
                condition["message"] = json!("Kubelet stopped posting node status.");
                condition["lastTransitionTime"] = json!(world.now);
            }
            Some(_) => {}
            None => conditions.push(json!({
                "type": kind,
                "status": "Unknown",
                "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.",
                "lastHeartbeatTime": node.meta.creation_timestamp,
                "lastTransitionTime": world.now,
            })),
        }
    }
    tree["status"]["conditions"] = Value::Array(conditions);
    let message = format!("Node {} status is now: NodeNotReady", node.meta.name);
    Write::status(KIND, node.key(), node.revision, tree).saying(Note::normal(
        KIND,
        &node.meta,
        "NodeNotReady",
        message,
    ))
}

/// Brings the taints in line with the conditions.
fn taint(node: &Object<Node>, now: Timestamp) -> Option<Write> {
    let wanted = wanted_taints(&node.body);
    let ours = |taint: &Taint| {
        let known = TAINTS.iter().any(|(_, _, key)| *key == taint.key) || taint.key == UNSCHEDULABLE;
        known && matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
    };
    let same = |taint: &Taint, (key, effect): &(&str, &str)| taint.key == *key && taint.effect == *effect;
    let superfluous = |taint: &Taint| ours(taint) && !wanted.iter().any(|want| same(taint, want));
    let missing: Vec<_> =
        wanted.iter().filter(|want| !node.body.taints.iter().any(|taint| same(taint, want))).collect();
    if missing.is_empty() && !node.body.taints.iter().any(superfluous) {
        return None;
    }
    let mut taints: Vec<Value> =
        node.body.taints.iter().filter(|taint| !superfluous(taint)).map(taint_to_json).collect();
    for (key, effect) in missing {
        let mut taint = json!({"key": key, "effect": effect});
        if *effect == "NoExecute" {
            taint["timeAdded"] = json!(now);
        }
        taints.push(taint);
    }
    let patch = json!({"metadata": {"uid": &*node.meta.uid}, "spec": {"taints": taints}});
    Some(Write::patch(KIND, node.key(), node.revision, patch))
}

fn taint_to_json(taint: &Taint) -> Value {
    let mut value = json!({"key": taint.key, "effect": taint.effect});
    if !taint.value.is_empty() {
        value["value"] = json!(taint.value);
    }
    if let Some(time) = taint.time_added {
        value["timeAdded"] = json!(time);
    }
    value
}

fn wanted_taints(node: &Node) -> Vec<(&'static str, &'static str)> {
    let mut wanted = Vec::new();
    let has = |kind: &str, status: &str| {
        node.conditions.iter().any(|c: &NodeCondition| c.kind == kind && c.status == status)
    };
    for (kind, status, key) in TAINTS {
        if has(kind, status) {
            wanted.push((key, "NoSchedule"));
            if kind == "Ready" {
                wanted.push((key, "NoExecute"));
            }
        }
    }
    // A node that has not said yet that it is ready is not.
    if node.ready().is_none() {
        wanted.push((NOT_READY, "NoSchedule"));
    }
    if node.unschedulable {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    wanted
}

/// Deletes the Pods that do not put up with the node's taints, each when its time has come.
fn evict(node: &Object<Node>, world: &World, plan: &mut Plan) {
    let taints: Vec<&Taint> = node.body.taints.iter().filter(|taint| taint.effect == "NoExecute").collect();
    if taints.is_empty() {
        return;
    }
    let ours = taints.iter().any(|taint| taint.key == NOT_READY || taint.key == UNREACHABLE);
    if ours && !world.nodes.all().any(|node| is_ready(node)) {
        return;
    }
    let mut writes = Vec::new();
    for pod in world.pods.on_node(&node.meta.name).filter(|pod| !pod.meta.deleting() && !pod.body.finished())
    {
        match leaves(pod, &node.meta.name, &taints, world) {
            None => {}
            Some(time) if time <= world.now => {
                let message = format!("Marking for deletion Pod {}", pod.key());
                let note = Note::normal(POD, &pod.meta, "TaintManagerEviction", message);
                writes.push(Write::delete(POD, &pod.meta).disrupting(Disruption::TAINT).saying(note));
            }
            Some(time) => plan.wake(time),
        }
    }
    plan.together(writes);
}

/// When a Pod has to leave; none if it may stay for ever. One that was made after the taint is as patient as any other.
fn leaves(pod: &Object<Pod>, node: &str, taints: &[&Taint], world: &World) -> Option<Timestamp> {
    let patient_from = |taint| {
        let since = world.tainted_since(node, taint);
        // One that was made in the future was made under another clock.
        let made = pod.meta.creation_timestamp.filter(|made| *made <= world.now);
        made.map_or(since, |made| made.max(since))
    };
    taints
        .iter()
        .filter_map(|taint| {
            let patience = u64::try_from(patience(&pod.body, taint)?).unwrap_or(0);
            Some(patient_from(taint).plus(Duration::from_secs(patience)))
        })
        .min()
}

/// For how many seconds a Pod puts up with a taint; none for ever.
fn patience(pod: &Pod, taint: &Taint) -> Option<i64> {
    let matching: Vec<&Toleration> =
        pod.tolerations.iter().filter(|toleration| tolerates(toleration, taint)).collect();
    if matching.is_empty() {
        // What admission gives every Pod, for one that came without it.
        return Some(if taint.key == NOT_READY || taint.key == UNREACHABLE { DEFAULT_TOLERATION } else { 0 });
    }
    matching.iter().filter_map(|toleration| toleration.toleration_seconds).min()
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    crate::mirror::tolerates(std::slice::from_ref(toleration), taint)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;

    fn start() -> Timestamp {
        Timestamp::parse("2026-01-01T00:00:00Z").unwrap()
    }

    fn node(name: &str, ready: &str, taints: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    fn pod(name: &str, tolerations: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "a", "tolerations": tolerations}, "status": {"phase": "Running"},
        })
    }

    fn unreachable() -> Value {
        json!([
            {"key": UNREACHABLE, "effect": "NoSchedule"},
            {"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": start()},
        ])
    }

    fn plan(objects: &[Value], seconds: u64) -> Plan {
        let mut world = Ledger::with(start(), objects).world();
        world.now = start().plus(Duration::from_secs(seconds));
        reconcile(&Name::new("", "a"), &world)
    }

    fn evicted(plan: &Plan) -> Vec<String> {
        let deletes = plan.writes().filter(|write| matches!(write.act, Act::Delete { .. }));
        deletes.map(|write| write.key.name.to_string()).collect()
    }

    #[test]
    fn a_silent_node_is_unknown_after_its_grace() {
        let quiet = plan(&[node("a", "True", json!([]))], 49);
        assert_eq!((quiet.writes().count(), quiet.wake_at), (0, Some(start().plus(GRACE))));
        let within = start().plus(Duration::from_millis(1));
        assert_eq!(silent_from(within), start().plus(GRACE + Duration::from_secs(1)));
        let silent = plan(&[node("a", "True", json!([]))], 50);
        let Act::Status(object) = &silent.writes().next().unwrap().act else { panic!("{silent:#?}") };
        let ready = &object["status"]["conditions"][0];
        assert_eq!((&ready["status"], &ready["reason"]), (&json!("Unknown"), &json!("NodeStatusUnknown")));
    }

    #[test]
    fn time_in_which_this_process_slept_is_not_silence() {
        let mut world = Ledger::with(start(), &[node("a", "True", json!([]))]).world();
        world.now = start().plus(Duration::from_secs(3600));
        world.slept(Duration::from_secs(3580));
        assert_eq!(reconcile(&Name::new("", "a"), &world).writes().count(), 0);
    }

    #[test]
    fn conditions_become_taints_and_go_with_them() {
        let keys = |plan: &Plan| -> Vec<String> {
            let Some(Act::Patch(patch)) = plan.writes().next().map(|w| w.act.clone()) else {
                return Vec::new();
            };
            let taints = patch["spec"]["taints"].as_array().unwrap().clone();
            taints
                .iter()
                .map(|t| format!("{}:{}", t["key"].as_str().unwrap(), t["effect"].as_str().unwrap()))
                .collect()
        };
        let both = |key: &str| vec![format!("{key}:NoSchedule"), format!("{key}:NoExecute")];
        assert_eq!(keys(&plan(&[node("a", "False", json!([]))], 0)), both(NOT_READY));
        assert_eq!(keys(&plan(&[node("a", "Unknown", json!([]))], 60)), both(UNREACHABLE));
        let recovered = node(
            "a",
            "True",
            json!([{"key": NOT_READY, "effect": "NoSchedule"}, {"key": "mine", "effect": "NoSchedule"}]),
        );
        assert_eq!(keys(&plan(&[recovered], 0)), ["mine:NoSchedule"]);
        let mut cordoned = node("a", "True", json!([]));
        cordoned["spec"]["unschedulable"] = json!(true);
        assert_eq!(keys(&plan(&[cordoned], 0)), [format!("{UNSCHEDULABLE}:NoSchedule")]);
    }

    #[test]
    fn patience_begins_when_the_taint_is_seen_or_the_pod_is_made() {
        let tolerate = json!([{"key": "mine", "operator": "Exists", "tolerationSeconds": 4}]);
        let taints = json!([{"key": "mine", "value": "x", "effect": "NoExecute"}]);
        let mut late = pod("late", tolerate.clone());
        late["metadata"]["creationTimestamp"] = json!(start().plus(Duration::from_secs(20)));
        let objects = [node("a", "True", taints), pod("p", tolerate), late];
        assert_eq!(plan(&objects[..2], 3).wake_at, Some(start().plus(Duration::from_secs(4))));
        for (seconds, gone, next) in [(20, &["p"][..], 24), (23, &["p"], 24)] {
            let plan = plan(&objects, seconds);
            assert_eq!(evicted(&plan), gone, "{seconds}");
            assert_eq!(plan.wake_at, Some(start().plus(Duration::from_secs(next))), "{seconds}");
        }
        assert_eq!(evicted(&plan(&objects, 24)), ["late", "p"]);
        let mut future = objects.clone();
        future[2]["metadata"]["creationTimestamp"] = json!("2036-01-01T00:00:00Z");
        assert_eq!(evicted(&plan(&future, 4)), ["late", "p"]);
    }

    #[test]
    fn pods_leave_when_their_patience_ends_but_not_while_no_node_is_ready() {
        let tolerate = |seconds: i64| json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]);
        let forever = json!([{"operator": "Exists"}]);
        let objects = [
            node("a", "Unknown", unreachable()),
            node("b", "True", json!([])),
            pod("short", tolerate(100)),
            pod("plain", json!([])),
            pod("forever", forever),
        ];
        assert_eq!(evicted(&plan(&objects, 99)), Vec::<String>::new());
        assert_eq!(plan(&objects, 99).wake_at, Some(start().plus(Duration::from_secs(100))));
        assert_eq!(evicted(&plan(&objects, 100)), ["short"]);
        let short = plan(&objects, 100);
        let told = Some(Disruption::TAINT);
        assert!(
            short.writes().all(|w| matches!(&w.act, Act::Delete { disruption, .. } if *disruption == told))
        );
        assert_eq!(evicted(&plan(&objects, 300)), ["plain", "short"]);
        let alone = [objects[0].clone(), objects[2].clone()];
        assert_eq!(evicted(&plan(&alone, 1000)), Vec::<String>::new());
    }
}

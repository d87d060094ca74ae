//! Which Pod runs on which node.
//!
//! One more controller of [`crate::reconcile`], with a single key: it places all Pods that wait, in the order of their
//! importance and age, each seeing where the ones before it went. Filters say which nodes can take a Pod, scores say
//! which of them should; both are tables. What nodes have given away is kept by [`crate::mirror::Capacity`], so no
//! decision adds up Pods. A Pod that fits nowhere is tried again only after a change that could help it.

mod filter;
mod score;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::{Value, json};

use crate::mirror::{Delta, Detail, Name, Node, Object, Pod, Totals, World, node_helps};
use crate::reconcile::{Controller, Note, Plan, Write};

const POD: &Kind = &kinds::pod::KIND;

/// How many Pods one plan places.
const BATCH: usize = 256;

/// The table's entry.
pub const CONTROLLER: Controller = Controller { name: "scheduler", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    let helps = match &delta.detail {
        Detail::Pod((before, after)) => {
            let waits = |pod: &Arc<Object<Pod>>| pod.body.node.is_none() && !pod.body.finished();
            let holds = |pod: &Arc<Object<Pod>>| pod.body.node.is_some() && !pod.body.finished();
            let released = before.as_ref().is_some_and(holds) && !after.as_ref().is_some_and(holds);
            released || after.as_ref().is_some_and(waits)
        }
        Detail::Node((before, after)) => node_helps(before.as_deref(), after.as_deref()),
        _ => false,
    };
    if helps {
        wake(Name::default());
    }
}

/// A node as a Pod sees it that is about to be placed.
struct Place<'a> {
    node: &'a Object<Node>,
    taken: &'a Totals,
}

fn reconcile(_: &Name, world: &World) -> Plan {
    let mut plan = Plan::nothing();
    let mut writes = Vec::new();
    let mut placed: HashMap<&str, Totals> = HashMap::new();
    let mut tried = 0;
    for (_, _, key) in world.capacity.waiting() {
        let Some(pod) = world.pods.at(key).filter(|pod| world.capacity.worth_trying(pod)) else { continue };
        if tried == BATCH {
            plan.wake(world.now);
            break;
        }
        tried += 1;
        match place(pod, world, &placed) {
            Ok(node) => {
                let totals = placed.entry(&node.meta.name);
                totals
                    .or_insert_with(|| on(world, &node.meta.name).cloned().unwrap_or_default())
                    .add(&pod.body);
                writes.push(bind(pod, node));
            }
            Err(message) => {
                plan.without_node.push(pod.meta.uid.clone());
                if pod.body.unschedulable.as_deref() != Some(&message) {
                    let note = Note::warning(POD, &pod.meta, "FailedScheduling", message.clone());
                    writes.push(unschedulable(pod, &message, world).saying(note));
                }
            }
        }
    }
    plan.together(writes);
    plan
}

fn on<'a>(world: &'a World, node: &str) -> Option<&'a Totals> {
    world.capacity.on(node)
}

/// The best node for a Pod, or why there is none, in Kubernetes' words.
fn place<'a>(
    pod: &Object<Pod>,
    world: &'a World,
    placed: &HashMap<&str, Totals>,
) -> Result<&'a Object<Node>, String> {
    let nothing = Totals::default();
    let mut fitting = Vec::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let (mut nodes, mut hopeless) = (0, 0);
    for node in world.nodes.all().filter(|node| !node.meta.deleting()) {
        nodes += 1;
        let name = &*node.meta.name;
        let taken = placed.get(name).or_else(|| on(world, name)).unwrap_or(&nothing);
        let place = Place { node, taken };
        match filter::check(&pod.body, &place) {
            Ok(()) => fitting.push((&**node, taken)),
            Err(refusal) => {
                hopeless += usize::from(!refusal.preemption_helps);
                for reason in refusal.reasons {
                    *reasons.entry(reason).or_default() += 1;
                }
            }
        }
    }
    if nodes == 0 {
        return Err("no nodes available to schedule pods".to_owned());
    }
    let places: Vec<Place<'_>> = fitting.iter().map(|(node, taken)| Place { node, taken }).collect();
    match score::best(&pod.body, &places) {
        Some(best) => Ok(fitting[best].0),
        None => Err(explain(nodes, &reasons, hopeless)),
    }
}

fn explain(nodes: usize, reasons: &BTreeMap<String, usize>, hopeless: usize) -> String {
    let mut counted: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    counted.sort();
    let mut preemption = Vec::new();
    let rest = nodes - hopeless;
    if rest > 0 {
        preemption.push(format!("{rest} No preemption victims found for incoming pod"));
    }
    if hopeless > 0 {
        preemption.push(format!("{hopeless} Preemption is not helpful for scheduling"));
    }
    preemption.sort();
    let head = format!("0/{nodes} nodes are available: ");
    format!("{head}{}. preemption: {head}{}.", counted.join(", "), preemption.join(", "))
}

fn bind(pod: &Object<Pod>, node: &Object<Node>) -> Write {
    let message = format!("Successfully assigned {} to {}", pod.key(), node.meta.name);
    Write::bind(POD, &pod.meta, pod.revision, &node.meta.name).saying(Note::normal(
        POD,
        &pod.meta,
        "Scheduled",
        message,
    ))
}

fn unschedulable(pod: &Object<Pod>, message: &str, world: &World) -> Write {
    let mut tree = pod.tree();
    let conditions = tree["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let is_it = |condition: &Value| condition["type"] == "PodScheduled";
    let before = conditions.iter().find(|c| is_it(c) && c["status"] == "False");
    let since = before.map_or(json!(world.now), |c| c["lastTransitionTime"].clone());
    let mut kept: Vec<Value> = conditions.iter().filter(|c| !is_it(c)).cloned().collect();
    kept.push(json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastProbeTime": null,
        "lastTransitionTime": since,
    }));
    tree["status"]["conditions"] = Value::Array(kept);
    Write::status(POD, pod.key(), pod.revision, tree)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use edge_api::time::Timestamp;

    use super::*;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;

    fn node(name: &str, spec: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"disk": "ssd"}}, "spec": spec,
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3"}},
        })
    }

    fn pod(name: &str, spec: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec})
    }

    fn asks(cpu: &str, memory: &str) -> Value {
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]})
    }

    fn on(node: &str, mut spec: Value) -> Value {
        spec["nodeName"] = json!(node);
        spec
    }

    fn plan(objects: &[Value]) -> Plan {
        reconcile(&Name::default(), &Ledger::with(Timestamp::from_seconds(0), objects).world())
    }

    /// Where Pods go, or the condition's message.
    fn decisions(objects: &[Value]) -> BTreeMap<String, String> {
        let decision = |write: &Write| match &write.act {
            Act::Bind { node, .. } => node.clone(),
            Act::Status(pod) => pod["status"]["conditions"][0]["message"].as_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        plan(objects).writes().map(|write| (write.key.name.to_string(), decision(write))).collect()
    }

    fn decision(pod_spec: Value, others: &[Value]) -> String {
        let objects = [others, &[pod("p", pod_spec)]].concat();
        decisions(&objects).remove("p").unwrap()
    }

    #[test]
    fn a_pod_without_a_node_is_told_why_in_kubernetes_words() {
        let taint = json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]});
        let port = json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}]});
        let full: Vec<Value> =
            (0..3).map(|i| pod(&format!("o{i}"), on("a", json!({"containers": []})))).collect();
        let victims = "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
        let hopeless = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
        let plain = || node("a", json!({}));
        let cases = [
            (
                asks("3", "1"),
                vec![plain()],
                format!("0/1 nodes are available: 1 Insufficient cpu. {victims}"),
            ),
            (
                asks("3", "2Gi"),
                vec![plain()],
                format!("0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. {victims}"),
            ),
            (
                json!({}),
                [vec![plain()], full].concat(),
                format!("0/1 nodes are available: 1 Too many pods. {victims}"),
            ),
            (
                json!({}),
                vec![node("a", json!({"unschedulable": true}))],
                format!("0/1 nodes are available: 1 node(s) were unschedulable. {hopeless}"),
            ),
            (
                json!({}),
                vec![node("a", taint)],
                format!("0/1 nodes are available: 1 node(s) had untolerated taint {{k: v}}. {hopeless}"),
            ),
            (
                json!({"nodeSelector": {"disk": "hdd"}}),
                vec![plain()],
                format!(
                    "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. {hopeless}"
                ),
            ),
            (
                port.clone(),
                vec![plain(), pod("o", on("a", port))],
                format!(
                    "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. {victims}"
                ),
            ),
            (json!({}), vec![], "no nodes available to schedule pods".to_owned()),
        ];
        for (spec, others, expected) in cases {
            assert_eq!(decision(spec, &others), expected);
        }
    }

    #[test]
    fn what_a_pod_asks_for_decides_where_it_may_go() {
        let tainted = node("a", json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}));
        let tolerant =
            json!({"tolerations": [{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}]});
        let named = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]}}}});
        let cordoned = node("a", json!({"unschedulable": true}));
        let daemon = json!({"tolerations": [{"operator": "Exists"}]});
        assert_eq!(decision(tolerant, &[tainted]), "a");
        assert_eq!(decision(named, &[node("a", json!({})), node("b", json!({}))]), "b");
        assert_eq!(decision(daemon, &[cordoned]), "a");
        assert_eq!(decision(json!({"nodeSelector": {"disk": "ssd"}}), &[node("a", json!({}))]), "a");
    }

    #[test]
    fn nodes_are_filled_one_after_the_other_and_preferences_come_first() {
        let two = [node("a", json!({})), node("b", json!({})), pod("o", on("b", asks("500m", "100Mi")))];
        assert_eq!(decision(asks("500m", "100Mi"), &two), "b");
        let preferred = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 10, "preference": {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}}]}}});
        assert_eq!(decision(preferred, &two), "a");
        let shy = node("b", json!({"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}));
        assert_eq!(decision(asks("500m", "100Mi"), &[two[0].clone(), shy, two[2].clone()]), "a");
    }

    #[test]
    fn each_pod_of_a_batch_sees_where_the_ones_before_it_went() {
        let mut objects = vec![node("a", json!({})), node("b", json!({}))];
        objects.extend((0..3).map(|i| pod(&format!("p{i}"), asks("1500m", "1Mi"))));
        let decisions = decisions(&objects);
        assert_eq!((decisions["p0"].as_str(), decisions["p1"].as_str()), ("a", "b"));
        assert!(decisions["p2"].starts_with("0/2 nodes are available: 2 Insufficient cpu. "));
    }

    #[test]
    fn more_important_pods_come_first_and_gated_ones_not_at_all() {
        let mut urgent = asks("1500m", "1Mi");
        urgent["priority"] = json!(1000);
        let mut gated = asks("1m", "1Mi");
        gated["schedulingGates"] = json!([{"name": "g"}]);
        let objects =
            [node("a", json!({})), pod("a", asks("1500m", "1Mi")), pod("z", urgent), pod("gated", gated)];
        let decisions = decisions(&objects);
        assert_eq!(decisions["z"], "a");
        assert!(decisions["a"].contains("Insufficient cpu") && !decisions.contains_key("gated"));
    }

    #[test]
    fn a_pod_without_a_node_waits_for_what_could_help() {
        let ledger =
            Ledger::with(Timestamp::from_seconds(0), &[node("a", json!({})), pod("p", asks("3", "1"))]);
        let mut world = ledger.world();
        let tried = reconcile(&Name::default(), &world);
        assert_eq!(tried.without_node.len(), 1);
        world.capacity.tried(tried.without_node.clone(), world.revision);
        assert_eq!(reconcile(&Name::default(), &world), Plan::nothing());
        let mut larger = node("a", json!({}));
        larger["status"]["allocatable"]["cpu"] = json!("4");
        let bytes = serde_json::to_vec(&larger).unwrap().into();
        world.apply("/core/nodes//a", world.revision + 1, Some(&bytes));
        assert!(matches!(reconcile(&Name::default(), &world).writes().next().unwrap().act, Act::Bind { .. }));
    }
}

//! The sentences of the condition PodScheduled and of the event FailedScheduling.

use serde_json::{Value, json};

use crate::reconcile::Act;
use crate::schedule::tests::*;

#[test]
fn a_pod_without_a_node_is_told_why_in_kubernetes_words() {
    let taint = json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]});
    let port = json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}]});
    let full: Vec<Value> =
        (0..3).map(|i| pod(&format!("o{i}"), on("a", json!({"containers": []})))).collect();
    let victims = "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
    let hopeless = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    let plain = || node("a", json!({}));
    let busy = || vec![plain(), pod("o", on("a", asks("1500m", "900Mi")))];
    let cases = [
        (asks("3", "1"), vec![plain()], format!("1 Insufficient cpu. {hopeless}")),
        (asks("1", "1"), busy(), format!("1 Insufficient cpu. {victims}")),
        (asks("1", "500Mi"), busy(), format!("1 Insufficient cpu, 1 Insufficient memory. {victims}")),
        (asks("1", "2Gi"), busy(), format!("1 Insufficient cpu, 1 Insufficient memory. {hopeless}")),
        (json!({}), [vec![plain()], full].concat(), format!("1 Too many pods. {victims}")),
        (
            json!({}),
            vec![node("a", json!({"unschedulable": true}))],
            format!("1 node(s) were unschedulable. {hopeless}"),
        ),
        (json!({}), vec![node("a", taint)], format!("1 node(s) had untolerated taint {{k: v}}. {hopeless}")),
        (
            json!({"nodeSelector": {"disk": "hdd"}}),
            vec![plain()],
            format!("1 node(s) didn't match Pod's node affinity/selector. {hopeless}"),
        ),
        (
            port.clone(),
            vec![plain(), pod("o", on("a", port))],
            format!("1 node(s) didn't have free ports for the requested pod ports. {victims}"),
        ),
    ];
    for (spec, others, expected) in cases {
        assert_eq!(decision(spec, &others), format!("0/1 nodes are available: {expected}"));
    }
    assert_eq!(decision(json!({}), &[]), "no nodes available to schedule pods");
}

#[test]
fn reasons_are_counted_over_all_nodes_and_sorted() {
    let taint = json!({"taints": [{"key": "key", "value": "value", "effect": "NoSchedule"}]});
    let mut nodes: Vec<Value> = ["a", "b"].map(|name| node(name, json!({}))).to_vec();
    nodes.extend(["c", "d", "e"].map(|name| node(name, taint.clone())));
    nodes.extend([pod("o", on("a", asks("1", "1"))), pod("q", on("b", asks("1", "1")))]);
    assert_eq!(
        decision(asks("1500m", "1"), &nodes),
        "0/5 nodes are available: 2 Insufficient cpu, 3 node(s) had untolerated taint {key: value}. preemption: \
         0/5 nodes are available: 2 No preemption victims found for incoming pod, 3 Preemption is not helpful for \
         scheduling."
    );
}

#[test]
fn a_pod_for_one_node_says_nothing_about_the_others() {
    let named = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]}}}});
    let nodes = [
        node("a", json!({})),
        node("b", json!({})),
        node("c", json!({})),
        pod("o", on("b", asks("1500m", "1"))),
    ];
    assert_eq!(
        decision(with(named, asks("1", "1")), &nodes),
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. preemption: \
         0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for \
         scheduling."
    );
}

#[test]
fn the_condition_and_the_event_say_the_same_once() {
    let mut world = world(&[node("a", json!({})), pod("p", asks("3", "1"))]);
    let plan = planned(&mut world);
    let write = plan.writes().next().unwrap();
    let Act::Status(told) = &write.act else { panic!("{write:?}") };
    let condition = &told["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["status"], &condition["reason"]),
        (&json!("PodScheduled"), &json!("False"), &json!("Unschedulable"))
    );
    let note = write.done.as_ref().unwrap();
    assert_eq!((note.reason, json!(note.message)), ("FailedScheduling", condition["message"].clone()));
    show(&mut world, told);
    // Something else is there now, but the answer is the same.
    show(&mut world, &node("a", json!({"taints": [{"key": "k", "effect": "PreferNoSchedule"}]})));
    assert_eq!(planned(&mut world).writes().count(), 0);
}

//! What people are told who ask why.

use serde_json::json;

use crate::schedule::tests::*;
use crate::schedule::why::explain;

#[test]
fn it_says_which_plugin_refused_which_nodes_and_what_would_help() {
    let taint = json!({"taints": [{"key": "gpu", "value": "only", "effect": "NoSchedule"}]});
    let objects = [
        node("a", json!({})),
        node("b", json!({})),
        node("c", taint),
        pod("o", on("a", asks("1", "1"))),
        pod("q", on("b", asks("700m", "1"))),
        pod("p", asks("1500m", "1")),
    ];
    let said = explain(&world(&objects), "default", "p").unwrap();
    assert_eq!(said["message"], decisions(&objects)["p"]);
    let group = |i: usize| &said["refusals"][i];
    assert_eq!(
        *group(0),
        json!({"plugin": "NodeResourcesFit", "reasons": ["Insufficient cpu"], "count": 2, "nodes": ["a", "b"],
            "help": ["200m more cpu"], "nearest": "b"})
    );
    assert_eq!(
        (&group(1)["plugin"], &group(1)["help"]),
        (&json!("TaintToleration"), &json!(["toleration for gpu=only:NoSchedule"]))
    );
}

#[test]
fn it_tells_of_gates_of_nodes_that_fit_and_of_pods_that_have_one() {
    let gated = pod("gated", json!({"schedulingGates": [{"name": "g"}]}));
    let nodes = [
        node("a", json!({})),
        node("b", json!({})),
        gated,
        pod("p", json!({})),
        pod("o", on("a", json!({}))),
    ];
    let world = world(&nodes);
    let message =
        |name: &str| explain(&world, "default", name).unwrap()["message"].as_str().unwrap().to_owned();
    assert_eq!(message("gated"), "Scheduling is blocked due to non-empty scheduling gates");
    assert_eq!(message("p"), "2 of 2 nodes can take it now");
    assert_eq!(message("o"), "is on node a");
    assert!(explain(&world, "default", "nobody").is_none());
}

#[test]
fn it_tells_who_would_make_room() {
    let objects = [
        node("a", json!({})),
        pod("low", on("a", asks("1500m", "1"))),
        pod("p", with(asks("1", "1"), json!({"priority": 10}))),
    ];
    let said = explain(&world(&objects), "default", "p").unwrap();
    assert_eq!(
        said["message"],
        "0/1 nodes are available: 1 Insufficient cpu. Less important Pods make room on a: default/low"
    );
}

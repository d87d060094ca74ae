//! Who waits, in which order, and what ends it.

use serde_json::{Value, json};

use crate::schedule::round;
use crate::schedule::tests::*;

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
    let urgent = with(asks("1500m", "1Mi"), json!({"priority": 1000}));
    let gated = with(asks("1m", "1Mi"), json!({"schedulingGates": [{"name": "g"}]}));
    let objects =
        [node("a", json!({})), pod("a", asks("1500m", "1Mi")), pod("z", urgent), pod("gated", gated)];
    let decisions = decisions(&objects);
    assert_eq!(decisions["z"], "a");
    assert!(decisions["a"].contains("Insufficient cpu") && !decisions.contains_key("gated"));
}

/// How many Pods were decided about, and how often a node was looked at, in the next plan.
fn cost(world: &mut crate::mirror::World) -> (usize, usize) {
    let made = round(world);
    world.waiting.tried(&made.plan.without_node, world.revision);
    (made.decisions, made.looks)
}

#[test]
fn a_pod_without_a_node_is_tried_again_only_after_what_may_help_it() {
    let (small, large) = (pod("o", on("a", asks("1", "1Mi"))), pod("q", on("b", asks("1", "1Mi"))));
    let waits = pod("p", asks("1500m", "1Mi"));
    let tainted = json!({"taints": [{"key": "k", "effect": "NoSchedule"}]});
    let nodes = [node("a", json!({})), node("b", tainted.clone()), node("c", tainted.clone())];
    let start = || {
        let mut world = world(&[nodes.to_vec(), vec![small.clone(), large.clone(), waits.clone()]].concat());
        assert_eq!(cost(&mut world).0, 1);
        assert_eq!(cost(&mut world), (0, 0), "nothing happened");
        world
    };
    let changed = |name: &str, change: fn(&mut Value)| {
        let mut object = nodes.iter().find(|node| node["metadata"]["name"] == name).unwrap().clone();
        change(&mut object);
        object
    };
    type Event = Box<dyn Fn(&mut crate::mirror::World)>;
    let cases: Vec<(&str, Event, usize, usize)> = vec![
        ("a new Pod elsewhere", Box::new(|w| show(w, &pod("x", on("c", asks("1", "1Mi"))))), 0, 0),
        (
            "a status",
            Box::new(|w| show(w, &with(small_like(), json!({"status": {"phase": "Running"}})))),
            0,
            0,
        ),
        ("a Pod gone where it may go", Box::new(|w| hide(w, &small_like())), 1, 5),
        ("a Pod ended where it may go", Box::new(|w| show(w, &ended(small_like()))), 1, 5),
        ("a Pod gone where it may not go", Box::new(|w| hide(w, &pod("q", json!({})))), 0, 1),
        (
            "a node that does not help",
            Box::new(|w| show(w, &node("d", json!({"unschedulable": true})))),
            0,
            1,
        ),
        ("a node that helps", Box::new(|w| show(w, &node("d", json!({})))), 1, 5),
    ];
    fn small_like() -> Value {
        pod("o", on("a", asks("1", "1Mi")))
    }
    fn ended(pod: Value) -> Value {
        with(pod, json!({"status": {"phase": "Succeeded"}}))
    }
    for (what, event, decisions, most_looks) in cases {
        let mut world = start();
        event(&mut world);
        let (decided, looked) = cost(&mut world);
        assert_eq!(decided, decisions, "{what}");
        assert!(looked <= most_looks, "{what}: {looked} looks");
        assert_eq!(cost(&mut world).0, usize::from(decided == 1), "{what}: once is enough");
    }
    let mut world = start();
    show(&mut world, &changed("c", |node| node["spec"] = json!({})));
    assert_eq!(decisions_in(&world)["p"], "c", "a taint is gone");
    let mut world = start();
    show(&mut world, &changed("a", |node| node["status"]["allocatable"]["cpu"] = json!("4")));
    assert_eq!(decisions_in(&world)["p"], "a", "a node grows");
}

#[test]
fn a_pod_with_rules_about_others_is_tried_when_what_they_count_changes() {
    let near = json!({"containers": [], "affinity": {"podAffinity":
        {"requiredDuringSchedulingIgnoredDuringExecution":
            [{"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "zone"}]}}});
    let mut world = world(&[zoned("a", "x"), zoned("b", "x"), pod("p", near)]);
    assert_eq!(cost(&mut world).0, 1);
    show(&mut world, &labelled("other", "web", on("a", json!({}))));
    assert_eq!(cost(&mut world), (0, 0));
    show(&mut world, &labelled("db", "db", on("b", json!({}))));
    assert_eq!(decisions_in(&world)["p"], "a");
    // And one that others keep away, when they are gone.
    let shy = labelled(
        "shy",
        "shy",
        json!({"nodeName": "a", "containers": [], "affinity": {"podAntiAffinity":
        {"requiredDuringSchedulingIgnoredDuringExecution":
            [{"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"}]}}}),
    );
    let mut world =
        super::world(&[zoned("a", "x"), zoned("b", "x"), shy.clone(), labelled("p", "web", json!({}))]);
    assert_eq!(cost(&mut world).0, 1);
    assert_eq!(cost(&mut world), (0, 0));
    hide(&mut world, &shy);
    assert_eq!(decisions_in(&world)["p"], "a");
}

#[test]
fn pods_that_are_alike_share_one_answer() {
    let mut objects: Vec<Value> = (0..50).map(|i| node(&format!("n{i}"), json!({}))).collect();
    objects.extend((0..200).map(|i| pod(&format!("p{i}"), asks("3", "1Mi"))));
    let mut world = world(&objects);
    let (decided, looked) = cost(&mut world);
    assert_eq!(decided, 200);
    assert!(looked <= 6, "one look at all that lack the same: {looked}");
}

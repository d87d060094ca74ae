//! How many nodes a decision looks at. Counts, no times.

use serde_json::{Value, json};

use crate::mirror::World;
use crate::reconcile::Act;
use crate::schedule::round;
use crate::schedule::tests::*;

const NODES: usize = 1000;

fn fleet(packed: bool) -> World {
    let mut objects = Vec::new();
    for i in 0..NODES {
        let mut one = zoned(&format!("n{i:04}"), &format!("z{}", i % 3));
        // No two machines are exactly alike, and some label says so.
        one["metadata"]["labels"]["serial"] = json!(format!("s{i}"));
        one["status"]["allocatable"] =
            json!({"cpu": "4", "memory": format!("{}Ki", 8_000_000 + (i * 37) % 1000), "pods": "110"});
        objects.push(one);
    }
    if packed { world(&objects) } else { spreading_world(&objects) }
}

/// Places a Pod, and answers how often a node was looked at.
fn place(world: &mut World, pod: &Value) -> usize {
    show(world, pod);
    let made = round(world);
    world.waiting.tried(&made.plan.without_node, world.revision);
    let [Act::Bind { node, .. }] = made.plan.writes().map(|write| &write.act).collect::<Vec<_>>()[..] else {
        panic!("{:?}", made.plan)
    };
    let mut bound = pod.clone();
    bound["spec"]["nodeName"] = json!(node);
    show(world, &bound);
    made.looks
}

#[test]
fn a_decision_looks_at_a_handful_of_a_thousand_nodes_however_many_pods_there_are() {
    for packed in [true, false] {
        let mut world = fleet(packed);
        let sizes = [("250m", "64Mi"), ("1", "1Gi"), ("100m", "2Gi"), ("3", "10Mi")];
        let mut most = [0; 4];
        for i in 0..1200 {
            let (cpu, memory) = sizes[i % sizes.len()];
            let looks = place(&mut world, &pod(&format!("p{i}"), asks(cpu, memory)));
            most[i / 300] = most[i / 300].max(looks);
        }
        assert!(most.iter().all(|looks| *looks <= 16), "packed: {packed}: {most:?}");
    }
}

#[test]
fn rules_about_zones_do_not_make_it_look_at_more() {
    let mut world = fleet(true);
    let spec = with(
        asks("100m", "64Mi"),
        json!({
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "web"}}}],
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1,
                "podAffinityTerm": {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "zone"}}]}},
        }),
    );
    for i in 0..600 {
        let looks = place(&mut world, &labelled(&format!("p{i}"), "web", spec.clone()));
        assert!(looks <= 16, "{i}: {looks}");
    }
}

#[test]
fn a_pod_for_one_node_looks_at_that_one() {
    let mut world = fleet(true);
    for i in [0, 500, 999] {
        let spec = with(
            asks("1", "1Mi"),
            json!({"affinity": {"nodeAffinity":
            {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields":
                [{"key": "metadata.name", "operator": "In", "values": [format!("n{i:04}")]}]}]}}}}),
        );
        assert_eq!(place(&mut world, &pod(&format!("p{i}"), spec)), 1);
    }
}

#[test]
fn saying_that_all_lack_the_same_looks_at_few_of_them() {
    let mut world = fleet(true);
    show(&mut world, &pod("p", asks("5", "1Mi")));
    let made = round(&world);
    assert!(made.looks <= 16, "{}", made.looks);
    let message = &decisions_in(&world)["p"];
    assert!(
        message.starts_with("0/1000 nodes are available: 1000 Insufficient cpu. preemption: "),
        "{message}"
    );
}

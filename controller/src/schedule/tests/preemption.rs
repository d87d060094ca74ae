//! Who makes room for whom.

use edge_api::kinds::pod::Disruption;
use serde_json::{Value, json};

use crate::mirror::World;
use crate::reconcile::{Act, Plan};
use crate::schedule::tests::*;

fn important(priority: i64, spec: Value) -> Value {
    with(spec, json!({"priority": priority}))
}

fn low(name: &str, node: &str, priority: i64, cpu: &str) -> Value {
    pod(name, on(node, important(priority, asks(cpu, "1Mi"))))
}

/// Who is deleted, by name.
fn deleted(plan: &Plan) -> Vec<String> {
    let writes = plan.writes().filter(|write| matches!(write.act, Act::Delete { .. }));
    writes.map(|write| write.key.name.to_string()).collect()
}

/// The node that is promised to a Pod.
fn promised(plan: &Plan, name: &str) -> Option<String> {
    plan.writes().find_map(|write| match &write.act {
        Act::Status(pod) if *write.key.name == *name => {
            pod["status"]["nominatedNodeName"].as_str().map(str::to_owned)
        }
        _ => None,
    })
}

fn high(cpu: &str) -> Value {
    pod("high", important(100, asks(cpu, "1Mi")))
}

/// Who is deleted for a Pod that asks for so much CPU, and where.
fn victims(cpu: &str, objects: &[Value]) -> (Vec<String>, Option<String>) {
    let plan = planned(&mut world(&[objects, &[high(cpu)]].concat()));
    (deleted(&plan), promised(&plan, "high"))
}

fn budget(name: &str, app: &str, allowed: i64) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}, "minAvailable": 1},
        "status": {"disruptionsAllowed": allowed}})
}

fn with_app(mut pod: Value, app: &str) -> Value {
    pod["metadata"]["labels"] = json!({"app": app});
    pod
}

#[test]
fn less_important_pods_make_room_and_no_more_of_them_than_needed() {
    let full = [node("a", json!({})), low("one", "a", 1, "1"), low("two", "a", 2, "500m")];
    assert_eq!(victims("1", &full), (vec!["one".to_owned()], Some("a".to_owned())));
    assert_eq!(victims("1800m", &full).0, ["two", "one"]);
    // Equals do not make room for each other.
    let equal = [node("a", json!({})), low("one", "a", 100, "1500m")];
    assert_eq!(victims("1", &equal), (vec![], None));
}

#[test]
fn the_pods_are_told_in_kubernetes_words() {
    let objects = [node("a", json!({})), low("one", "a", 1, "1500m"), high("1")];
    let mut world = world(&objects);
    let plan = planned(&mut world);
    let status = |name: &str| {
        let found =
            plan.writes().find(|write| *write.key.name == *name && matches!(write.act, Act::Status(_)));
        let Act::Status(pod) = &found.unwrap().act else { unreachable!("chosen so") };
        pod["status"].clone()
    };
    let high = status("high");
    assert_eq!(high["nominatedNodeName"], "a");
    assert_eq!(high["conditions"][0]["message"], "0/1 nodes are available: 1 Insufficient cpu.");
    // The Pod has its own time to end, and says who wants it to.
    let delete = plan.stages.last().unwrap();
    let [delete] = delete.as_slice() else { panic!("{delete:?}") };
    let told = Some(Disruption::PREEMPTION);
    assert!(matches!(&delete.act, Act::Delete { grace: None, disruption, .. } if *disruption == told));
    let note = delete.done.as_ref().unwrap();
    let uid = &world.pods.get("default", "high").unwrap().meta.uid;
    assert_eq!((note.reason, &note.message), ("Preempted", &format!("Preempted by pod {uid} on node a")));
}

#[test]
fn fewest_budgets_are_violated() {
    let objects = [
        node("a", json!({})),
        node("b", json!({})),
        with_app(low("a1", "a", 1, "1500m"), "kept"),
        with_app(low("b1", "b", 5, "1500m"), "free"),
        budget("kept", "kept", 0),
        budget("free", "free", 1),
    ];
    assert_eq!(victims("1", &objects), (vec!["b1".to_owned()], Some("b".to_owned())));
    // If there is no other way a budget is violated.
    let mut only_a = objects.to_vec();
    only_a[1] = node("b", json!({"unschedulable": true}));
    assert_eq!(victims("1", &only_a).0, ["a1"]);
    // On one node those stay whose leaving would violate it.
    let one = [
        node("a", json!({})),
        with_app(low("kept", "a", 1, "900m"), "kept"),
        with_app(low("free", "a", 5, "900m"), "free"),
        budget("kept", "kept", 0),
    ];
    assert_eq!(victims("1", &one).0, ["free"]);
}

#[test]
fn then_the_least_important_go_then_the_fewest_then_the_youngest() {
    let nodes = || vec![node("a", json!({})), node("b", json!({}))];
    let by_importance = [nodes(), vec![low("a1", "a", 7, "1500m"), low("b1", "b", 3, "1500m")]].concat();
    assert_eq!(victims("1", &by_importance).0, ["b1"]);
    let by_number =
        [nodes(), vec![low("a1", "a", 3, "800m"), low("a2", "a", 3, "800m"), low("b1", "b", 3, "1500m")]]
            .concat();
    assert_eq!(victims("1500m", &by_number).0, ["b1"]);
    let began = |mut pod: Value, time: &str| {
        pod["status"]["startTime"] = json!(time);
        pod
    };
    let by_age = [
        nodes(),
        vec![
            began(low("a1", "a", 3, "1500m"), "2026-01-01T00:00:00Z"),
            began(low("b1", "b", 3, "1500m"), "2026-01-02T00:00:00Z"),
        ],
    ]
    .concat();
    assert_eq!(victims("1", &by_age).0, ["b1"]);
    // On a node the more important and the older stay.
    let stays = [
        node("a", json!({})),
        began(low("old", "a", 3, "900m"), "2026-01-01T00:00:00Z"),
        began(low("new", "a", 3, "900m"), "2026-01-02T00:00:00Z"),
    ];
    assert_eq!(victims("1", &stays).0, ["new"]);
}

#[test]
fn rules_about_other_pods_can_be_made_room_for() {
    let shy = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        [{"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}]}}});
    let objects = [
        node("a", json!({})),
        with_app(low("web", "a", 1, "100m"), "web"),
        with_app(low("other", "a", 1, "100m"), "other"),
        pod("high", important(100, with(asks("100m", "1Mi"), shy))),
    ];
    let plan = planned(&mut world(&objects));
    assert_eq!((deleted(&plan), promised(&plan, "high")), (vec!["web".to_owned()], Some("a".to_owned())));
}

#[test]
fn why_nobody_makes_room() {
    let full = |more: Value| {
        let mut pod = high("1");
        pod["spec"] = with(pod["spec"].clone(), more);
        placed(pod, &[node("a", json!({})), low("one", "a", 1, "1500m")])
    };
    assert_eq!(
        full(json!({"preemptionPolicy": "Never"})),
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
    );
    // Those who would have to go are not enough.
    let objects = [node("a", json!({})), low("one", "a", 1, "500m"), low("equal", "a", 100, "1500m")];
    assert_eq!(
        placed(high("1"), &objects),
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Insufficient cpu."
    );
}

/// The world after the writes of a plan, as far as they are about status.
fn carried_out(world: &mut World, plan: &Plan) {
    for write in plan.writes() {
        if let Act::Status(pod) = &write.act {
            show(world, pod);
        }
    }
    for name in deleted(plan) {
        let mut pod = world.pods.get("default", &name).unwrap().tree();
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        show(world, &pod);
    }
}

#[test]
fn the_room_is_kept_for_whom_it_was_made_and_given_when_it_is_there() {
    let objects = [node("a", json!({})), low("one", "a", 1, "1500m"), high("1500m")];
    let mut world = world(&objects);
    let plan = planned(&mut world);
    carried_out(&mut world, &plan);
    let plan = planned(&mut world);
    assert!(deleted(&plan).is_empty(), "nobody else is asked to go");
    assert_eq!(promised(&plan, "high").as_deref(), Some("a"));
    let Act::Status(told) = &plan.writes().next().unwrap().act else { panic!("{plan:?}") };
    assert_eq!(
        told["status"]["conditions"][0]["message"],
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to a terminating pod on the \
         nominated node."
    );
    show(&mut world, told);
    assert_eq!(planned(&mut world), Plan::nothing());
    // One that came later and is no more important does not get it.
    show(&mut world, &pod("late", important(100, asks("1500m", "1Mi"))));
    let plan = planned(&mut world);
    assert!(deleted(&plan).is_empty() && decisions_in(&world).is_empty(), "{plan:?}");
    hide(&mut world, &objects[1]);
    let decided = decisions_in(&world);
    assert_eq!(decided.get("high").map(String::as_str), Some("a"), "{decided:?}");
    assert!(decided.get("late").is_none_or(|said| said.starts_with("0/1 ")), "{decided:?}");
}

#[test]
fn a_more_important_pod_takes_the_room_and_the_other_looks_elsewhere() {
    let mut promised_to = pod("middle", important(50, asks("1", "1Mi")));
    promised_to["status"]["nominatedNodeName"] = json!("a");
    let mut leaving = low("one", "a", 1, "1500m");
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let objects = [node("a", json!({})), leaving, promised_to, high("1500m")];
    let mut world = world(&objects);
    let plan = planned(&mut world);
    assert_eq!(promised(&plan, "high").as_deref(), Some("a"));
    let middle = plan.writes().find(|write| *write.key.name == *"middle").unwrap();
    let Act::Status(middle) = &middle.act else { panic!("{middle:?}") };
    assert!(middle["status"]["nominatedNodeName"].is_null());
}

#[test]
fn what_could_not_be_written_is_planned_again() {
    let mut world = world(&[node("a", json!({})), low("one", "a", 1, "1500m"), high("1")]);
    let first = planned(&mut world);
    assert_eq!(deleted(&first), ["one"]);
    assert_eq!(planned(&mut world), first);
}

#[test]
fn one_plan_asks_pods_to_go_for_one_pod_only() {
    let mut objects = vec![node("a", json!({})), node("b", json!({}))];
    objects.extend([low("a1", "a", 1, "1500m"), low("b1", "b", 1, "1500m")]);
    objects.extend((0..2).map(|i| pod(&format!("high{i}"), important(100, asks("1500m", "1Mi")))));
    let mut world = world(&objects);
    let first = planned(&mut world);
    assert_eq!(deleted(&first), ["a1"]);
    assert!(first.wake_at.is_some());
    carried_out(&mut world, &first);
    let second = planned(&mut world);
    assert_eq!((deleted(&second), promised(&second, "high1")), (vec!["b1".to_owned()], Some("b".to_owned())));
}

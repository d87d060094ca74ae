//! Kubernetes' documented behaviours of Deployments, as plans.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::mirror::Name;
use crate::reconcile::ledger::Ledger;
use crate::reconcile::{Act, Plan};

pub const NOW: &str = "2026-01-01T01:00:00Z";

pub fn template(image: &str, hash: Option<&str>) -> Value {
    let mut labels = json!({"app": "web"});
    if let Some(hash) = hash {
        labels["pod-template-hash"] = json!(hash);
    }
    json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

pub fn deployment(replicas: i64, surge: i64, unavailable: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "uid": "d", "annotations": {"note": "x"}},
        "spec": {
            "replicas": replicas, "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
            "selector": {"matchLabels": {"app": "web"}},
            "template": template("new", None),
        },
    })
}

/// A settled ReplicaSet of `web` whose image is its name.
pub fn set(name: &str, replicas: i64, available: i64, revision: i64, wanted: i64, maximum: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": format!("web-{name}"), "namespace": "default", "generation": 1,
            "creationTimestamp": format!("2026-01-01T00:0{revision}:00Z"),
            "labels": {"app": "web", "pod-template-hash": name},
            "annotations": {
                "note": "x",
                "deployment.kubernetes.io/revision": revision.to_string(),
                "deployment.kubernetes.io/desired-replicas": wanted.to_string(),
                "deployment.kubernetes.io/max-replicas": maximum.to_string(),
            },
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d",
                "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web", "pod-template-hash": name}},
            "template": template(name, Some(name))},
        "status": {"replicas": replicas, "readyReplicas": available, "availableReplicas": available,
            "observedGeneration": 1},
    })
}

pub fn plan(objects: &[Value]) -> Plan {
    let world = Ledger::with(Timestamp::parse(NOW).unwrap(), objects).world();
    (super::CONTROLLER.reconcile)(&Name::new("default", "web"), &world)
}

/// The sizes a plan gives to ReplicaSets, new ones as `+`.
fn sizes(plan: &Plan) -> BTreeMap<String, i64> {
    let size = |object: &Value| object["spec"]["replicas"].as_i64().unwrap();
    let one = |write: &crate::reconcile::Write| match &write.act {
        Act::Create(object) => Some(("+".to_owned(), size(object))),
        Act::Update(object) => Some((write.key.name.trim_start_matches("web-").to_owned(), size(object))),
        _ => None,
    };
    plan.writes().filter_map(one).collect()
}

fn status(plan: &Plan) -> Option<&Value> {
    plan.writes().find_map(|write| match &write.act {
        Act::Status(object) => Some(object),
        _ => None,
    })
}

pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    object["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == kind).unwrap()
}

#[test]
fn a_rolling_update_moves_within_surge_and_unavailability() {
    // wanted, surge, unavailable, old (size, available), new, what happens
    type Set = Option<(i64, i64)>;
    type Case<'a> = (&'a str, i64, i64, i64, Set, Set, &'a [(&'a str, i64)]);
    let cases: [Case<'_>; 10] = [
        ("a new template gets a ReplicaSet as large as the surge", 3, 1, 0, Some((3, 3)), None, &[("+", 1)]),
        ("without surge it begins empty", 3, 0, 1, Some((3, 3)), None, &[("+", 0)]),
        ("the first rollout is made at once", 3, 1, 0, None, None, &[("+", 3)]),
        ("old Pods stay until new ones are available", 3, 1, 0, Some((3, 3)), Some((1, 0)), &[]),
        ("an available new Pod frees an old one", 3, 1, 0, Some((3, 3)), Some((1, 1)), &[("old", 2)]),
        ("a freed place is taken", 3, 1, 0, Some((2, 2)), Some((1, 1)), &[("new", 2)]),
        ("unavailability is used at once", 10, 3, 2, Some((10, 10)), Some((3, 0)), &[("old", 8)]),
        ("unhealthy old Pods go first", 5, 1, 1, Some((5, 2)), Some((1, 0)), &[("old", 4)]),
        ("without room unhealthy ones stay too", 5, 1, 0, Some((5, 2)), Some((1, 0)), &[]),
        ("a new ReplicaSet that is too large shrinks", 2, 1, 0, None, Some((4, 4)), &[("new", 2)]),
    ];
    for (name, wanted, surge, unavailable, old, new, expected) in cases {
        let mut objects = vec![deployment(wanted, surge, unavailable)];
        let maximum = wanted + surge;
        objects.extend(old.map(|(size, available)| set("old", size, available, 1, wanted, maximum)));
        let number = 1 + i64::from(old.is_some());
        objects.extend(new.map(|(size, available)| set("new", size, available, number, wanted, maximum)));
        let expected: BTreeMap<String, i64> = expected.iter().map(|(n, s)| ((*n).to_owned(), *s)).collect();
        assert_eq!(sizes(&plan(&objects)), expected, "{name}");
    }
}

#[test]
fn shares_of_surge_are_rounded_up_and_of_unavailability_down() {
    // wanted, surge, unavailable, the first size of the new ReplicaSet, what the old one shrinks to then
    let cases = [
        (10, json!("25%"), json!("25%"), 3, 8),
        (3, json!("25%"), json!("25%"), 1, 3),
        (4, json!("100%"), json!("50%"), 4, 2),
        (4, json!(0), json!("25%"), 0, 3),
        (2, json!("0%"), json!("25%"), 0, 1),
    ];
    for (wanted, surge, unavailable, first, then) in cases {
        let mut deployment = deployment(wanted, 0, 0);
        let rolling = json!({"maxSurge": surge, "maxUnavailable": unavailable});
        deployment["spec"]["strategy"]["rollingUpdate"] = rolling.clone();
        let maximum = wanted + if first > 0 { first } else { 0 };
        let old = set("old", wanted, wanted, 1, wanted, maximum);
        assert_eq!(
            sizes(&plan(&[deployment.clone(), old.clone()])),
            [("+".to_owned(), first)].into(),
            "{rolling}"
        );
        let new = set("new", first, 0, 2, wanted, maximum);
        let shrunk: BTreeMap<String, i64> = [("old".to_owned(), then)].into();
        let expected = if then == wanted { BTreeMap::new() } else { shrunk };
        assert_eq!(sizes(&plan(&[deployment, old, new])), expected, "{rolling}");
    }
}

#[test]
fn another_update_in_between_makes_all_earlier_replica_sets_old() {
    let objects = [deployment(3, 1, 0), set("a", 2, 2, 1, 3, 4), set("b", 2, 0, 2, 3, 4)];
    assert_eq!(sizes(&plan(&objects)), [("+".to_owned(), 0)].into(), "no room yet");
    let with_new = [objects.as_slice(), &[set("new", 0, 0, 3, 3, 4)]].concat();
    assert_eq!(sizes(&plan(&with_new)), [("b".to_owned(), 1)].into(), "what does not serve goes first");
}

#[test]
fn the_replica_set_waits_as_long_as_the_deployment_before_a_pod_counts() {
    let mut deployment = deployment(3, 1, 0);
    deployment["spec"]["minReadySeconds"] = json!(5);
    let made = plan(&[deployment.clone()]);
    let Act::Create(new) = &made.writes().next().unwrap().act else { panic!("{made:#?}") };
    assert_eq!(new["spec"]["minReadySeconds"], 5);
    let changed = plan(&[deployment, set("new", 3, 3, 1, 3, 4)]);
    let Act::Update(new) = &changed.writes().next().unwrap().act else { panic!("{changed:#?}") };
    assert_eq!(new["spec"]["minReadySeconds"], 5);
}

#[test]
fn a_replica_set_that_cannot_make_its_pods_is_told_of() {
    let mut new = set("new", 3, 1, 1, 3, 4);
    new["status"]["conditions"] = json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
        "message": "exceeded quota"}]);
    let told = plan(&[deployment(3, 1, 0), new]);
    let failure = condition(status(&told).unwrap(), "ReplicaFailure");
    assert_eq!((&failure["reason"], &failure["message"]), (&json!("FailedCreate"), &json!("exceeded quota")));
}

#[test]
fn the_status_adds_up_what_the_replica_sets_say() {
    let mut old = set("old", 1, 1, 1, 3, 4);
    old["status"]["terminatingReplicas"] = json!(2);
    let told = plan(&[deployment(3, 1, 0), old, set("new", 3, 2, 2, 3, 4)]);
    let mut status = status(&told).unwrap()["status"].clone();
    status.as_object_mut().unwrap().remove("conditions");
    let expected = json!({"replicas": 4, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
        "unavailableReplicas": 1, "terminatingReplicas": 2, "observedGeneration": 1});
    assert_eq!(status, expected);
}

#[test]
fn scaling_during_a_rollout_is_shared_in_proportion() {
    // The example of Kubernetes' documentation: 10 replicas, surge 3, 8 old and 5 new, scaled to 15.
    let objects = [deployment(15, 3, 2), set("old", 8, 8, 1, 10, 13), set("new", 5, 0, 2, 10, 13)];
    assert_eq!(sizes(&plan(&objects)), [("old".to_owned(), 11), ("new".to_owned(), 7)].into());
}

#[test]
fn scaling_tells_from_what_to_what() {
    let plan = plan(&[deployment(5, 1, 0), set("new", 3, 3, 1, 3, 4)]);
    let notes: Vec<_> = plan.writes().filter_map(|write| write.done.clone()).collect();
    assert_eq!(notes[0].reason, "ScalingReplicaSet");
    assert_eq!(notes[0].message, "Scaled up replica set web-new from 3 to 5");
}

#[test]
fn a_new_replica_set_is_numbered_and_says_for_which_size_it_is() {
    let plan = plan(&[deployment(3, 1, 0), set("old", 3, 3, 4, 3, 4)]);
    let Act::Create(made) = &plan.writes().next().unwrap().act else { panic!("{plan:#?}") };
    let annotations = &made["metadata"]["annotations"];
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "5");
    assert_eq!(annotations["deployment.kubernetes.io/desired-replicas"], "3");
    assert_eq!(annotations["deployment.kubernetes.io/max-replicas"], "4");
    assert_eq!(annotations["note"], "x");
    let hash = &made["metadata"]["labels"]["pod-template-hash"];
    assert_eq!(made["metadata"]["name"], format!("web-{}", hash.as_str().unwrap()));
    assert_eq!(made["spec"]["selector"]["matchLabels"]["pod-template-hash"], *hash);
    assert_eq!(made["spec"]["template"]["metadata"]["labels"]["pod-template-hash"], *hash);
    let status = status(&plan).unwrap();
    assert_eq!(status["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "5");
    let progressing = condition(status, "Progressing");
    assert_eq!(progressing["reason"], "NewReplicaSetCreated");
    assert!(progressing["message"].as_str().unwrap().starts_with("Created new replica set \"web-"));
}

#[test]
fn an_undone_template_gets_the_next_number_and_keeps_its_history() {
    let plan = plan(&[deployment(3, 1, 0), set("new", 0, 0, 1, 3, 4), set("old", 3, 3, 2, 3, 4)]);
    let Act::Update(set) = &plan.writes().next().unwrap().act else { panic!("{plan:#?}") };
    assert_eq!(set["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    assert_eq!(set["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"], "1");
}

/// A Pod of the first set beside the Deployment: it was told to go, and runs still.
fn pod_on_its_way_out() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "status": {"phase": "Running"}, "spec": {"nodeName": "a"},
        "metadata": {"name": "p", "namespace": "default", "deletionTimestamp": NOW, "labels": {"app": "web"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-old", "uid": "uid-1",
                "controller": true}]},
    })
}

#[test]
fn recreate_waits_until_the_last_old_pod_is_gone() {
    let recreate = |objects: &[Value]| {
        let mut all = objects.to_vec();
        all[0]["spec"]["strategy"] = json!({"type": "Recreate"});
        plan(&all)
    };
    let old = set("old", 3, 3, 1, 3, 3);
    assert_eq!(sizes(&recreate(&[deployment(3, 0, 0), old])), [("old".to_owned(), 0)].into());
    let empty = set("old", 0, 0, 1, 3, 3);
    let mut pod = pod_on_its_way_out();
    assert_eq!(sizes(&recreate(&[deployment(3, 0, 0), empty.clone(), pod.clone()])), BTreeMap::new());
    pod["status"]["phase"] = json!("Failed");
    let mut unaware = empty.clone();
    unaware["metadata"]["generation"] = json!(2);
    assert_eq!(sizes(&recreate(&[deployment(3, 0, 0), unaware, pod.clone()])), BTreeMap::new());
    assert_eq!(sizes(&recreate(&[deployment(3, 0, 0), empty, pod])), [("+".to_owned(), 3)].into());
}

#[test]
fn recreate_goes_on_when_the_size_changes_meanwhile() {
    // What there is of the old template and of the new one, both made for two Pods; what happens when three are wanted.
    let cases = [
        ("both, after the strategy has changed", Some(2), Some(2), vec![("old", 0)]),
        ("the old one", Some(2), None, vec![("old", 0)]),
        ("the new one", Some(0), Some(2), vec![("new", 3)]),
        ("the new one, large enough already", Some(0), Some(3), vec![("new", 3)]),
    ];
    for (about, old, new, expected) in cases {
        let mut recreate = deployment(3, 0, 0);
        recreate["spec"]["strategy"] = json!({"type": "Recreate"});
        let old = old.map(|size| set("old", size, size, 1, 2, 2));
        let new = new.map(|size| set("new", size, size, 2, 2, 2));
        let objects: Vec<Value> = [recreate].into_iter().chain(old).chain(new).collect();
        let expected = expected.into_iter().map(|(name, size)| (name.to_owned(), size)).collect();
        assert_eq!(sizes(&plan(&objects)), expected, "{about}");
    }
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut paused = deployment(5, 1, 0);
    paused["spec"]["paused"] = json!(true);
    let plan = plan(&[paused, set("old", 3, 3, 1, 3, 4)]);
    assert_eq!(sizes(&plan), [("old".to_owned(), 5)].into());
    let progressing = condition(status(&plan).unwrap(), "Progressing");
    assert_eq!(
        (&progressing["status"], &progressing["reason"]),
        (&json!("Unknown"), &json!("DeploymentPaused"))
    );
}

#[test]
fn recreate_paused_half_way_still_waits_for_the_old_pods() {
    let mut paused = deployment(5, 0, 0);
    paused["spec"]["paused"] = json!(true);
    paused["spec"]["strategy"] = json!({"type": "Recreate"});
    let pod = pod_on_its_way_out();
    let (old, new) = (set("old", 0, 0, 1, 3, 3), set("new", 3, 0, 2, 3, 3));
    let sets = [paused.clone(), old.clone(), new.clone()];
    assert_eq!(sizes(&plan(&[&sets[..], std::slice::from_ref(&pod)].concat())), BTreeMap::new());
    assert_eq!(sizes(&plan(&sets)), [("new".to_owned(), 5)].into());
    // Fewer can always be had.
    paused["spec"]["replicas"] = json!(2);
    assert_eq!(sizes(&plan(&[paused, old, new, pod])), [("new".to_owned(), 2)].into());
}

#[test]
fn a_pause_stops_the_clock_of_the_deadline_and_the_end_of_it_starts_it_anew() {
    // paused, reason before, reason now, whether the deadline is waited for
    let cases = [
        (true, "ReplicaSetUpdated", "DeploymentPaused", false),
        (true, "ProgressDeadlineExceeded", "ProgressDeadlineExceeded", false),
        (false, "DeploymentPaused", "DeploymentResumed", true),
    ];
    for (paused, before, after, waits) in cases {
        let mut deployment = deployment(3, 1, 0);
        deployment["spec"]["paused"] = json!(paused);
        deployment["status"] = json!({"conditions": [{"type": "Progressing", "status": "Unknown", "reason": before,
            "lastUpdateTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        let told = plan(&[deployment, set("new", 3, 1, 1, 3, 4)]);
        let status = status(&told).unwrap();
        assert_eq!(
            (&condition(status, "Progressing")["reason"], told.wake_at.is_some()),
            (&json!(after), waits),
            "{before}"
        );
    }
}

#[test]
fn progress_is_told_and_missed_deadlines_too() {
    // status before, reason before, seconds since, available, reason now
    let cases = [
        ("progress is made", "NewReplicaSetCreated", 10, 1, "ReplicaSetUpdated"),
        ("no progress within the deadline", "ReplicaSetUpdated", 10, 0, "ReplicaSetUpdated"),
        ("no progress beyond the deadline", "ReplicaSetUpdated", 601, 0, "ProgressDeadlineExceeded"),
        ("a missed deadline stays missed", "ProgressDeadlineExceeded", 5, 0, "ProgressDeadlineExceeded"),
        ("a late success is one", "ProgressDeadlineExceeded", 5, 3, "NewReplicaSetAvailable"),
        ("a complete rollout cannot time out", "NewReplicaSetAvailable", 5000, 0, "NewReplicaSetAvailable"),
    ];
    let now = Timestamp::parse(NOW).unwrap();
    for (name, reason, seconds, available, expected) in cases {
        let mut deployment = deployment(3, 1, 0);
        let since = Timestamp::from_seconds(now.as_seconds() - seconds);
        let status_before = if reason == "ProgressDeadlineExceeded" { "False" } else { "True" };
        deployment["status"] = json!({"replicas": 3, "updatedReplicas": 3, "conditions": [{"type": "Progressing",
            "status": status_before, "reason": reason, "lastUpdateTime": since, "lastTransitionTime": since}]});
        let plan = plan(&[deployment, set("new", 3, available, 1, 3, 4)]);
        let status = status(&plan).unwrap();
        assert_eq!(condition(status, "Progressing")["reason"], expected, "{name}");
        let enough = if available == 3 { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" };
        assert_eq!(condition(status, "Available")["reason"], enough, "{name}");
        let waits = matches!(expected, "ReplicaSetUpdated");
        assert_eq!(plan.wake_at.is_some(), waits, "{name}");
    }
}

#[test]
fn the_oldest_replica_sets_beyond_the_limit_are_forgotten() {
    let mut deployment = deployment(3, 1, 0);
    deployment["spec"]["revisionHistoryLimit"] = json!(1);
    let sets = [set("a", 0, 0, 1, 3, 4), set("b", 0, 0, 2, 3, 4), set("new", 3, 3, 3, 3, 4)];
    let plan = plan(&[vec![deployment], sets.to_vec()].concat());
    let gone: Vec<String> = plan
        .writes()
        .filter(|w| matches!(w.act, Act::Delete { .. }))
        .map(|w| w.key.name.to_string())
        .collect();
    assert_eq!(gone, ["web-a"]);
}

#[test]
fn a_name_that_is_taken_is_a_collision() {
    let first = plan(&[deployment(3, 1, 0)]);
    let name = first.writes().next().unwrap().key.name.to_string();
    let mut taken = set("old", 1, 1, 1, 3, 4);
    taken["metadata"]["name"] = json!(name);
    taken["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "other",
        "uid": "o", "controller": true}]);
    let plan = plan(&[deployment(3, 1, 0), taken]);
    assert!(sizes(&plan).is_empty());
    assert_eq!(status(&plan).unwrap()["status"]["collisionCount"], 1);
}

#[test]
fn an_orphan_is_adopted_and_a_stranger_released_before_anything_else() {
    let mut orphan = set("old", 1, 1, 1, 3, 4);
    orphan["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    let plan = plan(&[deployment(3, 1, 0), orphan]);
    let writes: Vec<_> = plan.writes().collect();
    assert_eq!(writes.len(), 1);
    let Act::Patch(patch) = &writes[0].act else { panic!("{writes:#?}") };
    assert_eq!(patch["metadata"]["ownerReferences"][0]["uid"], "d");
}

#[test]
fn a_settled_deployment_writes_nothing() {
    let ledger =
        Ledger::with(Timestamp::parse(NOW).unwrap(), &[deployment(3, 1, 0), set("new", 3, 3, 1, 3, 4)]);
    let key = Name::new("default", "web");
    ledger.carry_out(&(super::CONTROLLER.reconcile)(&key, &ledger.world()));
    ledger.carry_out(&(super::CONTROLLER.reconcile)(&key, &ledger.world()));
    assert_eq!((super::CONTROLLER.reconcile)(&key, &ledger.world()), Plan::nothing());
}

//! ReplicaSets and ReplicationControllers: as many Pods as wanted.
//!
//! Reads the set and the Pods it owns or could adopt; writes Pods and the set's status.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use edge_api::kind::Kind;
use edge_api::kinds;
use edge_api::time::Timestamp;
use serde_json::json;

use crate::mirror::{Delta, Detail, Mirror, Name, Object, Phase, Pod, ReplicaSet, World};
use crate::reconcile::Controller;
use crate::reconcile::condition;
use crate::reconcile::ownership::{claim, owner_key};
use crate::reconcile::plan::{Plan, Write};
use crate::reconcile::template;

const KIND: &Kind = &kinds::replica_set::KIND;
const LEGACY_KIND: &Kind = &kinds::replication_controller::KIND;
const POD: &Kind = &kinds::pod::KIND;

/// The most Pods that one plan makes or deletes.
const BURST: usize = 500;

/// The table's entry.
pub const CONTROLLER: Controller = Controller {
    name: "replicaset-controller",
    begins: &[],
    wakes: |delta, world, wake| match &delta.detail {
        Detail::ReplicaSet(_) => wake(delta.key.clone()),
        _ => wakes(KIND, &world.replica_sets, delta, wake),
    },
    reconcile: |key, world| reconcile(KIND, &world.replica_sets, key, world),
};

/// The table's entry for ReplicationControllers.
pub const LEGACY: Controller = Controller {
    name: "replication-controller",
    begins: &[],
    wakes: |delta, world, wake| match &delta.detail {
        Detail::ReplicationController(_) => wake(delta.key.clone()),
        _ => wakes(LEGACY_KIND, &world.replication_controllers, delta, wake),
    },
    reconcile: |key, world| reconcile(LEGACY_KIND, &world.replication_controllers, key, world),
};

fn wakes(kind: &Kind, sets: &Mirror<ReplicaSet>, delta: &Delta, wake: &mut dyn FnMut(Name)) {
    let Detail::Pod((_, after)) = &delta.detail else { return };
    let old = owner_key(kind, delta.before.as_ref());
    let new = owner_key(kind, delta.after.as_ref());
    if let Some(pod) = after
        && pod.meta.controller().is_none()
    {
        let sets = sets.in_namespace(&pod.meta.namespace);
        sets.filter(|set| set.body.selector.matches(&pod.meta.labels)).for_each(|set| wake(set.key()));
    }
    if old != new {
        old.into_iter().for_each(&mut *wake);
    }
    new.into_iter().for_each(wake);
}

fn reconcile(kind: &'static Kind, sets: &Mirror<ReplicaSet>, key: &Name, world: &World) -> Plan {
    let Some(set) = sets.at(key) else { return Plan::nothing() };
    let claimed = claim(kind, &set.meta, &set.body.selector, POD, &world.pods);
    let mut plan = Plan { looked_at: claimed.own.len(), ..Plan::nothing() };
    if !claimed.writes.is_empty() {
        plan.together(claimed.writes);
        return plan;
    }
    let ending = claimed.own.iter().filter(|pod| pod.meta.deleting() && !pod.body.finished()).count();
    let active: Vec<Arc<Object<Pod>>> = claimed.own.into_iter().filter(|pod| is_active(pod)).collect();
    update_status(kind, set, &active, ending, world, &mut plan);
    if !set.meta.deleting() {
        let wanted = usize::try_from(set.body.replicas).unwrap_or(0);
        match active.len().cmp(&wanted) {
            Ordering::Less => {
                create_pods(kind, set, (wanted - active.len()).min(BURST), world, &mut plan);
            }
            Ordering::Greater => delete_pods(kind, set, active, wanted, world, &mut plan),
            Ordering::Equal => {}
        }
    }
    plan
}

/// Whether a Pod counts: not ended, not on its way out.
pub fn is_active(pod: &Object<Pod>) -> bool {
    !pod.body.finished() && !pod.meta.deleting()
}

fn create_pods(kind: &'static Kind, set: &Object<ReplicaSet>, count: usize, world: &World, plan: &mut Plan) {
    let tree = set.tree();
    let prefix = format!("{}-", set.meta.name);
    let pod = Arc::new(template::pod(kind, &set.meta, &tree["spec"]["template"], "", Some(&prefix)));
    let create = |index: usize| {
        let name = template::fresh_name(&prefix, &set.meta, &index.to_string(), world);
        template::copy(kind, &set.meta, &pod, &name)
    };
    plan.stages.extend(template::slowly((0..count).map(create).collect()));
}

fn delete_pods(
    kind: &'static Kind,
    set: &Object<ReplicaSet>,
    mut active: Vec<Arc<Object<Pod>>>,
    wanted: usize,
    world: &World,
    plan: &mut Plan,
) {
    let surplus = active.len() - wanted;
    if wanted > 0 {
        let related = related_per_node(set, world);
        active.sort_by(|a, b| deletion_order(a, b, &related, world.now));
    }
    let chosen = active.into_iter().take(surplus.min(BURST));
    let writes = chosen.map(|pod| template::delete(kind, &set.meta, &pod.meta).planned_on(pod.revision));
    plan.together(writes.collect());
}

/// How many active Pods of the same Deployment are on each node.
fn related_per_node(set: &Object<ReplicaSet>, world: &World) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    let mut count = |uid: &str| {
        for pod in world.pods.owned_by(uid).filter(|pod| is_active(pod)) {
            if let Some(node) = &pod.body.node {
                *counts.entry(node.clone()).or_default() += 1;
            }
        }
    };
    match set.meta.controller() {
        Some(owner) => world.replica_sets.owned_by(&owner.uid).for_each(|set| count(&set.meta.uid)),
        None => count(&set.meta.uid),
    }
    counts
}

/// Kubernetes' order of Pods to delete, the first one first.
fn deletion_order(
    a: &Object<Pod>,
    b: &Object<Pod>,
    related: &HashMap<String, usize>,
    now: Timestamp,
) -> Ordering {
    let phase = |pod: &Object<Pod>| match pod.body.phase {
        Phase::Pending => 0,
        Phase::Unknown => 1,
        _ => 2,
    };
    let cost = |pod: &Object<Pod>| -> i64 {
        let text = pod.meta.annotations.get("controller.kubernetes.io/pod-deletion-cost");
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let crowd =
        |pod: &Object<Pod>| pod.body.node.as_ref().and_then(|node| related.get(node)).copied().unwrap_or(0);
    let since = |pod: &Object<Pod>| pod.body.ready.then_some(pod.body.ready_since).flatten();
    a.body
        .node
        .is_some()
        .cmp(&b.body.node.is_some())
        .then_with(|| phase(a).cmp(&phase(b)))
        .then_with(|| a.body.ready.cmp(&b.body.ready))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| crowd(b).cmp(&crowd(a)))
        .then_with(|| younger_first(since(a), since(b), a, b, now))
        .then_with(|| b.body.restarts.cmp(&a.body.restarts))
        .then_with(|| younger_first(a.meta.creation_timestamp, b.meta.creation_timestamp, a, b, now))
        .then_with(|| a.meta.uid.cmp(&b.meta.uid))
}

/// Younger Pods first, but ages that are close on a logarithmic scale count as equal and are told apart at random,
/// which is to say by uid.
fn younger_first(
    a: Option<Timestamp>,
    b: Option<Timestamp>,
    pod_a: &Object<Pod>,
    pod_b: &Object<Pod>,
    now: Timestamp,
) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let rank = |time: Option<Timestamp>| -> i64 {
        let age = time.map_or(0, |time| now.since(time).as_nanos());
        if age == 0 { -1 } else { i64::from(age.ilog2()) }
    };
    rank(a).cmp(&rank(b)).then_with(|| pod_a.meta.uid.cmp(&pod_b.meta.uid))
}

fn update_status(
    kind: &'static Kind,
    set: &Object<ReplicaSet>,
    active: &[Arc<Object<Pod>>],
    ending: usize,
    world: &World,
    plan: &mut Plan,
) {
    let wanted = &set.body.template_labels;
    let labelled = |pod: &&Arc<Object<Pod>>| wanted.iter().all(|(k, v)| pod.meta.labels.get(k) == Some(v));
    let mut available = 0;
    for pod in active {
        match pod.body.available(set.body.min_ready_seconds, world.now) {
            Ok(()) => available += 1,
            Err(Some(then)) => plan.wake(then),
            Err(None) => {}
        }
    }
    let mut conditions = set.body.conditions.clone();
    match &world.failure {
        Some(failure) if condition::find(&conditions, "ReplicaFailure").is_none() => {
            condition::set(
                &mut conditions,
                "ReplicaFailure",
                "True",
                failure.reason,
                failure.message.clone(),
                world.now,
            );
        }
        Some(_) => {}
        None => condition::unset(&mut conditions, "ReplicaFailure"),
    }
    let mut status = json!({"replicas": active.len(), "observedGeneration": set.meta.generation});
    // ReplicationControllers know no such field.
    if kind == KIND {
        status["terminatingReplicas"] = json!(ending);
    }
    let counts = [
        ("fullyLabeledReplicas", active.iter().filter(labelled).count()),
        ("readyReplicas", active.iter().filter(|pod| pod.body.ready).count()),
        ("availableReplicas", available),
    ];
    for (field, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        status[field] = json!(count);
    }
    if !conditions.is_empty() {
        status["conditions"] = condition::to_json(&conditions, false);
    }
    if status != set.body.status {
        let mut tree = set.tree();
        tree["status"] = status;
        plan.then(Write::status(kind, set.key(), set.revision, tree));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::Value;

    use super::*;
    use crate::mirror::Failure;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;

    fn now() -> Timestamp {
        Timestamp::parse("2026-01-01T01:00:00Z").unwrap()
    }

    fn set(replicas: i64) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": "web", "namespace": "default", "uid": "s"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}},
        })
    }

    fn pod(name: &str, change: Value) -> Value {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"},
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "s",
                    "controller": true}]},
            "spec": {"nodeName": "a"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        });
        merge(&mut pod, &change);
        pod
    }

    fn merge(into: &mut Value, from: &Value) {
        match from.as_object() {
            Some(fields) => fields.iter().for_each(|(field, value)| merge(&mut into[field], value)),
            None => *into = from.clone(),
        }
    }

    fn world(objects: &[Value]) -> World {
        Ledger::with(now(), objects).world()
    }

    fn plan(world: &World) -> Plan {
        (CONTROLLER.reconcile)(&Name::new("default", "web"), world)
    }

    fn deleted(plan: &Plan) -> Vec<String> {
        let deletes = plan.writes().filter(|write| matches!(write.act, Act::Delete { .. }));
        deletes.map(|write| write.key.name.to_string()).collect()
    }

    #[test]
    fn pods_are_made_in_growing_batches_with_names_of_their_own() {
        let plan = plan(&world(&[set(9)]));
        let batches: Vec<usize> = plan
            .stages
            .iter()
            .map(|stage| stage.iter().filter_map(Write::object).count())
            .filter(|count| *count > 0)
            .collect();
        assert_eq!(batches, [1, 2, 4, 2]);
        let names: std::collections::BTreeSet<_> =
            plan.writes().map(|write| write.key.name.clone()).collect();
        // One of the writes is the status.
        assert_eq!(names.len(), 10);
        assert!(names.iter().all(|name| &**name == "web" || name.len() == "web-xxxxx".len()));
    }

    #[test]
    fn the_same_world_gives_the_same_names() {
        assert_eq!(plan(&world(&[set(3)])), plan(&world(&[set(3)])));
    }

    #[test]
    fn the_pod_to_delete_is_the_one_kubernetes_would() {
        let other_time = "2026-01-01T00:59:00Z";
        let cases = [
            ("unassigned before assigned", json!({"spec": {"nodeName": null}})),
            ("pending before running", json!({"status": {"phase": "Pending"}})),
            (
                "not ready before ready",
                json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}),
            ),
            (
                "cheap before dear",
                json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}}),
            ),
            (
                "ready for a short time before a long one",
                json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": other_time}]}}),
            ),
            (
                "often restarted before seldom",
                json!({"status": {"containerStatuses": [{"restartCount": 3}]}}),
            ),
            ("young before old", json!({"metadata": {"creationTimestamp": other_time}})),
        ];
        for (name, change) in cases {
            let objects = [set(2), pod("a", json!({})), pod("b", change), pod("c", json!({}))];
            assert_eq!(deleted(&plan(&world(&objects))), ["b"], "{name}");
        }
        let crowded = [
            set(2),
            pod("a", json!({"spec": {"nodeName": "n"}})),
            pod("b", json!({"spec": {"nodeName": "m"}})),
            pod("c", json!({"spec": {"nodeName": "m"}})),
        ];
        assert!(["b", "c"].contains(&deleted(&plan(&world(&crowded)))[0].as_str()), "crowded nodes first");
    }

    #[test]
    fn finished_and_leaving_pods_do_not_count() {
        let objects = [
            set(2),
            pod("a", json!({})),
            pod("b", json!({"status": {"phase": "Failed"}})),
            pod("c", json!({"metadata": {"deletionTimestamp": "2026-01-01T01:00:30Z"}})),
        ];
        let plan = plan(&world(&objects));
        let made = plan.writes().filter_map(Write::object).count();
        assert_eq!(made, 1);
        let Act::Status(set) = &plan.writes().next().unwrap().act else { panic!("{plan:#?}") };
        assert_eq!(
            (&set["status"]["replicas"], &set["status"]["terminatingReplicas"]),
            (&json!(1), &json!(1))
        );
    }

    #[test]
    fn a_pod_is_available_after_min_ready_seconds() {
        let mut slow = set(1);
        slow["spec"]["minReadySeconds"] = json!(30);
        let ready = |time: &str| {
            pod(
                "a",
                json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time}]}}),
            )
        };
        for (time, available, wakes) in
            [("2026-01-01T00:59:40Z", Value::Null, true), ("2026-01-01T00:59:30Z", json!(1), false)]
        {
            let plan = plan(&world(&[slow.clone(), ready(time)]));
            let Act::Status(object) = &plan.writes().next().unwrap().act else { panic!("{plan:#?}") };
            assert_eq!(object["status"]["readyReplicas"], 1);
            assert_eq!(object["status"]["availableReplicas"], available);
            assert_eq!(plan.wake_at.is_some(), wakes);
        }
    }

    #[test]
    fn what_cannot_be_made_is_said_in_the_status() {
        let mut world = world(&[set(1)]);
        world.failure = Some(Failure { reason: "FailedCreate", message: "quota".to_owned() });
        let plan = plan(&world);
        let Act::Status(object) = &plan.writes().next().unwrap().act else { panic!("{plan:#?}") };
        let condition = &object["status"]["conditions"][0];
        assert_eq!(
            (&condition["type"], &condition["reason"]),
            (&json!("ReplicaFailure"), &json!("FailedCreate"))
        );
    }

    #[test]
    fn orphans_are_adopted_and_strangers_released() {
        let mut orphan = pod("orphan", json!({}));
        orphan["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        let stranger = pod("stranger", json!({"metadata": {"labels": {"app": "else"}}}));
        let mut owners = std::collections::BTreeMap::new();
        for write in plan(&world(&[set(1), orphan, stranger])).writes() {
            let Act::Patch(patch) = &write.act else { panic!("{write:#?}") };
            owners.insert(
                write.key.name.to_string(),
                patch["metadata"]["ownerReferences"].as_array().unwrap().len(),
            );
        }
        assert_eq!(owners, [("orphan".to_owned(), 1), ("stranger".to_owned(), 0)].into());
    }

    #[test]
    fn a_replication_controller_is_a_replica_set_with_a_plainer_selector() {
        let controller = json!({
            "apiVersion": "v1", "kind": "ReplicationController",
            "metadata": {"name": "web", "namespace": "default", "uid": "c"},
            "spec": {"replicas": 2, "selector": {"app": "web"},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}},
        });
        let key = Name::new("default", "web");
        let mut orphan = pod("orphan", json!({}));
        orphan["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        let plan = (LEGACY.reconcile)(&key, &world(&[controller.clone(), orphan]));
        let Act::Patch(patch) = &plan.writes().next().unwrap().act else { panic!("{plan:#?}") };
        assert_eq!(patch["metadata"]["ownerReferences"][0]["kind"], "ReplicationController");
        let plan = (LEGACY.reconcile)(
            &key,
            &world(&[controller, pod("other", json!({"metadata": {"labels": {"app": "x"}}}))]),
        );
        assert_eq!(plan.writes().filter_map(Write::object).count(), 2);
        let statuses = plan.writes().filter_map(|write| match &write.act {
            Act::Status(object) => Some(&object["status"]),
            _ => None,
        });
        let expected = json!({"observedGeneration": 1, "replicas": 0});
        assert_eq!(statuses.collect::<Vec<_>>(), [&expected], "it does not know who is on the way out");
    }
}

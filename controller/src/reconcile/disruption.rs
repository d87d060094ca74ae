//! PodDisruptionBudgets: how many Pods may be taken away now.
//!
//! Reads the budget, the Pods it selects and what manages them; writes the budget's status. The API grants evictions
//! from that status and notes each Pod in it; a note is kept until the Pod is seen to go, or for two minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use edge_api::kind::Kind;
use edge_api::kinds;
use edge_api::time::Timestamp;
use serde_json::json;

use crate::mirror::{Budget, Delta, Detail, Meta, Name, Object, Owner, Pod, World};
use crate::reconcile::Controller;
use crate::reconcile::condition;
use crate::reconcile::plan::{Note, Plan, Write};

const KIND: &Kind = &kinds::pod_disruption_budget::KIND;

/// How long a granted eviction may take to show.
const GRANTED: Duration = Duration::from_secs(120);

/// The table's entry.
pub const CONTROLLER: Controller =
    Controller { name: "disruption-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    let mut all = |namespace: &str, labels: &[&Arc<Meta>]| {
        for budget in world.budgets.in_namespace(namespace) {
            if labels.is_empty() || labels.iter().any(|meta| budget.body.selector.matches(&meta.labels)) {
                wake(budget.key());
            }
        }
    };
    match &delta.detail {
        Detail::Budget(_) => wake(delta.key.clone()),
        Detail::Pod(_) => {
            let metas: Vec<&Arc<Meta>> = delta.before.iter().chain(&delta.after).collect();
            all(&delta.key.namespace, &metas);
        }
        // How many Pods there should be may have changed.
        Detail::ReplicaSet(_)
        | Detail::ReplicationController(_)
        | Detail::StatefulSet(_)
        | Detail::Deployment(_) => all(&delta.key.namespace, &[]),
        _ => {}
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let mut plan = Plan::nothing();
    let Some(budget) = world.budgets.at(key) else { return plan };
    let pods: Vec<&Arc<Object<Pod>>> = world
        .pods
        .selected(&key.namespace, &budget.body.selector)
        .into_iter()
        .filter(|pod| !pod.body.finished())
        .collect();
    let disrupted = disrupted(budget, &pods, world.now, &mut plan);
    let healthy = pods
        .iter()
        .filter(|pod| !pod.meta.deleting() && !disrupted.contains_key(&*pod.meta.name) && pod.body.ready);
    let healthy = i64::try_from(healthy.count()).unwrap_or(i64::MAX);
    plan.notes.extend(unmanaged(budget, &pods));
    let (expected, desired) = match demand(budget, &pods, world) {
        Ok(found) => found,
        Err(why) => {
            let why = format!("Failed to calculate the number of expected pods: {why}");
            plan.notes.push(Note::warning(KIND, &budget.meta, "CalculateExpectedPodCountFailed", why));
            (i64::try_from(pods.len()).unwrap_or(i64::MAX), i64::MAX)
        }
    };
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    write(
        budget,
        [allowed, healthy, desired.min(i64::from(i32::MAX)), expected],
        &disrupted,
        world.now,
        &mut plan,
    );
    plan
}

/// The evictions that were granted and do not show yet.
fn disrupted(
    budget: &Object<Budget>,
    pods: &[&Arc<Object<Pod>>],
    now: Timestamp,
    plan: &mut Plan,
) -> BTreeMap<String, Timestamp> {
    let mut kept = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pod.meta.deleting()) {
        if let Some(time) = budget.body.disrupted.get(&*pod.meta.name) {
            let then = time.plus(GRANTED);
            if then > now {
                plan.wake(then);
                kept.insert(pod.meta.name.to_string(), *time);
            }
        }
    }
    kept
}

/// How many Pods there should be, and how many must be healthy.
fn demand(budget: &Object<Budget>, pods: &[&Arc<Object<Pod>>], world: &World) -> Result<(i64, i64), String> {
    use crate::mirror::IntOrPercent::{Count, Percent};
    let there = i64::try_from(pods.len()).unwrap_or(i64::MAX);
    match (budget.body.max_unavailable, budget.body.min_available) {
        (Some(most), _) => {
            let expected = wanted(pods, world)?;
            Ok((expected, (expected - most.up(expected)).max(0)))
        }
        (None, Some(Count(least))) => Ok((there, least)),
        (None, Some(least @ Percent(_))) => {
            let expected = wanted(pods, world)?;
            Ok((expected, least.up(expected)))
        }
        (None, None) => Ok((there, 0)),
    }
}

/// Tells of Pods that nobody would make again: how many there should be of them cannot be known.
fn unmanaged(budget: &Object<Budget>, pods: &[&Arc<Object<Pod>>]) -> Option<Note> {
    use crate::mirror::IntOrPercent::Percent;
    let counted =
        budget.body.max_unavailable.is_some() || matches!(budget.body.min_available, Some(Percent(_)));
    if !counted || pods.iter().all(|pod| pod.meta.controller().is_some()) {
        return None;
    }
    let selector = &budget.tree()["spec"]["selector"];
    let message = format!(
        "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the \
         status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these \
         pods please set \".spec.minAvailable\" field of the PDB to an integer value."
    );
    Some(Note::warning(KIND, &budget.meta, "UnmanagedPods", message))
}

/// How many Pods the managers of these Pods want in all; those without one are left out.
fn wanted(pods: &[&Arc<Object<Pod>>], world: &World) -> Result<i64, String> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut sum = 0;
    for pod in pods {
        let Some(owner) = pod.meta.controller() else { continue };
        let (uid, replicas) = manager(pod, owner, world)?;
        if seen.insert(uid) {
            sum += replicas;
        }
    }
    Ok(sum)
}

/// What manages a Pod, and how many Pods it wants.
fn manager(pod: &Object<Pod>, owner: &Owner, world: &World) -> Result<(String, i64), String> {
    let name = &pod.meta.name;
    let key = Name::new(&pod.meta.namespace, &owner.name);
    let found = match owner.kind.as_str() {
        "ReplicaSet" => world.replica_sets.at(&key).map(|set| {
            let above = set.meta.controller().filter(|owner| owner.kind == "Deployment");
            let above = above.and_then(|owner| {
                world
                    .deployments
                    .at(&Name::new(&key.namespace, &owner.name))
                    .filter(|one| *one.meta.uid == owner.uid)
            });
            match above {
                Some(deployment) => (deployment.meta.uid.to_string(), deployment.body.replicas),
                None => (set.meta.uid.to_string(), set.body.replicas),
            }
        }),
        "ReplicationController" => {
            world.replication_controllers.at(&key).map(|set| (set.meta.uid.to_string(), set.body.replicas))
        }
        "StatefulSet" => {
            world.stateful_sets.at(&key).map(|set| (set.meta.uid.to_string(), set.body.replicas))
        }
        kind => return Err(format!("{}s does not implement the scale subresource", kind.to_lowercase())),
    };
    found.ok_or_else(|| format!("found no {} {:?} of pod {name:?}", owner.kind.to_lowercase(), owner.name))
}

fn write(
    budget: &Object<Budget>,
    [allowed, healthy, desired, expected]: [i64; 4],
    disrupted: &BTreeMap<String, Timestamp>,
    now: Timestamp,
    plan: &mut Plan,
) {
    let mut conditions = budget.body.conditions.clone();
    let (status, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    condition::set(&mut conditions, "DisruptionAllowed", status, reason, String::new(), now);
    let mut all = condition::to_json(&conditions, false);
    for one in all.as_array_mut().into_iter().flatten() {
        one["observedGeneration"] = json!(budget.meta.generation);
        if one["message"].is_null() {
            one["message"] = json!("");
        }
    }
    let mut status = json!({"observedGeneration": budget.meta.generation, "disruptionsAllowed": allowed,
        "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected, "conditions": all});
    if !disrupted.is_empty() {
        status["disruptedPods"] = json!(disrupted);
    }
    if status != budget.body.status {
        let mut tree = budget.tree();
        tree["status"] = status;
        plan.then(Write::status(KIND, budget.key(), budget.revision, tree));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;
    use serde_json::Value;

    const NOW: &str = "2026-01-01T00:01:00Z";

    fn budget(spec: Value, status: Value) -> Value {
        let mut budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "b", "namespace": "default"}, "spec": spec, "status": status});
        budget["spec"]["selector"] = json!({"matchLabels": {"app": "web"}});
        budget
    }

    fn set(replicas: i64) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web", "namespace": "default", "uid": "s"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {}}})
    }

    fn pod(name: &str, ready: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "s", "controller": true}]},
            "spec": {"nodeName": "n"}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}})
    }

    fn status(objects: &[Value]) -> (Plan, Value) {
        let ledger = Ledger::with(Timestamp::parse(NOW).unwrap(), objects);
        let plan = reconcile(&Name::new("default", "b"), &ledger.world());
        let Act::Status(object) = &plan.writes().next().unwrap().act else { panic!("{plan:#?}") };
        let status = object["status"].clone();
        (plan, status)
    }

    fn numbers(status: &Value) -> [i64; 4] {
        ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"]
            .map(|field| status[field].as_i64().unwrap())
    }

    #[test]
    fn what_may_go_is_what_is_healthy_beyond_what_must_be() {
        let cases = [
            (json!({"minAvailable": 2}), 5, 3, [1, 3, 2, 3]),
            (json!({"minAvailable": 3}), 5, 3, [0, 3, 3, 3]),
            (json!({"minAvailable": "50%"}), 5, 3, [0, 3, 3, 5]),
            (json!({"maxUnavailable": 1}), 3, 3, [1, 3, 2, 3]),
            (json!({"maxUnavailable": 1}), 4, 3, [0, 3, 3, 4]),
            (json!({"maxUnavailable": "30%"}), 5, 5, [2, 5, 3, 5]),
            (json!({"maxUnavailable": 0}), 3, 3, [0, 3, 3, 3]),
        ];
        for (spec, replicas, there, expected) in cases {
            let mut objects = vec![budget(spec.clone(), json!({})), set(replicas)];
            objects.extend((0..there).map(|i| pod(&format!("p{i}"), "True")));
            let (_, status) = status(&objects);
            assert_eq!(numbers(&status), expected, "{spec}");
            let reason = if expected[0] > 0 { "SufficientPods" } else { "InsufficientPods" };
            assert_eq!(status["conditions"][0]["reason"], reason);
        }
    }

    #[test]
    fn pods_that_are_not_ready_leaving_or_granted_are_not_healthy() {
        let mut leaving = pod("leaving", "True");
        leaving["metadata"]["deletionTimestamp"] = json!(NOW);
        let granted = json!({"disruptedPods": {"granted": "2026-01-01T00:00:30Z", "gone": "2026-01-01T00:00:30Z",
            "late": "2025-12-31T23:59:00Z"}});
        let objects = [
            budget(json!({"minAvailable": 1}), granted),
            set(5),
            pod("a", "True"),
            pod("late", "True"),
            pod("b", "False"),
            pod("granted", "True"),
            leaving,
        ];
        let (plan, status) = status(&objects);
        assert_eq!(numbers(&status), [1, 2, 1, 5]);
        assert_eq!(status["disruptedPods"], json!({"granted": "2026-01-01T00:00:30Z"}));
        assert_eq!(plan.wake_at.unwrap().seconds(), "2026-01-01T00:02:30Z");
    }

    #[test]
    fn a_budget_that_cannot_tell_allows_nothing() {
        let mut bare = pod("a", "True");
        bare["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        let (plan, status) = status(&[budget(json!({"maxUnavailable": 1}), json!({})), bare]);
        assert_eq!(numbers(&status), [0, 1, 0, 0]);
        assert_eq!(plan.notes[0].reason, "UnmanagedPods");
        let mut odd = pod("a", "True");
        odd["metadata"]["ownerReferences"][0]["kind"] = json!("Thing");
        let (plan, status) = self::status(&[budget(json!({"maxUnavailable": 1}), json!({})), odd]);
        assert_eq!(status["disruptionsAllowed"], 0);
        assert_eq!(plan.notes[0].reason, "CalculateExpectedPodCountFailed");
    }
}

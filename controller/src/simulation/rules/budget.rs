//! PodDisruptionBudgets: no eviction takes a Pod that the budget needs.

use std::collections::BTreeMap;

use crate::mirror::{Budget, Detail, Object, World};
use crate::simulation::rule::{Author, Rounded, Rule, Step, amount, same, serves};

/// See the module.
#[derive(Default)]
pub struct Budgets {
    /// How many Pods of each budget others have taken away since the control plane was quiet; none if how many are
    /// wanted has changed.
    others: BTreeMap<String, Option<i64>>,
}

/// How many Pods must serve; none if that cannot be told.
fn needed(budget: &Object<Budget>) -> Option<i64> {
    let spec = &budget.tree()["spec"];
    if let Some(least) = spec["minAvailable"].as_i64() {
        return Some(least);
    }
    let expected = budget.body.status["expectedPods"].as_i64()?;
    Some(match &spec["maxUnavailable"] {
        serde_json::Value::Null => amount(&spec["minAvailable"], expected, Rounded::Up),
        most => expected - amount(most, expected, Rounded::Up),
    })
}

/// Whether a change makes another number of Pods wanted.
fn resizes(detail: &Detail) -> bool {
    match detail {
        Detail::Deployment((before, after)) => {
            before.as_ref().map(|one| one.body.replicas) != after.as_ref().map(|one| one.body.replicas)
        }
        Detail::StatefulSet((before, after)) => {
            before.as_ref().map(|one| one.body.replicas) != after.as_ref().map(|one| one.body.replicas)
        }
        // One of a Deployment is resized all the time; how many Pods are wanted, the Deployment says.
        Detail::ReplicaSet((before, after))
            if after.as_ref().is_none_or(|set| set.meta.controller().is_none()) =>
        {
            before.as_ref().map(|one| one.body.replicas) != after.as_ref().map(|one| one.body.replicas)
        }
        _ => false,
    }
}

impl Rule for Budgets {
    fn promise(&self) -> &'static str {
        "no eviction takes a Pod that its budget needs"
    }

    fn see(&mut self, step: &Step<'_>) -> Result<(), String> {
        if matches!(step.delta.detail, Detail::Budget((None, Some(_)))) {
            self.others.insert(step.delta.key.to_string(), None);
        }
        if resizes(&step.delta.detail) {
            self.others.values_mut().for_each(|others| *others = None);
        }
        let Some(change) = step.pod().filter(|change| change.is_lost()) else { return Ok(()) };
        let pod = change.pod();
        for budget in step.truth.budgets.in_namespace(&pod.meta.namespace) {
            if !budget.body.selector.matches(&pod.meta.labels) {
                continue;
            }
            let Some(Some(others)) = self.others.get_mut(&budget.key().to_string()) else { continue };
            if step.author != Author::Eviction {
                *others += 1;
                continue;
            }
            let pods = step.truth.pods.selected(&pod.meta.namespace, &budget.body.selector);
            let left = pods.into_iter().filter(|pod| serves(pod)).count() as i64;
            let needed = needed(budget).unwrap_or(0);
            if left < needed - *others {
                let name = &budget.meta.name;
                return Err(format!(
                    "{name} needs {needed}, {left} serve without {}, {others} lost",
                    pod.key()
                ));
            }
        }
        Ok(())
    }

    fn quiet(&mut self, truth: &World) {
        self.others = truth.budgets.all().map(|budget| (budget.key().to_string(), Some(0))).collect();
    }

    fn settled(&self, truth: &World) -> Result<(), String> {
        for budget in truth.budgets.all() {
            let pods = truth.pods.selected(&budget.meta.namespace, &budget.body.selector);
            let serving = pods.into_iter().filter(|pod| serves(pod)).count() as i64;
            let status = &budget.body.status;
            let name = &budget.meta.name;
            same(&format!("currentHealthy of {name}"), status["currentHealthy"].as_i64(), Some(serving))?;
            let seen = status["observedGeneration"].as_i64();
            same(&format!("observedGeneration of {name}"), seen, Some(budget.meta.generation))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::simulation::rules::history::{Event, check, going, object, phase, pod, user, with};

    fn budget(spec: Value) -> Event {
        let status = json!({"expectedPods": 3, "currentHealthy": 3, "observedGeneration": 1});
        let spec = with(json!({"selector": {"matchLabels": {"app": "a"}}}), spec);
        user(with(object("policy/v1", "PodDisruptionBudget", "b"), json!({"spec": spec, "status": status})))
    }

    fn of(name: &str) -> Value {
        with(pod(name), json!({"metadata": {"labels": {"app": "a"}}}))
    }

    fn three(spec: Value) -> Vec<Event> {
        let pods = ["x", "y", "z"].map(|name| user(of(name)));
        [vec![budget(spec)], pods.to_vec(), vec![Event::Quiet]].concat()
    }

    fn evicted(name: &str) -> Event {
        Event::Put(Author::Eviction, going(of(name)))
    }

    #[test]
    fn an_eviction_can_take_a_pod_that_is_needed() {
        let least = |least: Value| three(json!({ "minAvailable": least }));
        let most = |most: Value| three(json!({ "maxUnavailable": most }));
        let then = |events: Vec<Event>, more: Vec<Event>| [events, more].concat();
        let deleted = || user(going(of("x")));
        let set = |replicas: i64| {
            user(with(object("apps/v1", "StatefulSet", "s"), json!({"spec": {"replicas": replicas}})))
        };
        check::<Budgets>(&[
            ("one of three, two are needed", then(least(json!(2)), vec![evicted("x")]), None),
            (
                "two of three, two are needed",
                then(least(json!(2)), vec![evicted("x"), evicted("y")]),
                Some("b needs 2, 1 serve without default/y"),
            ),
            (
                "two of three, half are needed",
                then(least(json!("50%")), vec![evicted("x"), evicted("y")]),
                Some("b needs 2"),
            ),
            (
                "two of three, one may be missing",
                then(most(json!(1)), vec![evicted("x"), evicted("y")]),
                Some("b needs 2"),
            ),
            (
                "two of three, 40% may be missing",
                then(most(json!("40%")), vec![evicted("x"), evicted("y")]),
                None,
            ),
            (
                "one that does not serve",
                then(least(json!(3)), vec![user(phase(of("x"), "Running")), Event::Quiet, evicted("x")]),
                None,
            ),
            ("one beside one deleted just now", then(least(json!(2)), vec![deleted(), evicted("y")]), None),
            (
                "one beside one deleted and known",
                then(least(json!(2)), vec![deleted(), Event::Quiet, evicted("y")]),
                Some("b needs 2"),
            ),
            (
                "when how many are wanted has just changed",
                then(least(json!(2)), vec![set(1), evicted("x"), evicted("y")]),
                None,
            ),
            (
                "when the budget is new",
                vec![user(of("x")), Event::Quiet, budget(json!({"minAvailable": 1})), evicted("x")],
                None,
            ),
            (
                "one that is not of the budget",
                then(least(json!(3)), vec![user(pod("w")), Event::Put(Author::Eviction, going(pod("w")))]),
                None,
            ),
        ]);
    }

    #[test]
    fn a_budget_can_say_something_else_in_the_end() {
        let then =
            |more: Vec<Event>| [three(json!({"minAvailable": 1})), more, vec![Event::Settled]].concat();
        let newer = with(
            object("policy/v1", "PodDisruptionBudget", "b"),
            json!({"metadata": {"generation": 2},
            "spec": {"selector": {"matchLabels": {"app": "a"}}}, "status": {"currentHealthy": 3, "observedGeneration": 1}}),
        );
        check::<Budgets>(&[
            ("what is true", then(vec![]), None),
            ("one serves no more", then(vec![user(phase(of("x"), "Running"))]), Some("currentHealthy of b")),
            ("an old generation", then(vec![user(newer)]), Some("observedGeneration of b")),
        ]);
    }
}

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

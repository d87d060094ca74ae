//! ReplicaSets: never more Pods made than wanted, and as many in the end.

use std::collections::BTreeMap;

use crate::mirror::{Detail, World};
use crate::simulation::rule::{Rule, Step, is_active, owned, same, serves};

/// See the module.
#[derive(Default)]
pub struct ReplicaSets {
    /// The most Pods that each set was to have since the control plane was quiet.
    most: BTreeMap<String, i64>,
}

impl Rule for ReplicaSets {
    fn promise(&self) -> &'static str {
        "a ReplicaSet makes no more Pods than it is to have"
    }

    fn see(&mut self, step: &Step<'_>) -> Result<(), String> {
        if let Detail::ReplicaSet((_, Some(set))) = &step.delta.detail {
            let most = self.most.entry(set.meta.uid.to_string()).or_default();
            *most = set.body.replicas.max(*most);
        }
        let Some(pod) = step.pod().filter(|pod| pod.is_new()).map(|pod| pod.pod()) else { return Ok(()) };
        let Some(owner) = pod.meta.controller().filter(|owner| owner.kind == "ReplicaSet") else {
            return Ok(());
        };
        let Some(most) = self.most.get(&owner.uid) else { return Ok(()) };
        let active = owned(step.truth, &owner.uid).into_iter().filter(|pod| is_active(pod)).count() as i64;
        if active > *most {
            return Err(format!("{} has {active} Pods with {}, {most} wanted", owner.name, pod.key()));
        }
        Ok(())
    }

    fn quiet(&mut self, truth: &World) {
        let all = truth.replica_sets.all();
        self.most = all.map(|set| (set.meta.uid.to_string(), set.body.replicas)).collect();
    }

    fn settled(&self, truth: &World) -> Result<(), String> {
        for set in truth.replica_sets.all() {
            let name = set.key();
            let pods = owned(truth, &set.meta.uid);
            let serving = pods.iter().filter(|pod| serves(pod)).count() as i64;
            same(&format!("the number of Pods of {name}"), pods.len() as i64, set.body.replicas)?;
            same(&format!("how many of {name} serve"), serving, set.body.replicas)?;
            same(&format!("the status of {name}"), set.body.available, set.body.replicas)?;
            let seen = (set.body.observed_generation, set.body.current);
            same(&format!("the status of {name}"), seen, (set.meta.generation, set.body.replicas))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::simulation::rules::history::{
        Event, check, controller, going, managed, object, phase, pod, user, with,
    };

    fn set(replicas: i64) -> Value {
        let status = json!({"replicas": replicas, "availableReplicas": replicas, "observedGeneration": 1});
        with(object("apps/v1", "ReplicaSet", "r"), json!({"spec": {"replicas": replicas}, "status": status}))
    }

    fn made(name: &str) -> Event {
        controller("replicaset-controller", with(pod(name), managed("apps/v1", "ReplicaSet", "r")))
    }

    fn two() -> Vec<Event> {
        vec![user(set(2)), made("a"), made("b"), Event::Quiet]
    }

    #[test]
    fn a_replica_set_can_make_too_many_pods() {
        let own = |name: &str| with(pod(name), managed("apps/v1", "ReplicaSet", "r"));
        let then = |more: Vec<Event>| [two(), more].concat();
        check::<ReplicaSets>(&[
            ("as many as wanted", two(), None),
            ("one more", then(vec![made("c")]), Some("r has 3 Pods with default/c, 2 wanted")),
            ("one instead of one that goes", then(vec![user(going(own("a"))), made("c")]), None),
            (
                "one instead of one that has ended",
                then(vec![user(phase(own("a"), "Failed")), made("c")]),
                None,
            ),
            ("three were wanted a moment ago", then(vec![user(set(3)), user(set(2)), made("c")]), None),
            (
                "three were wanted once",
                then(vec![user(set(3)), user(set(2)), Event::Quiet, made("c")]),
                Some("3 Pods"),
            ),
        ]);
    }

    #[test]
    fn a_replica_set_can_end_with_other_pods_than_wanted() {
        let own = |name: &str| with(pod(name), managed("apps/v1", "ReplicaSet", "r"));
        let then = |more: Vec<Event>| [two(), more, vec![Event::Settled]].concat();
        let said = |field: &str| user(with(set(2), json!({"status": {field: 7}})));
        check::<ReplicaSets>(&[
            ("as wanted", then(vec![]), None),
            (
                "one too few",
                then(vec![Event::Gone(crate::simulation::rule::Author::User, own("a"))]),
                Some("the number of Pods"),
            ),
            ("one that ended stays", then(vec![user(phase(own("c"), "Failed"))]), Some("the number of Pods")),
            ("one does not serve", then(vec![user(phase(own("a"), "Running"))]), Some("how many of")),
            ("a wrong number available", then(vec![said("availableReplicas")]), Some("the status of")),
            ("a wrong number there", then(vec![said("replicas")]), Some("the status of")),
            ("an old generation", then(vec![said("observedGeneration")]), Some("the status of")),
        ]);
    }
}

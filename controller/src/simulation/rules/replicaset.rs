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

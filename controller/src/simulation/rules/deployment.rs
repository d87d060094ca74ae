//! Deployments: never more Pods made than the surge allows; none that serves taken away by the controllers below what
//! must be available; with `Recreate` never two templates at a time; all of the present template in the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::mirror::{Deployment, Detail, Name, Object, Pod, ReplicaSet, World};
use crate::simulation::rule::{Rounded, Rule, Step, amount, is_active, owned, same, serves};

/// What a Deployment allowed since the control plane was quiet.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// The most Pods.
    most: i64,
    /// The fewest that serve.
    fewest: i64,
    /// How many Pods others have taken away, or brought: each may be what a controller did not know.
    others: i64,
    /// Whether its strategy was `Recreate` all the time.
    recreates: bool,
}

/// See the module.
#[derive(Default)]
pub struct Deployments {
    windows: BTreeMap<String, Window>,
    /// What each allows as it is now.
    present: BTreeMap<String, Window>,
}

fn window(deployment: &Object<Deployment>) -> Window {
    let spec = &deployment.tree()["spec"];
    let replicas = spec["replicas"].as_i64().unwrap_or(1);
    if spec["strategy"]["type"] == "Recreate" {
        return Window { most: replicas, fewest: 0, others: 0, recreates: true };
    }
    let rolling = |field: &str| -> Value { spec["strategy"]["rollingUpdate"][field].clone() };
    let surge = amount(&rolling("maxSurge"), replicas, Rounded::Up);
    let mut missing = amount(&rolling("maxUnavailable"), replicas, Rounded::Down);
    if surge == 0 && missing == 0 {
        missing = 1;
    }
    Window { most: replicas + surge, fewest: (replicas - missing).max(0), others: 0, recreates: false }
}

/// The Deployment that a Pod belongs to, by its ReplicaSet.
fn of_pod<'a>(pod: &Object<Pod>, truth: &'a World) -> Option<&'a Arc<Object<Deployment>>> {
    let owner = pod.meta.controller().filter(|owner| owner.kind == "ReplicaSet")?;
    let set = truth.replica_sets.get(&pod.meta.namespace, &owner.name)?;
    of_set(Some(set).filter(|set| *set.meta.uid == owner.uid)?, truth)
}

fn of_set<'a>(set: &Object<ReplicaSet>, truth: &'a World) -> Option<&'a Arc<Object<Deployment>>> {
    let owner = set.meta.controller().filter(|owner| owner.kind == "Deployment")?;
    let found = truth.deployments.at(&Name::new(&set.meta.namespace, &owner.name))?;
    (*found.meta.uid == owner.uid).then_some(found)
}

fn pods<'a>(deployment: &Object<Deployment>, truth: &'a World) -> Vec<&'a Arc<Object<Pod>>> {
    let sets = truth.replica_sets.owned_by(&deployment.meta.uid);
    sets.flat_map(|set| owned(truth, &set.meta.uid)).collect()
}

impl Deployments {
    fn widen(&mut self, deployment: &Object<Deployment>) {
        let new = window(deployment);
        self.present.insert(deployment.meta.uid.to_string(), new);
        let window = self.windows.entry(deployment.meta.uid.to_string()).or_insert(new);
        window.most = window.most.max(new.most);
        window.fewest = window.fewest.min(new.fewest);
        window.recreates &= new.recreates;
    }

    /// A set with Pods of its own came to a Deployment.
    fn adopt(&mut self, set: &Object<ReplicaSet>, truth: &World) {
        if let Some(found) = of_set(set, truth)
            && let Some(window) = self.windows.get_mut(&*found.meta.uid)
        {
            window.most += set.body.replicas;
            window.recreates = false;
        }
    }

    fn created(
        &self,
        pod: &Object<Pod>,
        deployment: &Object<Deployment>,
        truth: &World,
    ) -> Result<(), String> {
        let Some(window) = self.windows.get(&*deployment.meta.uid) else { return Ok(()) };
        let all = pods(deployment, truth);
        let active = all.iter().filter(|pod| is_active(pod)).count() as i64;
        let (name, key) = (&deployment.meta.name, pod.key());
        if active > window.most {
            return Err(format!("{name} has {active} Pods with {key}, {} allowed", window.most));
        }
        let set = |pod: &Object<Pod>| pod.meta.controller().map(|owner| owner.uid.clone());
        let other = all.iter().find(|other| !other.body.finished() && set(other) != set(pod));
        match other.filter(|_| window.recreates) {
            Some(other) => Err(format!("{name} recreates, but {} is there beside {key}", other.key())),
            None => Ok(()),
        }
    }

    fn lost(&mut self, step: &Step<'_>, deployment: &Object<Deployment>) -> Result<(), String> {
        let Some(window) = self.windows.get_mut(&*deployment.meta.uid) else { return Ok(()) };
        if !step.is_by("replicaset-controller") {
            window.others += 1;
            return Ok(());
        }
        let left = pods(deployment, step.truth).iter().filter(|pod| serves(pod)).count() as i64;
        if left >= window.fewest - window.others {
            return Ok(());
        }
        let (name, key) = (&deployment.meta.name, &step.delta.key);
        Err(format!("{name} has {left} Pods that serve without {key}, {window:?}"))
    }
}

impl Rule for Deployments {
    fn promise(&self) -> &'static str {
        "a Deployment is never above maxSurge, nor taken below maxUnavailable"
    }

    fn see(&mut self, step: &Step<'_>) -> Result<(), String> {
        match &step.delta.detail {
            Detail::Deployment((_, Some(deployment))) => self.widen(deployment),
            Detail::Deployment((Some(deployment), None)) => {
                self.windows.remove(&*deployment.meta.uid);
                self.present.remove(&*deployment.meta.uid);
            }
            Detail::ReplicaSet((Some(before), Some(after)))
                if before.meta.controller().is_none() && after.meta.controller().is_some() =>
            {
                self.adopt(after, step.truth);
            }
            _ => {}
        }
        let Some(change) = step.pod() else { return Ok(()) };
        let Some(deployment) = of_pod(change.pod(), step.truth) else { return Ok(()) };
        if change.is_new() {
            self.created(change.pod(), deployment, step.truth)
        } else if change.is_lost() {
            self.lost(step, deployment)
        } else {
            if change.is_won()
                && let Some(window) = self.windows.get_mut(&*deployment.meta.uid)
            {
                window.others += 1;
            }
            Ok(())
        }
    }

    fn quiet(&mut self, _: &World) {
        self.windows.clone_from(&self.present);
    }

    fn settled(&self, truth: &World) -> Result<(), String> {
        truth.deployments.all().try_for_each(|deployment| settled(deployment, truth))
    }
}

fn settled(deployment: &Object<Deployment>, truth: &World) -> Result<(), String> {
    let (name, body) = (&deployment.meta.name, &deployment.body);
    let sets: Vec<_> = truth.replica_sets.owned_by(&deployment.meta.uid).collect();
    let others = sets.iter().filter(|set| set.body.template != body.template && set.body.replicas > 0);
    same(&format!("the number of old ReplicaSets of {name} with Pods"), others.count(), 0)?;
    same(&format!("the number of Pods of {name}"), pods(deployment, truth).len() as i64, body.replicas)?;
    let idle = sets.iter().filter(|set| set.body.replicas == 0).count() as i64;
    if idle > body.history_limit + i64::from(body.replicas == 0) {
        return Err(format!("{name} keeps {idle} old ReplicaSets of {}", body.history_limit));
    }
    let status = |field: &str| body.status[field].as_i64().unwrap_or(0);
    for field in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
        same(&format!("{field} of {name}"), status(field), body.replicas)?;
    }
    same(&format!("observedGeneration of {name}"), body.observed_generation, deployment.meta.generation)?;
    let reason = |kind: &str| body.conditions.iter().find(|one| one.kind == kind).map(|one| &*one.reason);
    same(&format!("Progressing of {name}"), reason("Progressing"), Some("NewReplicaSetAvailable"))?;
    same(&format!("Available of {name}"), reason("Available"), Some("MinimumReplicasAvailable"))
}

//! Deployments: never more Pods made than the surge allows; none that serves taken away by the controllers below what
//! must be available; with `Recreate` none ordered of a template while there are some of another (who deletes one by
//! hand gets another at once, as Kubernetes' documentation says); all of the present template in the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::mirror::{Deployment, Detail, Name, Object, Pod, ReplicaSet, World};
use crate::simulation::rule::{Rounded, Rule, Step, amount, is_active, owned, same, serves};

/// What a Deployment allowed since the control plane was quiet.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// The most Pods that may be ordered.
    most: i64,
    /// How many had been ordered, maybe when more were allowed, and may come still.
    ordered: i64,
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
        return Window { most: replicas, ordered: 0, fewest: 0, others: 0, recreates: true };
    }
    let rolling = |field: &str| -> Value { spec["strategy"]["rollingUpdate"][field].clone() };
    let surge = amount(&rolling("maxSurge"), replicas, Rounded::Up);
    let mut missing = amount(&rolling("maxUnavailable"), replicas, Rounded::Down);
    if surge == 0 && missing == 0 {
        missing = 1;
    }
    let (most, fewest) = (replicas + surge, (replicas - missing).max(0));
    Window { most, ordered: 0, fewest, others: 0, recreates: false }
}

/// How many Pods the ReplicaSets of a Deployment are to have.
fn ordered(uid: &str, truth: &World) -> i64 {
    truth.replica_sets.owned_by(uid).map(|set| set.body.replicas).sum()
}

/// The Deployment that a Pod belongs to, by its ReplicaSet.
fn of_pod<'a>(pod: &Object<Pod>, truth: &'a World) -> Option<&'a Arc<Object<Deployment>>> {
    of_set(set_of(pod, truth)?, truth)
}

fn set_of<'a>(pod: &Object<Pod>, truth: &'a World) -> Option<&'a Arc<Object<ReplicaSet>>> {
    let owner = pod.meta.controller().filter(|owner| owner.kind == "ReplicaSet")?;
    let set = truth.replica_sets.get(&pod.meta.namespace, &owner.name)?;
    Some(set).filter(|set| *set.meta.uid == owner.uid)
}

/// After how many seconds a Pod is available.
fn min_ready_seconds(pod: &Object<Pod>, truth: &World) -> i64 {
    set_of(pod, truth).map_or(0, |set| set.body.min_ready_seconds)
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

/// A Pod of the Deployment that has not ended and is of another ReplicaSet than the one with this uid.
fn beside<'a>(deployment: &Object<Deployment>, set: &str, truth: &'a World) -> Option<&'a Arc<Object<Pod>>> {
    let mut others = pods(deployment, truth).into_iter();
    others.find(|pod| !pod.body.finished() && !pod.meta.controlled_by(set))
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
            window.ordered = window.most.max(window.ordered) + set.body.replicas;
            window.recreates = false;
        }
    }

    /// A ReplicaSet was made, or made larger.
    fn raised(&self, set: &Object<ReplicaSet>, truth: &World) -> Result<(), String> {
        let Some(found) = of_set(set, truth) else { return Ok(()) };
        let Some(window) = self.windows.get(&*found.meta.uid) else { return Ok(()) };
        let (all, name) = (ordered(&found.meta.uid, truth), &found.meta.name);
        if all > window.most {
            return Err(format!("{name} orders {all} Pods with {}, {} allowed", set.key(), window.most));
        }
        match beside(found, &set.meta.uid, truth).filter(|_| window.recreates) {
            Some(other) => {
                Err(format!("{name} recreates, but {} is there beside {}", other.key(), set.key()))
            }
            None => Ok(()),
        }
    }

    fn created(
        &self,
        pod: &Object<Pod>,
        deployment: &Object<Deployment>,
        truth: &World,
    ) -> Result<(), String> {
        let Some(window) = self.windows.get(&*deployment.meta.uid) else { return Ok(()) };
        let active = pods(deployment, truth).into_iter().filter(|pod| is_active(pod)).count() as i64;
        let (name, key) = (&deployment.meta.name, pod.key());
        let most = window.most.max(window.ordered);
        if active > most {
            return Err(format!("{name} has {active} Pods with {key}, {most} allowed"));
        }
        let set = pod.meta.controller().map(|owner| owner.uid.as_str()).unwrap_or_default();
        match beside(deployment, set, truth).filter(|_| window.recreates && window.others == 0) {
            Some(other) => Err(format!("{name} recreates, but {} is there beside {key}", other.key())),
            None => Ok(()),
        }
    }

    fn lost(
        &mut self,
        step: &Step<'_>,
        pod: &Object<Pod>,
        deployment: &Object<Deployment>,
    ) -> Result<(), String> {
        let Some(window) = self.windows.get_mut(&*deployment.meta.uid) else { return Ok(()) };
        if !step.is_by("replicaset-controller") {
            window.others += 1;
            return Ok(());
        }
        // What is not available yet is what goes first.
        if pod.body.available(min_ready_seconds(pod, step.truth), step.truth.now).is_err() {
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
            Detail::ReplicaSet((before, Some(after)))
                if step.is_by("deployment-controller")
                    && after.body.replicas > before.as_ref().map_or(0, |before| before.body.replicas) =>
            {
                return self.raised(after, step.truth);
            }
            _ => {}
        }
        let Some(change) = step.pod() else { return Ok(()) };
        let Some(deployment) = of_pod(change.pod(), step.truth) else { return Ok(()) };
        if change.is_new() {
            self.created(change.pod(), deployment, step.truth)
        } else if change.is_lost() {
            self.lost(step, change.pod(), deployment)
        } else {
            if change.is_won()
                && let Some(window) = self.windows.get_mut(&*deployment.meta.uid)
            {
                window.others += 1;
            }
            Ok(())
        }
    }

    fn quiet(&mut self, truth: &World) {
        self.windows.clone_from(&self.present);
        for (uid, window) in &mut self.windows {
            window.ordered = ordered(uid, truth);
            // Nor can more be expected, if fewer were wanted when it was ordered.
            window.fewest = window.fewest.min(window.ordered);
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::simulation::rules::history::{
        Event, check, controller, going, managed, object, phase, pod, user, with,
    };

    /// Three Pods, one more or less while they are replaced, as it is when all of them are of the present template.
    fn deployment() -> Value {
        let strategy =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}});
        let spec = json!({"replicas": 3, "revisionHistoryLimit": 0, "strategy": strategy, "template": template("v1")});
        let condition = |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason});
        let status = json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3,
            "availableReplicas": 3, "conditions": [condition("Progressing", "NewReplicaSetAvailable"),
                condition("Available", "MinimumReplicasAvailable")]});
        with(object("apps/v1", "Deployment", "d"), json!({"spec": spec, "status": status}))
    }

    fn template(image: &str) -> Value {
        json!({"spec": {"containers": [{"name": "c", "image": image}]}})
    }

    /// A ReplicaSet of the Deployment, named after its image.
    fn set(image: &str, replicas: i64) -> Value {
        let set = with(object("apps/v1", "ReplicaSet", image), managed("apps/v1", "Deployment", "d"));
        with(set, json!({"spec": {"replicas": replicas, "template": template(image)}}))
    }

    fn of(image: &str, name: &str) -> Value {
        with(pod(name), managed("apps/v1", "ReplicaSet", image))
    }

    fn by_set(pod: Value) -> Event {
        controller("replicaset-controller", pod)
    }

    fn three(deployment: Value) -> Vec<Event> {
        let pods = ["a", "b", "c"].map(|name| by_set(of("v1", name)));
        [vec![user(deployment), user(set("v1", 3))], pods.to_vec(), vec![Event::Quiet]].concat()
    }

    #[test]
    fn a_rollout_can_have_too_many_pods_and_too_few() {
        let then = |more: Vec<Event>| [three(deployment()), more].concat();
        let sized = |replicas: i64| user(with(deployment(), json!({"spec": {"replicas": replicas}})));
        let end = |name: &str| by_set(going(of("v1", name)));
        let recreate = || with(deployment(), json!({"spec": {"strategy": {"type": "Recreate"}}}));
        let orders = |image: &str, replicas: i64| controller("deployment-controller", set(image, replicas));
        let slow = || user(with(set("v1", 3), json!({"spec": {"minReadySeconds": 3601}})));
        let fewer = || vec![sized(1), orders("v1", 1), sized(3), Event::Quiet, end("a"), end("b")];
        let second = || vec![user(set("v2", 0)), end("a"), orders("v1", 2), orders("v2", 1)];
        let beside = || [second(), vec![by_set(of("v2", "d"))]].concat();
        check::<Deployments>(&[
            ("one above", then(vec![by_set(of("v1", "d"))]), None),
            (
                "two above",
                then(vec![by_set(of("v1", "d")), by_set(of("v1", "e"))]),
                Some("d has 5 Pods with default/e, 4 allowed"),
            ),
            (
                "two above, also in two sets",
                then(vec![by_set(of("v1", "d")), user(set("v2", 0)), by_set(of("v2", "e"))]),
                Some("4 allowed"),
            ),
            ("one ordered above", then(vec![orders("v2", 1)]), None),
            (
                "two ordered above",
                then(vec![orders("v2", 2)]),
                Some("d orders 5 Pods with default/v2, 4 allowed"),
            ),
            ("two ordered above in the same set", then(vec![orders("v1", 5)]), Some("d orders 5 Pods")),
            ("too many, but fewer than before", then(vec![user(set("v1", 7)), orders("v1", 6)]), None),
            (
                "ordered when more were wanted",
                then(vec![
                    sized(4),
                    orders("v1", 5),
                    sized(3),
                    Event::Quiet,
                    by_set(of("v1", "d")),
                    by_set(of("v1", "e")),
                ]),
                None,
            ),
            (
                "four were wanted a moment ago",
                then(vec![sized(4), sized(3), by_set(of("v1", "d")), by_set(of("v1", "e"))]),
                None,
            ),
            (
                "four were wanted once",
                then(vec![sized(4), sized(3), Event::Quiet, by_set(of("v1", "d")), by_set(of("v1", "e"))]),
                Some("4 allowed"),
            ),
            ("one below", then(vec![end("a")]), None),
            ("two below", then(vec![end("a"), end("b")]), Some("d has 1 Pods that serve without default/b")),
            ("two below, one by the user", then(vec![user(going(of("v1", "a"))), end("b")]), None),
            (
                "two below, one by the user and known",
                then(vec![user(going(of("v1", "a"))), Event::Quiet, end("b")]),
                Some("d has 1 Pods"),
            ),
            (
                "what does not serve is no loss",
                then(vec![user(phase(of("v1", "a"), "Running")), end("a"), end("b")]),
                None,
            ),
            ("what is not available yet is no loss", then(vec![slow(), end("a"), end("b"), end("c")]), None),
            ("one was wanted when two were given up", then(fewer()), None),
            (
                "one was wanted when three were given up",
                then([fewer(), vec![end("c")]].concat()),
                Some("d has 0 Pods that serve without default/c"),
            ),
            ("two templates in a rolling update", then(beside()), None),
            (
                "two templates although it recreates",
                [three(recreate()), second()].concat(),
                Some("is there beside default/v2"),
            ),
            (
                "one of another template made although it recreates",
                [three(recreate()), vec![user(set("v2", 0)), end("a"), by_set(of("v2", "d"))]].concat(),
                Some("is there beside default/d"),
            ),
            (
                "one of two templates deleted by hand, since it recreates",
                [
                    then(beside()),
                    vec![user(recreate()), Event::Quiet, user(going(of("v2", "d"))), by_set(of("v2", "e"))],
                ]
                .concat(),
                None,
            ),
            (
                "two templates, since it recreates just now",
                [three(deployment()), vec![user(recreate())], beside()].concat(),
                None,
            ),
        ]);
    }

    #[test]
    fn a_rollout_can_end_elsewhere() {
        let then = |more: Vec<Event>| [three(deployment()), more, vec![Event::Settled]].concat();
        let said = |status: Value| user(with(deployment(), json!({ "status": status })));
        let number = |field: &str| said(json!({field: 2}));
        let reason =
            |kind: &str| said(json!({"conditions": [{"type": kind, "status": "True", "reason": "Other"}]}));
        check::<Deployments>(&[
            ("as declared", then(vec![]), None),
            ("an old set has Pods", then(vec![user(set("v0", 1))]), Some("old ReplicaSets of d with Pods")),
            ("a Pod too many", then(vec![by_set(of("v1", "d"))]), Some("the number of Pods of d")),
            ("too much history", then(vec![user(set("v0", 0))]), Some("d keeps 1 old ReplicaSets of 0")),
            ("wrong replicas", then(vec![number("replicas")]), Some("replicas of d")),
            ("wrong updatedReplicas", then(vec![number("updatedReplicas")]), Some("updatedReplicas of d")),
            ("wrong readyReplicas", then(vec![number("readyReplicas")]), Some("readyReplicas of d")),
            (
                "wrong availableReplicas",
                then(vec![number("availableReplicas")]),
                Some("availableReplicas of d"),
            ),
            ("an old generation", then(vec![number("observedGeneration")]), Some("observedGeneration of d")),
            ("it progresses still", then(vec![reason("Progressing")]), Some("Progressing of d")),
            (
                "nothing is said of availability",
                then(vec![said(json!({"conditions": [
                    {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]}))]),
                Some("Available of d"),
            ),
        ]);
    }
}

//! Deployments: ReplicaSets, one for each template, sized so that Pods are replaced as the strategy says.
//!
//! Reads the Deployment, its ReplicaSets and, for `Recreate`, their Pods. A plan is one step of the rollout: it changes
//! ReplicaSets, then the Deployment's status. What the next step is, the mirrors say when they show this one.

mod rollback;
mod rollout;
mod status;
mod template;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::Value;

use crate::mirror::{Delta, Deployment, Detail, Name, Object, ReplicaSet, Strategy, World};
use crate::reconcile::Controller;
use crate::reconcile::ownership::{claim, owner_key};
use crate::reconcile::plan::{Note, Plan, Write};

const KIND: &Kind = &kinds::deployment::KIND;
const SET: &Kind = &kinds::replica_set::KIND;

/// Which template of a Deployment a ReplicaSet is, and which one a Deployment is at.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// The revisions that a ReplicaSet was before.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// How many replicas the Deployment wanted when the ReplicaSet was last sized.
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// The same and its surge.
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";

/// The table's entry.
pub const CONTROLLER: Controller =
    Controller { name: "deployment-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    match &delta.detail {
        Detail::Deployment(_) => wake(delta.key.clone()),
        Detail::ReplicaSet((_, after)) => {
            let old = owner_key(KIND, delta.before.as_ref());
            let new = owner_key(KIND, delta.after.as_ref());
            if let Some(set) = after
                && set.meta.controller().is_none()
            {
                let all = world.deployments.in_namespace(&set.meta.namespace);
                all.filter(|d| d.body.selector.matches(&set.meta.labels)).for_each(|d| wake(d.key()));
            }
            if old != new {
                old.into_iter().for_each(&mut *wake);
            }
            new.into_iter().for_each(wake);
        }
        // Recreate waits for the last old Pod to be gone.
        Detail::Pod((Some(_), after)) if after.as_ref().is_none_or(|pod| pod.body.finished()) => {
            let set = owner_key(SET, delta.before.as_ref()).and_then(|key| world.replica_sets.at(&key));
            owner_key(KIND, set.map(|set| &set.meta)).into_iter().for_each(wake);
        }
        _ => {}
    }
}

/// A Deployment with its ReplicaSets, as one plan sees them.
struct View<'a> {
    world: &'a World,
    deployment: &'a Object<Deployment>,
    /// The one of the present template, if it exists.
    new: Option<Arc<Object<ReplicaSet>>>,
    /// The others, oldest first.
    old: Vec<Arc<Object<ReplicaSet>>>,
}

impl View<'_> {
    fn all(&self) -> impl Iterator<Item = &Arc<Object<ReplicaSet>>> {
        self.old.iter().chain(&self.new)
    }

    fn wanted(&self) -> i64 {
        self.deployment.body.replicas
    }

    /// Surge and unavailability in Pods. Not both are zero, or nothing could ever move.
    fn fences(&self) -> (i64, i64) {
        let Strategy::RollingUpdate(rolling) = self.deployment.body.strategy else { return (0, 0) };
        let surge = rolling.max_surge.up(self.wanted());
        let unavailable = rolling.max_unavailable.down(self.wanted());
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }

    fn max_surge(&self) -> i64 {
        self.fences().0
    }

    fn max_unavailable(&self) -> i64 {
        if self.wanted() == 0 { 0 } else { self.fences().1.min(self.wanted()) }
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let Some(deployment) = world.deployments.at(key) else { return Plan::nothing() };
    if deployment.body.selector.is_everything() {
        let message = "This deployment is selecting all pods. A non-empty selector is required.".to_owned();
        let notes = vec![Note::warning(KIND, &deployment.meta, "SelectingAll", message)];
        return Plan { notes, ..Plan::nothing() };
    }
    let claimed = claim(KIND, &deployment.meta, &deployment.body.selector, SET, &world.replica_sets);
    let mut plan = Plan::nothing();
    if !claimed.writes.is_empty() {
        plan.together(claimed.writes);
        return plan;
    }
    let view = sort(world, deployment, claimed.own);
    if deployment.meta.deleting() {
        status::plan(&view, &mut plan, &status::Change::default());
        return plan;
    }
    rollout::plan(&view, &mut plan);
    plan
}

fn sort<'a>(
    world: &'a World,
    deployment: &'a Object<Deployment>,
    mut sets: Vec<Arc<Object<ReplicaSet>>>,
) -> View<'a> {
    sets.sort_by(|a, b| {
        (a.meta.creation_timestamp, &a.meta.name).cmp(&(b.meta.creation_timestamp, &b.meta.name))
    });
    // The oldest one of the template, should there ever be two.
    let at = sets.iter().position(|set| set.body.template == deployment.body.template);
    let new = at.map(|at| sets.remove(at));
    View { world, deployment, new, old: sets }
}

/// Sizes a ReplicaSet, tells so, and notes on it for which size of the Deployment that was.
fn scale(view: &View<'_>, set: &Object<ReplicaSet>, replicas: i64) -> Option<Write> {
    let mut tree = set.tree();
    let noted = note_sizes(&mut tree, view);
    let now = set.body.replicas;
    if now == replicas && !noted {
        return None;
    }
    tree["spec"]["replicas"] = Value::from(replicas);
    let write = Write::update(SET, set.key(), set.revision, tree);
    if now == replicas {
        return Some(write);
    }
    let direction = if now < replicas { "up" } else { "down" };
    let message = format!("Scaled {direction} replica set {} from {now} to {replicas}", set.meta.name);
    Some(write.saying(Note::normal(KIND, &view.deployment.meta, "ScalingReplicaSet", message)))
}

/// Writes the Deployment's size and its maximum on a ReplicaSet; whether that changed it.
fn note_sizes(tree: &mut Value, view: &View<'_>) -> bool {
    let sizes = [(DESIRED, view.wanted()), (MAXIMUM, view.wanted() + view.max_surge())];
    let mut changed = false;
    for (key, size) in sizes {
        changed |= annotate(tree, key, &size.to_string());
    }
    changed
}

/// Sets an annotation; whether that changed it.
fn annotate(tree: &mut Value, key: &str, value: &str) -> bool {
    if tree.pointer("/metadata/annotations").and_then(|all| all.get(key)).and_then(Value::as_str)
        == Some(value)
    {
        return false;
    }
    if !tree["metadata"]["annotations"].is_object() {
        tree["metadata"]["annotations"] = Value::Object(serde_json::Map::new());
    }
    tree["metadata"]["annotations"][key] = Value::from(value);
    true
}

/// Which template of its Deployment a ReplicaSet is; 0 if it does not say.
fn revision(set: &Object<ReplicaSet>) -> i64 {
    set.meta.annotations.get(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

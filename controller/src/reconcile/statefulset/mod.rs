//! StatefulSets: Pods with names, numbers and storage of their own, one after the other.
//!
//! Reads the set, its Pods, claims and revisions; writes all of them and the set's status. A Pod's name is its number,
//! so that the API itself keeps a number from being there twice.

mod claims;
mod pods;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::{Value, json};

use crate::mirror::{Delta, Detail, Name, Object, Phase, Pod, Replacement, StatefulSet, World};
use crate::reconcile::Controller;
use crate::reconcile::ownership::{claim, owner_key};
use crate::reconcile::plan::{Note, Plan, Write};
use crate::reconcile::revision::{self, HASH, History};

const KIND: &Kind = &kinds::stateful_set::KIND;
const POD: &Kind = &kinds::pod::KIND;

/// The table's entry.
pub const CONTROLLER: Controller =
    Controller { name: "statefulset-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    match &delta.detail {
        Detail::StatefulSet(_) => wake(delta.key.clone()),
        Detail::Revision(_) => owner_key(KIND, delta.after.as_ref()).into_iter().for_each(wake),
        Detail::Pod((_, after)) => {
            let old = owner_key(KIND, delta.before.as_ref());
            let new = owner_key(KIND, delta.after.as_ref());
            if let Some(pod) = after
                && pod.meta.controller().is_none()
            {
                let sets = world.stateful_sets.in_namespace(&pod.meta.namespace);
                sets.filter(|set| set.body.selector.matches(&pod.meta.labels))
                    .for_each(|set| wake(set.key()));
            }
            if old != new {
                old.into_iter().for_each(&mut *wake);
            }
            new.into_iter().for_each(wake);
        }
        _ => {}
    }
}

/// A set and what is there of it.
struct View<'a> {
    set: &'a Object<StatefulSet>,
    tree: Value,
    history: History,
    /// Its Pods by number.
    pods: BTreeMap<i64, Arc<Object<Pod>>>,
    world: &'a World,
}

impl View<'_> {
    /// The first number that is wanted, and the first after those.
    fn range(&self) -> (i64, i64) {
        (self.set.body.start, self.set.body.start + self.set.body.replicas)
    }

    /// The revision that most Pods were of before the present one came.
    fn current(&self) -> &str {
        let known = |name: &&str| self.history.all.iter().any(|revision| *revision.meta.name == **name);
        self.set.body.status["currentRevision"].as_str().filter(known).unwrap_or(&self.history.present)
    }

    /// The revision of which a new Pod of this number is.
    fn revision_of(&self, number: i64) -> &str {
        let body = &self.set.body;
        let old = body.replacement == Replacement::Rolling && number < body.start + body.partition;
        if old { self.current() } else { &self.history.present }
    }
}

/// The number of a Pod of this set.
fn number(set: &str, pod: &str) -> Option<i64> {
    let text = pod.strip_prefix(set)?.strip_prefix('-')?;
    let number: i64 = text.parse().ok()?;
    (number >= 0 && number.to_string() == text).then_some(number)
}

/// The revision that a Pod is of.
fn revision_of(pod: &Object<Pod>) -> &str {
    pod.meta.labels.get(HASH).map_or("", String::as_str)
}

/// Whether a Pod runs, is ready and stays.
fn is_healthy(pod: &Object<Pod>) -> bool {
    pod.body.phase == Phase::Running && pod.body.ready && !pod.meta.deleting()
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let mut plan = Plan::nothing();
    let Some(set) = world.stateful_sets.at(key) else { return plan };
    if set.meta.deleting() {
        return plan;
    }
    let claimed = claim(KIND, &set.meta, &set.body.selector, POD, &world.pods);
    let writes: Vec<Write> = claimed
        .writes
        .into_iter()
        .filter(|write| number(&set.meta.name, &write.key.name).is_some())
        .collect();
    if !writes.is_empty() {
        plan.together(writes);
        return plan;
    }
    let tree = set.tree();
    let mut history = revision::history(KIND, &set.meta, &set.body.selector, &tree, world);
    plan.together(std::mem::take(&mut history.writes));
    let pods = claimed.own.into_iter().filter_map(|pod| Some((number(&set.meta.name, &pod.meta.name)?, pod)));
    let view = View { set, tree, history, pods: pods.collect(), world };
    update_status(&view, &mut plan);
    plan.together(claims::owned(&view));
    pods::step(&view, &mut plan);
    let used = |name: &str| name == view.current() || view.pods.values().any(|pod| revision_of(pod) == name);
    plan.together(revision::truncate(&view.history, set.body.history_limit, used));
    plan
}

fn update_status(view: &View<'_>, plan: &mut Plan) {
    let body = &view.set.body;
    let here = || view.pods.values().filter(|pod| !pod.body.finished());
    let staying = |pod: &&Arc<Object<Pod>>| !pod.meta.deleting();
    let of = |revision: &str| here().filter(staying).filter(|pod| revision_of(pod) == revision).count();
    let mut available = 0;
    for pod in here().filter(staying) {
        match pod.body.available(body.min_ready_seconds, view.world.now) {
            Ok(()) => available += 1,
            Err(Some(then)) => plan.wake(then),
            Err(None) => {}
        }
    }
    let (all, ready) = (here().count(), here().filter(|pod| pod.body.ready).count());
    let present = view.history.present.as_str();
    let mut current = view.current();
    let updated = of(present);
    let wanted = usize::try_from(body.replicas).unwrap_or(0);
    let rolled = body.replacement == Replacement::Rolling && updated == all && ready == all && all == wanted;
    if rolled && body.partition == 0 {
        current = present;
    }
    let mut status = json!({
        "observedGeneration": view.set.meta.generation, "replicas": all, "availableReplicas": available,
        "currentRevision": current, "updateRevision": present,
        "collisionCount": body.status["collisionCount"].as_i64().unwrap_or(0),
    });
    for (field, count) in
        [("readyReplicas", ready), ("currentReplicas", of(current)), ("updatedReplicas", updated)]
    {
        if count > 0 {
            status[field] = json!(count);
        }
    }
    if status != body.status {
        let mut tree = view.tree.clone();
        tree["status"] = status;
        plan.then(Write::status(KIND, view.set.key(), view.set.revision, tree));
    }
}

/// Deletes a Pod and tells of it.
fn delete(view: &View<'_>, pod: &Object<Pod>) -> Write {
    let (set, name) = (&view.set.meta, &pod.meta.name);
    let done = format!("delete Pod {name} in StatefulSet {} successful", set.name);
    let failed = format!("delete Pod {name} in StatefulSet {} failed error: ", set.name);
    Write::delete(&kinds::pod::KIND, &pod.meta)
        .planned_on(pod.revision)
        .saying(Note::normal(KIND, set, "SuccessfulDelete", done))
        .failing(Note::warning(KIND, set, "FailedDelete", failed))
}

//! The next step of a rollout.

use std::sync::Arc;

use crate::mirror::{Object, ReplicaSet, Strategy};
use crate::reconcile::deployment::status::{self, Change};
use crate::reconcile::deployment::{DESIRED, MAXIMUM, SET, View, revision, rollback, scale, template};
use crate::reconcile::plan::{Plan, Write};

/// Plans one step, then the status; or the way back, if it was decided to go back.
pub fn plan(view: &View<'_>, plan: &mut Plan) {
    let refresh = view.new.as_ref().and_then(|set| template::refresh(view, set));
    if let Some(write) = refresh {
        plan.then(write);
        return;
    }
    let mut back = rollback::write(view);
    if view.world.failure.is_none()
        && let Some(write) = back.take()
    {
        plan.then(write);
        return;
    }
    step(view, plan);
    // What was refused once may be refused again, and the rest goes on.
    if plan.stages.is_empty() {
        plan.together(back.into_iter().collect());
    }
}

fn step(view: &View<'_>, plan: &mut Plan) {
    let deployment = &view.deployment.body;
    let mut change = Change::default();
    if let Some(set) = &view.new {
        change.revision = Some(revision(set));
        change.found = Some(set.meta.name.to_string());
    }
    let step = if deployment.paused {
        let mut writes = resize(view);
        if writes.is_empty() {
            writes = forget(view);
        }
        writes
    } else {
        match deployment.strategy {
            // Whatever the size is now: with two templates at a time nothing could be shared out.
            Strategy::Recreate => recreate(view, &mut change),
            Strategy::RollingUpdate(_) if was_resized(view) => resize(view),
            Strategy::RollingUpdate(_) => rolling(view, &mut change),
        }
    };
    if view.world.failure.is_some() {
        // What failed once may fail again, and what waits for it would never be told.
        status::plan(view, plan, &change);
        plan.together(step);
        return;
    }
    let rolling_out = !deployment.paused && !was_resized(view);
    if step.is_empty() && rolling_out && status::is_complete(view) {
        plan.together(forget(view));
    } else {
        plan.together(step);
    }
    status::plan(view, plan, &change);
}

/// Whether the Deployment was given another size since its ReplicaSets were sized.
fn was_resized(view: &View<'_>) -> bool {
    view.all()
        .filter(|set| set.body.replicas > 0)
        .any(|set| noted(set, DESIRED).is_some_and(|n| n != view.wanted()))
}

fn noted(set: &Object<ReplicaSet>, annotation: &str) -> Option<i64> {
    set.meta.annotations.get(annotation)?.parse().ok()
}

fn total<'a>(sets: impl Iterator<Item = &'a Arc<Object<ReplicaSet>>>) -> i64 {
    sets.map(|set| set.body.replicas).sum()
}

/// Whether each ReplicaSet has seen its present size and has no Pods beyond it.
///
/// Kubernetes adds up wanted sizes only, so that for a moment there can be more Pods than the surge allows: the new
/// ones come before the old ones go. Here nothing grows until what shrank has shrunk.
fn settled(view: &View<'_>) -> bool {
    view.all().all(|set| {
        set.body.observed_generation >= set.meta.generation && set.body.current <= set.body.replicas
    })
}

/// How large the ReplicaSet of the present template may be now.
fn new_size(view: &View<'_>, now: i64) -> i64 {
    match view.deployment.body.strategy {
        Strategy::Recreate => view.wanted(),
        Strategy::RollingUpdate(_) => {
            let room = view.wanted() + view.max_surge() - total(view.all());
            if room <= 0 || !settled(view) { now } else { now + room.min(view.wanted() - now) }
        }
    }
}

/// Makes the ReplicaSet of the present template, unless its name is taken by another one.
fn make(view: &View<'_>, change: &mut Change) -> Vec<Write> {
    let name = template::new_name(view);
    if view.world.replica_sets.at(&name).is_some() {
        change.collision = true;
        return Vec::new();
    }
    change.revision = Some(template::next_revision(view));
    change.created = Some(name.name.to_string());
    vec![template::create(view, new_size(view, 0))]
}

fn rolling(view: &View<'_>, change: &mut Change) -> Vec<Write> {
    let Some(new) = &view.new else { return make(view, change) };
    let now = new.body.replicas;
    let size = if now > view.wanted() { view.wanted() } else { new_size(view, now) };
    if size != now {
        return scale(view, new, size).into_iter().collect();
    }
    shrink_old(view, new)
}

/// Takes Pods from old ReplicaSets: first those that are not healthy anyway, then as many as availability allows.
fn shrink_old(view: &View<'_>, new: &Object<ReplicaSet>) -> Vec<Write> {
    if total(view.old.iter()) == 0 {
        return Vec::new();
    }
    let least = view.wanted() - view.max_unavailable();
    let coming = new.body.replicas - new.body.available;
    let mut spare = total(view.all()) - least - coming;
    if spare <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i64> = view.old.iter().map(|set| set.body.replicas).collect();
    for (set, size) in view.old.iter().zip(&mut sizes) {
        let unhealthy = (*size - set.body.available).max(0).min(spare);
        *size -= unhealthy;
        spare -= unhealthy;
    }
    // A Pod that is about to be deleted is available no more, whatever the status still says.
    let mut extra = view.all().map(|set| set.body.available.min(set.body.replicas)).sum::<i64>() - least;
    for size in &mut sizes {
        let fewer = (*size).min(extra).max(0);
        *size -= fewer;
        extra -= fewer;
    }
    let changed = view.old.iter().zip(sizes).filter(|(set, size)| set.body.replicas != *size);
    changed.filter_map(|(set, size)| scale(view, set, size)).collect()
}

fn recreate(view: &View<'_>, change: &mut Change) -> Vec<Write> {
    let shrunk = empty_old(view);
    if !shrunk.is_empty() {
        return shrunk;
    }
    if !view.old.iter().all(|set| is_gone(view, set)) {
        return Vec::new();
    }
    match &view.new {
        None => make(view, change),
        Some(new) => scale(view, new, view.wanted()).into_iter().collect(),
    }
}

/// Whether nothing of a ReplicaSet runs, nor will.
fn is_gone(view: &View<'_>, set: &Object<ReplicaSet>) -> bool {
    // One that has not seen yet that it is to be empty may be making Pods.
    let empty = set.body.replicas == 0
        && set.body.current == 0
        && set.body.observed_generation >= set.meta.generation;
    // A Pod that is on its way out still runs; one that has ended does not.
    empty && view.world.pods.owned_by(&set.meta.uid).all(|pod| pod.body.finished())
}

fn empty_old(view: &View<'_>) -> Vec<Write> {
    view.old.iter().filter(|set| set.body.replicas > 0).filter_map(|set| scale(view, set, 0)).collect()
}

/// Brings the Deployment's new size to its ReplicaSets, to each in proportion.
fn resize(view: &View<'_>) -> Vec<Write> {
    let active: Vec<&Arc<Object<ReplicaSet>>> = view.all().filter(|set| set.body.replicas > 0).collect();
    let single = match active.as_slice() {
        [] => view.new.as_ref().or(view.old.last()),
        [one] => Some(*one),
        _ => None,
    };
    let allowed = if view.wanted() > 0 { view.wanted() + view.max_surge() } else { 0 };
    if total(view.all()) < allowed && !settled(view) {
        return Vec::new();
    }
    if let Some(set) = single {
        // Paused half-way through, `Recreate` still never has two templates at a time.
        let others = || view.all().filter(|other| other.meta.uid != set.meta.uid);
        if view.deployment.body.strategy == Strategy::Recreate
            && set.body.replicas < view.wanted()
            && !others().all(|other| is_gone(view, other))
        {
            return Vec::new();
        }
        return scale(view, set, view.wanted()).into_iter().collect();
    }
    if let Some(new) = &view.new
        && new.body.replicas == view.wanted()
        && noted(new, DESIRED) == Some(view.wanted())
        && new.body.available == view.wanted()
    {
        return empty_old(view);
    }
    match view.deployment.body.strategy {
        Strategy::Recreate => Vec::new(),
        Strategy::RollingUpdate(_) => share_out(view, active),
    }
}

fn share_out(view: &View<'_>, mut active: Vec<&Arc<Object<ReplicaSet>>>) -> Vec<Write> {
    let allowed = if view.wanted() > 0 { view.wanted() + view.max_surge() } else { 0 };
    let more = allowed - total(active.iter().copied());
    // The largest first; among equals the newest one grows, the oldest one shrinks.
    active.sort_by(|a, b| {
        let age = a.meta.creation_timestamp.cmp(&b.meta.creation_timestamp);
        b.body.replicas.cmp(&a.body.replicas).then(if more > 0 { age.reverse() } else { age })
    });
    let mut added = 0;
    let mut sizes = Vec::new();
    for set in &active {
        let left = more - added;
        let share = if left == 0 {
            0
        } else if more > 0 {
            fraction(view, set).min(left)
        } else {
            fraction(view, set).max(left)
        };
        added += share;
        sizes.push(set.body.replicas + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + more - added).max(0);
    }
    active.iter().zip(sizes).filter_map(|(set, size)| scale(view, set, size)).collect()
}

/// By how much a ReplicaSet changes so that its share of the Deployment stays the same.
fn fraction(view: &View<'_>, set: &Object<ReplicaSet>) -> i64 {
    let now = set.body.replicas;
    if view.wanted() == 0 {
        return -now;
    }
    let maximum = view.wanted() + view.max_surge();
    let replicas = || view.deployment.body.status.get("replicas").and_then(serde_json::Value::as_i64);
    let before = noted(set, MAXIMUM).filter(|n| *n > 0).or_else(replicas).unwrap_or(0);
    if before == 0 {
        return 0;
    }
    // Rounded half up.
    (2 * now * maximum + before).div_euclid(2 * before) - now
}

/// Deletes the oldest ReplicaSets beyond the limit of the history.
fn forget(view: &View<'_>) -> Vec<Write> {
    let mut old: Vec<_> = view.old.iter().filter(|set| !set.meta.deleting()).collect();
    let limit = usize::try_from(view.deployment.body.history_limit).unwrap_or(0);
    let surplus = old.len().saturating_sub(limit);
    old.sort_by_key(|set| revision(set));
    let idle = |set: &&&Arc<Object<ReplicaSet>>| {
        set.body.replicas == 0 && set.body.current == 0 && set.body.observed_generation >= set.meta.generation
    };
    let writes = old.iter().take(surplus).filter(idle);
    writes.map(|set| Write::delete(SET, &set.meta).planned_on(set.revision)).collect()
}

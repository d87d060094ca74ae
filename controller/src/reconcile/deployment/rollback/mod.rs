//! The way back: a Deployment that asked for it returns to its last complete template when a rollout fails.
//!
//! It is decided with the status and carried out by the plan that sees this decision, so that people and tools see
//! the failure before it is mended. Conditions hold the decision, annotations what outlives conditions: the template
//! that was complete, and after a way back the refused and the restored one. No template is refused twice; what is
//! restored is not left again. The user's next template clears both. Who fails requests is measured elsewhere
//! ([`crate::reconcile::error_rate`]) and comes here as a condition.

#[cfg(test)]
mod tests;

use edge_api::rollout::{
    COMPLETE_TEMPLATE as COMPLETE, ERROR_RATE_EXCEEDED as TOO_MANY_ERRORS, Guard,
    REFUSED_TEMPLATE as REFUSED, REQUEST_FAILURE, RESTORED_TEMPLATE as RESTORED,
};
use serde_json::Value;

use crate::mirror::{Condition, Object, ReplicaSet, TEMPLATE_HASH};
use crate::reconcile::condition;
use crate::reconcile::deployment::status::{COMPLETE as PROGRESSED, PROGRESSING, TIMED_OUT};
use crate::reconcile::deployment::{KIND, REVISION, View, annotate, revision, template};
use crate::reconcile::plan::{Note, Write};

/// What a user says of a change; it belongs to the template.
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// The condition of the way back: `Unknown` when it is decided, `True` when it is done, `False` when there is none.
const ROLLED_BACK: &str = "RolledBack";
const NO_REVISION: &str = "RollbackRevisionNotFound";
const REFUSED_BEFORE: &str = "RollbackRefusedBefore";

fn guard(view: &View<'_>) -> Guard {
    Guard::of(&view.deployment.meta.annotations)
}

/// The hash by which a ReplicaSet's template is known.
fn hash(set: &Object<ReplicaSet>) -> &str {
    set.meta.labels.get(TEMPLATE_HASH).map_or("", String::as_str)
}

/// The hash of the present template.
fn present(view: &View<'_>) -> String {
    view.new.as_ref().map_or_else(|| template::hash(view), |set| hash(set).to_owned())
}

/// Whether the Deployment has noted this hash.
fn is_noted(view: &View<'_>, annotation: &str, hash: &str) -> bool {
    view.deployment.meta.annotations.get(annotation).is_some_and(|noted| noted == hash)
}

/// The number of the template that the stored status speaks of.
fn told_revision(view: &View<'_>) -> Option<i64> {
    view.deployment.meta.annotations.get(REVISION)?.parse().ok()
}

/// The ReplicaSet to go back to.
fn target<'a>(view: &'a View<'_>) -> Option<&'a Object<ReplicaSet>> {
    let complete = view.old.iter().find(|set| is_noted(view, COMPLETE, hash(set)) && !set.meta.deleting());
    complete.map(|set| &**set)
}

/// Goes back, if that was decided about the present template.
pub fn write(view: &View<'_>) -> Option<Write> {
    let deployment = view.deployment;
    let decided =
        condition::find(&deployment.body.conditions, ROLLED_BACK).filter(|c| c.status == "Unknown")?;
    if deployment.body.paused || !guard(view).is_set() {
        return None;
    }
    let (new, target) = (view.new.as_ref()?, target(view)?);
    if told_revision(view) != Some(revision(new)) {
        return None;
    }
    let mut tree = deployment.tree();
    let mut template = target.tree().pointer("/spec/template").cloned().unwrap_or_default();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(TEMPLATE_HASH);
    }
    tree["spec"]["template"] = template;
    annotate(&mut tree, REFUSED, hash(new));
    annotate(&mut tree, RESTORED, hash(target));
    match target.meta.annotations.get(CHANGE_CAUSE) {
        Some(cause) => annotate(&mut tree, CHANGE_CAUSE, cause),
        None => forget(&mut tree, CHANGE_CAUSE),
    };
    let way = format!("from revision {} to revision {}", revision(new), revision(target));
    let done = format!("Rolled back {way}: {}", decided.message);
    Some(
        Write::update(KIND, deployment.key(), deployment.revision, tree)
            .saying(Note::warning(KIND, &deployment.meta, "RolledBack", done))
            .failing(Note::warning(
                KIND,
                &deployment.meta,
                "RollbackFailed",
                format!("Error rolling back {way}: "),
            )),
    )
}

/// Why a rollout is to be undone: a reason and a sentence.
type Cause = (&'static str, String);

fn cause(view: &View<'_>, guard: &Guard, conditions: &[Condition]) -> Option<Cause> {
    let found = |kind: &str| condition::find(conditions, kind);
    if guard.error_rate.is_some()
        && let Some(failure) = found(REQUEST_FAILURE).filter(|c| c.status == "True")
    {
        return Some((TOO_MANY_ERRORS, failure.message.clone()));
    }
    let missed = |c: &&Condition| c.reason == TIMED_OUT;
    let before = condition::find(&view.deployment.body.conditions, PROGRESSING).filter(missed);
    let decided = condition::find(&view.deployment.body.conditions, ROLLED_BACK);
    // A deadline that was missed before anything was decided may be that of another template.
    let fresh = before.is_none() || decided.is_some_and(|c| c.status != "True");
    let now = found(PROGRESSING).filter(missed)?;
    (guard.progress_deadline && fresh).then(|| (TIMED_OUT, now.message.clone()))
}

/// Decides about going back, as a condition; answers what is to be told of the decision.
pub fn decide(view: &View<'_>, conditions: &mut Vec<Condition>) -> Option<Note> {
    let now = view.world.now;
    let before = condition::find(conditions, ROLLED_BACK).cloned();
    let hash = present(view);
    if is_noted(view, RESTORED, &hash) {
        condition::unset(conditions, REQUEST_FAILURE);
        if let Some(decided) = before.filter(|c| c.status == "Unknown") {
            condition::set(conditions, ROLLED_BACK, "True", &decided.reason, decided.message, now);
        }
        return None;
    }
    let told = view.new.as_ref().is_some_and(|set| told_revision(view) == Some(revision(set)));
    let guard = guard(view);
    if !told || guard.error_rate.is_none() {
        condition::unset(conditions, REQUEST_FAILURE);
    }
    if view.deployment.body.paused {
        return None;
    }
    let cause = cause(view, &guard, conditions).filter(|_| told);
    let Some((reason, message)) = cause else {
        condition::unset(conditions, ROLLED_BACK);
        return None;
    };
    if before.is_some() {
        return None;
    }
    let (word, why) = if is_noted(view, REFUSED, &hash) {
        (REFUSED_BEFORE, "Not rolled back: this template was rolled back before and was asked for again.")
    } else if target(view).is_none() {
        (NO_REVISION, "Unable to roll back: no earlier revision is known to have been complete.")
    } else {
        condition::set(conditions, ROLLED_BACK, "Unknown", reason, message, now);
        return None;
    };
    let message = format!("{why} {message}");
    condition::set(conditions, ROLLED_BACK, "False", word, message.clone(), now);
    Some(Note::warning(KIND, &view.deployment.meta, word, message))
}

/// Keeps what outlives conditions on the Deployment; whether that changed it.
pub fn note(view: &View<'_>, tree: &mut Value) -> bool {
    let mut changed = false;
    let mut clear = |all: &[&str]| all.iter().fold(false, |any, annotation| forget(tree, annotation) | any);
    if !guard(view).is_set() {
        return clear(&[COMPLETE, REFUSED, RESTORED]);
    }
    let (hash, complete) = (present(view), complete(view));
    let accepted = complete.as_ref().is_some_and(|complete| *complete == hash);
    let is_either = is_noted(view, REFUSED, &hash) && !accepted || is_noted(view, RESTORED, &hash);
    if !is_either {
        changed |= clear(&[REFUSED, RESTORED]);
    }
    if let Some(complete) = complete {
        changed |= annotate(tree, COMPLETE, &complete);
    }
    changed
}

/// The hash of the template that the stored status calls complete, if it has also been seen to serve for long enough.
fn complete(view: &View<'_>) -> Option<String> {
    let conditions = &view.deployment.body.conditions;
    let since = condition::find(conditions, PROGRESSING).filter(|c| c.reason == PROGRESSED)?.last_update_time;
    let watched = guard(view).error_rate.map(|rate| rate.window).unwrap_or_default();
    let early = since.is_some_and(|since| since.plus(watched) > view.world.now);
    // After the return to a template that has a ReplicaSet already the reason is still that of the one before.
    let count = |field: &str| view.deployment.body.status.get(field).and_then(Value::as_i64);
    let other = count("updatedReplicas") != count("replicas");
    if early || other || condition::find(conditions, REQUEST_FAILURE).is_some() {
        return None;
    }
    let mut sets = view.all();
    let set = match told_revision(view) {
        Some(number) => sets.find(|set| revision(set) == number),
        // Somebody replaced the annotations; all Pods were of this one.
        None => sets.find(|set| set.body.current > 0),
    };
    set.map(|set| hash(set).to_owned())
}

fn forget(tree: &mut Value, annotation: &str) -> bool {
    let all = tree.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    all.is_some_and(|all| all.remove(annotation).is_some())
}

//! The status of a Deployment: counts, conditions, whether the rollout progresses.

use std::time::Duration;

use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::mirror::{Condition, Deployment};
use crate::reconcile::condition;
use crate::reconcile::deployment::{KIND, REVISION, View, annotate, rollback};
use crate::reconcile::plan::{Plan, Write};

/// The condition that says how the rollout goes.
pub const PROGRESSING: &str = "Progressing";
/// Its reason when the rollout is complete.
pub const COMPLETE: &str = "NewReplicaSetAvailable";
/// Its reason when the rollout made no progress in time.
pub const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// What a step of the rollout adds to the status.
#[derive(Default)]
pub struct Change {
    /// The number of the present template.
    pub revision: Option<i64>,
    /// The ReplicaSet of the template that exists.
    pub found: Option<String>,
    /// The ReplicaSet of the template that this plan makes.
    pub created: Option<String>,
    /// Whether the name of the ReplicaSet is taken by another one.
    pub collision: bool,
}

struct Counts {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
    unavailable: i64,
}

fn counts(view: &View<'_>) -> Counts {
    let available = view.all().map(|set| set.body.available).sum();
    let wanted: i64 = view.all().map(|set| set.body.replicas).sum();
    Counts {
        replicas: view.all().map(|set| set.body.current).sum(),
        updated: view.new.as_ref().map_or(0, |set| set.body.current),
        ready: view.all().map(|set| set.body.ready).sum(),
        available,
        unavailable: (wanted - available).max(0),
    }
}

/// Whether every wanted Pod is of the present template and available, and no other is left.
pub fn is_complete(view: &View<'_>) -> bool {
    let now = counts(view);
    now.updated == view.wanted() && now.replicas == view.wanted() && now.available == view.wanted()
}

/// Adds the write of the status, if anything changed, and the time at which the rollout will have failed.
pub fn plan(view: &View<'_>, plan: &mut Plan, change: &Change) {
    let deployment = &view.deployment.body;
    let now = counts(view);
    let mut conditions = deployment.conditions.clone();
    availability(view, &now, &mut conditions);
    progress(view, &now, change, &mut conditions);
    failures(view, &mut conditions);
    let told = rollback::decide(view, &mut conditions);
    let terminating: i64 = view.all().map(|set| set.body.terminating).sum();
    let mut status =
        json!({"observedGeneration": view.deployment.meta.generation, "terminatingReplicas": terminating});
    let fields = [
        ("replicas", now.replicas),
        ("updatedReplicas", now.updated),
        ("readyReplicas", now.ready),
        ("availableReplicas", now.available),
        ("unavailableReplicas", now.unavailable),
        ("collisionCount", deployment.collision_count + i64::from(change.collision)),
    ];
    for (field, count) in fields.into_iter().filter(|(_, count)| *count > 0) {
        status[field] = json!(count);
    }
    status["conditions"] = condition::to_json(&conditions, true);
    let mut tree = view.deployment.tree();
    let mut noted = rollback::note(view, &mut tree);
    noted |= change.revision.is_some_and(|revision| annotate(&mut tree, REVISION, &revision.to_string()));
    if noted || status != deployment.status {
        tree["status"] = status;
        let mut write = Write::status(KIND, view.deployment.key(), view.deployment.revision, tree);
        write.done = told;
        plan.then(write);
    }
    if let Some(time) = deadline(deployment, &conditions)
        && !is_complete(view)
    {
        // Kubernetes looks again a second after the deadline.
        plan.wake(time.plus(Duration::from_secs(1)));
    }
}

/// When the rollout will have failed, if it goes on without progress.
fn deadline(deployment: &Deployment, conditions: &[Condition]) -> Option<Timestamp> {
    if deployment.paused {
        return None;
    }
    let seconds = deployment.progress_deadline?;
    let condition =
        condition::find(conditions, PROGRESSING).filter(|c| c.reason != TIMED_OUT && c.reason != COMPLETE)?;
    Some(condition.last_update_time?.plus(Duration::from_secs(seconds.unsigned_abs())))
}

fn availability(view: &View<'_>, now: &Counts, conditions: &mut Vec<Condition>) {
    let enough = now.available >= view.wanted() - view.max_unavailable();
    let (status, reason, message) = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    condition::set(conditions, "Available", status, reason, message.to_owned(), view.world.now);
}

fn progress(view: &View<'_>, now: &Counts, change: &Change, conditions: &mut Vec<Condition>) {
    let deployment = &view.deployment.body;
    if deployment.progress_deadline.is_none() {
        condition::unset(conditions, PROGRESSING);
        return;
    }
    let time = view.world.now;
    let mut set = |status: &str, reason: &str, message: String| {
        condition::set(conditions, PROGRESSING, status, reason, message, time);
    };
    let before = condition::find(&deployment.conditions, PROGRESSING);
    let reason = before.map_or("", |c| c.reason.as_str());
    if let Some(name) = &change.created {
        match &view.world.failure {
            Some(failure) => {
                let message = format!("Failed to create new replica set {name:?}: {}", failure.message);
                set("False", "ReplicaSetCreateError", message);
            }
            None => set("True", "NewReplicaSetCreated", format!("Created new replica set {name:?}")),
        }
        return;
    }
    if deployment.paused {
        if reason != TIMED_OUT {
            set("Unknown", "DeploymentPaused", "Deployment is paused".to_owned());
        }
        return;
    }
    if reason == "DeploymentPaused" {
        return set("Unknown", "DeploymentResumed", "Deployment is resumed".to_owned());
    }
    let Some(before) = before else {
        if let Some(name) = &change.found {
            set("True", "FoundNewReplicaSet", format!("Found new replica set {name:?}"));
        }
        return;
    };
    if now.replicas == now.updated && reason == COMPLETE {
        return;
    }
    let what = match &view.new {
        Some(new) => format!("ReplicaSet {:?}", &*new.meta.name),
        None => format!("Deployment {:?}", &*view.deployment.meta.name),
    };
    if is_complete(view) {
        set("True", COMPLETE, format!("{what} has successfully progressed."));
    } else if progressed(&deployment.status, now) {
        let transition = before.last_transition_time.filter(|_| before.status == "True").unwrap_or(time);
        condition::unset(conditions, PROGRESSING);
        conditions.push(Condition {
            kind: PROGRESSING.to_owned(),
            status: "True".to_owned(),
            reason: "ReplicaSetUpdated".to_owned(),
            message: format!("{what} is progressing."),
            last_transition_time: Some(transition),
            last_update_time: Some(time),
        });
    } else if timed_out(deployment, before, time) {
        set("False", TIMED_OUT, format!("{what} has timed out progressing."));
    }
}

fn progressed(status: &Value, now: &Counts) -> bool {
    let field = |name: &str| status.get(name).and_then(Value::as_i64).unwrap_or(0);
    let old = (field("updatedReplicas"), field("replicas") - field("updatedReplicas"));
    now.updated > old.0
        || now.replicas - now.updated < old.1
        || now.ready > field("readyReplicas")
        || now.available > field("availableReplicas")
}

fn timed_out(deployment: &Deployment, before: &Condition, now: Timestamp) -> bool {
    if before.reason == COMPLETE {
        return false;
    }
    if before.reason == TIMED_OUT {
        return true;
    }
    let (Some(seconds), Some(since)) = (deployment.progress_deadline, before.last_update_time) else {
        return false;
    };
    since.plus(Duration::from_secs(seconds.unsigned_abs())) < now
}

/// Takes over a ReplicaSet's failure to make Pods, the present one's first.
fn failures(view: &View<'_>, conditions: &mut Vec<Condition>) {
    let failure = view
        .new
        .iter()
        .chain(&view.old)
        .find_map(|set| condition::find(&set.body.conditions, "ReplicaFailure"));
    match failure {
        Some(found) => {
            let (reason, message) = (&found.reason, found.message.clone());
            condition::set(conditions, "ReplicaFailure", &found.status, reason, message, view.world.now);
        }
        None => condition::unset(conditions, "ReplicaFailure"),
    }
}

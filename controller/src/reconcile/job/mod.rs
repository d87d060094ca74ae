//! Jobs: Pods that run to their end, so many times.
//!
//! Reads the Job and its Pods; writes Pods and the Job's status. A Pod of a Job carries a finalizer until its end is
//! in the status, first by its uid and then, when the finalizer is gone, as a number: nothing is counted twice and
//! nothing is lost, wherever this breaks off. An index that is in the status never runs again. A Pod that the Job
//! adopts gets the finalizer, one that it lets go loses it.

mod indexes;
mod policy;

mod count;
mod pods;

mod stray;

#[cfg(test)]
mod tests;

use std::time::Duration;

use edge_api::kind::Kind;
use edge_api::kinds;
use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::mirror::{Completion, Condition, Delta, Detail, Job, Name, Object, World};
use crate::reconcile::Controller;
use crate::reconcile::condition;
use crate::reconcile::job::count::{Count, TRACKING};
use crate::reconcile::ownership::{claim, owner_key};
use crate::reconcile::plan::{Act, Note, Plan, Write};

const KIND: &Kind = &kinds::job::KIND;
const POD: &Kind = &kinds::pod::KIND;

/// The controller that a Job may name.
const OURSELVES: &str = "kubernetes.io/job-controller";

/// The table's entry.
pub const CONTROLLER: Controller = Controller { name: "job-controller", begins: &[], wakes, reconcile };
/// The table's entry for Pods that no Job counts any more.
pub const STRAYS: Controller = stray::CONTROLLER;

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    match &delta.detail {
        Detail::Job(_) => wake(delta.key.clone()),
        Detail::Pod((_, after)) => {
            let old = owner_key(KIND, delta.before.as_ref());
            let new = owner_key(KIND, delta.after.as_ref());
            if let Some(pod) = after
                && pod.meta.controller().is_none()
            {
                let jobs = world.jobs.in_namespace(&pod.meta.namespace);
                jobs.filter(|job| job.body.selector.matches(&pod.meta.labels))
                    .for_each(|job| wake(job.key()));
            }
            if old != new {
                old.into_iter().for_each(&mut *wake);
            }
            new.into_iter().for_each(wake);
        }
        _ => {}
    }
}

/// Why a Job ends, before it has ended.
struct End {
    kind: &'static str,
    reason: String,
    message: String,
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let mut plan = Plan::nothing();
    let Some(job) = world.jobs.at(key) else { return plan };
    if job.body.managed_by.as_deref().is_some_and(|by| by != OURSELVES) {
        return plan;
    }
    let claimed = claim(KIND, &job.meta, &job.body.selector, POD, &world.pods);
    if !claimed.writes.is_empty() {
        plan.together(claimed.writes.into_iter().map(|write| hold(write, world)).collect());
        return plan;
    }
    let own = claimed.own;
    if job.body.end().is_some() || job.meta.deleting() {
        let held = own.iter().filter(|pod| pod.meta.has_finalizer(TRACKING));
        plan.together(held.map(|pod| count::release(pod)).collect());
        return plan;
    }
    let count = Count::of(job, &own);
    let end = ending(job, &count, world, &mut plan);
    let ended = end.as_ref().filter(|_| count.active.is_empty() && count.terminating == 0 && count.settled());
    update_status(job, &count, end.as_ref(), ended.is_some(), world, &mut plan);
    plan.together(count.releases());
    if ended.is_some() {
        return plan;
    }
    if end.is_some() {
        plan.together(pods::end_all(job, &count));
    } else {
        pods::manage(job, &count, world, &mut plan);
    }
    plan
}

/// Gives a Pod that is adopted the finalizer, and takes it from one that is let go.
fn hold(mut write: Write, world: &World) -> Write {
    if let (Act::Patch(patch), Some(pod)) = (&mut write.act, world.pods.at(&write.key)) {
        let adopted = pod.meta.controller().is_none();
        let others = pod.meta.finalizers.iter().map(String::as_str).filter(|name| *name != TRACKING);
        let all: Vec<&str> = others.chain(adopted.then_some(TRACKING)).collect();
        patch["metadata"]["finalizers"] = json!(all);
    }
    write
}

/// Why the Job is to end, if it is.
fn ending(job: &Object<Job>, count: &Count, world: &World, plan: &mut Plan) -> Option<End> {
    let body = &job.body;
    for kind in ["FailureTarget", "SuccessCriteriaMet"] {
        let before = body.conditions.iter().find(|one| one.kind == kind && one.status == "True");
        if let Some(Condition { reason, message, .. }) = before {
            return Some(End { kind, reason: reason.clone(), message: message.clone() });
        }
    }
    let end = |kind: &'static str, reason: &str, message: &str| {
        Some(End { kind, reason: reason.to_owned(), message: message.to_owned() })
    };
    if let Some(message) = &count.fail_job {
        return end("FailureTarget", "PodFailurePolicy", message);
    }
    let in_place = count.active.iter().filter(|_| body.restarts_in_place);
    let restarts: i64 = in_place.map(|pod| count::restarts(pod)).sum();
    let too_often = restarts > 0 && restarts >= body.backoff_limit;
    if count.failed_in_all() > body.backoff_limit || too_often {
        let message = "Job has reached the specified backoff limit";
        return end("FailureTarget", "BackoffLimitExceeded", message);
    }
    if let Some(then) = deadline(job) {
        if then <= world.now {
            let message = "Job was active longer than specified deadline";
            return end("FailureTarget", "DeadlineExceeded", message);
        }
        plan.wake(then);
    }
    if body.completion == Completion::Indexed {
        if let Some((reason, message)) = failed_indexes(job, count) {
            return end("FailureTarget", reason, message);
        }
        let tree = job.tree();
        let completions = body.completions.unwrap_or(0);
        if let Some(message) = policy::succeeds(&tree["spec"]["successPolicy"], &count.completed, completions)
        {
            return end("SuccessCriteriaMet", "SuccessPolicy", &message);
        }
    }
    let complete = match body.completions {
        Some(completions) => count.succeeded_in_all() >= completions,
        None => count.succeeded_in_all() > 0 && count.active.is_empty(),
    };
    if complete && !body.suspend {
        return end("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods");
    }
    None
}

/// Until when the Job may be active.
fn deadline(job: &Object<Job>) -> Option<Timestamp> {
    let seconds = job.body.active_deadline.filter(|_| !job.body.suspend)?;
    Some(job.body.start?.plus(Duration::from_secs(seconds.unsigned_abs())))
}

fn failed_indexes(job: &Object<Job>, count: &Count) -> Option<(&'static str, &'static str)> {
    job.body.backoff_limit_per_index?;
    if job.body.max_failed_indexes.is_some_and(|most| count.failed_indexes.len() > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(("MaxFailedIndexesExceeded", message));
    }
    let decided = count.completed.len() + count.failed_indexes.len();
    let all = job.body.completions.is_some_and(|completions| decided >= completions);
    (all && count.failed_indexes.len() > 0).then_some(("FailedIndexes", "Job has failed indexes"))
}

fn update_status(
    job: &Object<Job>,
    count: &Count,
    end: Option<&End>,
    ended: bool,
    world: &World,
    plan: &mut Plan,
) {
    let (body, now) = (&job.body, world.now);
    let mut conditions = body.conditions.clone();
    let mut start = body.start;
    let note =
        |reason: &'static str, message: &str| Note::normal(KIND, &job.meta, reason, message.to_owned());
    let mut notes = Vec::new();
    match end {
        Some(end) => {
            condition::set(&mut conditions, end.kind, "True", &end.reason, end.message.clone(), now);
            if ended {
                let kind = if end.kind == "FailureTarget" { "Failed" } else { "Complete" };
                condition::set(&mut conditions, kind, "True", &end.reason, end.message.clone(), now);
                if kind == "Complete" {
                    notes.push(note("Completed", "Job completed"));
                } else {
                    notes.push(Note::warning(KIND, &job.meta, known(&end.reason), end.message.clone()));
                }
            }
        }
        None if body.suspend => {
            if !body.is("Suspended") {
                let message = "Job suspended".to_owned();
                condition::set(&mut conditions, "Suspended", "True", "JobSuspended", message, now);
                notes.push(note("Suspended", "Job suspended"));
            }
            start = None;
        }
        None if body.is("Suspended") => {
            let message = "Job resumed".to_owned();
            condition::set(&mut conditions, "Suspended", "False", "JobResumed", message, now);
            notes.push(note("Resumed", "Job resumed"));
            start = Some(now);
        }
        None => {}
    }
    if start.is_none() && !body.suspend {
        start = Some(now);
    }
    let mut status = count.status();
    if let Some(start) = start {
        status["startTime"] = json!(start);
    }
    if ended && end.is_some_and(|end| end.kind == "SuccessCriteriaMet") {
        // The clock may have been set back since; the API takes no end before the beginning.
        status["completionTime"] = json!(start.map_or(now, |start| start.max(now)));
    }
    if !conditions.is_empty() {
        status["conditions"] = condition::to_json(&conditions, false);
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            condition["lastProbeTime"] = condition["lastTransitionTime"].clone();
        }
    }
    if status == body.status {
        return;
    }
    let mut tree: Value = job.tree();
    tree["status"] = status;
    let mut write = Write::status(KIND, job.key(), job.revision, tree);
    // At most one of them comes with a status.
    if let Some(note) = notes.pop() {
        write = write.saying(note);
    }
    plan.then(write);
}

/// The reason of a failure, as Events have it.
fn known(reason: &str) -> &'static str {
    const REASONS: &[&str] = &[
        "BackoffLimitExceeded",
        "DeadlineExceeded",
        "PodFailurePolicy",
        "FailedIndexes",
        "MaxFailedIndexesExceeded",
    ];
    REASONS.iter().copied().find(|known| *known == reason).unwrap_or("Failed")
}

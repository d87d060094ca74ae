//! CronJobs: Jobs made when they are due.
//!
//! Reads the CronJob and the Jobs it owns; writes Jobs and the CronJob's status. The name of a Job tells for when it
//! was made, so that none is made twice, wherever this breaks off.

use std::sync::Arc;

use edge_api::cron::{self, Schedule};
use edge_api::kind::Kind;
use edge_api::kinds;
use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::mirror::{Concurrency, CronJob, Delta, Detail, Job, Name, Object, World};
use crate::reconcile::Controller;
use crate::reconcile::ownership::{owner_key, reference};
use crate::reconcile::plan::{Note, Plan, Write};

const KIND: &Kind = &kinds::cron_job::KIND;
const JOB: &Kind = &kinds::job::KIND;

/// The annotation with which `kubectl create job --from` says that somebody made a Job.
const INSTANTIATE: &str = "cronjob.kubernetes.io/instantiate";
/// The annotation with the time for which a Job was made.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// How many times may have been missed without a warning.
const MISSED: usize = 100;

/// The table's entry.
pub const CONTROLLER: Controller = Controller { name: "cronjob-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    match &delta.detail {
        Detail::CronJob(_) => wake(delta.key.clone()),
        Detail::Job(_) => {
            let old = owner_key(KIND, delta.before.as_ref());
            let new = owner_key(KIND, delta.after.as_ref());
            if old != new {
                old.into_iter().for_each(&mut *wake);
            }
            new.into_iter().for_each(wake);
        }
        _ => {}
    }
}

type Jobs = Vec<Arc<Object<Job>>>;

fn reconcile(key: &Name, world: &World) -> Plan {
    let Some(cron) = world.cron_jobs.at(key).filter(|cron| !cron.meta.deleting()) else {
        return Plan::nothing();
    };
    let own: Jobs = world.jobs.owned_by(&cron.meta.uid).cloned().collect();
    let mut plan = Plan::nothing();
    plan.together(surplus(cron, &own));
    let unfinished = own.iter().filter(|job| job.body.end().is_none()).cloned();
    let (running, unexpected): (Jobs, Jobs) = unfinished.partition(|job| is_made_here(cron, job));
    plan.notes.extend(unexpected.iter().map(|job| {
        let message = format!("Saw a job that the controller did not create or forgot: {}", job.meta.name);
        Note::warning(KIND, &cron.meta, "UnexpectedJob", message)
    }));
    plan.notes.extend(own.iter().filter_map(|job| completed(cron, job)));
    let last = start(cron, &own, &running, world, &mut plan);
    let status = status(cron, &own, &running, last);
    if status != cron.body.status {
        let mut tree = cron.tree();
        tree["status"] = status;
        plan.then(Write::status(KIND, cron.key(), cron.revision, tree));
    }
    plan
}

/// Whether a Job was made for a time of the schedule, and not by somebody for himself: such a one keeps none from
/// beginning and is not replaced.
fn is_made_here(cron: &Object<CronJob>, job: &Object<Job>) -> bool {
    // An older version counted all of them among those that run.
    let manual = job.meta.annotations.get(INSTANTIATE).is_some_and(|how| how == "manual");
    scheduled(job).is_some() || is_active(cron, job) && !manual
}

/// Whether the status has a Job among those that run.
fn is_active(cron: &Object<CronJob>, job: &Object<Job>) -> bool {
    let active = cron.body.status["active"].as_array();
    active.is_some_and(|active| active.iter().any(|one| one["uid"] == *job.meta.uid))
}

/// Tells of a Job that the status has among those that run and that has ended.
fn completed(cron: &Object<CronJob>, job: &Object<Job>) -> Option<Note> {
    let end = job.body.end().filter(|_| is_active(cron, job))?;
    let message = format!("Saw completed job: {}, condition: {}", job.meta.name, end.kind);
    Some(Note::normal(KIND, &cron.meta, "SawCompletedJob", message))
}

/// Ended Jobs beyond the limits, the oldest first.
fn surplus(cron: &Object<CronJob>, own: &[Arc<Object<Job>>]) -> Vec<Write> {
    let mut writes = Vec::new();
    for (kind, limit) in [("Complete", cron.body.successful_limit), ("Failed", cron.body.failed_limit)] {
        let Some(limit) = limit else { continue };
        let mut ended: Vec<&Arc<Object<Job>>> = own.iter().filter(|job| job.body.is(kind)).collect();
        ended.sort_by_key(|job| (job.body.start.or(job.meta.creation_timestamp), job.meta.name.clone()));
        let gone = ended.len().saturating_sub(limit);
        writes.extend(ended.into_iter().take(gone).filter(|job| !job.meta.deleting()).map(|job| {
            let message = format!("Deleted job {}", job.meta.name);
            Write::delete(JOB, &job.meta).saying(Note::normal(KIND, &cron.meta, "SuccessfulDelete", message))
        }));
    }
    writes
}

/// Makes the Job that is due, if one is; answers for when the last one was made.
fn start(
    cron: &Object<CronJob>,
    own: &[Arc<Object<Job>>],
    running: &[Arc<Object<Job>>],
    world: &World,
    plan: &mut Plan,
) -> Option<Timestamp> {
    let body = &cron.body;
    let last = own.iter().filter_map(|job| scheduled(job)).chain(body.last).max();
    if body.suspend {
        return last;
    }
    let warn = |reason: &'static str, message: String| Note::warning(KIND, &cron.meta, reason, message);
    let Ok(schedule) = Schedule::parse(&body.schedule) else {
        plan.notes.push(warn("UnparseableSchedule", format!("unparseable schedule: {:?}", body.schedule)));
        return last;
    };
    let Some(zone) = cron::zone(&body.time_zone) else {
        plan.notes.push(warn("UnknownTimeZone", format!("invalid timeZone: {:?}", body.time_zone)));
        return last;
    };
    let now = world.now;
    if let Some(next) = schedule.after(now, &zone) {
        plan.wake(next);
    }
    let begin = last.or(cron.meta.creation_timestamp).unwrap_or(now);
    let earliest = match body.starting_deadline {
        Some(seconds) => begin.max(before(now, seconds)),
        None => begin,
    };
    let Some(due) = schedule.latest(earliest, now, &zone) else { return last };
    let name = format!("{}-{}", cron.meta.name, due.as_seconds().div_euclid(60));
    if last.is_some_and(|last| due <= last) || own.iter().any(|job| *job.meta.name == *name) {
        return last;
    }
    if !running.is_empty() {
        match body.concurrency {
            Concurrency::Allow => {}
            Concurrency::Forbid => {
                let message =
                    "Not starting job because prior execution is running and concurrency policy is Forbid";
                plan.notes.push(Note::normal(KIND, &cron.meta, "JobAlreadyActive", message.to_owned()));
                return last;
            }
            Concurrency::Replace => plan.together(
                running
                    .iter()
                    .map(|job| {
                        let message = format!("Deleted job {}", job.meta.name);
                        let note = Note::normal(KIND, &cron.meta, "SuccessfulDelete", message);
                        Write::delete(JOB, &job.meta).saying(note)
                    })
                    .collect(),
            ),
        }
    }
    if misses_too_much(&schedule, earliest, now, &zone) {
        let message =
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.notes.push(warn("TooManyMissedTimes", message.to_owned()));
    }
    plan.then(create(cron, &name, cron::local_text(due, &zone)));
    Some(due)
}

/// Whether a schedule has come so often between two times that something must have been wrong.
fn misses_too_much(schedule: &Schedule, from: Timestamp, now: Timestamp, zone: &cron::TimeZone) -> bool {
    let times = std::iter::successors(Some(from), |time| schedule.after(*time, zone));
    times.skip(1).take_while(|time| *time <= now).take(MISSED + 1).count() > MISSED
}

fn before(now: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_micros(now.as_micros().saturating_sub(seconds.saturating_mul(1_000_000)))
}

/// The time for which a Job was made.
fn scheduled(job: &Object<Job>) -> Option<Timestamp> {
    Timestamp::parse(job.meta.annotations.get(SCHEDULED)?).ok()
}

fn create(cron: &Object<CronJob>, name: &str, due: String) -> Write {
    let tree = cron.tree();
    let template = &tree["spec"]["jobTemplate"];
    let mut metadata = json!({});
    for map in ["labels", "annotations"] {
        if let Some(values) = template["metadata"].get(map).filter(|values| values.is_object()) {
            metadata[map] = values.clone();
        }
    }
    metadata["name"] = json!(name);
    metadata["namespace"] = json!(&*cron.meta.namespace);
    metadata["annotations"][SCHEDULED] = json!(due);
    metadata["ownerReferences"] = json!([reference(KIND, &cron.meta)]);
    let job =
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]});
    Write::create(JOB, Name::new(&cron.meta.namespace, name), job)
        .saying(Note::normal(KIND, &cron.meta, "SuccessfulCreate", format!("Created job {name}")))
        .failing(Note::warning(KIND, &cron.meta, "FailedCreate", "Error creating job: ".to_owned()))
}

fn status(
    cron: &Object<CronJob>,
    own: &[Arc<Object<Job>>],
    running: &[Arc<Object<Job>>],
    last: Option<Timestamp>,
) -> Value {
    let mut status = json!({});
    let active: Vec<Value> = running
        .iter()
        .map(|job| {
            json!({"apiVersion": "batch/v1", "kind": "Job", "name": &*job.meta.name,
                "namespace": &*job.meta.namespace, "uid": &*job.meta.uid})
        })
        .collect();
    if !active.is_empty() {
        status["active"] = json!(active);
    }
    if let Some(last) = last {
        status["lastScheduleTime"] = json!(last);
    }
    let ends = own.iter().filter_map(|job| job.body.status["completionTime"].as_str());
    let before = cron.body.status["lastSuccessfulTime"].as_str();
    if let Some(time) = ends.chain(before).filter_map(|time| Timestamp::parse(time).ok()).max() {
        status["lastSuccessfulTime"] = json!(time);
    }
    status
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;

    fn cron(change: Value) -> Value {
        let mut cron = json!({
            "apiVersion": "batch/v1", "kind": "CronJob",
            "metadata": {"name": "hello", "namespace": "default", "uid": "c", "creationTimestamp": "2026-01-01T00:00:30Z"},
            "spec": {"schedule": "*/5 * * * *", "concurrencyPolicy": "Allow", "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 1,
                "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {"spec": {}}}}},
        });
        for (field, value) in change.as_object().into_iter().flatten() {
            cron["spec"][field] = value.clone();
        }
        cron
    }

    fn job(name: &str, due: &str, end: &str) -> Value {
        let mut status = json!({});
        if !end.is_empty() {
            status["conditions"] = json!([{"type": end, "status": "True"}]);
        }
        json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "namespace": "default", "annotations": {SCHEDULED: due}, "creationTimestamp": due,
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "hello", "uid": "c", "controller": true}]},
            "spec": {"template": {}}, "status": status})
    }

    fn plan(now: &str, objects: &[Value]) -> Plan {
        let ledger = Ledger::with(Timestamp::parse(now).unwrap(), objects);
        reconcile(&Name::new("default", "hello"), &ledger.world())
    }

    /// What a plan does, and the reasons it gives.
    fn told(plan: &Plan) -> Vec<String> {
        let write = |write: &Write| match &write.act {
            Act::Create(job) => {
                format!(
                    "create {} {}",
                    write.key.name,
                    job["metadata"]["annotations"][SCHEDULED].as_str().unwrap()
                )
            }
            Act::Delete { .. } => format!("delete {}", write.key.name),
            _ => String::new(),
        };
        let notes = plan.notes.iter().map(|note| note.reason.to_owned());
        plan.writes().map(write).filter(|text| !text.is_empty()).chain(notes).collect()
    }

    #[test]
    fn a_job_is_made_when_it_is_due_once_and_named_after_the_minute() {
        assert_eq!(told(&plan("2026-01-01T00:04:59Z", &[cron(json!({}))])), Vec::<String>::new());
        let due = plan("2026-01-01T00:05:01Z", &[cron(json!({}))]);
        assert_eq!(told(&due), ["create hello-29453765 2026-01-01T00:05:00Z"]);
        assert_eq!(due.wake_at.unwrap().seconds(), "2026-01-01T00:10:00Z");
        let Act::Create(job) = &due.writes().next().unwrap().act else { panic!("{due:#?}") };
        assert_eq!(job["metadata"]["labels"], json!({"a": "b"}));
        let made = self::job("hello-29453765", "2026-01-01T00:05:00Z", "");
        assert_eq!(told(&plan("2026-01-01T00:05:02Z", &[cron(json!({})), made])), Vec::<String>::new());
    }

    #[test]
    fn of_many_missed_times_the_last_one_counts_and_a_deadline_forgets() {
        let late = plan("2026-01-03T07:12:00Z", &[cron(json!({}))]);
        let made = "create hello-29457070 2026-01-03T07:10:00Z";
        assert_eq!(told(&late), [made, "TooManyMissedTimes"]);
        let hundred = cron(json!({"startingDeadlineSeconds": 30_000}));
        assert_eq!(
            told(&plan("2026-01-03T07:12:00Z", &[hundred])),
            [made],
            "a hundred times are not too many"
        );
        let deadline = |seconds: i64| cron(json!({"startingDeadlineSeconds": seconds}));
        assert_eq!(told(&plan("2026-01-03T07:12:00Z", &[deadline(60)])), Vec::<String>::new());
        assert_eq!(told(&plan("2026-01-03T07:12:00Z", &[deadline(180)])).len(), 1);
    }

    #[test]
    fn the_schedule_is_in_its_time_zone() {
        let berlin = cron(json!({"schedule": "0 8 * * *", "timeZone": "Europe/Berlin"}));
        let plan = plan("2026-01-01T07:00:10Z", &[berlin]);
        assert_eq!(told(&plan), ["create hello-29454180 2026-01-01T08:00:00+01:00"]);
        assert_eq!(plan.wake_at.unwrap().seconds(), "2026-01-02T07:00:00Z");
    }

    #[test]
    fn the_concurrency_policy_says_what_becomes_of_a_job_that_still_runs() {
        let running = job("hello-29453765", "2026-01-01T00:05:00Z", "");
        let cases = [
            ("Allow", vec!["create hello-29453770 2026-01-01T00:10:00Z"]),
            ("Forbid", vec!["JobAlreadyActive"]),
            ("Replace", vec!["delete hello-29453765", "create hello-29453770 2026-01-01T00:10:00Z"]),
        ];
        for (policy, expected) in cases {
            let objects = [cron(json!({"concurrencyPolicy": policy})), running.clone()];
            assert_eq!(told(&plan("2026-01-01T00:10:00Z", &objects)), expected, "{policy}");
        }
        let ended = job("hello-29453765", "2026-01-01T00:05:00Z", "Complete");
        let objects = [cron(json!({"concurrencyPolicy": "Forbid"})), ended];
        assert_eq!(told(&plan("2026-01-01T00:10:00Z", &objects)).len(), 1);
    }

    #[test]
    fn a_job_that_somebody_made_keeps_none_from_beginning_and_is_not_replaced() {
        let mut manual = job("mine", "2026-01-01T00:05:00Z", "");
        manual["metadata"]["annotations"] = json!({INSTANTIATE: "manual"});
        for policy in ["Allow", "Forbid", "Replace"] {
            let objects = [cron(json!({"concurrencyPolicy": policy})), manual.clone()];
            let plan = plan("2026-01-01T00:10:00Z", &objects);
            assert_eq!(
                told(&plan),
                ["create hello-29453770 2026-01-01T00:10:00Z", "UnexpectedJob"],
                "{policy}"
            );
        }
    }

    #[test]
    fn a_job_that_has_ended_is_told_of_once_and_leaves_the_status() {
        let status =
            json!({"active": [{"name": "a", "uid": "uid-1"}], "lastSuccessfulTime": "2026-01-01T00:01:00Z"});
        let mut before = cron(json!({}));
        before["status"] = status;
        let mut ended = job("a", "2026-01-01T00:05:00Z", "Complete");
        ended["metadata"]["uid"] = json!("uid-1");
        ended["status"]["completionTime"] = json!("2026-01-01T00:06:00Z");
        let first = plan("2026-01-01T00:07:00Z", &[before, ended.clone()]);
        assert_eq!(first.notes[0].message, "Saw completed job: a, condition: Complete");
        let Act::Status(after) = &first.writes().last().unwrap().act else { panic!("{first:#?}") };
        assert_eq!(
            after["status"],
            json!({"lastScheduleTime": "2026-01-01T00:05:00Z",
            "lastSuccessfulTime": "2026-01-01T00:06:00Z"})
        );
        assert!(plan("2026-01-01T00:07:00Z", &[after.clone(), ended]).is_idle());
    }

    #[test]
    fn a_limit_of_zero_keeps_no_job_that_has_ended() {
        let limits = json!({"suspend": true, "successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 0});
        let good = job("a", "2026-01-01T00:05:00Z", "Complete");
        let bad = job("b", "2026-01-01T00:10:00Z", "Failed");
        assert_eq!(told(&plan("2026-01-01T01:00:00Z", &[cron(limits), good, bad])), ["delete a", "delete b"]);
    }

    #[test]
    fn what_cannot_be_read_is_told_and_nothing_is_made() {
        let cases = [
            (json!({"schedule": "every day"}), "UnparseableSchedule"),
            (json!({"timeZone": "Europe/Atlantis"}), "UnknownTimeZone"),
        ];
        for (change, reason) in cases {
            assert_eq!(told(&plan("2026-01-01T00:05:01Z", &[cron(change)])), [reason]);
        }
    }

    #[test]
    fn suspended_nothing_is_made_and_history_is_kept_within_limits() {
        let objects = [
            cron(json!({"suspend": true})),
            job("a", "2026-01-01T00:05:00Z", "Complete"),
            job("b", "2026-01-01T00:10:00Z", "Complete"),
            job("c", "2026-01-01T00:15:00Z", "Failed"),
            job("d", "2026-01-01T00:20:00Z", "Failed"),
            job("e", "2026-01-01T00:25:00Z", ""),
        ];
        let plan = plan("2026-01-01T01:00:00Z", &objects);
        assert_eq!(told(&plan), ["delete a", "delete c"]);
        let Act::Status(cron) = &plan.writes().last().unwrap().act else { panic!("{plan:#?}") };
        assert_eq!(cron["status"]["active"][0]["name"], "e");
        assert_eq!(cron["status"]["lastScheduleTime"], "2026-01-01T00:25:00Z");
    }
}

//! Jobs and CronJobs.

use edge_api::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::mirror::object::Shape;
use crate::mirror::selector::{LabelSelector, Selector};
use crate::mirror::shape::workload::{Condition, conditions};

/// Whether each completion has a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Any Pod counts.
    Any,
    /// Each number from zero on is done once.
    Indexed,
}

/// A Job.
#[derive(Clone, Debug)]
pub struct Job {
    /// How many Pods may run at a time.
    pub parallelism: i64,
    /// How many must succeed; none if one success is enough and the rest decide by themselves.
    pub completions: Option<i64>,
    /// Whether each completion has a number.
    pub completion: Completion,
    /// How many failures are too many minus one.
    pub backoff_limit: i64,
    /// The same for each index.
    pub backoff_limit_per_index: Option<i64>,
    /// How many indexes may fail.
    pub max_failed_indexes: Option<i64>,
    /// For how many seconds it may be active.
    pub active_deadline: Option<i64>,
    /// After how many seconds it goes once it has ended.
    pub ttl: Option<i64>,
    /// Whether it waits.
    pub suspend: bool,
    /// Whether a Pod is replaced only when it has ended, not when it begins to.
    pub replaces_ended_only: bool,
    /// Whether its Pods run their containers again in place.
    pub restarts_in_place: bool,
    /// Who cares for it, if not the controller here.
    pub managed_by: Option<String>,
    /// Which Pods are its own.
    pub selector: Selector,
    /// The whole status, as stored.
    pub status: Value,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// When it began.
    pub start: Option<Timestamp>,
}

impl Job {
    /// Whether a condition holds.
    pub fn is(&self, kind: &str) -> bool {
        self.conditions.iter().any(|condition| condition.kind == kind && condition.status == "True")
    }

    /// The condition by which it has ended.
    pub fn end(&self) -> Option<&Condition> {
        let ends = |condition: &&Condition| matches!(condition.kind.as_str(), "Complete" | "Failed");
        self.conditions.iter().filter(ends).find(|condition| condition.status == "True")
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobForm {
    spec: JobSpec,
    status: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct JobSpec {
    parallelism: Option<i64>,
    completions: Option<i64>,
    completion_mode: String,
    backoff_limit: Option<i64>,
    backoff_limit_per_index: Option<i64>,
    max_failed_indexes: Option<i64>,
    active_deadline_seconds: Option<i64>,
    ttl_seconds_after_finished: Option<i64>,
    suspend: bool,
    pod_replacement_policy: String,
    managed_by: Option<String>,
    selector: Option<LabelSelector>,
    template: TemplateForm,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TemplateForm {
    spec: PodForm,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodForm {
    restart_policy: String,
}

fn time(status: &Value, field: &str) -> Option<Timestamp> {
    Timestamp::parse(status.get(field)?.as_str()?).ok()
}

impl Shape for Job {
    fn read(source: &[u8]) -> serde_json::Result<Job> {
        let JobForm { spec, status } = serde_json::from_slice(source)?;
        let indexed = spec.completion_mode == "Indexed";
        Ok(Job {
            parallelism: spec.parallelism.unwrap_or(1),
            completions: spec.completions,
            completion: if indexed { Completion::Indexed } else { Completion::Any },
            backoff_limit: spec.backoff_limit.unwrap_or(6),
            backoff_limit_per_index: spec.backoff_limit_per_index,
            max_failed_indexes: spec.max_failed_indexes,
            active_deadline: spec.active_deadline_seconds,
            ttl: spec.ttl_seconds_after_finished,
            suspend: spec.suspend,
            replaces_ended_only: spec.pod_replacement_policy == "Failed",
            restarts_in_place: spec.template.spec.restart_policy == "OnFailure",
            managed_by: spec.managed_by,
            selector: Selector::of(spec.selector),
            conditions: conditions(&status),
            start: time(&status, "startTime"),
            status,
        })
    }
}

/// What happens when a Job is due and another still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// Both run.
    Allow,
    /// The new one waits for another time.
    Forbid,
    /// The old one goes.
    Replace,
}

/// A CronJob.
#[derive(Clone, Debug)]
pub struct CronJob {
    /// When Jobs are due.
    pub schedule: String,
    /// In which time zone; UTC if empty.
    pub time_zone: String,
    /// How many seconds late a Job may begin.
    pub starting_deadline: Option<i64>,
    /// What happens when another still runs.
    pub concurrency: Concurrency,
    /// Whether no Jobs are made.
    pub suspend: bool,
    /// How many Jobs that succeeded are kept; all if none.
    pub successful_limit: Option<usize>,
    /// How many Jobs that failed are kept; all if none.
    pub failed_limit: Option<usize>,
    /// The whole status, as stored.
    pub status: Value,
    /// For when the last Job was made.
    pub last: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CronForm {
    spec: CronSpec,
    status: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CronSpec {
    schedule: String,
    time_zone: String,
    starting_deadline_seconds: Option<i64>,
    concurrency_policy: String,
    suspend: bool,
    successful_jobs_history_limit: Option<i64>,
    failed_jobs_history_limit: Option<i64>,
}

impl Shape for CronJob {
    fn read(source: &[u8]) -> serde_json::Result<CronJob> {
        let CronForm { spec, status } = serde_json::from_slice(source)?;
        let limit = |limit: Option<i64>| limit.and_then(|limit| usize::try_from(limit).ok());
        Ok(CronJob {
            schedule: spec.schedule,
            time_zone: spec.time_zone,
            starting_deadline: spec.starting_deadline_seconds,
            concurrency: match spec.concurrency_policy.as_str() {
                "Forbid" => Concurrency::Forbid,
                "Replace" => Concurrency::Replace,
                _ => Concurrency::Allow,
            },
            suspend: spec.suspend,
            successful_limit: limit(spec.successful_jobs_history_limit),
            failed_limit: limit(spec.failed_jobs_history_limit),
            last: time(&status, "lastScheduleTime"),
            status,
        })
    }
}

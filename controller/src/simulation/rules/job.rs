//! Jobs: no index runs again once its success is in the status, nothing is counted twice or forgotten, no more Pods at
//! a time than allowed, none after the end, and one end only.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::mirror::{Completion, Detail, Job, Object, Phase, Pod, World};
use crate::simulation::rule::{PodStep, Rule, Step, is_active, owned, same};

const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// What is known of a Job.
#[derive(Clone, Debug, Default)]
struct Record {
    /// The most Pods at a time since the control plane was quiet.
    most: i64,
    /// Whether it had ended when the control plane was last quiet.
    ended: bool,
    /// Pods that have succeeded.
    good: BTreeSet<String>,
    /// Pods that have failed, or were told to go before they had ended.
    bad: BTreeSet<String>,
    /// Indexes of the Pods that have succeeded.
    indexes: BTreeSet<i64>,
    /// Indexes that the status has.
    completed: BTreeSet<i64>,
}

/// See the module.
#[derive(Default)]
pub struct Jobs {
    records: BTreeMap<String, Record>,
}

fn index(pod: &Object<Pod>) -> Option<i64> {
    pod.meta.annotations.get(INDEX)?.parse().ok()
}

/// The numbers in a text such as `0,2-4`.
fn numbers(text: &Value) -> BTreeSet<i64> {
    let parts = text.as_str().unwrap_or_default().split(',').filter(|part| !part.is_empty());
    let range = |part: &str| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        low.parse::<i64>().unwrap_or(0)..=high.parse::<i64>().unwrap_or(0)
    };
    parts.flat_map(range).collect()
}

fn has_ended(job: &Object<Job>) -> bool {
    job.body.is("Complete") || job.body.is("Failed")
}

impl Record {
    fn update(&mut self, before: Option<&Object<Job>>, job: &Object<Job>) -> Result<(), String> {
        let (name, status) = (&job.meta.name, &job.body.status);
        self.most = self.most.max(job.body.parallelism);
        let completed = numbers(&status["completedIndexes"]);
        if let Some(lost) = self.completed.difference(&completed).next() {
            return Err(format!("{name} forgets index {lost}: {status}"));
        }
        if let Some(invented) = completed.difference(&self.indexes).next() {
            return Err(format!("no Pod of {name} succeeded as index {invented}: {status}"));
        }
        self.completed = completed;
        let count = |status: &Value, field: &str| {
            let uncounted = status["uncountedTerminatedPods"][field].as_array().map_or(0, Vec::len);
            status[field].as_i64().unwrap_or(0) + i64::try_from(uncounted).unwrap_or(i64::MAX)
        };
        if job.body.completion == Completion::Any && count(status, "succeeded") > self.good.len() as i64 {
            return Err(format!("{name} counts a success twice of {:?}: {status}", self.good));
        }
        if count(status, "failed") > self.bad.len() as i64 {
            return Err(format!("{name} counts a failure twice of {:?}: {status}", self.bad));
        }
        let Some(before) = before else { return Ok(()) };
        for field in ["succeeded", "failed"] {
            let (was, is) = (&before.body.status[field], &status[field]);
            if was.as_i64() > is.as_i64() && was.as_i64().is_some() {
                return Err(format!("{field} of {name} falls from {was} to {is}"));
            }
        }
        if has_ended(before) && !has_ended(job) || job.body.is("Complete") && job.body.is("Failed") {
            return Err(format!("{name} ends twice: {status}"));
        }
        Ok(())
    }

    fn follow(&mut self, change: &PodStep<'_>) {
        let pod = change.pod();
        let uid = pod.meta.uid.to_string();
        if pod.body.phase == Phase::Succeeded {
            self.good.insert(uid.clone());
            self.indexes.extend(index(pod));
        } else if pod.body.finished() || pod.meta.deleting() || change.after.is_none() {
            self.bad.insert(uid);
        }
    }
}

impl Rule for Jobs {
    fn promise(&self) -> &'static str {
        "a Job never runs a finished index again, and counts every Pod once"
    }

    fn see(&mut self, step: &Step<'_>) -> Result<(), String> {
        match &step.delta.detail {
            Detail::Job((before, Some(job))) => {
                let record = self.records.entry(job.meta.uid.to_string()).or_default();
                return record.update(before.as_deref(), job);
            }
            Detail::Job((Some(job), None)) => drop(self.records.remove(&*job.meta.uid)),
            _ => {}
        }
        let Some(change) = step.pod() else { return Ok(()) };
        let pod = change.pod();
        let Some(owner) = pod.meta.controller().filter(|owner| owner.kind == "Job") else { return Ok(()) };
        let Some(record) = self.records.get_mut(&owner.uid) else { return Ok(()) };
        record.follow(&change);
        if !change.is_new() {
            return Ok(());
        }
        let (name, key) = (&owner.name, pod.key());
        if record.ended {
            return Err(format!("{key} is made although {name} has ended"));
        }
        if let Some(again) = index(pod).filter(|index| record.completed.contains(index)) {
            return Err(format!("{key} runs index {again} of {name} again"));
        }
        let active = owned(step.truth, &owner.uid).into_iter().filter(|pod| is_active(pod)).count() as i64;
        if active > record.most {
            return Err(format!("{name} has {active} Pods with {key}, {} allowed", record.most));
        }
        Ok(())
    }

    fn quiet(&mut self, truth: &World) {
        for job in truth.jobs.all() {
            let record = self.records.entry(job.meta.uid.to_string()).or_default();
            record.most = job.body.parallelism;
            record.ended = has_ended(job);
        }
    }

    fn settled(&self, truth: &World) -> Result<(), String> {
        for job in truth.jobs.all() {
            let (name, status) = (&job.meta.name, &job.body.status);
            same(&format!("whether {name} has ended"), has_ended(job), true)?;
            let pods = owned(truth, &job.meta.uid);
            let held = pods.iter().filter(|pod| is_active(pod) || pod.meta.has_finalizer(TRACKING));
            same(&format!("the number of Pods of {name} that run or are held"), held.count(), 0)?;
            let uncounted = &status["uncountedTerminatedPods"];
            same(&format!("what {name} has not counted"), uncounted, &serde_json::json!({}))?;
            same(&format!("active of {name}"), status["active"].as_i64().unwrap_or(0), 0)?;
            if job.body.is("Complete")
                && let Some(wanted) = job.body.completions
                && job.body.conditions.iter().any(|one| one.reason == "CompletionsReached")
            {
                let done = status["succeeded"].as_i64().unwrap_or(0);
                same(&format!("how often {name} has succeeded"), done >= wanted, true)?;
            }
            let too_often = job.body.conditions.iter().any(|one| one.reason == "BackoffLimitExceeded");
            if too_often && !job.body.restarts_in_place {
                let failed = status["failed"].as_i64().unwrap_or(0);
                same(&format!("whether {name} failed too often"), failed > job.body.backoff_limit, true)?;
            }
        }
        Ok(())
    }
}

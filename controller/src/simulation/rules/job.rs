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
        if job.body.is("Complete") && job.body.is("Failed") {
            return Err(format!("{name} ends twice: {status}"));
        }
        let Some(before) = before else { return Ok(()) };
        for field in ["succeeded", "failed"] {
            let (was, is) = (&before.body.status[field], &status[field]);
            if was.as_i64() > is.as_i64() && was.as_i64().is_some() {
                return Err(format!("{field} of {name} falls from {was} to {is}"));
            }
        }
        if has_ended(before) && !has_ended(job) {
            return Err(format!("{name} had ended and has not: {status}"));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::simulation::rule::Author;
    use crate::simulation::rules::history::{
        Event, check, controller, going, managed, object, phase, pod, user, with,
    };

    /// A Job of three completions, two at a time, with this status.
    fn job(spec: Value, status: Value) -> Value {
        let job = with(object("batch/v1", "Job", "j"), json!({"spec": {"completions": 3, "parallelism": 2}}));
        with(job, json!({"spec": spec, "status": with(json!({"uncountedTerminatedPods": {}}), status)}))
    }

    fn said(status: Value) -> Event {
        controller("job-controller", job(json!({}), status))
    }

    fn indexed(status: Value) -> Event {
        controller("job-controller", job(json!({"completionMode": "Indexed"}), status))
    }

    fn of(name: &str) -> Value {
        with(pod(name), managed("batch/v1", "Job", "j"))
    }

    fn numbered(name: &str, index: &str) -> Value {
        with(of(name), json!({"metadata": {"annotations": {INDEX: index}}}))
    }

    fn made(pod: Value) -> Event {
        controller("job-controller", pod)
    }

    fn ended(pod: Value, how: &str) -> Event {
        Event::Put(Author::Node(0), phase(pod, how))
    }

    fn condition(kind: &str, reason: &str) -> Value {
        json!({"type": kind, "status": "True", "reason": reason})
    }

    #[test]
    fn ends_can_be_counted_twice_forgotten_or_invented() {
        let uncounted = |list: &str| json!({"uncountedTerminatedPods": {list: ["a"]}});
        let good = || vec![said(json!({})), made(of("a")), ended(of("a"), "Succeeded")];
        let bad = || vec![said(json!({})), made(of("a")), ended(of("a"), "Failed")];
        let first =
            || vec![indexed(json!({})), made(numbered("a", "0")), ended(numbered("a", "0"), "Succeeded")];
        let then = |events: Vec<Event>, more: Vec<Event>| [events, more].concat();
        let conditions = |all: &[&str]| {
            let all: Vec<Value> = all.iter().map(|kind| condition(kind, "Any")).collect();
            said(json!({ "conditions": all }))
        };
        check::<Jobs>(&[
            ("a success", then(good(), vec![said(json!({"succeeded": 1}))]), None),
            (
                "a success twice",
                then(good(), vec![said(json!({"succeeded": 2}))]),
                Some("j counts a success twice"),
            ),
            (
                "a success by number and by uid",
                then(good(), vec![said(with(json!({"succeeded": 1}), uncounted("succeeded")))]),
                Some("j counts a success twice"),
            ),
            (
                "a success that is none",
                then(bad(), vec![said(uncounted("succeeded"))]),
                Some("j counts a success twice"),
            ),
            ("a failure", then(bad(), vec![said(json!({"failed": 1}))]), None),
            (
                "a failure twice",
                then(bad(), vec![said(json!({"failed": 2}))]),
                Some("j counts a failure twice"),
            ),
            (
                "a failure that is none",
                then(good(), vec![said(uncounted("failed"))]),
                Some("j counts a failure twice"),
            ),
            (
                "one that was told to go",
                vec![said(json!({})), made(of("a")), user(going(of("a"))), said(uncounted("failed"))],
                None,
            ),
            (
                "a success forgotten",
                then(good(), vec![said(json!({"succeeded": 1})), said(json!({"succeeded": 0}))]),
                Some("succeeded of j falls from 1 to 0"),
            ),
            (
                "a failure forgotten",
                then(bad(), vec![said(json!({"failed": 1})), said(json!({"failed": 0}))]),
                Some("failed of j falls from 1 to 0"),
            ),
            (
                "an index",
                then(first(), vec![indexed(json!({"completedIndexes": "0", "succeeded": 1}))]),
                None,
            ),
            (
                "an index nobody had",
                then(first(), vec![indexed(json!({"completedIndexes": "0,2"}))]),
                Some("no Pod of j succeeded as index 2"),
            ),
            (
                "an index forgotten",
                then(first(), vec![indexed(json!({"completedIndexes": "0"})), indexed(json!({}))]),
                Some("j forgets index 0"),
            ),
            ("an end", vec![conditions(&["Complete"])], None),
            ("two ends", vec![conditions(&["Complete", "Failed"])], Some("j ends twice")),
            (
                "an end that was none",
                vec![conditions(&["Complete"]), conditions(&[])],
                Some("j had ended and has not"),
            ),
        ]);
    }

    #[test]
    fn pods_can_be_too_many_too_late_or_again() {
        let two = || vec![said(json!({})), made(of("a")), made(of("b")), Event::Quiet];
        let then = |events: Vec<Event>, more: Vec<Event>| [events, more].concat();
        let wide = || user(job(json!({"parallelism": 3}), json!({})));
        let over = || said(json!({"conditions": [condition("Complete", "Any")]}));
        let done = || {
            let pod = numbered("a", "0");
            vec![
                indexed(json!({})),
                made(pod.clone()),
                ended(pod, "Succeeded"),
                indexed(json!({"completedIndexes": "0"})),
            ]
        };
        check::<Jobs>(&[
            ("two at a time", two(), None),
            (
                "three at a time",
                then(two(), vec![made(of("c"))]),
                Some("j has 3 Pods with default/c, 2 allowed"),
            ),
            ("the next one", then(two(), vec![ended(of("a"), "Succeeded"), made(of("c"))]), None),
            (
                "three were allowed a moment ago",
                then(two(), vec![wide(), said(json!({})), made(of("c"))]),
                None,
            ),
            (
                "three were allowed once",
                then(two(), vec![wide(), said(json!({})), Event::Quiet, made(of("c"))]),
                Some("2 allowed"),
            ),
            (
                "when it has ended",
                vec![over(), Event::Quiet, made(of("a"))],
                Some("default/a is made although j has ended"),
            ),
            ("when it has just ended", vec![over(), made(of("a"))], None),
            ("another index", then(done(), vec![made(numbered("b", "1"))]), None),
            (
                "the same index again",
                then(done(), vec![made(numbered("b", "0"))]),
                Some("default/b runs index 0 of j again"),
            ),
        ]);
    }

    #[test]
    fn a_job_can_end_elsewhere_or_not_at_all() {
        let complete = |more: Value| {
            let status = json!({"succeeded": 3, "conditions": [condition("Complete", "CompletionsReached")]});
            said(with(status, more))
        };
        let failed = |failed: i64| {
            let status =
                json!({"failed": failed, "conditions": [condition("Failed", "BackoffLimitExceeded")]});
            user(job(json!({"backoffLimit": 1}), status))
        };
        let rounds = || {
            let pods = ["a", "b", "c"].map(|name| vec![made(of(name)), ended(of(name), "Succeeded")]);
            [vec![said(json!({}))], pods.concat()].concat()
        };
        let bad = || {
            let pods = ["a", "b"].map(|name| vec![made(of(name)), ended(of(name), "Failed")]);
            [vec![said(json!({}))], pods.concat()].concat()
        };
        let held = || ended(with(of("a"), json!({"metadata": {"finalizers": [TRACKING]}})), "Succeeded");
        let then = |events: Vec<Event>, more: Vec<Event>| [events, more, vec![Event::Settled]].concat();
        check::<Jobs>(&[
            ("complete", then(rounds(), vec![complete(json!({}))]), None),
            ("not at all", then(rounds(), vec![]), Some("whether j has ended")),
            (
                "one runs still",
                then(rounds(), vec![complete(json!({})), made(of("d"))]),
                Some("that run or are held"),
            ),
            ("one is held", then(rounds(), vec![complete(json!({})), held()]), Some("that run or are held")),
            (
                "one is not counted",
                then(
                    rounds(),
                    vec![complete(json!({"succeeded": 2, "uncountedTerminatedPods": {"succeeded": ["a"]}}))],
                ),
                Some("what j has not counted"),
            ),
            (
                "one is said to be active",
                then(rounds(), vec![complete(json!({"active": 1}))]),
                Some("active of j"),
            ),
            (
                "too few successes",
                then(rounds(), vec![complete(json!({"succeeded": 2}))]),
                Some("how often j has succeeded"),
            ),
            ("failed too often", then(bad(), vec![failed(2)]), None),
            ("failed not too often", then(bad(), vec![failed(1)]), Some("whether j failed too often")),
        ]);
    }
}

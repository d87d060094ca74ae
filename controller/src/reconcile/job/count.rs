//! What a Job's Pods have come to, and how that gets into the status once and for all.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::mirror::{Completion, Job, Object, Phase, Pod};
use crate::reconcile::job::POD;
use crate::reconcile::job::indexes::Indexes;
use crate::reconcile::job::policy::{self, Verdict};
use crate::reconcile::plan::Write;

/// The finalizer of Pods that are not counted yet.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// The annotation and label with a Pod's index.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The annotation with how often the index of a Pod has failed before.
pub const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";

/// The annotation with how often such failures did not count.
pub const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// How many Pods one status takes in by their uids.
const AT_A_TIME: usize = 500;

/// The index of a Pod.
pub fn index(pod: &Object<Pod>) -> Option<i64> {
    pod.meta.annotations.get(INDEX)?.parse().ok()
}

/// How often the index of a Pod had failed before this Pod.
pub fn failures(pod: &Object<Pod>) -> i64 {
    pod.meta.annotations.get(FAILURES).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// How often the index of a Pod had failed before this Pod without counting.
pub fn ignored(pod: &Object<Pod>) -> i64 {
    pod.meta.annotations.get(IGNORED).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// How often the containers of a Pod were started again.
pub fn restarts(pod: &Object<Pod>) -> i64 {
    let tree = pod.tree();
    let lists = ["initContainerStatuses", "containerStatuses"].map(|list| tree["status"][list].as_array());
    lists.into_iter().flatten().flatten().filter_map(|status| status["restartCount"].as_i64()).sum()
}

/// Takes the finalizer from a Pod.
pub fn release(pod: &Object<Pod>) -> Write {
    let rest: Vec<&String> = pod.meta.finalizers.iter().filter(|name| *name != TRACKING).collect();
    let patch = json!({"metadata": {"uid": &*pod.meta.uid, "finalizers": rest}});
    Write::patch(POD, pod.key(), pod.revision, patch)
}

/// A Job's Pods, and what is known of those that are no more.
pub struct Count {
    indexed: bool,
    /// Pods that run or will, the oldest first.
    pub active: Vec<Arc<Object<Pod>>>,
    /// Pods that are ending.
    pub terminating: usize,
    /// The indexes of those.
    pub terminating_indexes: Indexes,
    /// Pods that have failed and are still there.
    pub failed_pods: Vec<Arc<Object<Pod>>>,
    /// Pods that have succeeded and are still there.
    pub succeeded_pods: Vec<Arc<Object<Pod>>>,
    /// Indexes that have succeeded.
    pub completed: Indexes,
    /// Indexes that have failed for good.
    pub failed_indexes: Indexes,
    /// Why a Pod's failure is the Job's.
    pub fail_job: Option<String>,
    ready: usize,
    succeeded: i64,
    failed: i64,
    good: Vec<String>,
    bad: Vec<String>,
    held: Vec<Arc<Object<Pod>>>,
}

impl Count {
    /// Counts.
    pub fn of(job: &Object<Job>, own: &[Arc<Object<Pod>>]) -> Count {
        let status = &job.body.status;
        let end = job.body.completions.unwrap_or(0);
        let indexes = |field: &str| Indexes::parse(status[field].as_str().unwrap_or_default(), end);
        let number = |field: &str| status[field].as_i64().unwrap_or(0);
        let mut count = Count {
            indexed: job.body.completion == Completion::Indexed,
            active: Vec::new(),
            terminating: 0,
            terminating_indexes: Indexes::default(),
            failed_pods: Vec::new(),
            succeeded_pods: Vec::new(),
            completed: indexes("completedIndexes"),
            failed_indexes: indexes("failedIndexes"),
            fail_job: None,
            ready: 0,
            succeeded: number("succeeded"),
            failed: number("failed"),
            good: Vec::new(),
            bad: Vec::new(),
            held: Vec::new(),
        };
        count.settle(status, own);
        let tree = job.tree();
        for pod in own {
            count.add(job, &tree["spec"]["podFailurePolicy"], pod);
        }
        count.active.sort_by(|a, b| {
            (a.meta.creation_timestamp, &a.meta.name).cmp(&(b.meta.creation_timestamp, &b.meta.name))
        });
        count
    }

    /// Pods that the status names and whose finalizer is gone become numbers.
    fn settle(&mut self, status: &Value, own: &[Arc<Object<Pod>>]) {
        let by_uid: HashMap<&str, &Arc<Object<Pod>>> = own.iter().map(|pod| (&*pod.meta.uid, pod)).collect();
        for (field, list, number) in
            [("succeeded", &mut self.good, &mut self.succeeded), ("failed", &mut self.bad, &mut self.failed)]
        {
            let named = status["uncountedTerminatedPods"][field].as_array().into_iter().flatten();
            for uid in named.filter_map(Value::as_str) {
                match by_uid.get(uid).filter(|pod| pod.meta.has_finalizer(TRACKING)) {
                    Some(pod) => {
                        list.push(uid.to_owned());
                        self.held.push((*pod).clone());
                    }
                    None => *number += 1,
                }
            }
        }
    }

    fn add(&mut self, job: &Object<Job>, failure_policy: &Value, pod: &Arc<Object<Pod>>) {
        let (finished, deleting) = (pod.body.finished(), pod.meta.deleting());
        if !finished && !deleting {
            self.ready += usize::from(pod.body.ready);
            self.active.push(pod.clone());
            return;
        }
        if !finished {
            self.terminating += 1;
            if let Some(index) = index(pod) {
                self.terminating_indexes.insert(index);
            }
        }
        let failed = pod.body.phase == Phase::Failed || !finished && !job.body.replaces_ended_only;
        // A Pod that was let go of before it ended was too many, and has not failed.
        if failed && (finished || pod.meta.has_finalizer(TRACKING)) {
            self.failed_pods.push(pod.clone());
        }
        if pod.body.phase == Phase::Succeeded {
            self.succeeded_pods.push(pod.clone());
        }
        let known = self.good.iter().chain(&self.bad).any(|uid| **uid == *pod.meta.uid);
        if known || !pod.meta.has_finalizer(TRACKING) || self.good.len() + self.bad.len() >= AT_A_TIME {
            return;
        }
        if pod.body.phase == Phase::Succeeded {
            self.held.push(pod.clone());
            self.succeed(job, pod);
        } else if failed {
            self.held.push(pod.clone());
            self.fail(job, failure_policy, pod);
        }
    }

    fn succeed(&mut self, job: &Object<Job>, pod: &Object<Pod>) {
        let counts = !self.indexed || {
            let end = job.body.completions.unwrap_or(0);
            index(pod).is_some_and(|index| (0..end).contains(&index) && self.completed.insert(index))
        };
        if counts {
            self.good.push(pod.meta.uid.to_string());
        }
    }

    fn fail(&mut self, job: &Object<Job>, failure_policy: &Value, pod: &Object<Pod>) {
        let verdict = judge(failure_policy, pod);
        if verdict == Verdict::Ignore {
            return;
        }
        self.bad.push(pod.meta.uid.to_string());
        if let (Some(limit), Some(index)) = (job.body.backoff_limit_per_index, index(pod))
            && (verdict == Verdict::FailIndex || failures(pod) >= limit)
            && !self.completed.contains(index)
        {
            self.failed_indexes.insert(index);
        }
        if let Verdict::FailJob(message) = verdict {
            self.fail_job.get_or_insert(message);
        }
    }

    /// Whether every end is a number.
    pub fn settled(&self) -> bool {
        self.good.is_empty() && self.bad.is_empty() && self.held.is_empty()
    }

    /// How many have succeeded.
    pub fn succeeded_in_all(&self) -> i64 {
        if self.indexed { self.completed.len() } else { self.succeeded + length(&self.good) }
    }

    /// How many have failed.
    pub fn failed_in_all(&self) -> i64 {
        self.failed + length(&self.bad)
    }

    /// Takes the finalizer from what the status has by then.
    pub fn releases(&self) -> Vec<Write> {
        self.held.iter().map(|pod| release(pod)).collect()
    }

    /// The status without times and conditions.
    pub fn status(&self) -> Value {
        let mut uncounted = json!({});
        for (field, list) in [("succeeded", &self.good), ("failed", &self.bad)] {
            if !list.is_empty() {
                uncounted[field] = json!(list);
            }
        }
        let mut status = json!({"ready": self.ready, "terminating": self.terminating, "uncountedTerminatedPods": uncounted});
        let succeeded = if self.indexed { self.completed.len() } else { self.succeeded };
        for (field, number) in
            [("active", length(&self.active)), ("succeeded", succeeded), ("failed", self.failed)]
        {
            if number > 0 {
                status[field] = json!(number);
            }
        }
        for (field, indexes) in
            [("completedIndexes", &self.completed), ("failedIndexes", &self.failed_indexes)]
        {
            if indexes.len() > 0 {
                status[field] = json!(indexes.text());
            }
        }
        status
    }
}

/// What a Job's policy says about a failed Pod.
pub fn judge(failure_policy: &Value, pod: &Object<Pod>) -> Verdict {
    match failure_policy {
        Value::Null => Verdict::Count,
        rules => policy::judge(rules, &pod.tree()),
    }
}

fn length<T>(list: &[T]) -> i64 {
    i64::try_from(list.len()).unwrap_or(i64::MAX)
}

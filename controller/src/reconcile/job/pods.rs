//! Which Pods of a Job are made and which go.

use std::sync::Arc;
use std::time::Duration;

use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::mirror::{Completion, Job, Object, Pod, World};
use crate::reconcile::job::KIND;
use crate::reconcile::job::count::{
    Count, FAILURES, IGNORED, INDEX, TRACKING, failures, ignored, index, judge, release,
};
use crate::reconcile::job::indexes::Indexes;
use crate::reconcile::job::policy::Verdict;
use crate::reconcile::plan::{Plan, Write};
use crate::reconcile::template;

/// The most Pods that one plan makes.
const BURST: usize = 500;
/// How long the Pod after the first failure waits; each further one twice as long.
const BACKOFF: Duration = Duration::from_secs(10);
/// The longest that one waits.
const BACKOFF_MAX: Duration = Duration::from_secs(600);

/// Deletes all Pods that run, since the Job ends.
pub fn end_all(job: &Object<Job>, count: &Count) -> Vec<Write> {
    count
        .active
        .iter()
        .map(|pod| template::delete(KIND, &job.meta, &pod.meta).planned_on(pod.revision))
        .collect()
}

/// Brings the number of Pods to what it should be.
pub fn manage(job: &Object<Job>, count: &Count, world: &World, plan: &mut Plan) {
    let body = &job.body;
    let (mut surplus, mut kept) = (Vec::new(), Vec::new());
    let mut taken = Indexes::default();
    for pod in &count.active {
        // An index that is decided, taken or beyond the end needs no Pod.
        let idle = body.completion == Completion::Indexed
            && index(pod).is_none_or(|index| {
                count.completed.contains(index)
                    || index >= body.completions.unwrap_or(0)
                    || !taken.insert(index)
            });
        if idle { surplus.push(pod) } else { kept.push(pod) }
    }
    let replaced = if body.replaces_ended_only { count.terminating } else { 0 };
    let wanted = wanted(job, count);
    if kept.len() > wanted {
        // The youngest go first.
        surplus.extend(kept.split_off(wanted));
    }
    let missing = wanted.saturating_sub(kept.len() + replaced);
    remove(job, &surplus, plan);
    if missing > 0 && surplus.is_empty() {
        make(job, count, &taken, missing.min(BURST), world, plan);
    }
}

fn wanted(job: &Object<Job>, count: &Count) -> usize {
    let body = &job.body;
    if body.suspend {
        return 0;
    }
    let most = match body.completions {
        Some(completions) => {
            let decided = count.succeeded_in_all() + count.failed_indexes.len();
            body.parallelism.min(completions - decided)
        }
        // One success is the sign that the work is done: the others end by themselves.
        None if count.succeeded_in_all() > 0 => {
            i64::try_from(count.active.len()).unwrap_or(i64::MAX).min(body.parallelism)
        }
        None => body.parallelism,
    };
    usize::try_from(most).unwrap_or(0)
}

/// Deletes Pods that are too many. They do not count as failed: the finalizer goes first.
fn remove(job: &Object<Job>, surplus: &[&Arc<Object<Pod>>], plan: &mut Plan) {
    let held = surplus.iter().filter(|pod| pod.meta.has_finalizer(TRACKING));
    plan.together(held.map(|pod| release(pod)).collect());
    plan.together(surplus.iter().map(|pod| template::delete(KIND, &job.meta, &pod.meta)).collect());
}

fn make(job: &Object<Job>, count: &Count, taken: &Indexes, missing: usize, world: &World, plan: &mut Plan) {
    let tree = job.tree();
    let pod_template = &tree["spec"]["template"];
    let per_index = job.body.backoff_limit_per_index.is_some();
    if !per_index && tries_later(count, world, plan) {
        return;
    }
    let mut writes = Vec::new();
    if job.body.completion == Completion::Any {
        for number in 0..missing {
            writes.push(create(job, pod_template, None, &number.to_string(), world));
        }
    } else {
        let mut index_of = (0..job.body.completions.unwrap_or(0)).filter(|index| {
            let ending = job.body.replaces_ended_only && count.terminating_indexes.contains(*index);
            let decided = count.completed.contains(*index) || count.failed_indexes.contains(*index);
            !ending && !decided && !taken.contains(*index)
        });
        while writes.len() < missing {
            let Some(number) = index_of.next() else { break };
            let before = count.failed_pods.iter().filter(|pod| per_index && index(pod) == Some(number));
            let last = before.max_by_key(|pod| failures(pod) + ignored(pod));
            let past = Past::of(last, &tree["spec"]["podFailurePolicy"]);
            if let Some(end) = last.and_then(|pod| finished_at(pod))
                && waits(past.failures + past.ignored, end, world, plan)
            {
                continue;
            }
            let past = Some(past).filter(|_| per_index);
            writes.push(create(job, pod_template, Some((number, past)), &number.to_string(), world));
        }
    }
    plan.stages.extend(template::slowly(writes));
}

/// Whether it is too early for another try after the failures since the last success.
fn tries_later(count: &Count, world: &World, plan: &mut Plan) -> bool {
    let good = count.succeeded_pods.iter().filter_map(|pod| finished_at(pod)).max();
    let bad = count.failed_pods.iter().filter_map(|pod| finished_at(pod));
    let since: Vec<Timestamp> = bad.filter(|time| good.is_none_or(|good| *time > good)).collect();
    let number = i64::try_from(since.len()).unwrap_or(i64::MAX);
    since.into_iter().max().is_some_and(|last| waits(number, last, world, plan))
}

/// What has become of an index so far.
#[derive(Clone, Copy, Default)]
struct Past {
    failures: i64,
    /// Failures that do not count.
    ignored: i64,
}

impl Past {
    /// After the last Pod of the index that has failed, if one has.
    fn of(last: Option<&Arc<Object<Pod>>>, failure_policy: &Value) -> Past {
        let Some(pod) = last else { return Past::default() };
        let counts = judge(failure_policy, pod) != Verdict::Ignore;
        Past { failures: failures(pod) + i64::from(counts), ignored: ignored(pod) + i64::from(!counts) }
    }
}

/// Whether it is too early for another try after so many failures, the last of them at `last`.
fn waits(failures: i64, last: Timestamp, world: &World, plan: &mut Plan) -> bool {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(0).min(16);
    let delay = (BACKOFF * 2_u32.pow(doublings)).min(BACKOFF_MAX);
    let then = last.plus(delay);
    // An end far in the future was noted by another clock, or before this one was set back.
    if then <= world.now || last > world.now.plus(delay) {
        return false;
    }
    plan.wake(then);
    true
}

/// When the last container of a Pod ended, or its deletion began.
fn finished_at(pod: &Object<Pod>) -> Option<Timestamp> {
    let tree = pod.tree();
    let statuses = tree["status"]["containerStatuses"].as_array().into_iter().flatten();
    let ends = statuses.filter_map(|status| status["state"]["terminated"]["finishedAt"].as_str());
    let last = ends.filter_map(|time| Timestamp::parse(time).ok()).max();
    last.or(pod.meta.deletion_timestamp).or(pod.body.ready_since)
}

fn create(
    job: &Object<Job>,
    pod_template: &Value,
    index: Option<(i64, Option<Past>)>,
    seed: &str,
    world: &World,
) -> Write {
    let prefix = match index {
        Some((index, _)) => format!("{}-{index}-", job.meta.name),
        None => format!("{}-", job.meta.name),
    };
    let name = template::fresh_name(&prefix, &job.meta, seed, world);
    let mut pod = template::pod(KIND, &job.meta, pod_template, &name, Some(&prefix));
    pod["metadata"]["finalizers"] = json!([TRACKING]);
    if let Some((index, past)) = index {
        number(&mut pod, &job.meta.name, index);
        if let Some(past) = past {
            pod["metadata"]["annotations"][FAILURES] = json!(past.failures.to_string());
            if past.ignored > 0 {
                pod["metadata"]["annotations"][IGNORED] = json!(past.ignored.to_string());
            }
        }
    }
    template::create(KIND, &job.meta, pod)
}

/// Tells a Pod its index.
fn number(pod: &mut Value, job: &str, index: i64) {
    for map in ["labels", "annotations"] {
        pod["metadata"][map][INDEX] = json!(index.to_string());
    }
    if pod["spec"]["hostname"].as_str().unwrap_or_default().is_empty() {
        pod["spec"]["hostname"] = json!(format!("{job}-{index}"));
    }
    let variable = json!({"name": "JOB_COMPLETION_INDEX",
        "valueFrom": {"fieldRef": {"fieldPath": format!("metadata.labels['{INDEX}']")}}});
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let has = container["env"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["name"] == variable["name"]));
            if has {
                continue;
            }
            match container["env"].as_array_mut() {
                Some(all) => all.push(variable.clone()),
                None => container["env"] = json!([variable]),
            }
        }
    }
}

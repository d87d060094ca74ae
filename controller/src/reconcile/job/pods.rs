//! Which Pods of a Job are made and which go.

use std::sync::Arc;
use std::time::Duration;

use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::mirror::{Completion, Job, Object, Pod, World};
use crate::reconcile::job::KIND;
use crate::reconcile::job::count::{Count, FAILURES, INDEX, TRACKING, failures, index, release};
use crate::reconcile::job::indexes::Indexes;
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
    if !per_index && waits(count.failed_pods.iter(), world, plan) {
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
            let before = count.failed_pods.iter().filter(|pod| index(pod) == Some(number));
            if per_index && waits(before.clone(), world, plan) {
                continue;
            }
            let failed = before.map(|pod| failures(pod) + 1).max().filter(|_| per_index);
            writes.push(create(job, pod_template, Some((number, failed)), &number.to_string(), world));
        }
    }
    plan.stages.extend(template::slowly(writes));
}

/// Whether it is too early after these failures for another try.
fn waits<'a>(failed: impl Iterator<Item = &'a Arc<Object<Pod>>>, world: &World, plan: &mut Plan) -> bool {
    let mut times: Vec<Timestamp> = failed.filter_map(|pod| finished_at(pod)).collect();
    times.sort_unstable();
    let Some(last) = times.last() else { return false };
    let doublings = u32::try_from(times.len() - 1).unwrap_or(u32::MAX).min(16);
    let delay = (BACKOFF * 2_u32.pow(doublings)).min(BACKOFF_MAX);
    let then = last.plus(delay);
    // An end far in the future was noted by another clock, or before this one was set back.
    if then <= world.now || *last > world.now.plus(delay) {
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
    index: Option<(i64, Option<i64>)>,
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
    if let Some((index, failed)) = index {
        number(&mut pod, &job.meta.name, index);
        if let Some(failed) = failed.or(job.body.backoff_limit_per_index.map(|_| 0)) {
            pod["metadata"]["annotations"][FAILURES] = json!(failed.to_string());
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

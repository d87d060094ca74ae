//! Which Pods of a StatefulSet come and go next.

use std::sync::Arc;

use edge_api::kinds;
use serde_json::{Value, json};

use crate::mirror::{Object, Pod, Replacement};
use crate::reconcile::plan::{Plan, Write};
use crate::reconcile::revision::{self, HASH};
use crate::reconcile::statefulset::{KIND, View, claims, delete, is_healthy, revision_of};
use crate::reconcile::template;

/// The label with a Pod's name, by which a Service selects it alone.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// The label with a Pod's number.
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// Adds what is to be done: in order, one thing after the other; or all at once, where Pods do not wait.
pub fn step(view: &View<'_>, plan: &mut Plan) {
    let (first, end) = view.range();
    let patient = !view.set.body.parallel;
    let mut waiting = false;
    for number in first..end {
        match view.pods.get(&number) {
            None => {
                plan.together(claims::missing(view, number));
                plan.then(create(view, number));
                waiting = true;
            }
            Some(pod) if pod.body.finished() && !pod.meta.deleting() => {
                plan.then(delete(view, pod));
                waiting = true;
            }
            Some(pod) => {
                plan.together(claims::missing(view, number));
                waiting |= !is_available(view, pod, plan);
            }
        }
        if waiting && patient {
            return;
        }
    }
    if shrink(view, plan) && patient {
        return;
    }
    if !waiting || !patient {
        replace(view, plan);
    }
}

fn is_available(view: &View<'_>, pod: &Object<Pod>, plan: &mut Plan) -> bool {
    match pod.body.available(view.set.body.min_ready_seconds, view.world.now) {
        Ok(()) => is_healthy(pod),
        Err(Some(then)) => {
            plan.wake(then);
            false
        }
        Err(None) => false,
    }
}

/// Deletes Pods that are not wanted, the highest number first; whether there are any.
fn shrink(view: &View<'_>, plan: &mut Plan) -> bool {
    let (first, end) = view.range();
    let outside: Vec<(&i64, &Arc<Object<Pod>>)> =
        view.pods.iter().rev().filter(|(number, _)| !(first..end).contains(*number)).collect();
    for (number, pod) in &outside {
        if pod.meta.deleting() {
            if view.set.body.parallel {
                continue;
            }
            return true;
        }
        plan.together(claims::condemned(view, **number, pod));
        plan.then(delete(view, pod));
        if !view.set.body.parallel {
            return true;
        }
    }
    !outside.is_empty()
}

/// Replaces Pods of old templates, the highest number first, so that no more than so many are missing: of all numbers,
/// those below the partition too. One that is missing already is replaced at no cost, but not before those that were
/// replaced above it serve.
fn replace(view: &View<'_>, plan: &mut Plan) {
    let body = &view.set.body;
    if body.replacement == Replacement::OnDelete {
        return;
    }
    let (first, end) = view.range();
    let may_miss = body.max_unavailable.up(body.replicas).max(1);
    let serves = |number: &i64| {
        let pod = view.pods.get(number);
        pod.is_some_and(|pod| {
            is_healthy(pod) && pod.body.available(body.min_ready_seconds, view.world.now).is_ok()
        })
    };
    let mut missing =
        i64::try_from((first..end).filter(|number| !serves(number)).count()).unwrap_or(i64::MAX);
    let mut awaited = 0;
    for number in (first + body.partition.max(0)..end).rev() {
        let old = view.pods.get(&number).filter(|pod| revision_of(pod) != view.history.present);
        match old.filter(|pod| !pod.meta.deleting()) {
            Some(_) if awaited >= may_miss || serves(&number) && missing >= may_miss => return,
            Some(pod) => {
                plan.then(delete(view, pod));
                missing += i64::from(serves(&number));
                awaited += 1;
            }
            None => awaited += i64::from(!serves(&number)),
        }
    }
}

fn create(view: &View<'_>, number: i64) -> Write {
    let revision = view.revision_of(number).to_owned();
    let meta = &view.set.meta;
    let old =
        view.history.all.iter().find(|one| *one.meta.name == *revision && revision != view.history.present);
    let pod_template = match old {
        Some(old) => revision::template(old),
        None => view.tree["spec"]["template"].clone(),
    };
    let name = format!("{}-{number}", meta.name);
    let mut pod = template::pod(KIND, meta, &pod_template, &name, None);
    for (label, value) in [(POD_NAME, &name), (POD_INDEX, &number.to_string()), (HASH, &revision)] {
        pod["metadata"]["labels"][label] = json!(value);
    }
    pod["spec"]["hostname"] = json!(name);
    if let Some(service) = view.tree["spec"]["serviceName"].as_str().filter(|service| !service.is_empty()) {
        pod["spec"]["subdomain"] = json!(service);
    }
    mount(view, &mut pod, number);
    let key = crate::mirror::Name::new(&meta.namespace, &name);
    let note = |reason, message| crate::reconcile::Note::normal(KIND, meta, reason, message);
    let done = format!("create Pod {name} in StatefulSet {} successful", meta.name);
    let failed = format!("create Pod {name} in StatefulSet {} failed error: ", meta.name);
    Write::create(&kinds::pod::KIND, key, pod)
        .saying(note("SuccessfulCreate", done))
        .failing(crate::reconcile::Note::warning(KIND, meta, "FailedCreate", failed))
}

/// Gives a Pod its claims as volumes, in place of volumes of the same names.
fn mount(view: &View<'_>, pod: &mut Value, number: i64) {
    if view.set.body.claims.is_empty() {
        return;
    }
    let mut volumes: Vec<Value> = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    volumes.retain(|volume| view.set.body.claims.iter().all(|claim| volume["name"] != claim.as_str()));
    for claim in &view.set.body.claims {
        let name = claims::name(view, claim, number);
        volumes.push(json!({"name": claim, "persistentVolumeClaim": {"claimName": name}}));
    }
    pod["spec"]["volumes"] = json!(volumes);
}

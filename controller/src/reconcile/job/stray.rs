//! Pods that a Job held and that nobody will count any more: their Job is gone, or they were set free.
//!
//! Keys are Pods. A Pod that some Job is about to adopt is that Job's.

use crate::mirror::{Delta, Detail, Job, Name, Object, Pod, World};
use crate::reconcile::Controller;
use crate::reconcile::job::KIND;
use crate::reconcile::job::count::{TRACKING, release};
use crate::reconcile::plan::Plan;

/// The table's entry; it writes as the controller of Jobs.
pub const CONTROLLER: Controller = Controller { name: "job-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    match &delta.detail {
        Detail::Pod((_, Some(pod))) if is_stray(pod, world) => wake(delta.key.clone()),
        Detail::Job((Some(before), after)) if after.as_ref().is_none_or(|job| !keeps(before, job)) => {
            world.pods.owned_by(&before.meta.uid).for_each(|pod| wake(pod.key()));
            let free = world.pods.selected(&before.meta.namespace, &before.body.selector).into_iter();
            free.filter(|pod| pod.meta.controller().is_none()).for_each(|pod| wake(pod.key()));
        }
        _ => {}
    }
}

/// Whether a Job is still the one it was and may adopt as before.
fn keeps(before: &Object<Job>, job: &Object<Job>) -> bool {
    before.meta.uid == job.meta.uid && before.meta.deleting() == job.meta.deleting()
}

fn is_stray(pod: &Object<Pod>, world: &World) -> bool {
    if !pod.meta.has_finalizer(TRACKING) {
        return false;
    }
    let namespace = &pod.meta.namespace;
    match pod.meta.controller() {
        Some(owner) if owner.kind != KIND.kind || owner.api_version != KIND.api_version() => false,
        Some(owner) => world.jobs.get(namespace, &owner.name).is_none_or(|job| *job.meta.uid != owner.uid),
        None => {
            let adopts =
                |job: &Object<Job>| !job.meta.deleting() && job.body.selector.matches(&pod.meta.labels);
            pod.meta.deleting() || !world.jobs.in_namespace(namespace).any(|job| adopts(job))
        }
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    match world.pods.at(key).filter(|pod| is_stray(pod, world)) {
        Some(pod) => Plan::of(release(pod)),
        None => Plan::nothing(),
    }
}

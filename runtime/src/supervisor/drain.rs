//! The time between the wish that containers end and their end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use edge_api::kinds::endpoint_slice::{Endpoint, EndpointSlice};
use futures::future::join_all;
use tokio::time::Instant;

use crate::supervisor::context::Context;
use crate::supervisor::machine::{EXTENSION, Event};
use crate::supervisor::{crew, hook, run};

/// Lets the Pod go: its `preStop`s, then no new requests, then the end of those under way; `by` at the latest, and
/// where the hooks took all of that, a moment later.
pub async fn run(context: Arc<Context>, by: Duration, hooks: bool) {
    let deadline = context.host.epoch + by;
    let _ = tokio::time::timeout_at(deadline + EXTENSION, let_go(&context, hooks.then_some(deadline))).await;
    context.send(Event::Drained);
}

/// Lets one container go: its `preStop`, `by` at the latest, and then its end.
pub async fn stop(context: Arc<Context>, index: usize, by: Duration) {
    let deadline = context.host.epoch + by;
    pre_stop(&context, index, deadline).await;
    run::kill(&context, index);
}

async fn let_go(context: &Arc<Context>, hooks: Option<Instant>) {
    if let Some(net) = context.net.get() {
        net.drain();
    }
    if let Some(deadline) = hooks {
        let count = context.active.lock().len();
        join_all((0..count).map(|index| pre_stop(context, index, deadline))).await;
        context.send(Event::Hooked);
    }
    let Some(net) = context.net.get() else { return };
    unrouted(context).await;
    net.idle().await;
}

/// Runs a container's `preStop`, if it has one and the container runs, until it, the container or the time ends.
async fn pre_stop(context: &Arc<Context>, index: usize, deadline: Instant) {
    let Some(active) = context.active.lock()[index].clone() else { return };
    let pod = context.pod.load_full();
    let Some(container) = crew::at(&pod, index) else { return };
    let Some(handler) = container.lifecycle.as_ref().and_then(|hooks| hooks.pre_stop.as_ref()) else {
        return;
    };
    if active.let_go.swap(true, Ordering::Relaxed) {
        return;
    }
    let hook = tokio::time::timeout_at(deadline, hook::run(context, index, &container, handler));
    let well = tokio::select! {
        result = hook => result.is_ok_and(|result| result.is_ok()),
        _ = active.running.exited() => false,
    };
    if !well {
        // What it said stays out of the Event, as in Kubernetes: it may be secret.
        context.tell(Some(&container), true, "FailedPreStopHook", "PreStopHook failed");
    }
}

/// Waits until no Service counts the Pod among its ready endpoints. Until then requests come, and are served.
async fn unrouted(context: &Context) {
    let Some(ip) = context.ip.get().map(ToString::to_string) else { return };
    let mut changes = context.host.slices.changes();
    loop {
        changes.borrow_and_update();
        if !context.host.slices.any(|slice| leads_to(slice, &ip)) || changes.changed().await.is_err() {
            return;
        }
    }
}

fn leads_to(slice: &EndpointSlice, ip: &str) -> bool {
    let ready = |endpoint: &&Endpoint| {
        endpoint.conditions.ready != Some(false) && endpoint.conditions.terminating != Some(true)
    };
    slice
        .endpoints
        .iter()
        .filter(ready)
        .any(|endpoint| endpoint.addresses.iter().any(|address| address == ip))
}

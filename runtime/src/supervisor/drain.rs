//! The time between the wish that a Pod ends and the end of its containers.

use std::sync::Arc;
use std::time::Duration;

use edge_api::kinds::endpoint_slice::{Endpoint, EndpointSlice};
use edge_api::kinds::pod::LifecycleHandler;

use crate::supervisor::context::Context;
use crate::supervisor::machine::Event;

/// Lets the Pod go: its `preStop`, then no new requests, then the end of those under way; `by` at the latest.
pub async fn run(context: Arc<Context>, by: Duration) {
    let deadline = context.host.epoch + by;
    let _ = tokio::time::timeout_at(deadline, let_go(&context)).await;
    context.send(Event::Drained);
}

async fn let_go(context: &Context) {
    let Some(net) = context.net.get() else { return };
    net.drain();
    let pod = context.pod.load_full();
    let waits =
        pod.spec.containers.iter().filter_map(|container| container.lifecycle.as_ref()?.pre_stop.as_ref());
    let longest = waits.map(pre_stop).max().unwrap_or_default();
    tokio::time::sleep(longest).await;
    unrouted(context).await;
    net.idle().await;
}

/// How long a `preStop` wants to wait; other kinds are not carried out.
fn pre_stop(handler: &LifecycleHandler) -> Duration {
    let seconds = handler.sleep.as_ref().map_or(0, |sleep| sleep.seconds);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
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

//! Ending the node's Pods before the host goes down, the least important first.
//!
//! Two phases, as in Kubernetes: ordinary Pods, and then, in a time of their own, those that the system depends on.
//! Within a phase Pods of the same priority end together and those of a higher one after them, each with its own grace
//! period or what is left of the phase, whichever is less. What is ended so has failed: whoever wants the Pod makes
//! another one. Without a period none of this happens, and Pods go on when the node is back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use edge_api::kinds::pod::Pod;
use tokio::time::Instant;

use crate::supervisor::exec::Residents;
use crate::supervisor::host::Host;
use crate::supervisor::machine::EXTENSION;

/// From here on a Pod is one that the system depends on.
const CRITICAL: i32 = 2_000_000_000;

/// How long Pods are given when the host goes down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Periods {
    /// All of them together.
    pub total: Duration,
    /// The part of it that is kept for critical ones.
    pub critical: Duration,
}

/// Ends all Pods; at the latest when the time is over.
pub async fn run(host: &Host, pods: &[Arc<Pod>], residents: &Residents, periods: Periods) {
    let begun = Instant::now();
    host.closing.send_replace(true);
    for (priority, uids) in groups(pods) {
        let share = if priority < CRITICAL { periods.total - periods.critical } else { periods.total };
        let until = begun + share;
        let most = until.saturating_duration_since(Instant::now());
        tracing::info!(priority, pods = uids.len(), ?most, "ending Pods before the host goes down");
        uids.iter().for_each(|uid| residents.terminate(uid, most));
        if tokio::time::timeout_at(until + EXTENSION, ended(host, &uids)).await.is_err() {
            tracing::warn!(priority, "not all Pods have ended in time");
        }
    }
}

/// The Pods by their priority, the lowest first.
fn groups(pods: &[Arc<Pod>]) -> BTreeMap<i32, Vec<String>> {
    let mut groups: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for pod in pods {
        groups.entry(pod.spec.priority.unwrap_or(0)).or_default().push(pod.metadata.uid.clone());
    }
    groups
}

/// Waits until none of these Pods has anything of the node any more.
async fn ended(host: &Host, uids: &[String]) {
    let mut changes = host.allocation.changes();
    loop {
        changes.borrow_and_update();
        if !uids.iter().any(|uid| host.allocation.holds(uid)) || changes.changed().await.is_err() {
            return;
        }
    }
}

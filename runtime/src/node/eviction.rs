//! Ending Pods before the host runs out of memory or disk, one at a time and in Kubernetes' order.
//!
//! First those that use more than they asked for, then those of lower priority, then those that are furthest above
//! their request (<https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/>). Static
//! thresholds, no grace: the host is looked at every ten seconds, and after an eviction again at once. Images and
//! compiled code that nobody uses go before any Pod does. What a guest has in memory counts, not what the node itself
//! needs for it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use edge_api::kinds::pod::Pod;

use crate::log::pod_directory;
use crate::report::Machine;
use crate::report::machine::Shortage;
use crate::supervisor::exec::Residents;
use crate::supervisor::host::Host;
use crate::supervisor::roster::Measured;
use crate::supervisor::{UsedImages, modules};
use crate::sync::Mirror;

/// How often the host is looked at.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long the end of a Pod may take to show before the next one is chosen.
const SETTLING: Duration = Duration::from_secs(2);
/// Kubernetes' system-critical priority: such Pods are never evicted.
const CRITICAL: i32 = 2_000_000_000;

/// Looks at the host for as long as it is polled.
pub async fn run(
    host: Arc<Host>,
    pods: Arc<Mirror<Pod>>,
    residents: Arc<Residents>,
    used: Arc<UsedImages>,
    machine: Machine,
) {
    let mut looks = tokio::time::interval(INTERVAL);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        while let Some(shortage) = machine.shortage() {
            let disk = shortage.resource == "ephemeral-storage";
            if disk {
                make_room(host.clone(), used.clone()).await;
                if machine.shortage().is_none() {
                    break;
                }
            }
            let candidates = candidates(&host, &pods.all(), &machine.data_dir, disk).await;
            let Some(victim) = choose(candidates) else { break };
            let message = victim.message(&shortage);
            tracing::warn!(namespace = victim.namespace, name = victim.name, message, "a Pod is evicted");
            residents.evict(&victim.uid, message);
            tokio::time::sleep(SETTLING).await;
        }
    }
}

/// Removes what no Pod uses.
async fn make_room(host: Arc<Host>, used: Arc<UsedImages>) {
    let work = move || {
        let used = modules(&host, &used.names());
        // Of compiled code the newer half stays: what runs again soon is there.
        let freed = host.images.collect(&used, 0).unwrap_or(0) + host.code.collect(host.code.size() / 2);
        tracing::info!(freed, "removed what no Pod uses, since the disk is full");
    };
    if let Err(error) = tokio::task::spawn_blocking(work).await {
        tracing::error!(%error, "making room broke");
    }
}

/// A Pod that could be evicted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    uid: String,
    namespace: String,
    name: String,
    priority: i32,
    /// The container that uses most.
    container: String,
    /// What the Pod uses of what is short, in bytes.
    used: u64,
    /// What it asked for.
    requested: u64,
}

impl Candidate {
    /// Kubernetes' words.
    fn message(&self, shortage: &Shortage) -> String {
        let Shortage { resource, threshold, available } = shortage;
        format!(
            "The node was low on resource: {resource}. Threshold quantity: {threshold}, available: {}Ki. Container {} \
             was using {}Ki, request is {}, has larger consumption of {resource}. ",
            available >> 10,
            self.container,
            self.used >> 10,
            self.requested,
        )
    }
}

/// Who is to go.
fn choose(candidates: Vec<Candidate>) -> Option<Candidate> {
    candidates.into_iter().filter(|one| one.priority < CRITICAL).min_by_key(|one| {
        let over = i128::from(one.used) - i128::from(one.requested);
        (Reverse(over > 0), one.priority, Reverse(over), one.uid.clone())
    })
}

/// Every Pod of which something runs.
async fn candidates(host: &Arc<Host>, pods: &[Arc<Pod>], data_dir: &Path, disk: bool) -> Vec<Candidate> {
    let measured = host.roster.measure();
    let runs = |pod: &&Arc<Pod>| measured.iter().any(|one| one.pod.uid == pod.metadata.uid);
    let mut all: Vec<Candidate> =
        pods.iter().filter(runs).map(|pod| candidate(pod, &measured, disk)).collect();
    if disk {
        let places: Vec<_> = all
            .iter()
            .map(|one| {
                let logs = pod_directory(&one.namespace, &one.name, &one.uid);
                (one.uid.clone(), [host.volumes.pod(&one.uid), data_dir.join("logs").join(logs)])
            })
            .collect();
        let measure = move || -> HashMap<String, u64> {
            places
                .into_iter()
                .map(|(uid, places)| (uid, places.iter().map(|place| size(place)).sum()))
                .collect()
        };
        let sizes = tokio::task::spawn_blocking(measure).await.unwrap_or_default();
        for one in &mut all {
            one.used = sizes.get(&one.uid).copied().unwrap_or(0);
        }
    }
    all
}

/// What a Pod uses of memory, and what it asked for of what is short.
fn candidate(pod: &Pod, measured: &[Measured], disk: bool) -> Candidate {
    let own = || measured.iter().filter(|one| one.pod.uid == pod.metadata.uid);
    let largest = own().max_by_key(|one| one.usage.memory).map(|one| one.container.clone());
    let resource = if disk { "ephemeral-storage" } else { "memory" };
    let requests = pod.spec.containers.iter().filter_map(|one| one.resources.requests.get(resource));
    Candidate {
        uid: pod.metadata.uid.clone(),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        priority: pod.spec.priority.unwrap_or(0),
        container: largest.or_else(|| Some(pod.spec.containers.first()?.name.clone())).unwrap_or_default(),
        used: own().map(|one| one.usage.memory).sum(),
        requested: requests.map(edge_api::quantity::Quantity::bytes).sum(),
    }
}

/// Bytes of the files below a directory, links not followed.
fn size(place: &Path) -> u64 {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => size(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, priority: i32, used: u64, requested: u64) -> Candidate {
        let text = || name.to_owned();
        let (uid, namespace, container) = (text(), "shop".to_owned(), "main".to_owned());
        Candidate { uid, namespace, name: text(), priority, container, used, requested }
    }

    #[test]
    fn who_exceeds_its_request_goes_first_then_who_matters_least_then_who_exceeds_most() {
        let mut all = vec![
            candidate("modest", -5, 10, 100),
            candidate("important", 1000, 900, 0),
            candidate("greedy", 0, 500, 100),
            candidate("greedier", 0, 600, 100),
            candidate("critical", CRITICAL, 9000, 0),
        ];
        let mut order = Vec::new();
        while let Some(next) = choose(all.clone()) {
            all.retain(|one| *one != next);
            order.push(next.name);
        }
        assert_eq!(order, ["greedier", "greedy", "important", "modest"]);
    }

    #[test]
    fn an_eviction_is_told_in_kubernetes_words() {
        let shortage = Shortage { resource: "memory", threshold: "100Mi".to_owned(), available: 50 << 20 };
        let message = candidate("p", 0, 2048, 0).message(&shortage);
        assert_eq!(
            message,
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 51200Ki. Container main was \
             using 2Ki, request is 0, has larger consumption of memory. "
        );
    }

    #[test]
    fn a_directory_is_as_large_as_what_is_in_it() {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(place.path().join("deep")).expect("made");
        std::fs::write(place.path().join("deep/a"), [0; 100]).expect("written");
        std::fs::write(place.path().join("b"), [0; 23]).expect("written");
        assert_eq!((size(place.path()), size(Path::new("/none"))), (123, 0));
    }
}

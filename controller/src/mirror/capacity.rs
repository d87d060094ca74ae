//! What each node has already given away, and which Pods wait for a node; kept as Pods come and go.
//!
//! No decision of the scheduler adds up Pods.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use edge_api::time::Timestamp;

use crate::mirror::object::{Name, Object};
use crate::mirror::shape::{Node, Pod, PodPort, Resources};

/// What a node's Pods take together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// What they ask for.
    pub requests: Resources,
    /// How many they are.
    pub pods: i64,
    ports: BTreeMap<(i64, String), BTreeMap<String, u32>>,
}

impl Totals {
    /// Counts a Pod in.
    pub fn add(&mut self, pod: &Pod) {
        self.requests.add(&pod.requests);
        self.pods += 1;
        for port in pod.ports.iter().filter(|p| p.host_port != 0) {
            let addresses = self.ports.entry((port.host_port, port.protocol.clone())).or_default();
            *addresses.entry(port.host_ip.clone()).or_default() += 1;
        }
    }

    fn subtract(&mut self, pod: &Pod) {
        self.requests.subtract(&pod.requests);
        self.pods -= 1;
        for port in pod.ports.iter().filter(|p| p.host_port != 0) {
            let key = (port.host_port, port.protocol.clone());
            let Some(addresses) = self.ports.get_mut(&key) else { continue };
            if let Some(count) = addresses.get_mut(&port.host_ip) {
                *count -= 1;
                if *count == 0 {
                    addresses.remove(&port.host_ip);
                }
            }
            if addresses.is_empty() {
                self.ports.remove(&key);
            }
        }
    }

    /// Whether a host port is taken: by the same address, or by one that means all of them.
    pub fn taken(&self, port: &PodPort) -> bool {
        let wild = |address: &str| address.is_empty() || address == "0.0.0.0" || address == "::";
        let Some(addresses) = self.ports.get(&(port.host_port, port.protocol.clone())) else { return false };
        wild(&port.host_ip) || addresses.keys().any(|address| wild(address) || *address == port.host_ip)
    }
}

/// A Pod's place among those that wait: more important first, then older, then by name.
pub type Waiting = (Reverse<i64>, Option<Timestamp>, Name);

/// What nodes have left and who waits for it.
#[derive(Debug, Default)]
pub struct Capacity {
    totals: HashMap<Box<str>, Totals>,
    waiting: BTreeSet<Waiting>,
    tried: HashMap<Arc<str>, u64>,
    helped: u64,
}

impl Capacity {
    /// What the Pods of a node take.
    pub fn on(&self, node: &str) -> Option<&Totals> {
        self.totals.get(node)
    }

    /// The Pods that wait for a node, in the order in which they get one.
    pub fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter()
    }

    /// Whether trying to place this Pod again could give another answer: it is new or changed, or something that
    /// could help happened since.
    pub fn worth_trying(&self, pod: &Object<Pod>) -> bool {
        self.tried.get(&pod.meta.uid).is_none_or(|tried| *tried < self.helped)
    }

    /// Remembers that there was no node for these Pods at `revision`.
    pub fn tried(&mut self, uids: impl IntoIterator<Item = Arc<str>>, revision: u64) {
        for uid in uids {
            self.tried.insert(uid, revision);
        }
    }

    /// Follows a Pod.
    pub fn pod(&mut self, before: Option<&Object<Pod>>, after: Option<&Object<Pod>>, revision: u64) {
        if let Some(old) = before {
            self.waiting.remove(&place(old));
            if let Some(node) = holds(old) {
                if let Some(totals) = self.totals.get_mut(node) {
                    totals.subtract(&old.body);
                    if totals.pods == 0 {
                        self.totals.remove(node);
                    }
                }
                if after.is_none_or(|new| holds(new) != Some(node) || new.body.requests != old.body.requests)
                {
                    self.helped = revision;
                }
            }
            if after.is_none_or(|new| new.body.node.is_some() || asks_otherwise(old, new)) {
                self.tried.remove(&old.meta.uid);
            }
        }
        let Some(new) = after else { return };
        if let Some(node) = holds(new) {
            self.totals.entry(node.into()).or_default().add(&new.body);
        } else if waits(new) {
            self.waiting.insert(place(new));
        }
    }

    /// Follows a node.
    pub fn node(&mut self, before: Option<&Object<Node>>, after: Option<&Object<Node>>, revision: u64) {
        if node_helps(before, after) {
            self.helped = revision;
        }
    }
}

/// Whether a node's change could make room for a Pod.
pub fn node_helps(before: Option<&Object<Node>>, after: Option<&Object<Node>>) -> bool {
    match (before, after) {
        (None, Some(_)) => true,
        (Some(old), Some(new)) => {
            old.body.unschedulable != new.body.unschedulable
                || old.body.taints != new.body.taints
                || old.body.allocatable != new.body.allocatable
                || old.body.pods != new.body.pods
                || old.meta.labels != new.meta.labels
        }
        // One node fewer changes what is said, but not what fits.
        (_, None) => false,
    }
}

fn holds(pod: &Object<Pod>) -> Option<&str> {
    pod.body.node.as_deref().filter(|_| !pod.body.finished())
}

fn waits(pod: &Object<Pod>) -> bool {
    pod.body.node.is_none()
        && pod.body.ours
        && !pod.body.gated
        && !pod.body.finished()
        && !pod.meta.deleting()
}

fn place(pod: &Object<Pod>) -> Waiting {
    (Reverse(pod.body.priority), pod.meta.creation_timestamp, pod.key())
}

fn asks_otherwise(old: &Object<Pod>, new: &Object<Pod>) -> bool {
    let (a, b) = (&old.body, &new.body);
    a.requests != b.requests
        || a.node_selector != b.node_selector
        || a.affinity != b.affinity
        || a.tolerations != b.tolerations
        || a.gated != b.gated
}

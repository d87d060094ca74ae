//! The Pods that wait for a node: those to be tried, and those for which there was none, until something may help them.
//!
//! For a Pod without a node it is remembered since when, and for nodes when they last got room; so such a Pod looks at
//! the nodes that have changed since, and at no other. Nothing is decided here.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use edge_api::time::Timestamp;

use crate::mirror::object::{Name, Object};
use crate::mirror::shape::{Node, Pod};

/// A Pod's place among those that wait: more important first, then older, then by name.
pub type Turn = (Reverse<i64>, Option<Timestamp>, Name);

/// Who waits, and what may have helped since.
#[derive(Debug, Default)]
pub struct Waiting {
    fresh: BTreeSet<Turn>,
    parked: BTreeSet<(u64, Turn)>,
    since: HashMap<Name, u64>,
    helped: BTreeSet<(u64, Arc<str>)>,
    last: HashMap<Arc<str>, u64>,
    all_helped: u64,
}

impl Waiting {
    /// Pods that are new or ask for something else than before.
    pub fn fresh(&self) -> impl Iterator<Item = &Turn> {
        self.fresh.iter()
    }

    /// Pods for which there was no node at a revision below `before`, with that revision.
    pub fn parked(&self, before: u64) -> impl Iterator<Item = &(u64, Turn)> {
        self.parked.iter().take_while(move |(since, _)| *since < before)
    }

    /// The nodes that may have got room after a revision.
    pub fn helped(&self, since: u64) -> impl Iterator<Item = &Arc<str>> {
        self.helped.iter().rev().take_while(move |(revision, _)| *revision > since).map(|(_, node)| node)
    }

    /// When something last happened that may have helped a Pod.
    pub fn last_help(&self) -> u64 {
        self.helped.last().map_or(0, |(revision, _)| *revision).max(self.all_helped)
    }

    /// When something last happened that may have helped any Pod.
    pub fn all_helped(&self) -> u64 {
        self.all_helped
    }

    /// Something happened that may help any Pod, on any node.
    pub fn help_all(&mut self, revision: u64) {
        self.all_helped = revision;
    }

    /// How many Pods are without a node, and how many of them are not tried until something helps.
    pub fn lengths(&self) -> (usize, usize) {
        (self.fresh.len() + self.parked.len(), self.parked.len())
    }

    /// Remembers that there was no node for these Pods at `revision`.
    pub fn tried<'a>(&mut self, pods: impl IntoIterator<Item = &'a Turn>, revision: u64) {
        for turn in pods {
            let before = self.since.insert(turn.2.clone(), revision);
            let waits = match before {
                Some(since) => self.parked.remove(&(since, turn.clone())),
                None => self.fresh.remove(turn),
            };
            if waits {
                self.parked.insert((revision, turn.clone()));
            } else {
                self.since.remove(&turn.2);
            }
        }
    }

    /// Follows a Pod.
    pub fn pod(&mut self, before: Option<&Object<Pod>>, after: Option<&Object<Pod>>, revision: u64) {
        if let Some(node) = before.and_then(|old| left(old, after)) {
            self.help(node, revision);
        }
        let old = before.filter(|old| waits(old)).map(|old| (old, turn(old)));
        let new = after.filter(|new| waits(new)).map(|new| (new, turn(new)));
        if let (Some((old, place)), Some((new, now))) = (&old, &new)
            && place == now
            && !asks_otherwise(old, new)
        {
            return;
        }
        if let Some((_, place)) = old {
            match self.since.remove(&place.2) {
                Some(since) => self.parked.remove(&(since, place)),
                None => self.fresh.remove(&place),
            };
        }
        if let Some((_, now)) = new {
            self.fresh.insert(now);
        }
    }

    /// Follows a node.
    pub fn node(&mut self, before: Option<&Object<Node>>, after: Option<&Object<Node>>, revision: u64) {
        match after {
            Some(new) if node_helps(before, after) => self.help(&new.meta.name, revision),
            Some(_) => {}
            None => {
                if let Some(old) = before
                    && let Some((name, at)) = self.last.remove_entry(&*old.meta.name)
                {
                    self.helped.remove(&(at, name));
                }
            }
        }
    }

    fn help(&mut self, node: &str, revision: u64) {
        let node: Arc<str> = node.into();
        if let Some(before) = self.last.insert(node.clone(), revision) {
            self.helped.remove(&(before, node.clone()));
        }
        self.helped.insert((revision, node));
    }
}

/// A waiting Pod's place.
pub fn turn(pod: &Object<Pod>) -> Turn {
    (Reverse(pod.body.priority), pod.meta.creation_timestamp, pod.key())
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

/// The node on which a Pod takes room.
pub fn holds(pod: &Object<Pod>) -> Option<&str> {
    pod.body.node.as_deref().filter(|_| !pod.body.finished())
}

/// Whether our scheduler is to find it a node.
pub fn waits(pod: &Object<Pod>) -> bool {
    pod.body.node.is_none()
        && pod.body.ours
        && !pod.body.gated
        && !pod.body.finished()
        && !pod.meta.deleting()
}

/// The node where a Pod no longer takes the room it took, or for which it is no longer meant.
fn left<'a>(old: &'a Object<Pod>, after: Option<&Object<Pod>>) -> Option<&'a str> {
    let uses = |pod: &'a Object<Pod>| holds(pod).or_else(|| meant(pod));
    let still = |new: &Object<Pod>, node: &str| holds(new).or_else(|| meant(new)) == Some(node);
    uses(old)
        .filter(|node| after.is_none_or(|new| !still(new, node) || new.body.requests != old.body.requests))
}

/// The node where others make room for a Pod.
pub fn meant(pod: &Object<Pod>) -> Option<&str> {
    pod.body.nominated.as_deref().filter(|_| waits(pod))
}

fn asks_otherwise(old: &Object<Pod>, new: &Object<Pod>) -> bool {
    let (a, b) = (&old.body, &new.body);
    old.meta.uid != new.meta.uid
        // Changed before it could be told.
        || b.unschedulable.is_none()
        || old.meta.labels != new.meta.labels
        || a.requests != b.requests
        || a.node_selector != b.node_selector
        || a.affinity != b.affinity
        || a.social != b.social
        || a.tolerations != b.tolerations
}

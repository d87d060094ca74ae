//! The Pod addresses of nodes: each gets a part of the cluster's range that holds the Pods it can run.
//!
//! A part is never given twice and never changed, so one key stands for all nodes, and a node has to say how many Pods
//! it can run before it gets one. Most nodes could run far more Pods than anybody gives them: the first, often the
//! only one, gets at most a quarter of the range, others an 128th, and less when it runs short. A node with fewer
//! addresses than it could run Pods tells the lower capacity.

use std::cmp::Reverse;
use std::fmt;
use std::net::Ipv4Addr;

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::json;

use crate::mirror::{Delta, Detail, Name, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Note, Plan, Write};

const KIND: &Kind = &kinds::node::KIND;
/// The prefix length of the part of a node that runs few Pods, as Kubernetes has it.
const USUAL: u32 = 24;
/// The prefix length down to which parts shrink to leave room for more nodes: 126 addresses.
const SHORT: u32 = 25;
/// The prefix length of the last rests that are still given.
const LAST: u32 = 28;
/// Addresses of a part that no Pod has: the network's, the node's own, the broadcast's.
const NOT_PODS: u64 = 3;

/// The table's entry.
pub const CONTROLLER: Controller = Controller { name: "node-ipam-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    if let Detail::Node((_, after)) = &delta.detail
        && after.as_ref().is_none_or(|node| node.body.pod_cidrs.is_empty())
    {
        wake(Name::default());
    }
}

fn reconcile(_: &Name, world: &World) -> Plan {
    let mut used: Vec<Block> = world
        .nodes
        .all()
        .flat_map(|node| node.body.pod_cidrs.iter().filter_map(|part| Block::parse(part)))
        .collect();
    let mut needy: Vec<_> = world
        .nodes
        .all()
        .filter(|node| node.body.pod_cidrs.is_empty() && node.body.pods > 0 && !node.meta.deleting())
        .collect();
    needy.sort_by_key(|node| (node.meta.creation_timestamp, node.meta.name.clone()));
    let range = Block::parse(&world.settings.pod_range);
    let mut plan = Plan::nothing();
    let mut writes = Vec::new();
    for node in needy {
        let pods = u64::try_from(node.body.pods).unwrap_or(0);
        let Some(part) = range.and_then(|range| range.part(&mut used, pods)) else {
            let message = format!("Node {} status is now: CIDRNotAvailable", node.meta.name);
            plan.notes.push(Note::normal(KIND, &node.meta, "CIDRNotAvailable", message));
            continue;
        };
        used.push(part);
        let part = part.to_string();
        let patch =
            json!({"metadata": {"uid": &*node.meta.uid}, "spec": {"podCIDR": part, "podCIDRs": [part]}});
        writes.push(Write::patch(KIND, node.key(), node.revision, patch));
    }
    plan.together(writes);
    plan
}

/// Addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Block {
    first: u32,
    prefix: u32,
}

impl Block {
    /// `None` for what is no IPv4 range, as of IPv6 nodes.
    fn parse(text: &str) -> Option<Block> {
        let (address, prefix) = text.split_once('/')?;
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
        let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
        Some(Block { first: u32::from(address.parse::<Ipv4Addr>().ok()?) & mask, prefix })
    }

    fn last(self) -> u32 {
        self.first | u32::MAX.checked_shr(self.prefix).unwrap_or(0)
    }

    fn halves(self) -> [Block; 2] {
        let prefix = self.prefix + 1;
        [self, Block { first: self.first | 1 << (32 - prefix), ..self }].map(|half| Block { prefix, ..half })
    }

    /// A free part for that many Pods. Leaves `used` sorted, and free of what lies within others.
    fn part(self, used: &mut Vec<Block>, pods: u64) -> Option<Block> {
        used.sort_unstable();
        used.dedup_by(|later, earlier| later.last() <= earlier.last());
        let mut free = Vec::new();
        self.free(used, &mut free);
        let largest = free.iter().map(|block| block.prefix).min().filter(|prefix| *prefix <= LAST)?;
        let addresses = pods.saturating_add(NOT_PODS).min(1 << 31).next_power_of_two();
        let wanted = (32 - addresses.trailing_zeros()).min(USUAL);
        let share = if used.is_empty() { 2 } else { 7 };
        let most = (self.prefix + share).max(largest + 2).min(SHORT);
        let prefix = wanted.max(most).max(largest);
        // The smallest piece that holds it, so that large ones stay whole.
        let holding = free.into_iter().filter(|block| block.prefix <= prefix);
        let piece = holding.max_by_key(|block| (block.prefix, Reverse(block.first)))?;
        Some(Block { prefix, ..piece })
    }

    /// The largest pieces of this block that are apart from all of `used`, which are sorted and apart.
    fn free(self, used: &[Block], free: &mut Vec<Block>) {
        let begin = used.partition_point(|block| block.last() < self.first);
        let end = used.partition_point(|block| block.first <= self.last());
        match &used[begin..end] {
            [] => free.push(self),
            [all] if all.prefix <= self.prefix => {}
            some => {
                for half in self.halves() {
                    half.free(some, free);
                }
            }
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.first), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn block(text: &str) -> Block {
        Block::parse(text).unwrap()
    }

    /// The parts of nodes that can run so many Pods each, until there is none left or `most` are given.
    fn parts(range: &str, used: &[&str], pods: u64, most: usize) -> Vec<Block> {
        let mut used: Vec<Block> = used.iter().map(|part| block(part)).collect();
        let give = || {
            let part = block(range).part(&mut used, pods)?;
            used.push(part);
            Some(part)
        };
        std::iter::from_fn(give).take(most).collect()
    }

    #[test]
    fn a_part_holds_the_pods_of_its_node() {
        for (range, used, pods, expected) in [
            ("10.42.0.0/16", &[][..], 110, "10.42.0.0/24"),
            ("10.42.0.0/16", &[], 253, "10.42.0.0/24"),
            ("10.42.0.0/16", &[], 254, "10.42.0.0/23"),
            ("10.42.0.0/16", &[], 11_000, "10.42.0.0/18"),
            ("10.42.0.0/16", &[], u64::MAX, "10.42.0.0/18"),
            ("10.42.0.0/16", &["10.42.0.0/18"], 11_000, "10.42.64.0/23"),
            ("10.42.0.0/16", &["10.42.0.0/18"], 110, "10.42.64.0/24"),
            ("10.42.0.0/16", &["10.42.0.0/24", "10.42.2.0/24"], 110, "10.42.1.0/24"),
            ("10.42.0.0/16", &["10.42.0.0/17", "10.42.128.0/18", "10.42.129.0/24"], 110, "10.42.192.0/24"),
            ("10.64.0.0/10", &[], 11_000, "10.64.0.0/18"),
            ("10.42.7.0/24", &[], 110, "10.42.7.0/25"),
            ("10.42.7.0/26", &[], 110, "10.42.7.0/26"),
            ("10.42.7.0/24", &["10.42.7.0/25", "10.42.7.128/26"], 110, "10.42.7.192/26"),
        ] {
            assert_eq!(parts(range, used, pods, 1), [block(expected)], "{range} {used:?} {pods}");
        }
        assert_eq!(parts("10.42.7.0/29", &[], 110, 1), []);
        assert_eq!(parts("10.42.7.0/24", &["10.0.0.0/8"], 110, 1), []);
    }

    #[test]
    fn parts_are_apart_and_many() {
        for (pods, least) in [(110, 256), (500, 128), (11_000, 97)] {
            let mut parts = parts("10.42.0.0/16", &[], pods, usize::MAX);
            assert!(parts.len() >= least, "{} parts for nodes of {pods}", parts.len());
            parts.sort_unstable();
            assert!(parts.windows(2).all(|pair| pair[0].last() < pair[1].first), "{parts:?}");
            let whole = block("10.42.0.0/16");
            assert!(parts.iter().all(|part| whole.first <= part.first && part.last() <= whole.last()));
        }
        assert_eq!(parts("10.64.0.0/12", &[], 250, 1_000).last().unwrap().to_string(), "10.67.231.0/24");
    }

    #[test]
    fn text_that_is_no_range_is_none() {
        for text in ["", "10.42.0.0", "10.42.0.0/33", "fd42::/64", "a/8"] {
            assert_eq!(Block::parse(text), None, "{text}");
        }
        assert_eq!(block("10.42.7.9/24").to_string(), "10.42.7.0/24");
    }
}

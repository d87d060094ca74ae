//! The Pod addresses of nodes: each gets a /24 of its own out of the cluster's range.
//!
//! One key for all nodes, so that no two can be given the same part.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::json;

use crate::mirror::{Delta, Detail, Name, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Note, Plan, Write};

const KIND: &Kind = &kinds::node::KIND;
/// The prefix length of a node's part.
const PART: u32 = 24;

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
    let mut used: HashSet<String> =
        world.nodes.all().flat_map(|node| node.body.pod_cidrs.iter().cloned()).collect();
    let mut needy: Vec<_> =
        world.nodes.all().filter(|n| n.body.pod_cidrs.is_empty() && !n.meta.deleting()).collect();
    needy.sort_by_key(|node| (node.meta.creation_timestamp, node.meta.name.clone()));
    let mut parts = parts(&world.settings.pod_range);
    let mut plan = Plan::nothing();
    let mut writes = Vec::new();
    for node in needy {
        let Some(part) = parts.find(|part| !used.contains(part)) else {
            let message = format!("Node {} status is now: CIDRNotAvailable", node.meta.name);
            plan.notes.push(Note::normal(KIND, &node.meta, "CIDRNotAvailable", message));
            continue;
        };
        let patch =
            json!({"metadata": {"uid": &*node.meta.uid}, "spec": {"podCIDR": part, "podCIDRs": [part]}});
        used.insert(part);
        writes.push(Write::patch(KIND, node.key(), node.revision, patch));
    }
    plan.together(writes);
    plan
}

/// The parts of a range such as `10.42.0.0/16`, in order; none of one that is no such range.
fn parts(range: &str) -> impl Iterator<Item = String> + use<> {
    let parsed = range.split_once('/').and_then(|(address, length)| {
        Some((
            address.parse::<Ipv4Addr>().ok()?,
            length.parse::<u32>().ok().filter(|length| *length <= PART)?,
        ))
    });
    let (first, count) =
        parsed.map_or((0, 0), |(address, length)| (u32::from(address), 1_u32 << (PART - length)));
    (0..count).map(move |index| format!("{}/{PART}", Ipv4Addr::from(first + (index << (32 - PART)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_its_parts() {
        assert_eq!(parts("10.42.0.0/16").count(), 256);
        assert_eq!(parts("10.42.0.0/16").nth(255).as_deref(), Some("10.42.255.0/24"));
        assert_eq!(parts("10.42.7.0/24").collect::<Vec<_>>(), ["10.42.7.0/24"]);
        assert_eq!(parts("10.42.7.0/25").count() + parts("nonsense").count(), 0);
    }
}

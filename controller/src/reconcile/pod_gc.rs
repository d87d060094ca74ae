//! Pods that nobody else removes: bound to a node that is gone, deleted before they were bound, or ended long ago.

use std::time::Duration;

use edge_api::kind::Kind;
use edge_api::kinds;

use crate::mirror::{Delta, Detail, Name, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Plan, Write};

const POD: &Kind = &kinds::pod::KIND;

/// How many ended Pods are kept.
const THRESHOLD: usize = 12_500;
/// How long a Pod may name a node that nobody has heard of: it may be about to join.
const QUARANTINE: Duration = Duration::from_secs(40);

/// The table's entry. Its keys are nodes without a namespace, Pods with one, and nothing at all for ended Pods.
pub const CONTROLLER: Controller =
    Controller { name: "pod-garbage-collector", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    match &delta.detail {
        Detail::Node((_, None)) => wake(delta.key.clone()),
        Detail::Pod((_, Some(pod))) => {
            match &pod.body.node {
                Some(node) if world.nodes.get("", node).is_none() => wake(Name::new("", node)),
                None if pod.meta.deleting() => wake(delta.key.clone()),
                _ => {}
            }
            if pod.body.finished() && world.finished.len() > THRESHOLD {
                wake(Name::default());
            }
        }
        _ => {}
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let mut plan = Plan::nothing();
    if !key.namespace.is_empty() {
        let pod = world.pods.at(key).filter(|pod| pod.meta.deleting() && pod.body.node.is_none());
        plan.together(pod.map(|pod| Write::delete(POD, &pod.meta).at_once()).into_iter().collect());
    } else if key.name.is_empty() {
        let surplus = world.finished.len().saturating_sub(THRESHOLD);
        let oldest = world.finished.iter().take(surplus).filter_map(|(_, key)| world.pods.at(key));
        plan.together(oldest.map(|pod| Write::delete(POD, &pod.meta).at_once()).collect());
    } else if world.nodes.at(key).is_none() {
        let mut writes = Vec::new();
        for pod in world.pods.on_node(&key.name) {
            let then = pod.meta.creation_timestamp.map_or(world.now, |time| time.plus(QUARANTINE));
            if then <= world.now {
                writes.push(Write::delete(POD, &pod.meta).at_once());
            } else {
                plan.wake(then);
            }
        }
        plan.together(writes);
    }
    plan
}

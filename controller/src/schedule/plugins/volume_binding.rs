//! VolumeBinding: a Pod's claims must be there, and its node must reach the volumes they are bound to.
//!
//! A claim whose class waits for its first consumer may be without a volume; making one is not the scheduler's.

use crate::mirror::Place;
use crate::schedule::ask::Ask;
use crate::schedule::plugins::{Filter, Plugin, Reach, Refusal, no_help};

/// The table's entry.
pub const PLUGIN: Plugin = Plugin {
    name: "VolumeBinding",
    bars: Some(bars),
    filter: Some(Filter { reach, refuse, help: no_help }),
    ..Plugin::NOTHING
};

fn bars(ask: &Ask<'_>) -> Option<String> {
    let mut unbound = false;
    for name in &ask.pod.body.claims {
        let Some(claim) = ask.world.claims.get(&ask.pod.meta.namespace, name) else {
            return Some(format!("persistentvolumeclaim {name:?} not found"));
        };
        if claim.meta.deleting() {
            return Some(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        let class = claim.body.storage_class_name.as_deref().unwrap_or_default();
        let waits = ask.world.storage_classes.get("", class).is_some_and(|class| class.body.waits);
        unbound |= claim.body.volume_name.is_empty() && !waits;
    }
    unbound.then(|| "pod has unbound immediate PersistentVolumeClaims".to_owned())
}

/// What volumes ask of nodes is no rule of Pods, by which nodes are classed.
fn reach(ask: &Ask<'_>) -> Reach {
    if ask.volume_terms().next().is_some() { Reach::Node } else { Reach::Nothing }
}

fn refuse(ask: &Ask<'_>, place: &Place) -> Option<Refusal> {
    let reached =
        |terms: &Vec<crate::mirror::NodeTerm>| terms.iter().any(|term| term.matches(&place.node.meta));
    if ask.volume_terms().all(reached) {
        return None;
    }
    Refusal::for_good("node(s) didn't match PersistentVolume's node affinity")
}

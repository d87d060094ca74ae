//! VolumeBinding: a Pod's claims must be there, and its node must reach the volumes they are bound to, or have one for
//! those that wait for it.

use crate::mirror::{Binding, Place, is_bound};
use crate::schedule::ask::Ask;
use crate::schedule::plugins::{Filter, Plugin, Reach, Refusal, no_help};
use crate::schedule::wish;

/// The table's entry.
pub const PLUGIN: Plugin = Plugin {
    name: "VolumeBinding",
    bars: Some(bars),
    filter: Some(Filter { reach, refuse, help: no_help }),
    ..Plugin::NOTHING
};

fn bars(ask: &Ask<'_>) -> Option<String> {
    let mut unbound = false;
    for named in &ask.pod.body.claims {
        let name = &named.name;
        let Some(claim) = ask.world.claims.at(&named.of(ask.pod)) else {
            return Some(match named.ephemeral {
                Some(_) => format!(
                    "waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}"
                ),
                None => format!("persistentvolumeclaim {name:?} not found"),
            });
        };
        if claim.body.phase == Binding::Lost {
            let volume = &claim.body.volume_name;
            return Some(format!(
                "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"
            ));
        }
        if claim.meta.deleting() {
            return Some(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        if named.ephemeral.is_some() && !claim.meta.controlled_by(&ask.pod.meta.uid) {
            let pod = ask.pod.key();
            return Some(format!("PVC {} was not created for pod {pod} (pod is not owner)", claim.key()));
        }
        unbound |= !is_bound(claim) && wish::waits(claim, ask.world).is_none();
    }
    unbound.then(|| "pod has unbound immediate PersistentVolumeClaims".to_owned())
}

/// What volumes ask of nodes is no rule of Pods, by which nodes are classed.
fn reach(ask: &Ask<'_>) -> Reach {
    if ask.volumes().next().is_some() || !ask.unbound.is_empty() { Reach::Node } else { Reach::Nothing }
}

fn refuse(ask: &Ask<'_>, place: &Place) -> Option<Refusal> {
    let node = &place.node.meta;
    for volume in ask.volumes() {
        match volume {
            None => {
                let reason = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
                return Refusal::for_good(reason);
            }
            Some(volume) if !volume.body.is_on(node) => {
                return Refusal::for_good("node(s) didn't match PersistentVolume's node affinity");
            }
            Some(_) => {}
        }
    }
    if wish::grants(&ask.unbound, node).is_none() {
        return Refusal::for_good("node(s) didn't find available persistent volumes to bind");
    }
    None
}

//! Claims and volumes find each other, and volumes are made and cleared away.
//!
//! A claim is bound to a volume that is there and that it suits; else its class says who makes one. The class
//! `edgectl.dev/local` makes directories on the node that the scheduler has chosen: here only the object is made, the
//! node makes the directory when a Pod needs it and removes it before the object goes, which its finalizer waits for.
//! So a node that was away does it later, and nothing is removed that no node has seen being deleted.

mod claim;
mod matching;
mod provision;
mod volume;

#[cfg(test)]
mod tests;

use edge_api::kind::Kind;
use edge_api::kinds;
use edge_api::kinds::persistent_volume::NODE_LABEL;
use edge_api::kinds::persistent_volume_claim::SELECTED_NODE;
use serde_json::{Value, json};

use crate::mirror::{Claim, Delta, Detail, Name, Object, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::Plan;

pub use matching::candidates;
pub use provision::makes;

const CLAIM: &Kind = &kinds::persistent_volume_claim::KIND;
const VOLUME: &Kind = &kinds::persistent_volume::KIND;

/// The table's entry. Its keys are claims with a namespace and volumes without one.
pub const CONTROLLER: Controller =
    Controller { name: "persistentvolume-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    match &delta.detail {
        Detail::Claim((before, after)) => {
            wake(delta.key.clone());
            for one in [before, after].into_iter().flatten().filter(|one| !one.body.volume_name.is_empty()) {
                wake(Name::new("", &one.body.volume_name));
            }
            let kept = |name: &&Name| {
                let of = world.volumes.at(name).and_then(|volume| volume.body.claim.as_ref());
                of.is_some_and(|of| of.name == *delta.key.name && of.namespace == *delta.key.namespace)
            };
            world.storage.free().filter(kept).cloned().for_each(wake);
        }
        Detail::Volume((before, after)) => {
            wake(delta.key.clone());
            let of = [before, after].into_iter().flatten().filter_map(|one| one.body.claim.as_ref());
            of.for_each(|of| wake(Name::new(&of.namespace, &of.name)));
            let asks = |claim: &Object<Claim>| {
                claim.body.volume_name == *delta.key.name
                    || after.as_ref().is_some_and(|new| new.body.like == claim.body.like)
            };
            waiting(world, asks).for_each(wake);
        }
        Detail::StorageClass(_) => {
            waiting(world, |claim| claim.body.classless || claim.body.like.class == *delta.key.name)
                .for_each(wake);
        }
        Detail::Pod((before, after)) => {
            let pods = [before, after].into_iter().flatten();
            let claims = pods.flat_map(|pod| pod.body.claims.iter().map(|claim| claim.of(pod)));
            let waits =
                |key: &Name| world.claims.at(key).is_some_and(|claim| claim.body.volume_name.is_empty());
            claims.filter(waits).for_each(wake);
        }
        Detail::Node((_, after)) => {
            let chosen = |claim: &Object<Claim>| {
                claim.meta.annotations.get(SELECTED_NODE).is_some_and(|node| **node == *delta.key.name)
            };
            waiting(world, chosen).for_each(&mut *wake);
            if after.is_none() {
                let was_there = |label: Option<&String>| label.is_some_and(|node| **node == *delta.key.name);
                let volumes =
                    world.volumes.all().filter(|volume| was_there(volume.meta.labels.get(NODE_LABEL)));
                volumes.for_each(|volume| wake(volume.key()));
            }
        }
        _ => {}
    }
}

/// The claims without a volume of which something is true.
fn waiting(world: &World, such: impl Fn(&Object<Claim>) -> bool) -> impl Iterator<Item = Name> {
    world.storage.waiting().filter(move |key| world.claims.at(key).is_some_and(|claim| such(claim))).cloned()
}

fn reconcile(key: &Name, world: &World) -> Plan {
    if key.namespace.is_empty() {
        world.volumes.at(key).map(|volume| volume::plan(volume, world)).unwrap_or_default()
    } else {
        world.claims.at(key).map(|claim| claim::plan(claim, world)).unwrap_or_default()
    }
}

/// A reference to a claim.
pub fn reference(claim: &Object<Claim>) -> Value {
    let meta = &claim.meta;
    json!({"apiVersion": CLAIM.api_version(), "kind": CLAIM.kind, "namespace": &*meta.namespace,
        "name": &*meta.name, "uid": &*meta.uid})
}

//! Claims that wait for the node of their Pod: what each node has for them, and what is written once one is chosen.
//!
//! A volume that is there is kept for its claim, or the claim is told for which node its volume is to be made. Either
//! way the Pod goes to its node only when claim and volume have each other, which is not the scheduler's to do.

use std::collections::BTreeSet;
use std::sync::Arc;

use edge_api::kinds;
use edge_api::kinds::persistent_volume::BOUND_BY_CONTROLLER;
use edge_api::kinds::persistent_volume_claim::SELECTED_NODE;
use edge_api::meta;
use serde_json::json;

use crate::mirror::{Claim, Meta, Object, Pod, StorageClass, Volume, World, is_bound};
use crate::reconcile::{Write, claim_reference, makes_volumes, volumes_for};

/// A claim that waits for a node.
pub struct Wish<'a> {
    /// The claim.
    pub claim: &'a Arc<Object<Claim>>,
    class: &'a Arc<Object<StorageClass>>,
    /// The volumes that are there for it, the best one first.
    there: Vec<&'a Arc<Object<Volume>>>,
    /// The node that was chosen for it before.
    pub chosen: Option<&'a str>,
}

/// What a node has for a claim.
pub enum Grant<'a> {
    /// This volume.
    There(&'a Arc<Object<Volume>>),
    /// One that is to be made.
    Made,
    /// What was asked for before.
    Asked,
}

/// The class of a claim that is bound only when its Pod has a node.
pub fn waits<'a>(claim: &Object<Claim>, world: &'a World) -> Option<&'a Arc<Object<StorageClass>>> {
    let open = claim.body.volume_name.is_empty() && !is_bound(claim);
    let class = world.storage_classes.get("", &claim.body.like.class);
    class.filter(|class| open && class.body.waits)
}

/// The wishes of a Pod, the smallest first.
pub fn of<'a>(pod: &Object<Pod>, world: &'a World) -> Vec<Wish<'a>> {
    let claims = pod.body.claims.iter().filter_map(|claim| world.claims.at(&claim.of(pod)));
    let wish = |claim: &'a Arc<Object<Claim>>| {
        let class = waits(claim, world)?;
        let chosen = claim.meta.annotations.get(SELECTED_NODE).map(String::as_str);
        let there = if chosen.is_none() { volumes_for(claim, world) } else { Vec::new() };
        Some(Wish { claim, class, there, chosen })
    };
    let mut wishes: Vec<Wish<'a>> = claims.filter_map(wish).collect();
    wishes.sort_by_key(|wish| wish.claim.body.request);
    wishes
}

/// What a node has for each of the wishes; none if there is one for which it has nothing.
pub fn grants<'a>(wishes: &[Wish<'a>], node: &Meta) -> Option<Vec<Grant<'a>>> {
    let mut taken = BTreeSet::new();
    let mut grant = |wish: &Wish<'a>| {
        if let Some(chosen) = wish.chosen {
            return (chosen == &*node.name).then_some(Grant::Asked);
        }
        let reached =
            |volume: &&&Arc<Object<Volume>>| volume.body.is_on(node) && !taken.contains(&volume.meta.uid);
        if let Some(volume) = wish.there.iter().find(reached) {
            taken.insert(volume.meta.uid.clone());
            // Kept for it already, it is only to be bound.
            let kept = volume.body.is_for(&wish.claim.meta);
            return Some(if kept { Grant::Asked } else { Grant::There(volume) });
        }
        makes_volumes(&wish.class.body, node).then_some(Grant::Made)
    };
    wishes.iter().map(&mut grant).collect()
}

/// What is written so that the wishes come true on a node.
pub fn writes(wishes: &[Wish<'_>], node: &Meta) -> Vec<Write> {
    let granted = grants(wishes, node).unwrap_or_default();
    let write = |(wish, grant): (&Wish<'_>, Grant<'_>)| match grant {
        Grant::Asked => None,
        Grant::Made => {
            let patch = json!({"metadata": {"annotations": {SELECTED_NODE: &*node.name}}});
            let claim = wish.claim;
            Some(Write::patch(&kinds::persistent_volume_claim::KIND, claim.key(), claim.revision, patch))
        }
        Grant::There(volume) => {
            let mut tree = volume.tree();
            tree["spec"]["claimRef"] = claim_reference(wish.claim);
            meta::set_annotation(&mut tree, BOUND_BY_CONTROLLER, "yes");
            Some(Write::update(&kinds::persistent_volume::KIND, volume.key(), volume.revision, tree))
        }
    };
    wishes.iter().zip(granted).filter_map(write).collect()
}

//! Which volumes suit a claim.

use std::sync::Arc;

use crate::mirror::{Binding, Claim, Object, Volume, World};

/// The volumes that are there for a claim, the best one first: those kept for it, and only if there is none the free
/// ones, the smallest first. Where they are is another question.
pub fn candidates<'w>(claim: &Object<Claim>, world: &'w World) -> Vec<&'w Arc<Object<Volume>>> {
    let free = world.storage.free().filter_map(|key| world.volumes.at(key));
    let (kept, others): (Vec<_>, Vec<_>) = free
        .filter(|volume| !volume.meta.deleting() && resembles(volume, claim))
        .partition(|volume| volume.body.is_for(&claim.meta));
    let large = |volume: &&Arc<Object<Volume>>| volume.body.capacity >= claim.body.request;
    let kept: Vec<_> = kept.into_iter().filter(large).collect();
    if !kept.is_empty() {
        return kept;
    }
    let mut found: Vec<_> =
        others.into_iter().filter(large).filter(|volume| is_open_to(volume, claim)).collect();
    found.sort_by(|a, b| a.body.capacity.cmp(&b.body.capacity).then_with(|| a.meta.name.cmp(&b.meta.name)));
    found
}

/// Whether both are of one kind of storage.
fn resembles(volume: &Object<Volume>, claim: &Object<Claim>) -> bool {
    let (one, other) = (&volume.body.like, &claim.body.like);
    one.block == other.block && one.attributes == other.attributes
}

/// Whether a volume is free, and the claim may have it.
fn is_open_to(volume: &Object<Volume>, claim: &Object<Claim>) -> bool {
    let selected = claim.body.selector.as_ref().is_none_or(|selector| selector.matches(&volume.meta.labels));
    volume.body.phase == Binding::Available
        && volume.body.claim.is_none()
        && volume.body.like.class == claim.body.like.class
        && allows(volume, claim)
        && selected
}

fn allows(volume: &Object<Volume>, claim: &Object<Claim>) -> bool {
    claim.body.modes.iter().all(|mode| volume.body.modes.contains(mode))
}

/// Why a claim cannot have the volume that it asks for by name, in Kubernetes' words.
pub fn mismatch(volume: &Object<Volume>, claim: &Object<Claim>) -> Option<&'static str> {
    let (one, other) = (&volume.body.like, &claim.body.like);
    if volume.body.capacity < claim.body.request {
        Some("requested PV is too small")
    } else if one.class != other.class {
        Some("storageClassName does not match")
    } else if one.attributes != other.attributes {
        Some("volumeAttributesClassName does not match")
    } else if one.block != other.block {
        Some("incompatible volumeMode")
    } else if !allows(volume, claim) {
        Some("incompatible accessMode")
    } else {
        None
    }
}

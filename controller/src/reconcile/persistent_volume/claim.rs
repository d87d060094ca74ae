//! A claim on its way to a volume, and what becomes of one that has lost it.

use edge_api::kinds::persistent_volume::BOUND_BY_CONTROLLER;
use edge_api::kinds::persistent_volume_claim::{BIND_COMPLETED, SELECTED_NODE};
use edge_api::meta;
use serde_json::json;

use crate::mirror::{Binding, Claim, Object, Volume, World, is_default};
use crate::reconcile::persistent_volume::matching::{candidates, mismatch};
use crate::reconcile::persistent_volume::{CLAIM, VOLUME, provision, reference};
use crate::reconcile::plan::{Note, Plan, Write};

/// What is to be done about a claim.
pub fn plan(claim: &Object<Claim>, world: &World) -> Plan {
    if claim.meta.annotations.contains_key(BIND_COMPLETED) {
        return bound(claim, world);
    }
    if claim.meta.deleting() {
        return Plan::nothing();
    }
    if !claim.body.volume_name.is_empty() {
        return requested(claim, world);
    }
    if let Some(class) = default_class(world).filter(|_| claim.body.classless) {
        let patch = json!({"spec": {"storageClassName": class}});
        return Plan::of(Write::patch(CLAIM, claim.key(), claim.revision, patch));
    }
    let class = world.storage_classes.get("", &claim.body.like.class);
    let node = claim.meta.annotations.get(SELECTED_NODE);
    let delayed = node.is_none() && class.is_some_and(|class| class.body.waits);
    let node = node.and_then(|node| world.nodes.get("", node));
    let mut there = candidates(claim, world).into_iter();
    let found = there.find(|volume| {
        volume.body.is_for(&claim.meta) || !delayed && node.is_none_or(|node| volume.body.is_on(&node.meta))
    });
    match found {
        Some(volume) => bind(claim, volume),
        None if delayed => say(wait(claim, world)),
        None if !claim.body.like.class.is_empty() => {
            provision::plan(claim, class.map(|class| &**class), world)
        }
        None => {
            let why = "no persistent volumes available for this claim and no storage class is set";
            say(Note::normal(CLAIM, &claim.meta, "FailedBinding", why.to_owned()))
        }
    }
}

/// A plan that only tells of something.
pub fn say(note: Note) -> Plan {
    Plan { notes: vec![note], ..Plan::default() }
}

/// The class of claims that name none: the newest of those that are marked.
fn default_class(world: &World) -> Option<&str> {
    let marked = world.storage_classes.all().filter(|class| is_default(class));
    let newest = marked
        .max_by_key(|class| (class.meta.creation_timestamp, std::cmp::Reverse(class.meta.name.clone())));
    newest.map(|class| &*class.meta.name)
}

/// What a claim waits for that is bound only when a Pod that uses it has a node.
fn wait(claim: &Object<Claim>, world: &World) -> Note {
    let key = claim.key();
    let pods = world.storage.claimants(&key).filter_map(|pod| world.pods.at(pod));
    let names: Vec<&str> = pods
        .filter(|pod| pod.body.node.is_none() && !pod.body.finished())
        .map(|pod| &*pod.meta.name)
        .collect();
    match names[..] {
        [] => {
            let message = "waiting for first consumer to be created before binding".to_owned();
            Note::normal(CLAIM, &claim.meta, "WaitForFirstConsumer", message)
        }
        [pod] => {
            let message = format!("waiting for pod {pod} to be scheduled");
            Note::normal(CLAIM, &claim.meta, "WaitForPodScheduled", message)
        }
        _ => {
            let message = format!("waiting for pods {} to be scheduled", names.join(","));
            Note::normal(CLAIM, &claim.meta, "WaitForPodScheduled", message)
        }
    }
}

/// A claim that asks for a volume by name.
fn requested(claim: &Object<Claim>, world: &World) -> Plan {
    let name = &claim.body.volume_name;
    let Some(volume) = world.volumes.get("", name) else { return Plan::nothing() };
    if volume.body.is_for(&claim.meta) {
        return bind(claim, volume);
    }
    if volume.body.claim.is_some() {
        let message = format!("volume {name:?} already bound to a different claim.");
        return say(Note::warning(CLAIM, &claim.meta, "FailedBinding", message));
    }
    match mismatch(volume, claim) {
        None => bind(claim, volume),
        Some(why) => {
            let message = format!("Cannot bind to requested volume {name:?}: {why}");
            say(Note::warning(CLAIM, &claim.meta, "VolumeMismatch", message))
        }
    }
}

/// Gives a claim and a volume to each other: the volume first, so that nobody else gets it.
fn bind(claim: &Object<Claim>, volume: &Object<Volume>) -> Plan {
    let mut plan = Plan::nothing();
    if volume.body.claim.as_ref().is_none_or(|of| of.uid != *claim.meta.uid) {
        plan.then(claimed(volume, claim));
    }
    let mut tree = claim.tree();
    tree["spec"]["volumeName"] = json!(&*volume.meta.name);
    meta::set_annotation(&mut tree, BIND_COMPLETED, "yes");
    if claim.body.volume_name.is_empty() {
        meta::set_annotation(&mut tree, BOUND_BY_CONTROLLER, "yes");
    }
    plan.then(Write::update(CLAIM, claim.key(), claim.revision, tree));
    plan
}

/// Writes into a volume whose it is.
fn claimed(volume: &Object<Volume>, claim: &Object<Claim>) -> Write {
    let mut tree = volume.tree();
    if volume.body.claim.is_none() {
        meta::set_annotation(&mut tree, BOUND_BY_CONTROLLER, "yes");
    }
    tree["spec"]["claimRef"] = reference(claim);
    Write::update(VOLUME, volume.key(), volume.revision, tree)
}

/// A claim that was bound: it is still, or its data is lost.
fn bound(claim: &Object<Claim>, world: &World) -> Plan {
    let name = &claim.body.volume_name;
    if name.is_empty() {
        let message = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
        return lost(claim, "ClaimLost", message);
    }
    let Some(volume) = world.volumes.get("", name) else {
        let message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
        return lost(claim, "ClaimLost", message);
    };
    match &volume.body.claim {
        None => Plan::of(claimed(volume, claim)),
        Some(of) if of.uid == *claim.meta.uid => settle(claim, volume),
        Some(_) => {
            let message = "Two claims are bound to the same volume, this one is bound incorrectly";
            lost(claim, "ClaimMisbound", message)
        }
    }
}

fn lost(claim: &Object<Claim>, reason: &'static str, message: &str) -> Plan {
    if claim.body.phase == Binding::Lost {
        return Plan::nothing();
    }
    let note = Note::warning(CLAIM, &claim.meta, reason, message.to_owned());
    let mut tree = claim.tree();
    tree["status"] = json!({"phase": "Lost"});
    Plan::of(Write::status(CLAIM, claim.key(), claim.revision, tree).saying(note))
}

/// Says in the claim's status what it has.
fn settle(claim: &Object<Claim>, volume: &Object<Volume>) -> Plan {
    let mut tree = claim.tree();
    let source = volume.tree();
    let mut status = tree["status"].take();
    if !status.is_object() {
        status = json!({});
    }
    let before = status.clone();
    status["phase"] = json!("Bound");
    status["accessModes"] = source["spec"]["accessModes"].clone();
    status["capacity"] = source["spec"]["capacity"].clone();
    if status == before {
        return Plan::nothing();
    }
    tree["status"] = status;
    Plan::of(Write::status(CLAIM, claim.key(), claim.revision, tree))
}

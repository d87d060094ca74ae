//! A volume: whose it is, and what becomes of it afterwards.

use edge_api::kinds::persistent_volume::{
    BOUND_BY_CONTROLLER, LOCAL_FINALIZER, NODE_LABEL, PROTECTION, PROVISIONED_BY,
};
use edge_api::kinds::storage_class::LOCAL_PROVISIONER;
use edge_api::meta;
use serde_json::json;

use crate::mirror::{Binding, Object, Volume, World};
use crate::reconcile::persistent_volume::VOLUME;
use crate::reconcile::plan::{Note, Plan, Write};

/// What is to be done about a volume.
pub fn plan(volume: &Object<Volume>, world: &World) -> Plan {
    if is_abandoned(volume, world) {
        return Plan::of(without_finalizer(volume, LOCAL_FINALIZER));
    }
    let Some(of) = volume.body.claim.as_ref().filter(|of| !of.uid.is_empty()) else {
        return enter(volume, Binding::Available, None, world);
    };
    let claim = world.claims.get(&of.namespace, &of.name).filter(|claim| *claim.meta.uid == of.uid);
    match claim {
        None => release(volume, world),
        // It is bound when the claim says so.
        Some(claim) if claim.body.volume_name.is_empty() => Plan::nothing(),
        Some(claim) if claim.body.volume_name == *volume.meta.name => {
            enter(volume, Binding::Bound, None, world)
        }
        Some(_) if provisioner(volume).is_some() && volume.body.reclaim == "Delete" => release(volume, world),
        Some(_) => unbind(volume),
    }
}

fn provisioner(volume: &Object<Volume>) -> Option<&str> {
    volume.meta.annotations.get(PROVISIONED_BY).map(String::as_str)
}

/// Whether it waits for a node that does not exist any more: nobody will ever remove its directory.
fn is_abandoned(volume: &Object<Volume>, world: &World) -> bool {
    let gone = |node: &String| world.nodes.get("", node).is_none();
    volume.meta.deleting()
        && volume.meta.has_finalizer(LOCAL_FINALIZER)
        && !volume.meta.has_finalizer(PROTECTION)
        && volume.meta.labels.get(NODE_LABEL).is_some_and(gone)
}

/// Takes a finalizer away.
pub fn without_finalizer(volume: &Object<Volume>, name: &str) -> Write {
    let rest: Vec<&String> = volume.meta.finalizers.iter().filter(|one| *one != name).collect();
    let patch = json!({"metadata": {"uid": &*volume.meta.uid, "finalizers": rest}});
    Write::patch(VOLUME, volume.key(), volume.revision, patch)
}

/// Says in which phase it is.
fn enter(
    volume: &Object<Volume>,
    phase: Binding,
    why: Option<(&'static str, String)>,
    world: &World,
) -> Plan {
    if volume.body.phase == phase {
        return Plan::nothing();
    }
    let mut tree = volume.tree();
    tree["status"] = json!({"phase": format!("{phase:?}"), "lastPhaseTransitionTime": world.now});
    if let Some((_, message)) = &why {
        tree["status"]["message"] = json!(message);
    }
    let mut write = Write::status(VOLUME, volume.key(), volume.revision, tree);
    if let Some((reason, message)) = why {
        write = write.saying(Note::warning(VOLUME, &volume.meta, reason, message));
    }
    Plan::of(write)
}

/// Its claim is gone: nobody else may have what is on it, and it goes or stays as its policy says.
fn release(volume: &Object<Volume>, world: &World) -> Plan {
    if !matches!(volume.body.phase, Binding::Released | Binding::Failed) {
        return enter(volume, Binding::Released, None, world);
    }
    let name = &volume.meta.name;
    match (volume.body.reclaim.as_str(), provisioner(volume)) {
        ("Delete", Some(LOCAL_PROVISIONER)) if !volume.meta.deleting() => {
            Plan::of(Write::delete(VOLUME, &volume.meta))
        }
        // Its provisioner does it.
        ("Delete", Some(_)) => Plan::nothing(),
        ("Delete", None) => {
            let why = format!(
                "error getting deleter volume plugin for volume {name:?}: no deletable volume plugin matched"
            );
            enter(volume, Binding::Failed, Some(("VolumeFailedDelete", why)), world)
        }
        ("Recycle", _) => {
            let why = "No recycler plugin found for the volume!".to_owned();
            enter(volume, Binding::Failed, Some(("VolumeFailedRecycle", why)), world)
        }
        _ => Plan::nothing(),
    }
}

/// Its claim has another volume: it is free again if nobody but us said whose it is.
fn unbind(volume: &Object<Volume>) -> Plan {
    let mut tree = volume.tree();
    let ours = meta::annotation(&tree, BOUND_BY_CONTROLLER).is_some();
    if let Some(spec) = tree["spec"].as_object_mut() {
        if ours {
            spec.remove("claimRef");
        } else if let Some(of) = spec.get_mut("claimRef").and_then(|of| of.as_object_mut()) {
            of.remove("uid");
            of.remove("resourceVersion");
        }
    }
    if ours && let Some(annotations) = tree["metadata"]["annotations"].as_object_mut() {
        annotations.remove(BOUND_BY_CONTROLLER);
    }
    Plan::of(Write::update(VOLUME, volume.key(), volume.revision, tree))
}

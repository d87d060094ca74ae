//! Making the volume that a claim asks for.

use std::sync::Arc;

use edge_api::kinds::persistent_volume::{LOCAL_FINALIZER, NODE_LABEL, PROVISIONED_BY};
use edge_api::kinds::persistent_volume_claim::{OLD_PROVISIONER, PROVISIONER, SELECTED_NODE};
use edge_api::kinds::storage_class::{LOCAL_DIRECTORY, LOCAL_PROVISIONER, NO_PROVISIONER};
use serde_json::{Value, json};

use crate::mirror::{Claim, HOSTNAME, Meta, Name, Node, Object, StorageClass, World};
use crate::reconcile::persistent_volume::claim::say;
use crate::reconcile::persistent_volume::{CLAIM, VOLUME, reference};
use crate::reconcile::plan::{Note, Plan, Write};

/// Whether a class makes volumes for a node. Of others' provisioners only they know; ours needs a directory there.
pub fn makes(class: &StorageClass, node: &Meta) -> bool {
    let can = match class.provisioner.as_str() {
        NO_PROVISIONER => false,
        LOCAL_PROVISIONER => node.annotations.contains_key(LOCAL_DIRECTORY),
        _ => true,
    };
    can && class.serves(node)
}

/// Makes the volume of a claim, or asks who can.
pub fn plan(claim: &Object<Claim>, class: Option<&Object<StorageClass>>, world: &World) -> Plan {
    let failed = |why: String| say(Note::warning(CLAIM, &claim.meta, "ProvisioningFailed", why));
    let Some(class) = class else {
        return failed(format!("storageclass.storage.k8s.io {:?} not found", claim.body.like.class));
    };
    match class.body.provisioner.as_str() {
        LOCAL_PROVISIONER => {}
        NO_PROVISIONER => return failed(format!("no volume plugin matched name: {NO_PROVISIONER}")),
        other => return ask(claim, other),
    }
    let refused = |why: &str| {
        failed(format!("failed to provision volume with StorageClass {:?}: {why}", class.meta.name))
    };
    if claim.body.like.block {
        return refused("it is a directory, and volumeMode is Block");
    }
    if claim.body.copies {
        return refused("it begins empty, and the claim has a dataSource");
    }
    if claim.body.selector.is_some() {
        return refused("claim.Spec.Selector is not supported");
    }
    let Some(chosen) = claim.meta.annotations.get(SELECTED_NODE) else {
        return match any(&class.body, world) {
            Some(node) => make(claim, class, node),
            None => refused("no node makes volumes"),
        };
    };
    match world.nodes.get("", chosen).filter(|node| makes(&class.body, &node.meta)) {
        Some(node) => make(claim, class, node),
        // The scheduler is to choose another one.
        None => {
            let mut plan = refused(&format!("node {chosen:?} makes no volumes"));
            let patch = json!({"metadata": {"annotations": {SELECTED_NODE: null}}});
            plan.then(Write::patch(CLAIM, claim.key(), claim.revision, patch));
            plan
        }
    }
}

/// A node for a claim of which no Pod has a say.
fn any<'w>(class: &StorageClass, world: &'w World) -> Option<&'w Arc<Object<Node>>> {
    let ready = |node: &Node| node.ready().is_some_and(|ready| ready.status == "True");
    let mut nodes = world.nodes.all().filter(|node| !node.body.unschedulable && ready(&node.body));
    nodes.find(|node| makes(class, &node.meta))
}

/// Leaves the claim to who makes volumes of its class.
fn ask(claim: &Object<Claim>, provisioner: &str) -> Plan {
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
         system administrator. If volume creation is delayed, please verify that the provisioner is running and \
         correctly registered."
    );
    let mut plan = say(Note::normal(CLAIM, &claim.meta, "ExternalProvisioning", message));
    if claim.meta.annotations.get(PROVISIONER).is_none_or(|other| other != provisioner) {
        let annotations = json!({PROVISIONER: provisioner, OLD_PROVISIONER: provisioner});
        let patch = json!({"metadata": {"annotations": annotations}});
        plan.then(Write::patch(CLAIM, claim.key(), claim.revision, patch));
    }
    plan
}

fn make(claim: &Object<Claim>, class: &Object<StorageClass>, node: &Object<Node>) -> Plan {
    let name = format!("pvc-{}", claim.meta.uid);
    let message = format!("Successfully provisioned volume {name} using {LOCAL_PROVISIONER}");
    let done = Note::normal(CLAIM, &claim.meta, "ProvisioningSucceeded", message);
    let volume = volume(&name, claim, class, node);
    Plan::of(Write::create(VOLUME, Name::new("", &name), volume).saying(done))
}

fn volume(name: &str, claim: &Object<Claim>, class: &Object<StorageClass>, node: &Object<Node>) -> Value {
    let directory = node.meta.annotations.get(LOCAL_DIRECTORY).map_or("", |path| path.trim_end_matches('/'));
    let hostname = node.meta.labels.get(HOSTNAME).map_or(&*node.meta.name, String::as_str);
    let here = json!({"key": HOSTNAME, "operator": "In", "values": [hostname]});
    let tree = claim.tree();
    let source = class.tree();
    let mut volume = json!({
        "apiVersion": VOLUME.api_version(), "kind": VOLUME.kind,
        "metadata": {
            "name": name,
            "labels": {NODE_LABEL: &*node.meta.name},
            "annotations": {PROVISIONED_BY: LOCAL_PROVISIONER},
            "finalizers": [LOCAL_FINALIZER],
        },
        "spec": {
            "capacity": {"storage": tree["spec"]["resources"]["requests"]["storage"]},
            "accessModes": tree["spec"]["accessModes"],
            "persistentVolumeReclaimPolicy": source["reclaimPolicy"],
            "storageClassName": &*class.meta.name,
            "volumeMode": "Filesystem",
            "claimRef": reference(claim),
            "local": {"path": format!("{directory}/{name}")},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    });
    if let Some(attributes) = tree["spec"].get("volumeAttributesClassName") {
        volume["spec"]["volumeAttributesClassName"] = attributes.clone();
    }
    volume
}

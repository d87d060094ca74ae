//! Claims stay while a Pod uses them, and volumes while they are bound: pvc-protection and pv-protection.
//!
//! The finalizers are given by admission; here they are taken away when the time has come.

use edge_api::kind::Kind;
use edge_api::kinds::{persistent_volume, persistent_volume_claim};
use serde_json::json;

use crate::mirror::{Binding, Delta, Detail, Meta, Name, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Plan, Write};

/// The table's entry for claims.
pub const CLAIMS: Controller = Controller {
    name: "persistentvolumeclaim-protection-controller",
    begins: &[],
    wakes: wakes_claims,
    reconcile: reconcile_claim,
};

/// The table's entry for volumes.
pub const VOLUMES: Controller = Controller {
    name: "persistentvolume-protection-controller",
    begins: &[],
    wakes: wakes_volumes,
    reconcile: reconcile_volume,
};

fn wakes_claims(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    match &delta.detail {
        Detail::Claim((_, Some(claim))) if claim.meta.deleting() => wake(delta.key.clone()),
        Detail::Pod((Some(pod), after)) if after.as_ref().is_none_or(|new| new.meta.uid != pod.meta.uid) => {
            let deleting = |key: &Name| world.claims.at(key).is_some_and(|claim| claim.meta.deleting());
            pod.body.claims.iter().map(|claim| claim.of(pod)).filter(deleting).for_each(wake);
        }
        _ => {}
    }
}

/// A Pod without a node does not keep a claim: the node would not start it.
fn reconcile_claim(key: &Name, world: &World) -> Plan {
    let Some(claim) = world.claims.at(key).filter(|claim| claim.meta.deleting()) else {
        return Plan::nothing();
    };
    let mut pods = world.storage.claimants(key).filter_map(|pod| world.pods.at(pod));
    if pods.any(|pod| pod.body.node.is_some()) {
        return Plan::nothing();
    }
    let finalizer = persistent_volume_claim::PROTECTION;
    without(&persistent_volume_claim::KIND, finalizer, &claim.meta, claim.revision)
}

fn wakes_volumes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    if let Detail::Volume((_, Some(volume))) = &delta.detail
        && volume.meta.deleting()
    {
        wake(delta.key.clone());
    }
}

fn reconcile_volume(key: &Name, world: &World) -> Plan {
    let found = world.volumes.at(key).filter(|volume| volume.meta.deleting());
    let Some(volume) = found.filter(|volume| volume.body.phase != Binding::Bound) else {
        return Plan::nothing();
    };
    without(&persistent_volume::KIND, persistent_volume::PROTECTION, &volume.meta, volume.revision)
}

fn without(kind: &'static Kind, finalizer: &str, meta: &Meta, revision: u64) -> Plan {
    if !meta.has_finalizer(finalizer) {
        return Plan::nothing();
    }
    let rest: Vec<&String> = meta.finalizers.iter().filter(|one| *one != finalizer).collect();
    let patch = json!({"metadata": {"uid": &*meta.uid, "finalizers": rest}});
    Plan::of(Write::patch(kind, meta.key(), revision, patch))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use edge_api::time::Timestamp;
    use serde_json::Value;

    use super::*;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;

    fn rest(plan: &Plan) -> Option<Value> {
        plan.writes().next().map(|write| {
            let Act::Patch(patch) = &write.act else { panic!("{write:?}") };
            patch["metadata"]["finalizers"].clone()
        })
    }

    #[test]
    fn a_claim_stays_while_a_pod_with_a_node_uses_it() {
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data",
            "namespace": "default", "deletionTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": ["other", persistent_volume_claim::PROTECTION]}});
        let pod = |volume: Value, node: Value| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
                "spec": {"nodeName": node, "volumes": [volume]}, "status": {"phase": "Succeeded"}})
        };
        let named = json!({"name": "v", "persistentVolumeClaim": {"claimName": "data"}});
        let ephemeral = json!({"name": "ata", "ephemeral": {"volumeClaimTemplate": {}}});
        let cases = [
            (named.clone(), json!("n"), None),
            (named, Value::Null, Some(json!(["other"]))),
            (ephemeral, json!("n"), Some(json!(["other"]))),
        ];
        for (volume, node, expected) in cases {
            let objects = [claim.clone(), pod(volume, node)];
            let world = Ledger::with(Timestamp::from_seconds(1000), &objects).world();
            assert_eq!(rest(&reconcile_claim(&Name::new("default", "data"), &world)), expected);
        }
    }

    #[test]
    fn the_end_of_its_pod_lets_a_deleted_claim_go() {
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "p-v", "uid": "c",
            "namespace": "default", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
            "spec": {"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {}}}]}});
        let mut world = Ledger::with(Timestamp::from_seconds(1000), &[claim, pod]).world();
        let gone = world.apply("/core/pods/default/p", 100, None).unwrap();
        let mut woken = Vec::new();
        wakes_claims(&gone, &world, &mut |key| woken.push(key));
        assert_eq!(woken, [Name::new("default", "p-v")]);
    }

    #[test]
    fn a_volume_stays_while_it_is_bound() {
        for (phase, expected) in
            [("Bound", None), ("Released", Some(json!([]))), ("Available", Some(json!([])))]
        {
            let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv",
                "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [persistent_volume::PROTECTION]},
                "status": {"phase": phase}});
            let world = Ledger::with(Timestamp::from_seconds(1000), &[volume]).world();
            assert_eq!(rest(&reconcile_volume(&Name::new("", "pv"), &world)), expected, "{phase}");
        }
    }
}

//! Generic ephemeral volumes: a claim for each, which lives and dies with its Pod.

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::{Value, json};

use crate::mirror::{Delta, Detail, Name, Object, Owner, Pod, PodClaim, World};
use crate::reconcile::Controller;
use crate::reconcile::ownership::references;
use crate::reconcile::plan::{Note, Plan, Write};

const CLAIM: &Kind = &kinds::persistent_volume_claim::KIND;
const POD: &Kind = &kinds::pod::KIND;

/// The table's entry. Its keys are Pods.
pub const CONTROLLER: Controller =
    Controller { name: "ephemeral-volume-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    match &delta.detail {
        Detail::Pod((_, Some(pod))) if pod.body.claims.iter().any(|claim| claim.ephemeral.is_some()) => {
            wake(delta.key.clone());
        }
        Detail::Claim((_, None)) => world.storage.claimants(&delta.key).cloned().for_each(wake),
        _ => {}
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let mut plan = Plan::nothing();
    let Some(pod) = world.pods.at(key).filter(|pod| !pod.meta.deleting() && !pod.body.finished()) else {
        return plan;
    };
    let tree = pod.tree();
    for (claim, volume) in pod.body.claims.iter().filter_map(|claim| Some((claim, claim.ephemeral.as_ref()?)))
    {
        match world.claims.at(&claim.of(pod)) {
            None => plan.then(create(pod, claim, volume, &tree)),
            Some(other) if !other.meta.controlled_by(&pod.meta.uid) => {
                let message = format!("PVC {} was not created for the pod", other.key());
                plan.notes.push(Note::warning(POD, &pod.meta, "FailedVolumeClaim", message));
            }
            Some(_) => {}
        }
    }
    plan
}

fn create(pod: &Object<Pod>, claim: &PodClaim, volume: &str, tree: &Value) -> Write {
    let volumes = tree["spec"]["volumes"].as_array().map_or(&[][..], Vec::as_slice);
    let source = volumes.iter().find(|one| one["name"] == volume);
    let template = source.map_or(Value::Null, |volume| volume["ephemeral"]["volumeClaimTemplate"].clone());
    let owner = Owner {
        api_version: POD.api_version(),
        kind: POD.kind.to_owned(),
        name: pod.meta.name.to_string(),
        uid: pod.meta.uid.to_string(),
        controller: true,
        block_owner_deletion: true,
    };
    let object = json!({
        "apiVersion": CLAIM.api_version(), "kind": CLAIM.kind,
        "metadata": {
            "name": claim.name, "namespace": &*pod.meta.namespace,
            "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"],
            "ownerReferences": references(&[owner]),
        },
        "spec": template["spec"],
    });
    Write::create(CLAIM, claim.of(pod), object)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use edge_api::time::Timestamp;

    use super::*;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;

    fn pod(phase: &str) -> Value {
        let template =
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"accessModes": ["ReadWriteOnce"]}});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default", "uid": "u"},
            "spec": {"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": template}},
                {"name": "w", "persistentVolumeClaim": {"claimName": "w"}}]}, "status": {"phase": phase}})
    }

    #[test]
    fn a_pod_gets_the_claims_of_its_ephemeral_volumes_and_owns_them() {
        let (now, key) = (Timestamp::from_seconds(1000), Name::new("default", "p"));
        let plan = reconcile(&key, &Ledger::with(now, &[pod("Pending")]).world());
        let writes: Vec<&Write> = plan.writes().collect();
        let [write] = writes[..] else { panic!("{writes:?}") };
        let Act::Create(claim) = &write.act else { panic!("{write:?}") };
        assert_eq!(claim["metadata"]["name"], "p-v");
        assert_eq!(claim["metadata"]["labels"], json!({"a": "b"}));
        assert_eq!(claim["spec"]["accessModes"], json!(["ReadWriteOnce"]));
        let owner = &claim["metadata"]["ownerReferences"][0];
        assert_eq!((&owner["uid"], &owner["controller"]), (&json!("u"), &json!(true)));
        let there = [pod("Pending"), claim.clone()];
        assert!(reconcile(&key, &Ledger::with(now, &there).world()).is_idle());
        let mut foreign = claim.clone();
        foreign["metadata"]["ownerReferences"] = json!([]);
        let plan = reconcile(&key, &Ledger::with(now, &[pod("Pending"), foreign]).world());
        assert_eq!((plan.writes().count(), plan.notes[0].reason), (0, "FailedVolumeClaim"));
        assert!(reconcile(&key, &Ledger::with(now, &[pod("Failed")]).world()).is_idle());
    }
}

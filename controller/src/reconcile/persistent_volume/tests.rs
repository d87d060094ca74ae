//! Claims and volumes of small clusters, until there is nothing left to do.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use edge_api::time::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::reconcile::ledger::Ledger;
use crate::reconcile::plan::Write;

fn claim(spec: Value) -> Value {
    let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default", "uid": "c1"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "volumeMode": "Filesystem"},
        "status": {"phase": "Pending"}});
    for (field, value) in spec.as_object().unwrap() {
        claim["spec"][field] = value.clone();
    }
    claim
}

fn volume(name: &str, storage: &str, spec: Value) -> Value {
    let mut volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "capacity": {"storage": storage},
            "persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"},
        "status": {"phase": "Pending"}});
    for (field, value) in spec.as_object().unwrap() {
        volume["spec"][field] = value.clone();
    }
    volume
}

fn class(name: &str, provisioner: &str, mode: &str) -> Value {
    json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": provisioner, "volumeBindingMode": mode, "reclaimPolicy": "Delete"})
}

fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name,
        "labels": {"kubernetes.io/hostname": name}, "annotations": {"edgectl.dev/volumes": "/var/lib/edged/volumes/"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
}

fn of(kind: &Kind, ledger: &Ledger, name: &str) -> Value {
    let namespace = if kind.is_namespaced() { "default" } else { "" };
    ledger.get(kind, namespace, name).unwrap_or_default()
}

/// Carries out every plan until none has anything to write; what was told, as `reason: message`.
fn settle(ledger: &Ledger) -> Vec<String> {
    let (mut told, mut all) = (BTreeSet::new(), Vec::new());
    for _ in 0..20 {
        let world = ledger.world();
        let claims = world.claims.all().map(|one| one.key());
        let keys: Vec<Name> = claims.chain(world.volumes.all().map(|one| one.key())).collect();
        let mut wrote = false;
        for key in keys {
            let plan = reconcile(&key, &ledger.world());
            let notes =
                plan.notes.iter().chain(plan.writes().filter_map(|write: &Write| write.done.as_ref()));
            for note in notes {
                let text = format!("{}: {}", note.reason, note.message);
                if told.insert(text.clone()) {
                    all.push(text);
                }
            }
            wrote |= plan.writes().next().is_some();
            ledger.carry_out(&plan);
        }
        if !wrote {
            return all;
        }
    }
    panic!("never settles");
}

fn ledger(objects: &[Value]) -> Ledger {
    Ledger::with(Timestamp::parse("2026-01-01T00:00:00Z").unwrap(), objects)
}

fn phases(ledger: &Ledger, volume: &str) -> (String, String) {
    let phase = |object: Value| object["status"]["phase"].as_str().unwrap_or("gone").to_owned();
    (phase(of(CLAIM, ledger, "data")), phase(of(VOLUME, ledger, volume)))
}

#[test]
fn a_claim_gets_the_smallest_volume_that_suits_it() {
    let fits = |change: Value, claims: Value| {
        let ledger = ledger(&[claim(claims), volume("large", "5Gi", json!({})), volume("pv", "2Gi", change)]);
        settle(&ledger);
        of(CLAIM, &ledger, "data")["spec"]["volumeName"].as_str().unwrap_or("none").to_owned()
    };
    let any = || json!({});
    assert_eq!(fits(any(), any()), "pv");
    assert_eq!(fits(json!({"capacity": {"storage": "512Mi"}}), any()), "large");
    assert_eq!(fits(json!({"accessModes": ["ReadOnlyMany"]}), any()), "large");
    assert_eq!(fits(json!({"volumeMode": "Block"}), any()), "large");
    assert_eq!(fits(json!({"storageClassName": "slow"}), any()), "large");
    assert_eq!(fits(json!({"storageClassName": "slow"}), json!({"storageClassName": "slow"})), "pv");
    assert_eq!(fits(any(), json!({"selector": {"matchLabels": {"a": "b"}}})), "none");
    let other = json!({"claimRef": {"namespace": "default", "name": "other"}});
    assert_eq!(fits(other, any()), "large");
    let ours = json!({"claimRef": {"namespace": "default", "name": "data"}, "capacity": {"storage": "9Gi"}});
    assert_eq!(fits(ours, any()), "pv", "one that is kept for it goes before a smaller one");
}

#[test]
fn claim_and_volume_say_that_they_have_each_other() {
    let ledger = ledger(&[claim(json!({})), volume("pv", "2Gi", json!({}))]);
    settle(&ledger);
    let (claim, volume) = (of(CLAIM, &ledger, "data"), of(VOLUME, &ledger, "pv"));
    assert_eq!(claim["status"]["phase"], "Bound");
    assert_eq!(claim["status"]["capacity"], json!({"storage": "2Gi"}));
    assert_eq!(claim["status"]["accessModes"], json!(["ReadWriteOnce", "ReadOnlyMany"]));
    let yes =
        json!({"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"});
    assert_eq!(claim["metadata"]["annotations"], yes);
    assert_eq!(volume["status"]["phase"], "Bound");
    assert_eq!(volume["spec"]["claimRef"]["uid"], "c1");
    assert_eq!(volume["metadata"]["annotations"], json!({"pv.kubernetes.io/bound-by-controller": "yes"}));
}

#[test]
fn a_volume_asked_for_by_name_must_suit_and_be_free() {
    let ask = |spec: Value| {
        let ledger = ledger(&[claim(json!({"volumeName": "pv"})), volume("pv", "2Gi", spec)]);
        let told = settle(&ledger);
        (told, phases(&ledger, "pv"))
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(ask(json!({})), (vec![], pair("Bound", "Bound")));
    for (spec, why) in [
        (json!({"capacity": {"storage": "1Mi"}}), "requested PV is too small"),
        (json!({"storageClassName": "x"}), "storageClassName does not match"),
        (json!({"volumeMode": "Block"}), "incompatible volumeMode"),
        (json!({"accessModes": ["ReadOnlyMany"]}), "incompatible accessMode"),
    ] {
        let told = vec![format!("VolumeMismatch: Cannot bind to requested volume \"pv\": {why}")];
        assert_eq!(ask(spec), (told, pair("Pending", "Available")));
    }
    let taken = json!({"claimRef": {"namespace": "default", "name": "other"}});
    let told = vec!["FailedBinding: volume \"pv\" already bound to a different claim.".to_owned()];
    assert_eq!(ask(taken), (told, pair("Pending", "Available")));
}

#[test]
fn without_a_volume_a_claim_says_what_it_waits_for() {
    let told = |class_name: &str, others: &[Value]| {
        let mut objects = others.to_vec();
        objects.push(match class_name {
            "" => claim(json!({"storageClassName": ""})),
            name => claim(json!({"storageClassName": name})),
        });
        settle(&ledger(&objects)).join("|")
    };
    assert_eq!(
        told("", &[]),
        "FailedBinding: no persistent volumes available for this claim and no storage class is set"
    );
    assert_eq!(told("x", &[]), "ProvisioningFailed: storageclass.storage.k8s.io \"x\" not found");
    let later = class("later", "edgectl.dev/local", "WaitForFirstConsumer");
    let first = "WaitForFirstConsumer: waiting for first consumer to be created before binding";
    assert_eq!(told("later", &[later.clone(), node("n")]), first);
    let pod = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}})
    };
    assert_eq!(
        told("later", &[later.clone(), pod("a")]),
        "WaitForPodScheduled: waiting for pod a to be scheduled"
    );
    assert_eq!(
        told("later", &[later, pod("a"), pod("b")]),
        "WaitForPodScheduled: waiting for pods a,b to be scheduled"
    );
    let hand = class("hand", "kubernetes.io/no-provisioner", "Immediate");
    let by_hand = "ProvisioningFailed: no volume plugin matched name: kubernetes.io/no-provisioner";
    assert_eq!(told("hand", &[hand]), by_hand);
    let other = class("other", "example.com/nfs", "Immediate");
    assert!(told("other", &[other]).starts_with("ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'example.com/nfs' or"));
}

#[test]
fn who_provisions_is_written_into_the_claim() {
    let objects =
        [claim(json!({"storageClassName": "other"})), class("other", "example.com/nfs", "Immediate")];
    let ledger = ledger(&objects);
    settle(&ledger);
    let annotations = of(CLAIM, &ledger, "data")["metadata"]["annotations"].clone();
    assert_eq!(annotations["volume.kubernetes.io/storage-provisioner"], "example.com/nfs");
}

#[test]
fn a_claim_without_a_class_gets_the_default_when_there_is_one() {
    let ledger = ledger(&[claim(json!({}))]);
    assert_eq!(settle(&ledger).len(), 1);
    let mut default = class("late", "edgectl.dev/local", "WaitForFirstConsumer");
    default["metadata"]["annotations"] = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    ledger.put(default);
    let told = settle(&ledger);
    assert_eq!(of(CLAIM, &ledger, "data")["spec"]["storageClassName"], "late");
    assert!(told[0].starts_with("WaitForFirstConsumer"), "{told:?}");
}

/// A claim of the local class for node `n`, settled.
fn provisioned(mode: &str, chosen: Option<&str>) -> (Ledger, Vec<String>) {
    let mut one = claim(json!({"storageClassName": "local"}));
    if let Some(node) = chosen {
        one["metadata"]["annotations"] = json!({"volume.kubernetes.io/selected-node": node});
    }
    let ledger = ledger(&[one, class("local", "edgectl.dev/local", mode), node("n")]);
    let told = settle(&ledger);
    (ledger, told)
}

#[test]
fn a_local_volume_is_made_on_the_chosen_node() {
    let (ledger, told) = provisioned("WaitForFirstConsumer", Some("n"));
    assert_eq!(
        told,
        ["ProvisioningSucceeded: Successfully provisioned volume pvc-c1 using edgectl.dev/local"]
    );
    assert_eq!(phases(&ledger, "pvc-c1"), ("Bound".to_owned(), "Bound".to_owned()));
    let volume = of(VOLUME, &ledger, "pvc-c1");
    assert_eq!(volume["metadata"]["labels"], json!({"edgectl.dev/node": "n"}));
    assert_eq!(volume["metadata"]["finalizers"], json!(["edgectl.dev/local"]));
    assert_eq!(volume["spec"]["local"], json!({"path": "/var/lib/edged/volumes/pvc-c1"}));
    assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Delete");
    let term = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
    assert_eq!(*term, json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["n"]}));
    assert!(VOLUME.validate(&volume).is_empty(), "{:?}", VOLUME.validate(&volume));
}

#[test]
fn with_immediate_binding_any_ready_node_will_do() {
    let (ledger, _) = provisioned("Immediate", None);
    assert_eq!(phases(&ledger, "pvc-c1"), ("Bound".to_owned(), "Bound".to_owned()));
}

#[test]
fn a_node_that_makes_no_volumes_is_taken_back() {
    let (ledger, told) = provisioned("WaitForFirstConsumer", Some("gone"));
    let why = "ProvisioningFailed: failed to provision volume with StorageClass \"local\": node \"gone\" makes no volumes";
    assert_eq!(told[0], why);
    assert!(told[1].starts_with("WaitForFirstConsumer"), "{told:?}");
    assert_eq!(of(CLAIM, &ledger, "data")["metadata"]["annotations"], json!({}));
}

#[test]
fn what_becomes_of_a_volume_is_its_policys() {
    let after = |policy: &str, provisioner: Option<&str>| {
        let ledger = ledger(&[
            claim(json!({"storageClassName": ""})),
            volume("pv", "1Gi", json!({"persistentVolumeReclaimPolicy": policy})),
        ]);
        ledger.edit(VOLUME, "", "pv", |volume| {
            if let Some(provisioner) = provisioner {
                volume["metadata"]["annotations"] = json!({"pv.kubernetes.io/provisioned-by": provisioner});
            }
        });
        settle(&ledger);
        ledger.remove(CLAIM, "default", "data");
        let told = settle(&ledger);
        (phases(&ledger, "pv").1, told.join("|"))
    };
    assert_eq!(after("Retain", None), ("Released".to_owned(), String::new()));
    assert_eq!(after("Retain", Some("edgectl.dev/local")), ("Released".to_owned(), String::new()));
    assert_eq!(after("Delete", Some("edgectl.dev/local")), ("gone".to_owned(), String::new()));
    assert_eq!(after("Delete", Some("example.com/nfs")), ("Released".to_owned(), String::new()));
    let (phase, told) = after("Delete", None);
    assert_eq!(phase, "Failed");
    let why = "VolumeFailedDelete: error getting deleter volume plugin for volume \"pv\": no deletable volume plugin matched";
    assert_eq!(told, why);
    let (phase, told) = after("Recycle", None);
    assert_eq!(
        (phase.as_str(), told.as_str()),
        ("Failed", "VolumeFailedRecycle: No recycler plugin found for the volume!")
    );
}

#[test]
fn nobody_gets_the_data_of_somebody_else() {
    let ledger = ledger(&[claim(json!({})), volume("pv", "1Gi", json!({}))]);
    settle(&ledger);
    ledger.remove(CLAIM, "default", "data");
    settle(&ledger);
    let mut another = claim(json!({}));
    another["metadata"]["uid"] = json!("c2");
    ledger.put(another);
    settle(&ledger);
    assert_eq!(phases(&ledger, "pv"), ("Pending".to_owned(), "Released".to_owned()));
    // An administrator has looked at it and gives it free.
    ledger.edit(VOLUME, "", "pv", |volume| drop(volume["spec"].as_object_mut().unwrap().remove("claimRef")));
    settle(&ledger);
    assert_eq!(phases(&ledger, "pv"), ("Bound".to_owned(), "Bound".to_owned()));
}

#[test]
fn a_claim_that_has_lost_its_volume_says_so() {
    let ledger = ledger(&[claim(json!({})), volume("pv", "1Gi", json!({}))]);
    settle(&ledger);
    ledger.remove(VOLUME, "", "pv");
    let told = settle(&ledger);
    assert_eq!(told, ["ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!"]);
    assert_eq!(of(CLAIM, &ledger, "data")["status"]["phase"], "Lost");
    let other = json!({"claimRef": {"namespace": "default", "name": "x", "uid": "u"}});
    ledger.put(volume("pv", "1Gi", other));
    ledger.edit(CLAIM, "default", "data", |claim| claim["status"]["phase"] = json!("Bound"));
    let told = settle(&ledger);
    let why = "ClaimMisbound: Two claims are bound to the same volume, this one is bound incorrectly";
    assert_eq!(told, [why]);
}

#[test]
fn a_volume_of_a_node_that_is_gone_is_let_go() {
    let mut gone = volume("pvc-x", "1Gi", json!({}));
    gone["metadata"]["labels"] = json!({"edgectl.dev/node": "gone"});
    gone["metadata"]["finalizers"] = json!(["edgectl.dev/local"]);
    let ledger = ledger(&[gone]);
    settle(&ledger);
    assert_eq!(of(VOLUME, &ledger, "pvc-x")["status"]["phase"], "Available");
    ledger.delete(VOLUME, "", "pvc-x");
    settle(&ledger);
    assert_eq!(of(VOLUME, &ledger, "pvc-x"), Value::Null);
}

#[test]
fn news_reach_the_claims_and_volumes_that_they_concern() {
    let objects = [
        claim(json!({"storageClassName": "later"})),
        class("later", "edgectl.dev/local", "WaitForFirstConsumer"),
    ];
    let mut world = ledger(&objects).world();
    let woken = |world: &mut World, key: &str, object: &Value| {
        let bytes = bytes::Bytes::from(serde_json::to_vec(object).unwrap());
        let delta = world.apply(key, world.revision + 1, Some(&bytes)).unwrap();
        let mut woken = Vec::new();
        wakes(&delta, world, &mut |key| woken.push(key.to_string()));
        woken
    };
    let pod = json!({"metadata": {"name": "p", "namespace": "default", "uid": "p"},
        "spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}});
    assert_eq!(woken(&mut world, "/core/pods/default/p", &pod), ["default/data"]);
    let mut free = volume("pv", "1Gi", json!({"storageClassName": "later"}));
    free["metadata"]["uid"] = json!("v");
    assert_eq!(woken(&mut world, "/core/persistentvolumes//pv", &free), ["pv", "default/data"]);
    let mut other = volume("pw", "1Gi", json!({"storageClassName": "x"}));
    other["metadata"]["uid"] = json!("w");
    assert_eq!(woken(&mut world, "/core/persistentvolumes//pw", &other), ["pw"]);
    let changed = class("later", "x", "Immediate");
    assert_eq!(woken(&mut world, "/storage.k8s.io/storageclasses//later", &changed), ["default/data"]);
    let mut chosen = claim(json!({"storageClassName": "later"}));
    chosen["metadata"]["annotations"] = json!({"volume.kubernetes.io/selected-node": "n"});
    woken(&mut world, "/core/persistentvolumeclaims/default/data", &chosen);
    assert_eq!(woken(&mut world, "/core/nodes//n", &node("n")), ["default/data"]);
}

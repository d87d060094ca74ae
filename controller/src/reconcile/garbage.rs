//! Garbage: what is owned goes with its last owner, before it, or stays, as the deletion of the owner asked.
//!
//! Keys are uids. An owner that the graph does not know does not exist, since all kinds are seen at one revision; an
//! owner of a kind that this cluster does not have is left to whoever knows it.

use serde_json::json;

use crate::mirror::{Delta, Entry, Meta, Name, Owner, World};
use crate::reconcile::Controller;
use crate::reconcile::ownership::references;
use crate::reconcile::plan::{Cascade, Plan, Write};

/// The finalizer by which an owner waits for its dependents.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer by which an owner sets its dependents free.
const ORPHAN: &str = "orphan";
/// How many dependents one plan touches.
const BATCH: usize = 500;

/// The table's entry.
pub const CONTROLLER: Controller =
    Controller { name: "generic-garbage-collector", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    let mut wake = |uid: &str| wake(Name::new("", uid));
    let relevant = |meta: &Meta| (meta.owner_references.clone(), meta.finalizers.clone(), meta.deleting());
    match (&delta.before, &delta.after) {
        (before, Some(after)) => {
            let changed = before.as_ref().is_none_or(|before| relevant(before) != relevant(after));
            let concerns =
                !after.owner_references.is_empty() || after.deleting() && !after.finalizers.is_empty();
            if changed && concerns {
                wake(&after.uid);
            }
            // An owner that begins to wait concerns those it waits for; one that waits, those who leave it.
            if changed && after.deleting() && after.has_finalizer(FOREGROUND) {
                world.graph.dependents(&after.uid).for_each(|entry| wake(&entry.meta.uid));
            }
            if changed && let Some(before) = before {
                before.owner_references.iter().for_each(|owner| wake(&owner.uid));
            }
        }
        (Some(before), None) => {
            world.graph.dependents(&before.uid).for_each(|entry| wake(&entry.meta.uid));
            before.owner_references.iter().for_each(|owner| wake(&owner.uid));
        }
        (None, None) => {}
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let Some(entry) = world.graph.get(&key.name) else { return Plan::nothing() };
    if entry.meta.deleting() {
        return if entry.meta.has_finalizer(FOREGROUND) {
            delete_dependents(entry, world)
        } else if entry.meta.has_finalizer(ORPHAN) {
            free_dependents(entry, world)
        } else {
            Plan::nothing()
        };
    }
    judge(entry, world)
}

/// What an owner reference means for the object that has it.
enum Standing {
    /// The owner is there and stays, or is of a kind nobody here knows.
    Solid,
    /// The owner is gone.
    Dangling,
    /// The owner waits for the object to go.
    Waiting,
}

fn standing(owner: &Owner, object: &Meta, world: &World) -> Standing {
    let Some(kind) = world.kind(&owner.api_version, &owner.kind) else { return Standing::Solid };
    let Some(found) = world.graph.get(&owner.uid) else { return Standing::Dangling };
    let elsewhere = kind.is_namespaced() && found.meta.namespace != object.namespace;
    if elsewhere
        || *found.meta.name != *owner.name
        || (found.kind.group, found.kind.plural) != (kind.group, kind.plural)
    {
        return Standing::Dangling;
    }
    if found.meta.deleting() && found.meta.has_finalizer(FOREGROUND) {
        Standing::Waiting
    } else {
        Standing::Solid
    }
}

/// Whether an object still has an owner.
fn judge(entry: &Entry, world: &World) -> Plan {
    let owners = &entry.meta.owner_references;
    if owners.is_empty() {
        return Plan::nothing();
    }
    let (mut solid, mut waiting) = (Vec::new(), false);
    for owner in owners.iter() {
        match standing(owner, &entry.meta, world) {
            Standing::Solid => solid.push(owner.clone()),
            Standing::Dangling => {}
            Standing::Waiting => waiting = true,
        }
    }
    if solid.len() == owners.len() {
        return Plan::nothing();
    }
    if !solid.is_empty() {
        return Plan::of(set_owners(entry, &solid));
    }
    let has_dependents = world.graph.dependents(&entry.meta.uid).next().is_some();
    let cascade = if entry.meta.has_finalizer(ORPHAN) {
        Cascade::Orphan
    } else if waiting && has_dependents || entry.meta.has_finalizer(FOREGROUND) {
        Cascade::Foreground
    } else {
        Cascade::Background
    };
    Plan::of(Write::delete(entry.kind, &entry.meta).planned_on(entry.revision).cascading(cascade))
}

/// Those that wait are judged by themselves; the owner goes when no dependent that blocks it is left.
fn delete_dependents(entry: &Entry, world: &World) -> Plan {
    let blocks = |dependent: &&Entry| {
        let references = &dependent.meta.owner_references;
        references.iter().any(|owner| *owner.uid == *entry.meta.uid && owner.block_owner_deletion)
    };
    if world.graph.dependents(&entry.meta.uid).any(|dependent| blocks(&dependent)) {
        return Plan::nothing();
    }
    Plan::of(drop_finalizer(entry, FOREGROUND))
}

fn free_dependents(entry: &Entry, world: &World) -> Plan {
    let mut plan = Plan::nothing();
    let dependents = world.graph.dependents(&entry.meta.uid).take(BATCH);
    let freed = dependents.map(|dependent| {
        let all = dependent.meta.owner_references.iter();
        let rest: Vec<Owner> = all.filter(|owner| *owner.uid != *entry.meta.uid).cloned().collect();
        set_owners(dependent, &rest)
    });
    plan.together(freed.collect());
    if plan.stages.is_empty() {
        plan.then(drop_finalizer(entry, ORPHAN));
    }
    plan
}

fn set_owners(entry: &Entry, owners: &[Owner]) -> Write {
    let patch = json!({"metadata": {"uid": &*entry.meta.uid, "ownerReferences": references(owners)}});
    Write::patch(entry.kind, entry.meta.key(), entry.revision, patch)
}

fn drop_finalizer(entry: &Entry, finalizer: &str) -> Write {
    let rest: Vec<&String> = entry.meta.finalizers.iter().filter(|f| *f != finalizer).collect();
    let patch = json!({"metadata": {"uid": &*entry.meta.uid, "finalizers": rest}});
    Write::patch(entry.kind, entry.meta.key(), entry.revision, patch)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use edge_api::time::Timestamp;
    use serde_json::Value;

    use super::*;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;

    fn map(name: &str, meta: Value) -> Value {
        let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta});
        map["metadata"]["name"] = json!(name);
        map["metadata"]["namespace"] = json!("default");
        map["metadata"]["uid"] = json!(name);
        map
    }

    fn owner(name: &str, blocks: bool) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": name, "blockOwnerDeletion": blocks})
    }

    fn plan(uid: &str, objects: &[Value]) -> Vec<(String, Act)> {
        let world = Ledger::with(Timestamp::from_seconds(0), objects).world();
        let plan = reconcile(&Name::new("", uid), &world);
        plan.writes().map(|write| (write.key.name.to_string(), write.act.clone())).collect()
    }

    fn cascade(act: &Act) -> Option<Cascade> {
        match act {
            Act::Delete { cascade, .. } => Some(*cascade),
            _ => None,
        }
    }

    #[test]
    fn an_object_goes_with_its_last_owner() {
        let child = |owners: Value| map("child", json!({"ownerReferences": owners}));
        let there = map("there", json!({}));
        let gone = plan("child", &[child(json!([owner("gone", false)]))]);
        assert_eq!(cascade(&gone[0].1), Some(Cascade::Background));
        assert!(plan("child", &[there.clone(), child(json!([owner("there", false)]))]).is_empty());
        let both = plan("child", &[there, child(json!([owner("gone", false), owner("there", false)]))]);
        let Act::Patch(patch) = &both[0].1 else { panic!("{both:?}") };
        assert_eq!(patch["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn an_owner_of_an_unknown_kind_is_left_to_whoever_knows_it() {
        let stranger = json!({"apiVersion": "example.com/v1", "kind": "Thing", "name": "x", "uid": "x"});
        assert!(plan("child", &[map("child", json!({"ownerReferences": [stranger]}))]).is_empty());
    }

    #[test]
    fn an_owner_of_the_same_name_in_another_namespace_is_none() {
        let mut elsewhere = map("there", json!({}));
        elsewhere["metadata"]["namespace"] = json!("other");
        let child = map("child", json!({"ownerReferences": [owner("there", false)]}));
        assert_eq!(plan("child", &[elsewhere, child]).len(), 1);
    }

    #[test]
    fn foreground_waits_for_dependents_that_block() {
        let waiting = map(
            "there",
            json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["foregroundDeletion"]}),
        );
        let blocking = map("child", json!({"ownerReferences": [owner("there", true)]}));
        let objects = [waiting.clone(), blocking.clone()];
        assert!(plan("there", &objects).is_empty());
        assert_eq!(cascade(&plan("child", &objects)[0].1), Some(Cascade::Background));
        let grandchild = map("grandchild", json!({"ownerReferences": [owner("child", true)]}));
        let deep = plan("child", &[waiting.clone(), blocking, grandchild]);
        assert_eq!(cascade(&deep[0].1), Some(Cascade::Foreground));
        let loose = map("child", json!({"ownerReferences": [owner("there", false)]}));
        let Act::Patch(patch) = &plan("there", &[waiting, loose])[0].1 else { panic!() };
        assert_eq!(patch["metadata"]["finalizers"], json!([]));
    }

    #[test]
    fn orphaned_dependents_stay() {
        let leaving =
            map("there", json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["orphan"]}));
        let child = map("child", json!({"ownerReferences": [owner("there", true)]}));
        let first = plan("there", &[leaving.clone(), child]);
        assert_eq!(first[0].0, "child");
        let Act::Patch(patch) = &plan("there", &[leaving, map("child", json!({}))])[0].1 else { panic!() };
        assert_eq!(patch["metadata"]["finalizers"], json!([]));
    }
}

//! Which objects a controller may call its own: those its selector matches and nobody else manages.

use std::sync::Arc;

use edge_api::kind::Kind;
use serde_json::{Value, json};

use crate::mirror::{Labels, Meta, Mirror, Name, Object, Owner, Selector, Shape};
use crate::reconcile::plan::Write;

/// The reference by which an object says that `owner` manages it.
pub fn reference(kind: &Kind, owner: &Meta) -> Value {
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "name": &*owner.name,
        "uid": &*owner.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// References as JSON, only the fields that are set.
pub fn references(owners: &[Owner]) -> Vec<Value> {
    let one = |owner: &Owner| {
        let mut value = json!({
            "apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": owner.uid,
        });
        if owner.controller {
            value["controller"] = Value::Bool(true);
        }
        if owner.block_owner_deletion {
            value["blockOwnerDeletion"] = Value::Bool(true);
        }
        value
    };
    owners.iter().map(one).collect()
}

/// What [`claim`] found.
pub struct Claimed<T> {
    /// The objects that are the owner's.
    pub own: Vec<Arc<Object<T>>>,
    /// Writes that adopt orphans and release what the selector no longer matches. While there are any, the owner
    /// waits for them before it does anything else.
    pub writes: Vec<Write>,
}

/// Sorts the objects of the owner's namespace: its own, orphans to adopt, own ones to release.
pub fn claim<T: Shape>(
    owner_kind: &'static Kind,
    owner: &Meta,
    selector: &Selector,
    kind: &'static Kind,
    mirror: &Mirror<T>,
) -> Claimed<T> {
    let mut claimed = Claimed { own: Vec::new(), writes: Vec::new() };
    // Mostly all of them have the same labels, in one place.
    let mut last: Option<(&Arc<Labels>, bool)> = None;
    for object in mirror.owned_by(&owner.uid).filter(|o| o.meta.namespace == owner.namespace) {
        let labels = &object.meta.labels;
        let matches = match last {
            Some((seen, matches)) if Arc::ptr_eq(seen, labels) => matches,
            _ => selector.matches(labels),
        };
        last = Some((labels, matches));
        if matches {
            claimed.own.push(object.clone());
        } else if !owner.deleting() {
            let rest: Vec<Owner> =
                object.meta.owner_references.iter().filter(|o| o.uid != *owner.uid).cloned().collect();
            claimed.writes.push(patch_owners(kind, object, references(&rest)));
        }
    }
    if owner.deleting() {
        return claimed;
    }
    for object in mirror.orphans(&owner.namespace, selector) {
        if !object.meta.deleting() {
            let mut owners = references(&object.meta.owner_references);
            owners.push(reference(owner_kind, owner));
            claimed.writes.push(patch_owners(kind, object, owners));
        }
    }
    claimed
}

fn patch_owners<T: Shape>(kind: &'static Kind, object: &Object<T>, owners: Vec<Value>) -> Write {
    let patch = json!({"metadata": {"uid": &*object.meta.uid, "ownerReferences": owners}});
    Write::patch(kind, object.key(), object.revision, patch)
}

/// The key of the managing owner, if it is of this kind.
pub fn owner_key(kind: &Kind, meta: Option<&Arc<Meta>>) -> Option<Name> {
    let meta = meta?;
    let owner = meta.controller().filter(|owner| owner.kind == kind.kind)?;
    Some(Name { namespace: meta.namespace.clone(), name: owner.name.as_str().into() })
}

/// A name that Kubernetes' `generateName` could have made: the prefix and five characters. It depends on `seed`, so
/// that the same plan made twice makes the same object.
pub fn generated_name(prefix: &str, seed: u64) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let prefix = &prefix[..prefix.len().min(58)];
    let mut name = prefix.to_owned();
    let mut rest = seed;
    for _ in 0..5 {
        // Below 27: fits every integer type.
        name.push(char::from(LETTERS[(rest % LETTERS.len() as u64) as usize]));
        rest /= LETTERS.len() as u64;
    }
    name
}

/// Maps text to letters that make no words, as Kubernetes does with hashes in names.
pub fn safe_letters(text: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    text.bytes().map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])).collect()
}

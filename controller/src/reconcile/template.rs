//! A Pod of a template, as every controller makes it.

use std::sync::Arc;

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::{Value, json};

use crate::mirror::{Meta, Name, World, fnv};
use crate::reconcile::ownership::{generated_name, reference};
use crate::reconcile::plan::{Note, Write};

/// A name that begins as asked and that no Pod has; the same world and `seed` give the same name.
pub fn fresh_name(prefix: &str, owner: &Meta, seed: &str, world: &World) -> String {
    (0_u32..)
        .map(|salt| format!("{} {} {seed} {salt}", owner.uid, world.revision))
        .map(|text| generated_name(prefix, fnv(text.as_bytes())))
        .find(|name| world.pods.get(&owner.namespace, name).is_none())
        .expect("there are more names than Pods")
}

/// A Pod of a template, owned; `prefix` is what its name was generated from, if it was.
pub fn pod(kind: &Kind, owner: &Meta, template: &Value, name: &str, prefix: Option<&str>) -> Value {
    let mut metadata = template.get("metadata").filter(|meta| meta.is_object()).cloned().unwrap_or(json!({}));
    metadata["name"] = json!(name);
    if let Some(prefix) = prefix {
        metadata["generateName"] = json!(prefix);
    }
    metadata["namespace"] = json!(&*owner.namespace);
    metadata["ownerReferences"] = json!([reference(kind, owner)]);
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.remove("creationTimestamp");
    }
    let spec = template.get("spec").cloned().unwrap_or_default();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// Makes a Pod and tells of it.
pub fn create(kind: &'static Kind, owner: &Meta, pod: Value) -> Write {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().into();
    let key = Name { namespace: owner.namespace.clone(), name };
    told(kind, owner, Write::create(&kinds::pod::KIND, key, pod))
}

/// Makes a Pod that is like this one but for its name, and tells of it.
pub fn copy(kind: &'static Kind, owner: &Meta, pod: &Arc<Value>, name: &str) -> Write {
    let key = Name { namespace: owner.namespace.clone(), name: name.into() };
    told(kind, owner, Write::copy(&kinds::pod::KIND, key, pod))
}

fn told(kind: &'static Kind, owner: &Meta, write: Write) -> Write {
    let made = Note::normal(kind, owner, "SuccessfulCreate", format!("Created pod: {}", write.key.name));
    let failed = Note::warning(kind, owner, "FailedCreate", "Error creating: ".to_owned());
    write.saying(made).failing(failed)
}

/// Deletes a Pod and tells of it.
pub fn delete(kind: &'static Kind, owner: &Meta, pod: &Meta) -> Write {
    Write::delete(&kinds::pod::KIND, pod)
        .saying(Note::normal(kind, owner, "SuccessfulDelete", format!("Deleted pod: {}", pod.name)))
        .failing(Note::warning(kind, owner, "FailedDelete", "Error deleting: ".to_owned()))
}

/// Slow start: one Pod, then two, then four, so that what cannot succeed fails once and not five hundred times.
pub fn slowly(mut writes: Vec<Write>) -> Vec<Vec<Write>> {
    let (mut stages, mut batch) = (Vec::new(), 1);
    while !writes.is_empty() {
        let rest = writes.split_off(batch.min(writes.len()));
        stages.push(writes);
        writes = rest;
        batch *= 2;
    }
    stages
}

//! The `/scale` view of an object: `autoscaling/v1` Scale from any kind that counts replicas.

use crate::kind::Kind;
use crate::meta;
use crate::selector::LabelSelector;
use serde_json::{Value, json};

/// The Scale of an object; `None` if its kind has none.
pub fn of(kind: &Kind, object: &Value) -> Option<Value> {
    let paths = kind.scale?;
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = meta::at(object, &["metadata", field]) {
            metadata[field] = value.clone();
        }
    }
    let selector = meta::LabelSelector::at(object, paths.selector)
        .and_then(|selector| LabelSelector::from_meta(&selector).ok())
        .map(|selector| selector.to_string())
        .unwrap_or_default();
    let mut spec = json!({});
    if let Some(replicas) = meta::number(object, paths.replicas).filter(|&n| n != 0) {
        spec["replicas"] = replicas.into();
    }
    let mut status = json!({ "replicas": meta::number(object, paths.status_replicas).unwrap_or(0) });
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    Some(json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }))
}

/// Writes a Scale's wish into the object; false if the kind has none.
pub fn apply(kind: &Kind, object: &mut Value, scale: &Value) -> bool {
    let Some(paths) = kind.scale else { return false };
    let Some((last, parents)) = paths.replicas.split_last() else { return false };
    let mut here = object;
    for parent in parents {
        meta::object_mut(here, parent);
        here = &mut here[*parent];
    }
    here[*last] = meta::number(scale, &["spec", "replicas"]).unwrap_or(0).into();
    true
}

//! The `/scale` view of an object: `autoscaling/v1` Scale from any kind that counts replicas.

use crate::kind::Kind;
use crate::meta;
use crate::selector::LabelSelector;
use serde_json::{Value, json};

/// The wished and the present number of replicas, and the selector as text.
type Numbers = (Option<i64>, Option<i64>, String);

fn numbers(kind: &Kind, object: &Value) -> Option<Numbers> {
    if let Some(version) = kind.version_of_definition() {
        return version.scale_numbers(object);
    }
    let paths = kind.scale?;
    let selector = meta::LabelSelector::at(object, paths.selector)
        .and_then(|selector| LabelSelector::from_meta(&selector).ok())
        .map(|selector| selector.to_string())
        .unwrap_or_default();
    Some((meta::number(object, paths.replicas), meta::number(object, paths.status_replicas), selector))
}

/// The Scale of an object; `None` if its kind has none.
pub fn of(kind: &Kind, object: &Value) -> Option<Value> {
    let (wished, present, selector) = numbers(kind, object)?;
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = meta::at(object, &["metadata", field]) {
            metadata[field] = value.clone();
        }
    }
    let mut spec = json!({});
    if let Some(replicas) = wished.filter(|&n| n != 0) {
        spec["replicas"] = replicas.into();
    }
    let mut status = json!({ "replicas": present.unwrap_or(0) });
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
    let replicas = meta::number(scale, &["spec", "replicas"]).unwrap_or(0);
    if let Some(version) = kind.version_of_definition() {
        return version.scale.as_ref().is_some_and(|scale| scale.replicas.set(object, replicas.into()));
    }
    let Some(paths) = kind.scale else { return false };
    let Some((last, parents)) = paths.replicas.split_last() else { return false };
    let mut here = object;
    for parent in parents {
        meta::object_mut(here, parent);
        here = &mut here[*parent];
    }
    here[*last] = replicas.into();
    true
}

//! StorageObjectInUseProtection: claims and volumes begin with the finalizers that keep them while they are used.

use edge_api::kinds::{persistent_volume, persistent_volume_claim};
use edge_api::meta;
use serde_json::{Value, json};

use crate::registry::ApiError;
use crate::registry::admit::{Mutation, Plugin, Request, Validation};

/// The table's entry.
pub(super) const PLUGIN: Plugin = Plugin {
    name: "StorageObjectInUseProtection",
    concerns: |request| finalizer(request).is_some(),
    mutate: Mutation::Now(protect),
    validate: Validation::Never,
};

fn finalizer(request: &Request<'_>) -> Option<&'static str> {
    if request.creates("", "persistentvolumeclaims") {
        Some(persistent_volume_claim::PROTECTION)
    } else if request.creates("", "persistentvolumes") {
        Some(persistent_volume::PROTECTION)
    } else {
        None
    }
}

fn protect(request: &Request<'_>, object: &mut Value) -> Result<(), ApiError> {
    let Some(finalizer) = finalizer(request) else { return Ok(()) };
    let mut all: Vec<String> = meta::finalizers(object).into_iter().map(str::to_owned).collect();
    if !all.iter().any(|one| one == finalizer) {
        all.push(finalizer.to_owned());
        meta::set(object, "finalizers", json!(all));
    }
    Ok(())
}

//! PersistentVolumeClaimResize: a claim may ask for more only if its class says that volumes may grow.

use edge_api::kinds::persistent_volume_claim::OLD_CLASS;
use edge_api::meta;
use edge_api::quantity::Quantity;
use serde_json::Value;

use crate::registry::ApiError;
use crate::registry::admit::{Mutation, Operation, Plugin, Request, Validation};

/// The table's entry.
pub(super) const PLUGIN: Plugin = Plugin {
    name: "PersistentVolumeClaimResize",
    concerns: |request| request.operation == Operation::Update && request.is("", "persistentvolumeclaims"),
    mutate: Mutation::Never,
    validate: Validation::Now(validate),
};

fn validate(request: &Request<'_>, claim: &Value) -> Result<(), ApiError> {
    let asked = |claim: &Value| {
        Quantity::parse(meta::text(claim, &["spec", "resources", "requests", "storage"])).unwrap_or_default()
    };
    if asked(claim) <= asked(request.old) {
        return Ok(());
    }
    if meta::text(request.old, &["status", "phase"]) != "Bound" {
        return Err(request.forbidden("Only bound persistent volume claims can be expanded"));
    }
    let class =
        meta::annotation(claim, OLD_CLASS).unwrap_or(meta::text(claim, &["spec", "storageClassName"]));
    let class = request.stored("storage.k8s.io", "storageclasses", "", class).map(|class| class.value());
    if class.is_none_or(|class| class["allowVolumeExpansion"] != true) {
        let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc \
                   must support resize";
        return Err(request.forbidden(why));
    }
    Ok(())
}

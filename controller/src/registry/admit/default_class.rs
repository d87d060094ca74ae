//! DefaultStorageClass and DefaultIngressClass: who names no class gets the one that is marked, the newest if several
//! are.

use edge_api::kinds::persistent_volume_claim::OLD_CLASS;
use edge_api::meta::{self, annotation};
use serde_json::Value;

use crate::registry::ApiError;
use crate::registry::admit::{Mutation, Plugin, Request, Validation};

/// How an Ingress names its class the old way.
const INGRESS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// The table's entry for claims.
pub(super) const STORAGE: Plugin = Plugin {
    name: "DefaultStorageClass",
    concerns: |request| request.creates("", "persistentvolumeclaims"),
    mutate: Mutation::Now(|request, claim| {
        const MARKS: &[&str] = &[
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ];
        if annotation(claim, OLD_CLASS).is_none() {
            give(request, claim, "storageClassName", ("storage.k8s.io", "storageclasses"), MARKS);
        }
        Ok::<(), ApiError>(())
    }),
    validate: Validation::Never,
};

/// The table's entry for Ingresses.
pub(super) const INGRESS: Plugin = Plugin {
    name: "DefaultIngressClass",
    concerns: |request| request.creates("networking.k8s.io", "ingresses"),
    mutate: Mutation::Now(|request, ingress| {
        const MARKS: &[&str] = &["ingressclass.kubernetes.io/is-default-class"];
        if annotation(ingress, INGRESS_ANNOTATION).is_none() {
            give(request, ingress, "ingressClassName", ("networking.k8s.io", "ingressclasses"), MARKS);
        }
        Ok::<(), ApiError>(())
    }),
    validate: Validation::Never,
};

fn give(request: &Request<'_>, object: &mut Value, field: &str, of: (&str, &str), marks: &[&str]) {
    let spec = meta::object_mut(object, "spec");
    if spec.get(field).is_some_and(|class| !class.is_null()) {
        return;
    }
    let classes = request.all(of.0, of.1, "").into_iter().map(|(_, class)| class.value());
    let marked = classes.filter(|class| marks.iter().any(|mark| annotation(class, mark) == Some("true")));
    // The newest; of those made at once the first by name.
    let place =
        |class: &Value| (meta::creation_timestamp(class), std::cmp::Reverse(meta::name(class).to_owned()));
    if let Some(class) = marked.max_by_key(place) {
        spec.insert(field.to_owned(), meta::name(&class).into());
    }
}

//! LocalSubjectAccessReview: may somebody do this in this namespace?

use crate::error::FieldError;
use crate::kind::{Kind, Scope};
use crate::kinds::review;
use crate::validate::{At, Errors};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "LocalSubjectAccessReview",
    plural: "localsubjectaccessreviews",
    singular: "localsubjectaccessreview",
    schema: "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
    scope: Scope::Namespaced,
    checks,
    ..review::REVIEW
};

fn checks(review: &At<'_>, errors: &mut Errors) {
    let spec = review.get("spec");
    review::one_question(&spec, errors);
    review::somebody(&spec, errors);
    review::no_metadata(review, errors);
    let (asked, path) = (spec.get("resourceAttributes"), spec.get("nonResourceAttributes"));
    let namespace = asked.get("namespace");
    if asked.is_set() && namespace.text() != review.get("metadata").get("namespace").text() {
        errors.push(FieldError::invalid(&namespace.path, namespace.text(), "must match metadata.namespace"));
    }
    if path.is_set() {
        let why = "disallowed on this kind of request";
        errors.push(FieldError::invalid(&path.path, path.value, why));
    }
}

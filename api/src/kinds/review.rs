//! What the reviews share. They are asked by creating them, and nothing is stored.

use crate::error::FieldError;
use crate::kind::{Kind, Scope};
use crate::validate::{At, Errors};

/// A review of the cluster.
pub(super) const REVIEW: Kind = Kind { scope: Scope::Cluster, verbs: &["create"], ..Kind::PLAIN };

/// A review has no name and no labels.
pub(super) fn no_metadata(review: &At<'_>, errors: &mut Errors) {
    let metadata = review.get("metadata");
    let given = metadata.value.as_object().into_iter().flatten();
    if given.filter(|(field, _)| !matches!(field.as_str(), "namespace" | "creationTimestamp")).count() > 0 {
        errors.push(FieldError::invalid(&metadata.path, metadata.value, "must be empty"));
    }
}

/// A question is about objects or about a path.
pub(super) fn one_question(spec: &At<'_>, errors: &mut Errors) {
    let (objects, path) = (spec.get("resourceAttributes"), spec.get("nonResourceAttributes"));
    if objects.is_set() && path.is_set() {
        let why = "cannot be specified in combination with resourceAttributes";
        errors.push(FieldError::invalid(&path.path, path.value, why));
    }
    if !objects.is_set() && !path.is_set() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.push(FieldError::invalid(&objects.path, objects.value, why));
    }
}

/// A question is about somebody.
pub(super) fn somebody(spec: &At<'_>, errors: &mut Errors) {
    let user = spec.get("user");
    if user.text().is_empty() && spec.get("groups").is_empty() {
        let why = "at least one of user or group must be specified";
        errors.push(FieldError::invalid(&user.path, user.text(), why));
    }
}

//! SelfSubjectAccessReview: may I do this?

use crate::kind::Kind;
use crate::kinds::review;
use crate::validate::{At, Errors};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SelfSubjectAccessReview",
    plural: "selfsubjectaccessreviews",
    singular: "selfsubjectaccessreview",
    schema: "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    checks,
    ..review::REVIEW
};

fn checks(review: &At<'_>, errors: &mut Errors) {
    review::one_question(&review.get("spec"), errors);
    review::no_metadata(review, errors);
}

//! SubjectAccessReview: may somebody do this?

use crate::kind::Kind;
use crate::kinds::review;
use crate::validate::{At, Errors};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SubjectAccessReview",
    plural: "subjectaccessreviews",
    singular: "subjectaccessreview",
    schema: "io.k8s.api.authorization.v1.SubjectAccessReview",
    checks,
    ..review::REVIEW
};

fn checks(review: &At<'_>, errors: &mut Errors) {
    let spec = review.get("spec");
    review::one_question(&spec, errors);
    review::somebody(&spec, errors);
    review::no_metadata(review, errors);
}

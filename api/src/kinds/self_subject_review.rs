//! SelfSubjectReview: who am I?

use crate::kind::Kind;
use crate::kinds::review;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "authentication.k8s.io",
    version: "v1",
    kind: "SelfSubjectReview",
    plural: "selfsubjectreviews",
    singular: "selfsubjectreview",
    schema: "io.k8s.api.authentication.v1.SelfSubjectReview",
    ..review::REVIEW
};

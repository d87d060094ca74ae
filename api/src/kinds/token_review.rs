//! TokenReview: whose token is this?

use crate::kind::Kind;
use crate::kinds::review;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "authentication.k8s.io",
    version: "v1",
    kind: "TokenReview",
    plural: "tokenreviews",
    singular: "tokenreview",
    schema: "io.k8s.api.authentication.v1.TokenReview",
    ..review::REVIEW
};

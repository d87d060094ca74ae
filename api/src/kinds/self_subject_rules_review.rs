//! SelfSubjectRulesReview: what may I do in a namespace?

use crate::kind::Kind;
use crate::kinds::review;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SelfSubjectRulesReview",
    plural: "selfsubjectrulesreviews",
    singular: "selfsubjectrulesreview",
    schema: "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    ..review::REVIEW
};

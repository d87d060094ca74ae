//! MutatingAdmissionPolicyBinding: where a policy's changes are made.

use crate::kind::Kind;
use crate::kinds::admission_policy;

/// The table entry.
pub static KIND: Kind = Kind {
    kind: "MutatingAdmissionPolicyBinding",
    plural: "mutatingadmissionpolicybindings",
    singular: "mutatingadmissionpolicybinding",
    schema: "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding",
    checks: |binding, errors| admission_policy::binding_checks(&binding.get("spec"), errors),
    ..admission_policy::BINDING
};

//! ValidatingAdmissionPolicyBinding: where a policy holds, and what becomes of who breaks it.

use crate::error::FieldError;
use crate::kind::Kind;
use crate::kinds::admission_policy;
use crate::validate::{self, At, Errors};

/// The table entry.
pub static KIND: Kind = Kind {
    kind: "ValidatingAdmissionPolicyBinding",
    plural: "validatingadmissionpolicybindings",
    singular: "validatingadmissionpolicybinding",
    schema: "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    checks,
    ..admission_policy::BINDING
};

fn checks(binding: &At<'_>, errors: &mut Errors) {
    let spec = binding.get("spec");
    admission_policy::binding_checks(&spec, errors);
    let actions = spec.get("validationActions");
    if actions.is_empty() {
        errors.push(FieldError::required(&actions.path, ""));
    }
    let mut seen = Vec::new();
    for action in actions.items() {
        validate::one_of(&action, &["Audit", "Deny", "Warn"], errors);
        validate::unique(&action, &mut seen, errors);
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.push(FieldError::invalid(&actions.path, actions.value, why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bindings_are_checked() {
        let cases = [
            (json!({"policyName": "p", "validationActions": ["Deny"]}), vec![]),
            (json!({"validationActions": ["Deny"]}), vec!["spec.policyName"]),
            (json!({"policyName": "p"}), vec!["spec.validationActions"]),
            (
                json!({"policyName": "p", "validationActions": ["Deny", "Warn"]}),
                vec!["spec.validationActions"],
            ),
            (
                json!({"policyName": "p", "validationActions": ["Deny"], "paramRef": {}}),
                vec!["spec.paramRef", "spec.paramRef.parameterNotFoundAction"],
            ),
        ];
        for (spec, expected) in cases {
            let mut binding = json!({"metadata": {"name": "a"}, "spec": spec});
            KIND.default(&mut binding);
            let found: Vec<String> = KIND.validate(&binding).into_iter().map(|error| error.field).collect();
            assert_eq!(found, expected);
        }
    }
}

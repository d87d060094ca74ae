//! MutatingAdmissionPolicy: changes in CEL that writes get.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Kind};
use crate::kinds::admission_policy;
use crate::validate::{self, At, Errors};
use serde_json::Value;

/// The table entry.
pub static KIND: Kind = Kind {
    kind: "MutatingAdmissionPolicy",
    plural: "mutatingadmissionpolicies",
    singular: "mutatingadmissionpolicy",
    schema: "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
    columns: &[
        Column::NAME,
        Column::new("Mutations", "integer", "How many changes it makes."),
        Column::new("ParamKind", "string", "The kind of its parameters."),
        Column::AGE,
    ],
    row: |policy, now| admission_policy::policy_row(policy, "mutations", now),
    defaults,
    checks,
    ..admission_policy::BASE
};

fn defaults(policy: &mut Value) {
    let Some(spec) = fill::object(policy, "spec") else { return };
    fill::absent(spec, "failurePolicy", "Fail");
    fill::absent(spec, "reinvocationPolicy", "Never");
    admission_policy::resources(spec, "matchConstraints");
}

fn checks(policy: &At<'_>, errors: &mut Errors) {
    let spec = policy.get("spec");
    admission_policy::policy_checks(&spec, errors);
    validate::one_of(&spec.get("reinvocationPolicy"), &["IfNeeded", "Never"], errors);
    let mutations = spec.get("mutations");
    if mutations.is_empty() {
        errors.push(FieldError::required(&mutations.path, "mutations must contain at least one item"));
    }
    for mutation in mutations.items() {
        let type_ = mutation.get("patchType");
        validate::one_of(&type_, &["ApplyConfiguration", "JSONPatch"], errors);
        let (field, other) = match type_.text() {
            "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
            "JSONPatch" => ("jsonPatch", "applyConfiguration"),
            _ => continue,
        };
        let (patch, other) = (mutation.get(field), mutation.get(other));
        if patch.is_set() {
            validate::required(&patch.get("expression"), "expression is not specified", errors);
        } else {
            let why = format!("must be specified when patchType is {}", type_.text());
            errors.push(FieldError::required(&patch.path, &why));
        }
        if other.is_set() {
            let why = format!("must not be specified when patchType is {}", type_.text());
            errors.push(FieldError::invalid(&other.path, other.value, &why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mutations_are_what_they_say() {
        let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
        let cases = [
            (json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}), ""),
            (
                json!({"patchType": "JSONPatch"}),
                "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
            ),
            (
                json!({"patchType": "Other"}),
                "spec.mutations[0].patchType: Unsupported value: \"Other\": supported values: \"ApplyConfiguration\", \"JSONPatch\"",
            ),
        ];
        for (mutation, expected) in cases {
            let mut policy = json!({"metadata": {"name": "a"}, "spec": {
                "matchConstraints": {"resourceRules": [rule]}, "mutations": [mutation]}});
            KIND.default(&mut policy);
            let found: Vec<String> = KIND.validate(&policy).iter().map(ToString::to_string).collect();
            assert_eq!(found.join(""), expected);
        }
    }
}

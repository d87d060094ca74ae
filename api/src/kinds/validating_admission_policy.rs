//! ValidatingAdmissionPolicy: rules in CEL that writes must keep.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Kind, Subresource};
use crate::kinds::admission_policy;
use crate::name;
use crate::validate::{self, At, Errors};
use serde_json::Value;

/// The table entry.
pub static KIND: Kind = Kind {
    kind: "ValidatingAdmissionPolicy",
    plural: "validatingadmissionpolicies",
    singular: "validatingadmissionpolicy",
    schema: "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
    subresources: &[Subresource::Status],
    columns: &[
        Column::NAME,
        Column::new("Validations", "integer", "How many rules it has."),
        Column::new("ParamKind", "string", "The kind of its parameters."),
        Column::AGE,
    ],
    row: |policy, now| admission_policy::policy_row(policy, "validations", now),
    defaults,
    checks,
    ..admission_policy::BASE
};

fn defaults(policy: &mut Value) {
    let Some(spec) = fill::object(policy, "spec") else { return };
    fill::absent(spec, "failurePolicy", "Fail");
    admission_policy::resources(spec, "matchConstraints");
}

const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];

fn checks(policy: &At<'_>, errors: &mut Errors) {
    let spec = policy.get("spec");
    admission_policy::policy_checks(&spec, errors);
    let (validations, annotations) = (spec.get("validations"), spec.get("auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        errors.push(FieldError::required(&validations.path, why));
        errors.push(FieldError::required(&annotations.path, why));
    }
    for validation in validations.items() {
        validate::required(&validation.get("expression"), "expression is not specified", errors);
        validate::optional_one_of(&validation.get("reason"), REASONS, errors);
        let message = validation.get("message");
        if message.text().contains(['\n', '\r']) {
            errors.push(FieldError::invalid(&message.path, message.text(), "must not contain line breaks"));
        }
    }
    let mut keys = Vec::new();
    for annotation in annotations.items() {
        let key = annotation.get("key");
        if validate::required(&key, "", errors) {
            validate::follows(&key, name::label_key, errors);
        }
        validate::unique(&key, &mut keys, errors);
        validate::required(&annotation.get("valueExpression"), "valueExpression is not specified", errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use serde_json::json;

    #[test]
    fn policies_are_filled_in_checked_and_shown() {
        let rule = json!({"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]});
        let mut policy = json!({"metadata": {"name": "a"}, "spec": {"matchConstraints": {"resourceRules": [rule]},
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "validations": [{"expression": "object.spec.replicas <= 5", "reason": "Invalid"}]}});
        KIND.default(&mut policy);
        assert_eq!(policy["spec"]["failurePolicy"], "Fail");
        assert_eq!(policy["spec"]["matchConstraints"]["resourceRules"][0]["scope"], "*");
        assert_eq!(KIND.validate(&policy), []);
        let row = (KIND.row)(&policy, Timestamp::from_seconds(0));
        assert_eq!(row[1..3], [json!(1), json!("v1/ConfigMap")]);
        let text = |policy: &Value| -> Vec<String> {
            KIND.validate(policy).iter().map(ToString::to_string).collect()
        };
        let empty =
            json!({"metadata": {"name": "a"}, "spec": {"variables": [{"name": "1a", "expression": "1"}]}});
        assert_eq!(
            text(&empty),
            [
                "spec.matchConstraints: Required value",
                "spec.variables[0].name: Invalid value: \"1a\": name is not a valid CEL identifier",
                "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
                "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
            ]
        );
    }
}

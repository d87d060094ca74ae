//! ValidatingWebhookConfiguration: who is asked whether a write may be.

use crate::kind::Kind;
use crate::kinds::webhook;

/// The table entry.
pub static KIND: Kind = Kind {
    kind: "ValidatingWebhookConfiguration",
    plural: "validatingwebhookconfigurations",
    singular: "validatingwebhookconfiguration",
    schema: "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
    defaults: webhook::defaults,
    checks: |configuration, errors| webhook::checks(configuration, |_, _| {}, errors),
    ..webhook::BASE
};

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn found(change: Value) -> Vec<String> {
        let mut webhook = json!({"name": "a.b.c", "clientConfig": {"service": {"name": "s", "namespace": "n"}},
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]});
        for (field, value) in change.as_object().into_iter().flatten() {
            webhook[field] = value.clone();
        }
        let mut configuration = json!({"metadata": {"name": "a"}, "webhooks": [webhook]});
        KIND.default(&mut configuration);
        assert_eq!(configuration["webhooks"][0]["matchPolicy"], "Equivalent");
        KIND.validate(&configuration).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn webhooks_are_checked() {
        assert_eq!(found(json!({})), Vec::<String>::new());
        let cases = [
            (
                json!({"name": "a.b"}),
                "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
            ),
            (
                json!({"timeoutSeconds": 31}),
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            ),
            (
                json!({"sideEffects": "Some"}),
                "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
            ),
            (
                json!({"clientConfig": {}}),
                "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
            ),
            (
                json!({"admissionReviewVersions": []}),
                "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1",
            ),
            (
                json!({"rules": [{"operations": ["*", "CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}),
                "webhooks[0].rules[0].operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations",
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(found(change), [expected]);
        }
    }
}

//! MutatingWebhookConfiguration: who may change what is written.

use crate::fill;
use crate::kind::Kind;
use crate::kinds::webhook;
use crate::validate::{self, At, Errors};
use serde_json::Value;

/// The table entry.
pub static KIND: Kind = Kind {
    kind: "MutatingWebhookConfiguration",
    plural: "mutatingwebhookconfigurations",
    singular: "mutatingwebhookconfiguration",
    schema: "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
    defaults,
    checks: |configuration, errors| webhook::checks(configuration, reinvocation, errors),
    ..webhook::BASE
};

fn defaults(configuration: &mut Value) {
    webhook::defaults(configuration);
    fill::each(configuration, "webhooks", |webhook| fill::absent(webhook, "reinvocationPolicy", "Never"));
}

fn reinvocation(webhook: &At<'_>, errors: &mut Errors) {
    validate::optional_one_of(&webhook.get("reinvocationPolicy"), &["Never", "IfNeeded"], errors);
}

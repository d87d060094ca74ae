//! What both kinds of webhook configurations share.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Generation, Kind, Scope};
use crate::kinds::admission_policy;
use crate::meta;
use crate::name;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

/// What the table entries have in common.
pub(super) const BASE: Kind = Kind {
    group: "admissionregistration.k8s.io",
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    generation: Generation::Spec,
    columns: &[Column::NAME, Column::new("Webhooks", "integer", "How many webhooks it names."), Column::AGE],
    row,
    ..Kind::PLAIN
};

fn row(configuration: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(configuration).into(),
        meta::items(configuration, &["webhooks"]).len().into(),
        time::age(meta::creation_timestamp(configuration), now).into(),
    ]
}

/// Fills in what both kinds leave out.
pub(super) fn defaults(configuration: &mut Value) {
    fill::each(configuration, "webhooks", |webhook| {
        fill::absent(webhook, "failurePolicy", "Fail");
        fill::absent(webhook, "matchPolicy", "Equivalent");
        fill::absent(webhook, "namespaceSelector", json!({}));
        fill::absent(webhook, "objectSelector", json!({}));
        fill::absent(webhook, "timeoutSeconds", 10);
        fill::each(webhook, "rules", |rule| fill::absent(rule, "scope", "*"));
        let service = fill::there(webhook, "clientConfig").and_then(|config| fill::there(config, "service"));
        if let Some(service) = service.filter(|service| service.is_object()) {
            fill::absent(service, "port", 443);
        }
    });
}

/// Checks both kinds; `more` checks what one of them has beside.
pub(super) fn checks(configuration: &At<'_>, more: fn(&At<'_>, &mut Errors), errors: &mut Errors) {
    let webhooks = configuration.get("webhooks");
    let mut names = Vec::new();
    for webhook in webhooks.items() {
        let name = webhook.get("name");
        qualified(&name, errors);
        validate::unique(&name, &mut names, errors);
        self::webhook(&webhook, errors);
        more(&webhook, errors);
    }
}

/// A domain name of at least three parts.
fn qualified(name: &At<'_>, errors: &mut Errors) {
    if !validate::required(name, "", errors) {
        return;
    }
    if let Err(why) = name::dns1123_subdomain(name.text()) {
        errors.push(FieldError::invalid(&name.path, name.text(), &why));
    } else if name.text().split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        errors.push(FieldError::invalid(&name.path, name.text(), why));
    }
}

fn webhook(webhook: &At<'_>, errors: &mut Errors) {
    for rule in webhook.get("rules").items() {
        admission_policy::rule(&rule, errors);
    }
    validate::optional_one_of(&webhook.get("failurePolicy"), &["Fail", "Ignore"], errors);
    validate::optional_one_of(&webhook.get("matchPolicy"), &["Equivalent", "Exact"], errors);
    validate::one_of(&webhook.get("sideEffects"), &["None", "NoneOnDryRun"], errors);
    let timeout = webhook.get("timeoutSeconds");
    if let Some(seconds) = timeout.number()
        && !(1..=30).contains(&seconds)
    {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(&timeout.path, seconds, why));
    }
    let versions = webhook.get("admissionReviewVersions");
    if versions.is_empty() {
        let known = "must specify one of v1, v1beta1";
        errors.push(FieldError::required(&versions.path, known));
    } else if !versions.items().any(|version| matches!(version.text(), "v1" | "v1beta1")) {
        let why = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(&versions.path, versions.value, why));
    }
    validate::label_selector(&webhook.get("namespaceSelector"), errors);
    validate::label_selector(&webhook.get("objectSelector"), errors);
    admission_policy::match_conditions(&webhook.get("matchConditions"), errors);
    client_config(&webhook.get("clientConfig"), errors);
}

fn client_config(config: &At<'_>, errors: &mut Errors) {
    let (url, service) = (config.get("url"), config.get("service"));
    if url.is_set() == service.is_set() {
        errors.push(FieldError::required(&config.path, "exactly one of url or service is required"));
        return;
    }
    if url.is_set() {
        if !url.text().starts_with("https://") {
            let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
            errors.push(FieldError::invalid(&url.path, url.text(), why));
        }
        return;
    }
    validate::required(&service.get("name"), "service name is required", errors);
    validate::required(&service.get("namespace"), "service namespace is required", errors);
    validate::between(&service.get("port"), 1, 65_535, errors);
    let path = service.get("path");
    if path.is_set() && !path.text().starts_with('/') {
        errors.push(FieldError::invalid(&path.path, path.text(), "must start with a '/'"));
    }
}

//! What kinds with a selector and a Pod template share: checks and cells.

use crate::error::FieldError;
use crate::kinds::pod;
use crate::meta;
use crate::selector::LabelSelector;
use crate::validate::{self, At, Errors};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Checks `selector` of a spec: it must be there and select something; `what` is the kind, for messages.
pub(super) fn selector(spec: &At<'_>, what: &str, errors: &mut Errors) {
    let selector = spec.get("selector");
    if !selector.is_set() {
        errors.push(FieldError::required(&selector.path, ""));
        return;
    }
    validate::label_selector(&selector, errors);
    if selector.get("matchLabels").is_empty() && selector.get("matchExpressions").is_empty() {
        let why = format!("empty selector is invalid for {what}");
        errors.push(FieldError::invalid(&selector.path, selector.value, &why));
    }
}

/// The labels of `template` must be among those that `selector` selects.
pub(super) fn labels_match(spec: &At<'_>, errors: &mut Errors) {
    let labels = spec.get("template").get("metadata").get("labels");
    if !selects(spec.get("selector").value, labels.value) {
        let why = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&labels.path, labels.value, why));
    }
}

/// Checks `template` of a spec; `owner` is the kind, for messages.
pub(super) fn template(spec: &At<'_>, owner: &str, errors: &mut Errors) {
    let template = spec.get("template");
    if !template.is_set() {
        errors.push(FieldError::required(&template.path, ""));
        return;
    }
    labels_match(spec, errors);
    pod::validate_template(&template, errors);
    goes_on(&template, owner, errors);
}

/// What is to be said of the Pod template of an object.
pub(super) fn warnings(object: &At<'_>, warnings: &mut Vec<String>) {
    pod::spec_warnings(&object.get("spec").get("template").get("spec"), warnings);
}

/// The Pods of a template go on for ever; `owner` is the kind, for messages.
pub(super) fn goes_on(template: &At<'_>, owner: &str, errors: &mut Errors) {
    let spec = template.get("spec");
    let policy = spec.get("restartPolicy");
    if matches!(policy.text(), "Never" | "OnFailure") {
        errors.push(FieldError::not_supported(&policy.path, policy.value, &["Always"]));
    }
    let deadline = spec.get("activeDeadlineSeconds");
    if deadline.is_set() {
        let detail = format!("activeDeadlineSeconds in {owner} is not Supported");
        errors.push(FieldError::forbidden(&deadline.path, &detail));
    }
}

/// Whether a selector matches labels: none matches nothing. True when it cannot be read, which other checks say.
fn selects(selector: &Value, labels: &Value) -> bool {
    if selector.is_null() {
        return false;
    }
    let labels: BTreeMap<String, String> = BTreeMap::deserialize(labels).unwrap_or_default();
    let Some(selector) = meta::LabelSelector::at(selector, &[]) else { return true };
    LabelSelector::from_meta(&selector).map_or(true, |selector| selector.matches(&labels))
}

/// The selector may not change.
pub(super) fn selector_stays(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.get("spec"), old.get("spec"));
    validate::immutable(&new.get("selector"), &old.get("selector"), errors);
}

/// Numbers of a status that are not negative.
pub(super) fn counts(status: &At<'_>, fields: &[&'static str], errors: &mut Errors) {
    fields.iter().for_each(|field| validate::not_negative(&status.get(field), errors));
}

/// A count that is not negative, or a percentage.
pub(super) fn count_or_percent(at: &At<'_>, errors: &mut Errors) {
    if let Value::String(text) = at.value {
        let is_percent = text
            .strip_suffix('%')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()));
        if !is_percent {
            let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
            errors.push(FieldError::invalid(&at.path, at.value, why));
        }
    } else {
        validate::not_negative(at, errors);
    }
}

/// A percentage is at most the whole.
pub(super) fn at_most_all(at: &At<'_>, errors: &mut Errors) {
    let percent = at.text().strip_suffix('%').and_then(|digits| digits.parse::<i64>().ok());
    if percent.is_some_and(|percent| percent > 100) {
        errors.push(FieldError::invalid(&at.path, at.value, "must not be greater than 100%"));
    }
}

/// Whether a count or a percentage is zero or absent.
pub(super) fn is_nothing(at: &At<'_>) -> bool {
    match at.value {
        Value::String(text) => text.strip_suffix('%').is_some_and(|digits| digits.bytes().all(|c| c == b'0')),
        other => other.as_i64().unwrap_or(0) == 0,
    }
}

/// The wide cells: names of containers, images, selector. `spec` has `template` and `selector`.
pub(super) fn wide_cells(spec: &Value) -> [Value; 3] {
    let [names, images] = container_cells(spec);
    [names, images, selector_cell(spec).into()]
}

/// Names and images of the containers of the `template` in `spec`.
pub(super) fn container_cells(spec: &Value) -> [Value; 2] {
    let containers = meta::items(spec, &["template", "spec", "containers"]);
    let list = |field: &str| -> String {
        let texts: Vec<&str> = containers.iter().map(|one| meta::text(one, &[field])).collect();
        texts.join(",")
    };
    [list("name").into(), list("image").into()]
}

fn selector_cell(spec: &Value) -> String {
    let selector = meta::LabelSelector::at(spec, &["selector"]).unwrap_or_default();
    match LabelSelector::from_meta(&selector) {
        Ok(selector) if selector.is_empty() => "<none>".to_owned(),
        Ok(selector) => selector.to_string(),
        Err(_) => "<error>".to_owned(),
    }
}

/// An object without labels gets those of its template.
pub(super) fn labels_of_template(object: &mut Value) {
    let labels = meta::map(object, &["spec", "template", "metadata", "labels"]).cloned().unwrap_or_default();
    let own = meta::at(object, &["metadata", "labels"]);
    let has_own = own.is_some_and(|labels| labels.as_object().is_none_or(|map| !map.is_empty()));
    if !labels.is_empty() && !has_own && object.get("metadata").is_some_and(Value::is_object) {
        meta::set(object, "labels", labels);
    }
}

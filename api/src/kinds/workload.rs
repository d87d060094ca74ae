//! What kinds with a selector and a Pod template share: checks and cells.

use crate::error::FieldError;
use crate::kinds::pod;
use crate::meta;
use crate::selector::LabelSelector;
use crate::validate::{self, At, Errors};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Checks `selector` and `template` of a spec; `owner` is the kind, for messages.
pub(super) fn selector_and_template(spec: &At<'_>, owner: &str, errors: &mut Errors) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if !selector.is_set() {
        errors.push(FieldError::required(&selector.path, ""));
    } else {
        validate::label_selector(&selector, errors);
        if selector.get("matchLabels").is_empty() && selector.get("matchExpressions").is_empty() {
            let why = "empty selector is invalid for deployment";
            errors.push(FieldError::invalid(&selector.path, selector.value, why));
        }
    }
    if !template.is_set() {
        errors.push(FieldError::required(&template.path, ""));
        return;
    }
    let labels = template.get("metadata").get("labels");
    if !selects(selector.value, labels.value) {
        let why = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&labels.path, labels.value, why));
    }
    pod::validate_template(&template, owner, errors);
}

/// Whether a selector matches labels; true when it cannot be read, which other checks say.
fn selects(selector: &Value, labels: &Value) -> bool {
    let labels: BTreeMap<String, String> = BTreeMap::deserialize(labels).unwrap_or_default();
    let Ok(selector) = meta::LabelSelector::deserialize(selector) else { return true };
    LabelSelector::from_meta(&selector).map_or(true, |selector| selector.matches(&labels))
}

/// The selector may not change.
pub(super) fn selector_stays(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.get("spec"), old.get("spec"));
    validate::immutable(&new.get("selector"), &old.get("selector"), errors);
}

/// The wide cells: names of containers, images, selector.
pub(super) fn wide_cells(object: &Value) -> [Value; 3] {
    let containers = meta::items(object, &["spec", "template", "spec", "containers"]);
    let list = |field: &str| -> String {
        let texts: Vec<&str> = containers.iter().map(|one| meta::text(one, &[field])).collect();
        texts.join(",")
    };
    [list("name").into(), list("image").into(), selector_cell(object).into()]
}

fn selector_cell(object: &Value) -> String {
    let selector = meta::LabelSelector::at(object, &["spec", "selector"]).unwrap_or_default();
    match LabelSelector::from_meta(&selector) {
        Ok(selector) if selector.is_empty() => "<none>".to_owned(),
        Ok(selector) => selector.to_string(),
        Err(_) => "<error>".to_owned(),
    }
}

//! What admission policies, their bindings and webhooks share: which requests they are for.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Generation, Kind, Scope};
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
    ..Kind::PLAIN
};

/// What the table entries of bindings have in common.
pub(super) const BINDING: Kind = Kind {
    columns: &[
        Column::NAME,
        Column::new("PolicyName", "string", "The policy it binds."),
        Column::new("ParamRef", "string", "The parameters it binds it with."),
        Column::AGE,
    ],
    row: binding_row,
    defaults: |binding| {
        if let Some(spec) = fill::object(binding, "spec") {
            resources(spec, "matchResources");
        }
    },
    ..BASE
};

/// The row of a policy, with the number of its rules in `rules`.
pub(super) fn policy_row(policy: &Value, rules: &str, now: Timestamp) -> Vec<Value> {
    let parameters = match meta::at(policy, &["spec", "paramKind"]) {
        Some(kind) => format!("{}/{}", meta::text(kind, &["apiVersion"]), meta::text(kind, &["kind"])),
        None => "<unset>".to_owned(),
    };
    vec![
        meta::name(policy).into(),
        meta::items(policy, &["spec", rules]).len().into(),
        parameters.into(),
        time::age(meta::creation_timestamp(policy), now).into(),
    ]
}

fn binding_row(binding: &Value, now: Timestamp) -> Vec<Value> {
    let parameters = match meta::at(binding, &["spec", "paramRef"]) {
        None => "<unset>".to_owned(),
        Some(reference) => match (meta::text(reference, &["namespace"]), meta::text(reference, &["name"])) {
            ("", name) => name.to_owned(),
            (namespace, name) => format!("{namespace}/{name}"),
        },
    };
    vec![
        meta::name(binding).into(),
        meta::text(binding, &["spec", "policyName"]).into(),
        parameters.into(),
        time::age(meta::creation_timestamp(binding), now).into(),
    ]
}

/// Fills in which requests are meant, in a field of a spec that is there.
pub(super) fn resources(spec: &mut Value, field: &str) {
    let Some(resources) = fill::there(spec, field).filter(|resources| resources.is_object()) else { return };
    fill::absent(resources, "matchPolicy", "Equivalent");
    fill::absent(resources, "namespaceSelector", json!({}));
    fill::absent(resources, "objectSelector", json!({}));
    for rules in ["resourceRules", "excludeResourceRules"] {
        fill::each(resources, rules, |rule| fill::absent(rule, "scope", "*"));
    }
}

/// Checks which requests are meant.
pub(super) fn resources_checks(resources: &At<'_>, errors: &mut Errors) {
    validate::optional_one_of(&resources.get("matchPolicy"), &["Equivalent", "Exact"], errors);
    for selector in ["namespaceSelector", "objectSelector"] {
        validate::label_selector(&resources.get(selector), errors);
    }
    for rules in ["resourceRules", "excludeResourceRules"] {
        resources.get(rules).items().for_each(|one| rule(&one, errors));
    }
}

const OPERATIONS: &[&str] = &["*", "CREATE", "UPDATE", "DELETE", "CONNECT"];

/// Checks a rule: which operations on which resources.
pub(super) fn rule(rule: &At<'_>, errors: &mut Errors) {
    let operations = rule.get("operations");
    if operations.is_empty() {
        errors.push(FieldError::required(&operations.path, ""));
    }
    alone(&operations, "operations", errors);
    for operation in operations.items() {
        validate::one_of(&operation, OPERATIONS, errors);
    }
    for (field, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let list = rule.get(field);
        if list.is_empty() {
            errors.push(FieldError::required(&list.path, ""));
        }
        alone(&list, what, errors);
        for version in list.items().filter(|_| field == "apiVersions") {
            validate::required(&version, "", errors);
        }
    }
    let resources = rule.get("resources");
    if resources.is_empty() {
        errors.push(FieldError::required(&resources.path, ""));
    }
    let every = resources.items().any(|resource| resource.text() == "*/*");
    if every && resources.len() > 1 {
        let why = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(&resources.path, resources.value, why));
    }
    for resource in resources.items() {
        if resource.text().is_empty() {
            errors.push(FieldError::required(&resource.path, ""));
        }
    }
    validate::optional_one_of(&rule.get("scope"), &["Cluster", "Namespaced", "*"], errors);
}

/// A star stands alone.
fn alone(list: &At<'_>, what: &str, errors: &mut Errors) {
    if list.len() > 1 && list.items().any(|item| item.text() == "*") {
        let why = format!("if '*' is present, must not specify other {what}");
        errors.push(FieldError::invalid(&list.path, list.value, &why));
    }
}

/// How many match conditions there may be.
const CONDITIONS: usize = 64;

/// Checks conditions in CEL: their names; the expressions are admission's.
pub(super) fn match_conditions(conditions: &At<'_>, errors: &mut Errors) {
    validate::at_most(conditions, CONDITIONS, errors);
    let mut names = Vec::new();
    for condition in conditions.items() {
        let (name, expression) = (condition.get("name"), condition.get("expression"));
        validate::required(&expression, "", errors);
        if validate::required(&name, "", errors) {
            validate::follows(&name, name::label_key, errors);
        }
        validate::unique(&name, &mut names, errors);
    }
}

/// Checks what both kinds of policies have: failure policy, parameters, constraints, conditions, variables.
pub(super) fn policy_checks(spec: &At<'_>, errors: &mut Errors) {
    validate::optional_one_of(&spec.get("failurePolicy"), &["Fail", "Ignore"], errors);
    let kind = spec.get("paramKind");
    if kind.is_set() {
        validate::required(&kind.get("apiVersion"), "", errors);
        validate::required(&kind.get("kind"), "", errors);
    }
    let constraints = spec.get("matchConstraints");
    if constraints.is_set() {
        resources_checks(&constraints, errors);
        let rules = constraints.get("resourceRules");
        if rules.is_empty() {
            errors.push(FieldError::required(&rules.path, ""));
        }
    } else {
        errors.push(FieldError::required(&constraints.path, ""));
    }
    match_conditions(&spec.get("matchConditions"), errors);
    let mut names = Vec::new();
    for variable in spec.get("variables").items() {
        let name = variable.get("name");
        if validate::required(&name, "name is not specified", errors) && !is_identifier(name.text()) {
            let why = "name is not a valid CEL identifier";
            errors.push(FieldError::invalid(&name.path, name.text(), why));
        }
        validate::unique(&name, &mut names, errors);
        validate::required(&variable.get("expression"), "expression is not specified", errors);
    }
}

fn is_identifier(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

/// Checks what both kinds of bindings have.
pub(super) fn binding_checks(spec: &At<'_>, errors: &mut Errors) {
    validate::required_name(&spec.get("policyName"), name::dns1123_subdomain, errors);
    let reference = spec.get("paramRef");
    if reference.is_set() {
        let (name, selector) = (reference.get("name"), reference.get("selector"));
        match (!name.text().is_empty(), selector.is_set()) {
            (true, true) => {
                let why = "name and selector are mutually exclusive";
                errors.push(FieldError::forbidden(&name.path, why));
            }
            (false, false) => {
                let why = "one of name or selector must be specified";
                errors.push(FieldError::required(&reference.path, why));
            }
            _ => validate::label_selector(&selector, errors),
        }
        validate::one_of(&reference.get("parameterNotFoundAction"), &["Allow", "Deny"], errors);
    }
    resources_checks(&spec.get("matchResources"), errors);
}

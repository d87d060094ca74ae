//! What the four kinds of rbac.authorization.k8s.io share: rules, subjects and the role they get.

use crate::error::FieldError;
use crate::fill;
use crate::meta;
use crate::name;
use crate::validate::{self, At, Errors};
use serde_json::Value;

/// The group of all of it.
pub(super) const GROUP: &str = "rbac.authorization.k8s.io";

/// Where rules may apply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// In one namespace.
    Namespace,
    /// In the cluster as a whole, paths without objects included.
    Cluster,
}

/// Checks the rules of a role.
pub(super) fn rules(role: &At<'_>, reach: Reach, errors: &mut Errors) {
    for rule in role.get("rules").items() {
        if rule.get("verbs").is_empty() {
            let verbs = rule.field("verbs");
            errors.push(FieldError::required(verbs, "verbs must contain at least one value"));
        }
        let (groups, resources) = (rule.get("apiGroups"), rule.get("resources"));
        let paths = rule.get("nonResourceURLs");
        if paths.is_empty() {
            if groups.is_empty() {
                let detail = "resource rules must supply at least one api group";
                errors.push(FieldError::required(&groups.path, detail));
            }
            if resources.is_empty() {
                let detail = "resource rules must supply at least one resource";
                errors.push(FieldError::required(&resources.path, detail));
            }
            continue;
        }
        if reach == Reach::Namespace {
            let why = "namespaced rules cannot apply to non-resource URLs";
            errors.push(FieldError::invalid(&paths.path, paths.value, why));
        }
        if !groups.is_empty() || !resources.is_empty() || !rule.get("resourceNames").is_empty() {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(FieldError::invalid(&paths.path, paths.value, why));
        }
    }
}

/// Says of role and subjects which group they are of.
pub(super) fn binding_defaults(binding: &mut Value) {
    if let Some(role) = fill::there(binding, "roleRef") {
        fill::blank(role, "apiGroup", GROUP);
    }
    fill::each(binding, "subjects", |subject| {
        if matches!(meta::text(subject, &["kind"]), "User" | "Group") {
            fill::blank(subject, "apiGroup", GROUP);
        }
    });
}

/// Checks role and subjects of a binding that may name roles of these kinds.
pub(super) fn binding(binding: &At<'_>, kinds: &[&str], reach: Reach, errors: &mut Errors) {
    let role = binding.get("roleRef");
    let (group, kind) = (role.get("apiGroup"), role.get("kind"));
    if group.text() != GROUP {
        errors.push(FieldError::not_supported(&group.path, group.text(), &[GROUP]));
    }
    if !kinds.contains(&kind.text()) {
        errors.push(FieldError::not_supported(&kind.path, kind.text(), kinds));
    }
    validate::required_name(&role.get("name"), name::path_segment, errors);
    for subject in binding.get("subjects").items() {
        self::subject(&subject, reach, errors);
    }
}

fn subject(subject: &At<'_>, reach: Reach, errors: &mut Errors) {
    let (name, group, kind) = (subject.get("name"), subject.get("apiGroup"), subject.get("kind"));
    let named = validate::required(&name, "", errors);
    let expected = match kind.text() {
        "ServiceAccount" => {
            if named {
                validate::follows(&name, name::dns1123_subdomain, errors);
            }
            let namespace = subject.get("namespace");
            if reach == Reach::Cluster && namespace.text().is_empty() {
                errors.push(FieldError::required(&namespace.path, ""));
            }
            ""
        }
        "User" | "Group" => GROUP,
        other => {
            let known = ["Group", "ServiceAccount", "User"];
            errors.push(FieldError::not_supported(&kind.path, other, &known));
            return;
        }
    };
    if group.text() != expected {
        errors.push(FieldError::not_supported(&group.path, group.text(), &[expected]));
    }
}

/// A binding is to its role for ever: who may bind one role may not by that bind another.
pub(super) fn same_role(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.get("roleRef"), old.get("roleRef"));
    if new.value != old.value {
        errors.push(FieldError::invalid(&new.path, new.value, "cannot change roleRef"));
    }
}

/// The cells of a binding between name and age, and after: role; users, groups, accounts.
pub(super) fn binding_cells(binding: &Value) -> (Value, [Value; 3]) {
    let role = format!(
        "{}/{}",
        meta::text(binding, &["roleRef", "kind"]),
        meta::text(binding, &["roleRef", "name"])
    );
    let named = |kind: &str| {
        let subjects = meta::items(binding, &["subjects"]).iter();
        let names = subjects.filter(|subject| meta::text(subject, &["kind"]) == kind).map(|subject| {
            let name = meta::text(subject, &["name"]);
            match kind {
                "ServiceAccount" => format!("{}/{name}", meta::text(subject, &["namespace"])),
                _ => name.to_owned(),
            }
        });
        Value::from(names.collect::<Vec<_>>().join(", "))
    };
    (role.into(), [named("User"), named("Group"), named("ServiceAccount")])
}

//! Namespace: a room for names.

use crate::compact::object;
use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Field, Kind, Scope, Subresource};
use crate::meta;
use crate::meta::{Condition, ObjectMeta};
use crate::name::NameRule;
use crate::time::{self, Timestamp};
use crate::validate::{At, Errors};
use serde_json::{Value, json};

object! {
    /// A Namespace.
    struct Namespace {
        /// Metadata.
        metadata: ObjectMeta,
        /// What is wished.
        spec: NamespaceSpec,
        /// What is.
        status: NamespaceStatus,
    }

    /// What is wished of a Namespace.
    struct NamespaceSpec {
        /// What must happen before it may go.
        finalizers: Vec<String>,
    }

    /// What a Namespace is.
    struct NamespaceStatus {
        /// `Active` or `Terminating`.
        phase: String,
        /// Why it is not gone yet.
        conditions: Vec<Condition>,
    }
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    scope: Scope::Cluster,
    schema: "io.k8s.api.core.v1.Namespace",
    subresources: &[Subresource::Status, Subresource::Finalize],
    verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
    name_rule: NameRule::Label,
    columns: &[Column::NAME, Column::new("Status", "string", "The status of the namespace."), Column::AGE],
    row,
    fields: &[Field::new("status.phase", &["status", "phase"])],
    defaults,
    create,
    update,
    status_checks,
    ..Kind::PLAIN
};

fn row(namespace: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(namespace).into(),
        meta::text(namespace, &["status", "phase"]).into(),
        time::age(meta::creation_timestamp(namespace), now).into(),
    ]
}

/// Carries its name as label, so that selectors can name it.
fn defaults(namespace: &mut Value) {
    let name = meta::name(namespace).to_owned();
    if !name.is_empty() {
        meta::set_label(namespace, "kubernetes.io/metadata.name", &name);
    }
}

/// A new namespace is active, and is kept until its content is gone.
fn create(namespace: &mut Value) {
    if let Some(spec) = fill::object(namespace, "spec") {
        let mut finalizers = meta::items(spec, &["finalizers"]).to_vec();
        if !finalizers.iter().any(|one| one == "kubernetes") {
            finalizers.push("kubernetes".into());
        }
        fill::set(spec, "finalizers", finalizers);
    }
    fill::set(namespace, "status", json!({ "phase": "Active" }));
}

/// What keeps it is only changed through `finalize`.
fn update(namespace: &mut Value, old: &Value) {
    fill::set(namespace, "spec", old.get("spec").cloned().unwrap_or_else(|| json!({})));
}

fn status_checks(new: &At<'_>, _old: &At<'_>, errors: &mut Errors) {
    let phase = new.get("status").get("phase");
    let deleting = new.get("metadata").get("deletionTimestamp").is_set();
    let why = match (deleting, phase.text()) {
        (true, "Terminating") | (false, "Active") => return,
        (true, _) => "may only be 'Terminating' if `deletionTimestamp` is not empty",
        (false, _) => "may only be 'Active' if `deletionTimestamp` is empty",
    };
    errors.push(FieldError::invalid(&phase.path, phase.text(), why));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;

    #[test]
    fn a_new_namespace_is_active_and_kept() {
        let mut namespace = json!({"metadata": {"name": "web"}, "status": {"phase": "Terminating"}});
        KIND.prepare_create(&mut namespace);
        KIND.default(&mut namespace);
        let expected = json!({
            "metadata": {"name": "web", "labels": {"kubernetes.io/metadata.name": "web"}},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        });
        assert_eq!(namespace, expected);
        assert_eq!(KIND.validate(&namespace), []);
        let mut change = json!({"metadata": {"name": "web"}, "spec": {}});
        KIND.default(&mut change);
        KIND.prepare_update(&mut change, &namespace, Target::Main);
        assert_eq!(change, expected);
        let mut freed = namespace.clone();
        freed["spec"] = json!({});
        KIND.prepare_update(&mut freed, &namespace, Target::Finalize);
        assert_eq!(freed["spec"], json!({}));
    }
}

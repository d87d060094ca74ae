//! StorageClass: how volumes are made.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Kind, Scope};
use crate::meta;
use crate::name;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "storage.k8s.io",
    version: "v1",
    kind: "StorageClass",
    plural: "storageclasses",
    singular: "storageclass",
    short_names: &["sc"],
    scope: Scope::Cluster,
    schema: "io.k8s.api.storage.v1.StorageClass",
    columns: &[
        Column::NAME,
        Column::new("Provisioner", "string", "Who makes its volumes."),
        Column::new("ReclaimPolicy", "string", "What becomes of a volume whose claim is gone."),
        Column::new("VolumeBindingMode", "string", "When a volume is made."),
        Column::new("AllowVolumeExpansion", "boolean", "Whether a volume may grow."),
        Column::AGE,
    ],
    row,
    defaults,
    checks,
    update_checks,
    ..Kind::PLAIN
};

/// The annotation of the class that claims without one get.
pub const DEFAULT_ANNOTATION: &str = "storageclass.kubernetes.io/is-default-class";
/// The same, as it was called before.
pub const OLD_DEFAULT_ANNOTATION: &str = "storageclass.beta.kubernetes.io/is-default-class";
/// The class of directories on the node.
pub const LOCAL: &str = "local";
/// Who makes them.
pub const LOCAL_PROVISIONER: &str = "edgectl.dev/local";
/// The provisioner of classes whose volumes somebody makes by hand.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// The annotation of a Node with the directory in which it makes volumes; one without it makes none.
pub const LOCAL_DIRECTORY: &str = "edgectl.dev/volumes";

/// Whether claims without a class get this one.
pub fn is_default(class: &Value) -> bool {
    [DEFAULT_ANNOTATION, OLD_DEFAULT_ANNOTATION]
        .iter()
        .any(|annotation| meta::annotation(class, annotation) == Some("true"))
}

/// The class every cluster has.
pub fn local() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": LOCAL, "annotations": {DEFAULT_ANNOTATION: "true"}},
        "provisioner": LOCAL_PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    })
}

fn row(class: &Value, now: Timestamp) -> Vec<Value> {
    let mark = if is_default(class) { " (default)" } else { "" };
    let text = |field: &str| meta::text(class, &[field]);
    vec![
        format!("{}{mark}", meta::name(class)).into(),
        text("provisioner").into(),
        text("reclaimPolicy").into(),
        text("volumeBindingMode").into(),
        class.get("allowVolumeExpansion").and_then(Value::as_bool).unwrap_or(false).into(),
        time::age(meta::creation_timestamp(class), now).into(),
    ]
}

fn defaults(class: &mut Value) {
    fill::absent(class, "reclaimPolicy", "Delete");
    fill::absent(class, "volumeBindingMode", "Immediate");
}

/// How many parameters there may be.
const PARAMETERS: usize = 512;
/// How long they may be together.
const PARAMETERS_SIZE: usize = 256 * 1024;

fn checks(class: &At<'_>, errors: &mut Errors) {
    let provisioner = class.get("provisioner");
    if validate::required(&provisioner, "", errors)
        && let Err(why) = name::label_key(&provisioner.text().to_lowercase())
    {
        errors.push(FieldError::invalid(&provisioner.path, provisioner.text(), &why));
    }
    parameters(&class.get("parameters"), errors);
    validate::one_of(&class.get("reclaimPolicy"), &["Delete", "Retain"], errors);
    validate::one_of(&class.get("volumeBindingMode"), &["Immediate", "WaitForFirstConsumer"], errors);
    for term in class.get("allowedTopologies").items() {
        for expression in term.get("matchLabelExpressions").items() {
            validate::follows(&expression.get("key"), name::label_key, errors);
            let values = expression.get("values");
            if values.is_empty() {
                errors.push(FieldError::required(&values.path, ""));
            }
        }
    }
}

/// Checks the parameters of a class.
pub(super) fn parameters(parameters: &At<'_>, errors: &mut Errors) {
    if parameters.len() > PARAMETERS {
        errors.push(FieldError::too_long(&parameters.path, PARAMETERS));
        return;
    }
    let size: usize = parameters.entries().map(|(key, value)| key.len() + value.text().len()).sum();
    if parameters.entries().any(|(key, _)| key.is_empty()) {
        errors.push(FieldError::invalid(&parameters.path, "", "field can not be empty."));
    }
    if size > PARAMETERS_SIZE {
        errors.push(FieldError::too_long(&parameters.path, PARAMETERS_SIZE));
    }
}

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    for field in ["parameters", "provisioner", "reclaimPolicy"] {
        stays(&new.get(field), &old.get(field), field, errors);
    }
    validate::immutable(&new.get("volumeBindingMode"), &old.get("volumeBindingMode"), errors);
}

/// A field that may not be changed, in the words of storage's kinds.
pub(super) fn stays(new: &At<'_>, old: &At<'_>, field: &str, errors: &mut Errors) {
    if new.value != old.value && !(new.is_empty() && old.is_empty() && new.text() == old.text()) {
        errors.push(FieldError::forbidden(&new.path, &format!("updates to {field} are forbidden.")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;

    #[test]
    fn the_local_class_is_good_and_the_default() {
        let mut class = local();
        let before = class.clone();
        KIND.default(&mut class);
        assert_eq!(class, before);
        assert_eq!(KIND.validate(&class), []);
        let row = row(&class, Timestamp::from_seconds(0));
        assert_eq!(row[..3], ["local (default)", "edgectl.dev/local", "Delete"]);
        assert_eq!(row[4], false);
    }

    #[test]
    fn classes_are_checked_and_stay() {
        let mut class = json!({"metadata": {"name": "a"}, "reclaimPolicy": "Recycle"});
        KIND.default(&mut class);
        let text =
            |errors: Vec<FieldError>| -> Vec<String> { errors.iter().map(ToString::to_string).collect() };
        assert_eq!(
            text(KIND.validate(&class)),
            [
                "provisioner: Required value",
                "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\""
            ]
        );
        let mut new = local();
        new["provisioner"] = "a/b".into();
        new["volumeBindingMode"] = "Immediate".into();
        new["parameters"] = json!({"a": "b"});
        assert_eq!(
            text(KIND.validate_update(&new, &local(), Target::Main)),
            [
                "parameters: Forbidden: updates to parameters are forbidden.",
                "provisioner: Forbidden: updates to provisioner are forbidden.",
                "volumeBindingMode: Invalid value: \"Immediate\": field is immutable"
            ]
        );
        new["parameters"] = json!({});
        assert_eq!(KIND.validate_update(&new, &local(), Target::Main).len(), 2);
    }
}

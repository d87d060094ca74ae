//! ControllerRevision: a template as it once was, kept for going back.

use crate::error::FieldError;
use crate::kind::{Column, Kind};
use crate::meta;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::Value;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    schema: "io.k8s.api.apps.v1.ControllerRevision",
    columns: &[
        Column::NAME,
        Column::new("Controller", "string", "Whose state it holds."),
        Column::new("Revision", "integer", "Which of its states, the latest with the highest number."),
        Column::AGE,
    ],
    row,
    checks,
    update_checks: |new, old, errors| validate::immutable(&new.get("data"), &old.get("data"), errors),
    ..Kind::PLAIN
};

fn row(revision: &Value, now: Timestamp) -> Vec<Value> {
    let controller = meta::controller_of(revision).map(|owner| {
        let (group, _) = meta::split_api_version(&owner.api_version);
        let kind = owner.kind.to_lowercase();
        if group.is_empty() {
            format!("{kind}/{}", owner.name)
        } else {
            format!("{kind}.{group}/{}", owner.name)
        }
    });
    vec![
        meta::name(revision).into(),
        controller.unwrap_or_else(|| "<none>".to_owned()).into(),
        meta::number(revision, &["revision"]).unwrap_or(0).into(),
        time::age(meta::creation_timestamp(revision), now).into(),
    ]
}

fn checks(revision: &At<'_>, errors: &mut Errors) {
    let data = revision.get("data");
    if !data.is_set() {
        errors.push(FieldError::required(&data.path, "data is mandatory"));
    }
    validate::not_negative(&revision.get("revision"), errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;
    use serde_json::json;

    #[test]
    fn its_data_stays_and_its_row_names_the_controller() {
        let old = json!({"metadata": {"name": "db-1", "namespace": "default", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "1", "controller": true}]},
            "revision": 2, "data": {"a": 1}});
        assert!(KIND.validate(&old).is_empty());
        let expected = json!(["db-1", "statefulset.apps/db", 2, "<unknown>"]);
        assert_eq!(Value::from(row(&old, Timestamp::from_seconds(0))), expected);
        let mut new = old.clone();
        new["revision"] = json!(3);
        assert!(KIND.validate_update(&new, &old, Target::Main).is_empty());
        new["data"] = json!({"a": 2});
        let errors = KIND.validate_update(&new, &old, Target::Main);
        assert_eq!(errors[0].to_string(), "data: Invalid value: {\"a\":2}: field is immutable");
        new["data"] = Value::Null;
        assert_eq!(KIND.validate(&new)[0].to_string(), "data: Required value: data is mandatory");
    }
}

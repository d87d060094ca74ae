//! ReplicationController: the ReplicaSet of old, whose selector is a plain map of labels.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Field, Generation, Kind, ScalePaths, Subresource};
use crate::kinds::{pod, replica_set, workload};
use crate::meta;
use crate::time::Timestamp;
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ReplicationController",
    plural: "replicationcontrollers",
    singular: "replicationcontroller",
    short_names: &["rc"],
    categories: &["all"],
    schema: "io.k8s.api.core.v1.ReplicationController",
    subresources: &[Subresource::Status, Subresource::Scale],
    generation: Generation::Spec,
    scale: Some(ScalePaths {
        replicas: &["spec", "replicas"],
        status_replicas: &["status", "replicas"],
        selector: &["spec", "selector"],
    }),
    columns: replica_set::COLUMNS,
    row,
    fields: &[Field { name: "status.replicas", path: &["status", "replicas"], absent: "0" }],
    defaults,
    create: |set| fill::set(set, "status", json!({ "replicas": 0 })),
    warnings: workload::warnings,
    checks,
    status_checks: replica_set::status_checks,
    ..Kind::PLAIN
};

fn row(set: &Value, now: Timestamp) -> Vec<Value> {
    replica_set::row(set, now)
}

fn defaults(set: &mut Value) {
    let labels = meta::map(set, &["spec", "template", "metadata", "labels"]).cloned().unwrap_or_default();
    workload::labels_of_template(set);
    let Some(spec) = fill::object(set, "spec") else { return };
    fill::absent(spec, "replicas", 1);
    let selects =
        spec.get("selector").is_some_and(|selector| selector.as_object().is_none_or(|map| !map.is_empty()));
    if !selects && !labels.is_empty() {
        fill::set(spec, "selector", labels);
    }
    if spec.get("template").is_some() {
        pod::default_template(spec);
    }
}

fn checks(set: &At<'_>, errors: &mut Errors) {
    let spec = set.get("spec");
    validate::not_negative(&spec.get("minReadySeconds"), errors);
    let selector = spec.get("selector");
    if selector.is_empty() {
        errors.push(FieldError::required(&selector.path, ""));
    }
    validate::not_negative(&spec.get("replicas"), errors);
    workload::template(&spec, "ReplicationController", errors);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Value {
        let mut set = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"replicas": 2, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            }},
        });
        KIND.default(&mut set);
        set
    }

    #[test]
    fn selector_and_labels_are_the_template_s_when_absent() {
        let set = set();
        assert_eq!(set["spec"]["selector"], json!({"app": "web"}));
        assert_eq!(set["metadata"]["labels"], json!({"app": "web"}));
        assert!(KIND.validate(&set).is_empty());
        let expected = json!(["web", 2, 0, 0, "<unknown>", "web", "web:1", "app=web"]);
        assert_eq!(Value::from(row(&set, Timestamp::from_seconds(0))), expected);
        let scale = crate::scale::of(&KIND, &set).expect("it scales");
        assert_eq!(scale["status"]["selector"], "app=web");
    }

    #[test]
    fn a_replication_controller_is_checked() {
        type Change = fn(&mut Value);
        let cases: &[(Change, &str)] = &[
            (|s| s["selector"] = json!({}), "spec.selector: Required value"),
            (
                |s| s["selector"] = json!({"app": "x"}),
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
            ),
            (
                |s| s["replicas"] = json!(-1),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (|s| s["template"] = Value::Null, "spec.template: Required value"),
            (
                |s| s["template"]["spec"]["restartPolicy"] = json!("OnFailure"),
                "spec.template.spec.restartPolicy: Unsupported value: \"OnFailure\": supported values: \"Always\"",
            ),
        ];
        for (change, expected) in cases {
            let mut set = set();
            change(&mut set["spec"]);
            let found: Vec<String> = KIND.validate(&set).iter().map(ToString::to_string).collect();
            assert_eq!(found, [*expected]);
        }
    }
}

//! StatefulSet: Pods that have names and storage of their own.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Generation, Kind, ScalePaths, Subresource};
use crate::kinds::{persistent_volume_claim, pod, workload};
use crate::meta;
use crate::name::{self, NameRule};
use crate::rollout;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "StatefulSet",
    plural: "statefulsets",
    singular: "statefulset",
    short_names: &["sts"],
    categories: &["all"],
    schema: "io.k8s.api.apps.v1.StatefulSet",
    subresources: &[Subresource::Status, Subresource::Scale],
    name_rule: NameRule::Label,
    generation: Generation::Spec,
    scale: Some(ScalePaths {
        replicas: &["spec", "replicas"],
        status_replicas: &["status", "replicas"],
        selector: &["spec", "selector"],
    }),
    columns: &[
        Column::NAME,
        Column::new("Ready", "string", "Number of the pod with ready state."),
        Column::AGE,
        Column::wide("Containers", "string", "Names of each container in the template."),
        Column::wide("Images", "string", "Images referenced by each container in the template."),
    ],
    row,
    defaults,
    create: |set| fill::set(set, "status", json!({"replicas": 0, "availableReplicas": 0})),
    warnings: workload::warnings,
    checks,
    update_checks,
    status_checks,
    ..Kind::PLAIN
};

fn row(set: &Value, now: Timestamp) -> Vec<Value> {
    let ready = meta::number(set, &["status", "readyReplicas"]).unwrap_or(0);
    let wished = meta::number(set, &["spec", "replicas"]).unwrap_or(0);
    let mut row = vec![
        meta::name(set).into(),
        format!("{ready}/{wished}").into(),
        time::age(meta::creation_timestamp(set), now).into(),
    ];
    row.extend(workload::container_cells(&set["spec"]));
    row
}

fn defaults(set: &mut Value) {
    let Some(spec) = fill::object(set, "spec") else { return };
    fill::absent(spec, "replicas", 1);
    fill::absent(spec, "revisionHistoryLimit", 10);
    fill::blank(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = fill::object(spec, "updateStrategy") {
        fill::blank(strategy, "type", "RollingUpdate");
        if meta::text(strategy, &["type"]) == "RollingUpdate"
            && let Some(bounds) = fill::object(strategy, "rollingUpdate")
        {
            fill::absent(bounds, "partition", 0);
        }
    }
    if let Some(policy) = fill::object(spec, "persistentVolumeClaimRetentionPolicy") {
        fill::blank(policy, "whenDeleted", "Retain");
        fill::blank(policy, "whenScaled", "Retain");
    }
    fill::each(spec, "volumeClaimTemplates", |claim| {
        fill::blank(claim, "apiVersion", "v1");
        fill::blank(claim, "kind", "PersistentVolumeClaim");
        persistent_volume_claim::defaults(claim);
        if let Some(status) = fill::object(claim, "status") {
            fill::blank(status, "phase", "Pending");
        }
    });
    pod::default_template(spec);
}

fn checks(set: &At<'_>, errors: &mut Errors) {
    rollout::check_watched(set, errors);
    let spec = set.get("spec");
    let management = spec.get("podManagementPolicy");
    if validate::required(&management, "", errors)
        && !matches!(management.text(), "OrderedReady" | "Parallel")
    {
        let why = "must be 'OrderedReady' or 'Parallel'";
        errors.push(FieldError::invalid(&management.path, management.value, why));
    }
    strategy(&spec.get("updateStrategy"), errors);
    let retention = spec.get("persistentVolumeClaimRetentionPolicy");
    for field in ["whenDeleted", "whenScaled"] {
        validate::optional_one_of(&retention.get(field), &["Retain", "Delete"], errors);
    }
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        validate::not_negative(&spec.get(field), errors);
    }
    validate::not_negative(&spec.get("ordinals").get("start"), errors);
    validate::optional_name(&spec.get("serviceName"), name::dns1123_label, errors);
    workload::selector(&spec, "statefulset", errors);
    let whole = with_claims(spec.value);
    workload::template(&At::new(&whole, &spec.path.to_string()), "StatefulSet", errors);
}

/// The spec with its claims among the volumes of its template, where its containers find them.
fn with_claims(spec: &Value) -> Value {
    let mut whole = json!({"selector": spec["selector"], "template": spec["template"]});
    let names = meta::items(spec, &["volumeClaimTemplates"]).iter().map(meta::name);
    let names: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.is_empty() {
        return whole;
    }
    let Some(spec) = whole["template"].get_mut("spec").filter(|spec| spec.is_object()) else { return whole };
    fill::absent(spec, "volumes", json!([]));
    if let Some(volumes) = spec["volumes"].as_array_mut() {
        for name in names {
            if volumes.iter().all(|volume| meta::text(volume, &["name"]) != name) {
                volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
            }
        }
    }
    whole
}

fn strategy(strategy: &At<'_>, errors: &mut Errors) {
    let bounds = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "" => errors.push(FieldError::required(&strategy.path, "")),
        "OnDelete" if bounds.is_set() => {
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(FieldError::invalid(&bounds.path, bounds.value, why));
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            validate::not_negative(&bounds.get("partition"), errors);
            let unavailable = bounds.get("maxUnavailable");
            if unavailable.is_set() {
                workload::count_or_percent(&unavailable, errors);
                if workload::is_nothing(&unavailable) {
                    errors.push(FieldError::invalid(&unavailable.path, unavailable.value, "cannot be 0"));
                }
                workload::at_most_all(&unavailable, errors);
            }
        }
        _ => {
            let why = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(FieldError::invalid(&strategy.path, strategy.value, why));
        }
    }
}

const CHANGEABLE: &[&[&str]] = &[
    &["replicas"],
    &["ordinals"],
    &["template"],
    &["updateStrategy"],
    &["revisionHistoryLimit"],
    &["persistentVolumeClaimRetentionPolicy"],
    &["minReadySeconds"],
];

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.get("spec"), old.get("spec"));
    if !meta::equal_but(new.value, old.value, CHANGEABLE) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        errors.push(FieldError::forbidden(&new.path, detail));
    }
}

fn status_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    const PARTS: &[&str] = &["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    let (status, before) = (new.get("status"), old.get("status"));
    workload::counts(&status, &["replicas", "observedGeneration", "collisionCount"], errors);
    workload::counts(&status, PARTS, errors);
    let all = status.get("replicas").number().unwrap_or(0);
    for part in PARTS.iter().map(|part| status.get(part)) {
        if part.number().is_some_and(|number| number > all) {
            let why = "cannot be greater than status.replicas";
            errors.push(FieldError::invalid(&part.path, part.value, why));
        }
    }
    let collisions = |status: &At<'_>| status.get("collisionCount").number().unwrap_or(0);
    if collisions(&status) < collisions(&before) {
        let path = status.field("collisionCount");
        errors.push(FieldError::invalid(path, collisions(&status), "cannot be decremented"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;

    fn set() -> Value {
        let mut set = json!({
            "metadata": {"name": "db", "namespace": "default"},
            "spec": {
                "serviceName": "db",
                "replicas": 3,
                "selector": {"matchLabels": {"app": "db"}},
                "template": {
                    "metadata": {"labels": {"app": "db"}},
                    "spec": {"containers": [{"name": "db", "image": "db:1",
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]},
                },
                "volumeClaimTemplates": [{"metadata": {"name": "data"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Ki"}}}}],
            },
        });
        KIND.default(&mut set);
        set
    }

    fn shown(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_bare_stateful_set_gets_kubernetes_defaults_and_columns() {
        let set = set();
        let spec = &set["spec"];
        assert_eq!(spec["podManagementPolicy"], "OrderedReady");
        assert_eq!(
            spec["updateStrategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
        );
        let retention = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
        assert_eq!(spec["persistentVolumeClaimRetentionPolicy"], retention);
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}, "volumeMode": "Filesystem"},
            "status": {"phase": "Pending"}});
        assert_eq!(spec["volumeClaimTemplates"], json!([claim]));
        assert_eq!(shown(&KIND.validate(&set)), Vec::<String>::new());
        let expected = json!(["db", "0/3", "<unknown>", "db", "db:1"]);
        assert_eq!(Value::from(row(&set, Timestamp::from_seconds(0))), expected);
    }

    #[test]
    fn a_stateful_set_is_checked() {
        type Change = fn(&mut Value);
        let cases: &[(Change, &str)] = &[
            (
                |s| s["podManagementPolicy"] = json!("X"),
                "spec.podManagementPolicy: Invalid value: \"X\": must be 'OrderedReady' or 'Parallel'",
            ),
            (
                |s| s["updateStrategy"] = json!({"type": "OnDelete", "rollingUpdate": {}}),
                "spec.updateStrategy.rollingUpdate: Invalid value: {}: only allowed for updateStrategy 'RollingUpdate'",
            ),
            (
                |s| s["updateStrategy"]["rollingUpdate"]["partition"] = json!(-1),
                "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                |s| s["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!(0),
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0",
            ),
            (
                |s| s["persistentVolumeClaimRetentionPolicy"]["whenScaled"] = json!("X"),
                "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"X\": supported values: \"Delete\", \"Retain\"",
            ),
            (
                |s| s["selector"] = json!({}),
                "spec.selector: Invalid value: {}: empty selector is invalid for statefulset",
            ),
            (
                |s| s["volumeClaimTemplates"] = json!([]),
                "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\"",
            ),
        ];
        for (change, expected) in cases {
            let mut set = set();
            change(&mut set["spec"]);
            assert_eq!(shown(&KIND.validate(&set)), [*expected]);
        }
        let mut dotted = set();
        dotted["metadata"]["name"] = json!("a.b");
        assert_eq!(KIND.validate(&dotted).len(), 1);
    }

    #[test]
    fn little_of_a_stateful_set_may_change() {
        let old = set();
        let mut new = old.clone();
        new["spec"]["replicas"] = json!(1);
        new["spec"]["ordinals"] = json!({"start": 5});
        assert_eq!(shown(&KIND.validate_update(&new, &old, Target::Main)), Vec::<String>::new());
        new["spec"]["serviceName"] = json!("other");
        let errors = shown(&KIND.validate_update(&new, &old, Target::Main));
        assert!(errors[0].starts_with(
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals',"
        ));
        assert_eq!(errors.len(), 1);
    }

    #[test]
    fn parts_are_at_most_the_whole() {
        let mut new = set();
        new["status"] = json!({"replicas": 1, "readyReplicas": 2});
        let errors = shown(&KIND.validate_update(&new, &set(), Target::Status));
        assert_eq!(
            errors,
            ["status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"]
        );
    }
}

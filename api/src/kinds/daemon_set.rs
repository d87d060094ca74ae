//! DaemonSet: one Pod on every node that suits.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Generation, Kind, Subresource};
use crate::kinds::pod;
use crate::kinds::workload;
use crate::meta;
use crate::rollout;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

/// Counts the changes of the template, for clients of old.
pub const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The table entry.
pub static KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short_names: &["ds"],
    categories: &["all"],
    schema: "io.k8s.api.apps.v1.DaemonSet",
    subresources: &[Subresource::Status],
    generation: Generation::Spec,
    columns: &[
        Column::NAME,
        Column::new("Desired", "integer", "Nodes that should run a pod of it."),
        Column::new("Current", "integer", "Nodes that run a pod of it and should."),
        Column::new("Ready", "integer", "Nodes that should run a pod of it and have a ready one."),
        Column::new("Up-to-date", "integer", "Nodes that run a pod of the current template."),
        Column::new("Available", "integer", "Nodes that should run a pod of it and have an available one."),
        Column::new("Node Selector", "string", "Labels that a node must have."),
        Column::AGE,
        Column::wide("Containers", "string", "Names of each container in the template."),
        Column::wide("Images", "string", "Images referenced by each container in the template."),
        Column::wide("Selector", "string", "Which pods are its own."),
    ],
    row,
    defaults,
    create,
    update,
    warnings: workload::warnings,
    checks,
    update_checks: workload::selector_stays,
    status_checks,
    ..Kind::PLAIN
};

const COUNTS: &[&str] = &[
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "observedGeneration",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
];

fn row(set: &Value, now: Timestamp) -> Vec<Value> {
    let status = |field: &str| Value::from(meta::number(set, &["status", field]).unwrap_or(0));
    let selector = meta::map(set, &["spec", "template", "spec", "nodeSelector"]).into_iter().flatten();
    let pairs: Vec<String> =
        selector.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or(""))).collect();
    let selector = if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") };
    let mut row = vec![
        meta::name(set).into(),
        status("desiredNumberScheduled"),
        status("currentNumberScheduled"),
        status("numberReady"),
        status("updatedNumberScheduled"),
        status("numberAvailable"),
        selector.into(),
        time::age(meta::creation_timestamp(set), now).into(),
    ];
    row.extend(workload::wide_cells(&set["spec"]));
    row
}

fn defaults(set: &mut Value) {
    let Some(spec) = fill::object(set, "spec") else { return };
    fill::absent(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = fill::object(spec, "updateStrategy") {
        fill::blank(strategy, "type", "RollingUpdate");
        if meta::text(strategy, &["type"]) == "RollingUpdate"
            && let Some(bounds) = fill::object(strategy, "rollingUpdate")
        {
            fill::absent(bounds, "maxUnavailable", 1);
            fill::absent(bounds, "maxSurge", 0);
        }
    }
    pod::default_template(spec);
}

fn create(set: &mut Value) {
    meta::set_annotation(set, TEMPLATE_GENERATION, "1");
    let status = json!({"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0});
    fill::set(set, "status", status);
}

/// A changed template counts up.
fn update(new: &mut Value, old: &Value) {
    let before = meta::annotation(old, TEMPLATE_GENERATION).and_then(|text| text.parse::<i64>().ok());
    let before = before.unwrap_or(1);
    let same = new["spec"]["template"] == old["spec"]["template"];
    let now = if same { before } else { before.saturating_add(1) };
    meta::set_annotation(new, TEMPLATE_GENERATION, &now.to_string());
}

fn checks(set: &At<'_>, errors: &mut Errors) {
    rollout::check_watched(set, errors);
    let spec = set.get("spec");
    workload::selector(&spec, "daemonset", errors);
    workload::template(&spec, "DaemonSet", errors);
    validate::not_negative(&spec.get("minReadySeconds"), errors);
    strategy(&spec.get("updateStrategy"), errors);
    validate::not_negative(&spec.get("revisionHistoryLimit"), errors);
}

fn strategy(strategy: &At<'_>, errors: &mut Errors) {
    let bounds = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "OnDelete" => {}
        "RollingUpdate" if !bounds.is_set() => errors.push(FieldError::required(&bounds.path, "")),
        "RollingUpdate" => rolling_update(&bounds, errors),
        _ => {
            let supported = ["RollingUpdate", "OnDelete"];
            errors.push(FieldError::not_supported(&strategy.path, strategy.value, &supported));
        }
    }
}

fn rolling_update(bounds: &At<'_>, errors: &mut Errors) {
    let (unavailable, surge) = (bounds.get("maxUnavailable"), bounds.get("maxSurge"));
    workload::count_or_percent(&unavailable, errors);
    workload::count_or_percent(&surge, errors);
    workload::at_most_all(&unavailable, errors);
    workload::at_most_all(&surge, errors);
    match (workload::is_nothing(&unavailable), workload::is_nothing(&surge)) {
        (false, false) => {
            let why = "may not be set when maxUnavailable is non-zero";
            errors.push(FieldError::invalid(&surge.path, surge.value, why));
        }
        (true, true) => {
            errors.push(FieldError::required(&unavailable.path, "cannot be 0 when maxSurge is 0"));
        }
        _ => {}
    }
}

fn status_checks(new: &At<'_>, _: &At<'_>, errors: &mut Errors) {
    workload::counts(&new.get("status"), COUNTS, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;

    fn set() -> Value {
        let mut set = json!({
            "metadata": {"name": "agent", "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": {"app": "agent"}},
                "template": {
                    "metadata": {"labels": {"app": "agent"}},
                    "spec": {"containers": [{"name": "a", "image": "a:1"}], "nodeSelector": {"disk": "ssd"}},
                },
            },
        });
        KIND.default(&mut set);
        set
    }

    #[test]
    fn a_bare_daemon_set_gets_kubernetes_defaults_and_columns() {
        let set = set();
        let strategy =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
        assert_eq!(set["spec"]["updateStrategy"], strategy);
        assert_eq!(set["spec"]["revisionHistoryLimit"], 10);
        assert!(KIND.validate(&set).is_empty());
        let expected = json!(["agent", 0, 0, 0, 0, 0, "disk=ssd", "<unknown>", "a", "a:1", "app=agent"]);
        assert_eq!(Value::from(row(&set, Timestamp::from_seconds(0))), expected);
    }

    #[test]
    fn a_daemon_set_is_checked() {
        type Change = fn(&mut Value);
        let cases: &[(Change, &str)] = &[
            (
                |s| s["selector"] = json!({}),
                "spec.selector: Invalid value: {}: empty selector is invalid for daemonset",
            ),
            (
                |s| s["updateStrategy"]["rollingUpdate"]["maxSurge"] = json!(1),
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
            ),
            (
                |s| s["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!("0%"),
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
            ),
            (
                |s| s["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!("101%"),
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
            ),
            (
                |s| s["updateStrategy"] = json!({"type": "X"}),
                "spec.updateStrategy: Unsupported value: {\"type\":\"X\"}: supported values: \"OnDelete\", \"RollingUpdate\"",
            ),
            (
                |s| s["template"]["spec"]["restartPolicy"] = json!("Never"),
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ),
            (
                |s| s["template"]["spec"]["activeDeadlineSeconds"] = json!(5),
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported",
            ),
        ];
        for (change, expected) in cases {
            let mut set = set();
            change(&mut set["spec"]);
            let found: Vec<String> = KIND.validate(&set).iter().map(ToString::to_string).collect();
            assert_eq!(found, [*expected]);
        }
    }

    #[test]
    fn changes_of_the_template_are_counted() {
        let mut old = set();
        KIND.prepare_create(&mut old);
        assert_eq!(meta::annotation(&old, TEMPLATE_GENERATION), Some("1"));
        let mut new = old.clone();
        new["metadata"]["annotations"] = json!({});
        KIND.prepare_update(&mut new, &old, Target::Main);
        assert_eq!(meta::annotation(&new, TEMPLATE_GENERATION), Some("1"));
        new["spec"]["template"]["spec"]["hostname"] = json!("x");
        KIND.prepare_update(&mut new, &old, Target::Main);
        assert_eq!(meta::annotation(&new, TEMPLATE_GENERATION), Some("2"));
        assert_eq!(meta::generation(&new), 2);
    }
}

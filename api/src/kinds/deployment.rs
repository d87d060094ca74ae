//! Deployment: replicas of a Pod, and how they are replaced.

use crate::compact::object;
use crate::error::FieldError;
use crate::fill;
use crate::int_or_string::IntOrString;
use crate::kind::{Column, Generation, Kind, ScalePaths, Subresource};
use crate::kinds::pod::{self, PodTemplateSpec};
use crate::kinds::workload;
use crate::meta;
use crate::meta::{Condition, LabelSelector, ObjectMeta};
use crate::rollout;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

object! {
    /// A Deployment, as far as it is read here.
    struct Deployment {
        /// Metadata.
        metadata: ObjectMeta,
        /// What is wished.
        spec: DeploymentSpec,
        /// What is.
        status: DeploymentStatus,
    }

    /// What is wished of a Deployment.
    struct DeploymentSpec {
        /// How many Pods; 1 if absent.
        replicas: Option<i32>,
        /// Which Pods are its own.
        selector: LabelSelector,
        /// What they are made of.
        template: PodTemplateSpec,
        /// How old ones are replaced.
        strategy: DeploymentStrategy,
        /// Seconds a Pod must be ready to be available.
        min_ready_seconds: i32,
        /// How many old ReplicaSets are kept; 10 if absent.
        revision_history_limit: Option<i32>,
        /// Whether changes of the template wait.
        paused: bool,
        /// Seconds without progress that make it fail; 600 if absent.
        progress_deadline_seconds: Option<i32>,
    }

    /// How old Pods are replaced.
    struct DeploymentStrategy {
        /// `RollingUpdate` or `Recreate`.
        #[serde(rename = "type")]
        type_: String,
        /// The bounds of a rolling update.
        rolling_update: Option<RollingUpdateDeployment>,
    }

    /// The bounds of a rolling update.
    struct RollingUpdateDeployment {
        /// How many Pods may be missing; 25% if absent, rounded down.
        max_unavailable: Option<IntOrString>,
        /// How many Pods may be too many; 25% if absent, rounded up.
        max_surge: Option<IntOrString>,
    }

    /// What a Deployment is.
    struct DeploymentStatus {
        /// The generation the controller has seen.
        observed_generation: i64,
        /// Pods.
        replicas: i32,
        /// Pods of the current template.
        updated_replicas: i32,
        /// Ready Pods.
        ready_replicas: i32,
        /// Available Pods.
        available_replicas: i32,
        /// Pods that are missing.
        unavailable_replicas: i32,
        /// Pods that are ending.
        terminating_replicas: Option<i32>,
        /// `Available`, `Progressing`, `ReplicaFailure`.
        conditions: Vec<Condition>,
        /// Avoids equal names for different templates.
        collision_count: Option<i32>,
    }
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    schema: "io.k8s.api.apps.v1.Deployment",
    subresources: &[Subresource::Status, Subresource::Scale],
    generation: Generation::SpecAndAnnotations,
    scale: Some(ScalePaths {
        replicas: &["spec", "replicas"],
        status_replicas: &["status", "replicas"],
        selector: &["spec", "selector"],
    }),
    columns: &[
        Column::NAME,
        Column::new("Ready", "string", "Number of the pod with ready state."),
        Column::new("Up-to-date", "string", "Pods of the current template."),
        Column::new("Available", "string", "Pods that are available."),
        Column::AGE,
        Column::wide("Containers", "string", "Names of each container in the template."),
        Column::wide("Images", "string", "Images referenced by each container in the template."),
        Column::wide("Selector", "string", "Which pods are its own."),
    ],
    row,
    defaults,
    create: |deployment| fill::set(deployment, "status", json!({})),
    warnings: workload::warnings,
    checks,
    update_checks: workload::selector_stays,
    ..Kind::PLAIN
};

fn row(deployment: &Value, now: Timestamp) -> Vec<Value> {
    let status = |field: &str| meta::number(deployment, &["status", field]).unwrap_or(0);
    let wished = meta::number(deployment, &["spec", "replicas"]).unwrap_or(0);
    let mut row = vec![
        meta::name(deployment).into(),
        format!("{}/{wished}", status("readyReplicas")).into(),
        status("updatedReplicas").into(),
        status("availableReplicas").into(),
        time::age(meta::creation_timestamp(deployment), now).into(),
    ];
    row.extend(workload::wide_cells(&deployment["spec"]));
    row
}

fn defaults(deployment: &mut Value) {
    let Some(spec) = fill::object(deployment, "spec") else { return };
    fill::absent(spec, "replicas", 1);
    fill::absent(spec, "revisionHistoryLimit", 10);
    fill::absent(spec, "progressDeadlineSeconds", 600);
    if let Some(strategy) = fill::object(spec, "strategy") {
        fill::blank(strategy, "type", "RollingUpdate");
        if meta::text(strategy, &["type"]) == "RollingUpdate"
            && let Some(bounds) = fill::object(strategy, "rollingUpdate")
        {
            fill::absent(bounds, "maxUnavailable", "25%");
            fill::absent(bounds, "maxSurge", "25%");
        }
    }
    pod::default_template(spec);
}

fn checks(deployment: &At<'_>, errors: &mut Errors) {
    rollout::check_guard(deployment, errors);
    rollout::check_watched(deployment, errors);
    let spec = deployment.get("spec");
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        validate::not_negative(&spec.get(field), errors);
    }
    workload::selector(&spec, "deployment", errors);
    workload::template(&spec, "ReplicaSet", errors);
    strategy(&spec.get("strategy"), errors);
    let deadline = spec.get("progressDeadlineSeconds");
    validate::not_negative(&deadline, errors);
    if deadline.number().is_some_and(|d| d <= spec.get("minReadySeconds").number().unwrap_or(0)) {
        errors.push(FieldError::invalid(
            &deadline.path,
            deadline.value,
            "must be greater than minReadySeconds",
        ));
    }
}

fn strategy(strategy: &At<'_>, errors: &mut Errors) {
    let (kind, bounds) = (strategy.get("type"), strategy.get("rollingUpdate"));
    match kind.text() {
        "Recreate" if bounds.is_set() => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            errors.push(FieldError::forbidden(&bounds.path, detail));
        }
        "Recreate" => {}
        "RollingUpdate" => rolling_update(&bounds, errors),
        _ => errors.push(FieldError::not_supported(&kind.path, kind.value, &["Recreate", "RollingUpdate"])),
    }
}

fn rolling_update(bounds: &At<'_>, errors: &mut Errors) {
    let (unavailable, surge) = (bounds.get("maxUnavailable"), bounds.get("maxSurge"));
    workload::count_or_percent(&unavailable, errors);
    workload::count_or_percent(&surge, errors);
    if workload::is_nothing(&unavailable) && workload::is_nothing(&surge) {
        let why = "may not be 0 when `maxSurge` is 0";
        errors.push(FieldError::invalid(&unavailable.path, unavailable.value, why));
    }
    workload::at_most_all(&unavailable, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;

    fn deployment() -> Value {
        let mut deployment = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": "file:web.wasm"}]},
                },
            },
        });
        KIND.default(&mut deployment);
        deployment
    }

    fn found(deployment: &Value) -> Vec<String> {
        KIND.validate(deployment).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_bare_deployment_gets_kubernetes_defaults() {
        let deployment = deployment();
        let spec = &deployment["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(spec["revisionHistoryLimit"], 10);
        assert_eq!(spec["progressDeadlineSeconds"], 600);
        let strategy =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
        assert_eq!(spec["strategy"], strategy);
        let template = &spec["template"]["spec"];
        assert_eq!(template["restartPolicy"], "Always");
        assert_eq!(template.get("enableServiceLinks"), None, "only Pods get it");
        assert_eq!(found(&deployment), Vec::<String>::new());
    }

    #[test]
    fn a_deployment_without_a_selector_selects_none_of_its_own() {
        let mut deployment = deployment();
        deployment["spec"]["selector"] = Value::Null;
        let labels = "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`";
        assert_eq!(found(&deployment), ["spec.selector: Required value", labels]);
    }

    #[test]
    fn a_deployment_is_checked() {
        type Change = fn(&mut Value);
        let cases: &[(Change, &str)] = &[
            (
                |d| d["spec"]["replicas"] = json!(-1),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                |d| d["spec"]["selector"] = json!({"matchLabels": {"app": "x"}}),
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
            ),
            (
                |d| d["spec"]["selector"] = json!({}),
                "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
            ),
            (
                |d| d["spec"]["strategy"]["type"] = json!("Recreate"),
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ),
            (
                |d| d["spec"]["strategy"]["type"] = json!("X"),
                "spec.strategy.type: Unsupported value: \"X\": supported values: \"Recreate\", \"RollingUpdate\"",
            ),
            (
                |d| d["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": 0, "maxUnavailable": "0%"}),
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
            ),
            (
                |d| d["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!("101%"),
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
            ),
            (
                |d| d["spec"]["minReadySeconds"] = json!(600),
                "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
            ),
            (
                |d| d["spec"]["template"]["spec"]["restartPolicy"] = json!("Never"),
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ),
            (
                |d| d["spec"]["template"]["spec"]["containers"][0]["name"] = json!(""),
                "spec.template.spec.containers[0].name: Required value",
            ),
        ];
        for (change, expected) in cases {
            let mut deployment = deployment();
            change(&mut deployment);
            assert_eq!(found(&deployment), [*expected]);
        }
    }

    #[test]
    fn its_generation_counts_changes() {
        let mut old = deployment();
        KIND.prepare_create(&mut old);
        assert_eq!((&old["metadata"]["generation"], &old["status"]), (&json!(1), &json!({})));
        let mut same = old.clone();
        same["status"] = json!({"replicas": 7});
        same["metadata"]["labels"] = json!({"a": "b"});
        KIND.prepare_update(&mut same, &old, Target::Main);
        assert_eq!((&same["metadata"]["generation"], &same["status"]), (&json!(1), &json!({})));
        let mut scaled = old.clone();
        scaled["spec"]["replicas"] = json!(3);
        KIND.prepare_update(&mut scaled, &old, Target::Main);
        assert_eq!(scaled["metadata"]["generation"], 2);
        let mut noted = old.clone();
        noted["metadata"]["annotations"] = json!({"a": "b"});
        KIND.prepare_update(&mut noted, &old, Target::Main);
        assert_eq!(noted["metadata"]["generation"], 2);
        let mut status = old.clone();
        status["spec"]["replicas"] = json!(5);
        status["status"] = json!({"replicas": 1});
        KIND.prepare_update(&mut status, &old, Target::Status);
        assert_eq!((&status["spec"]["replicas"], &status["status"]), (&json!(1), &json!({"replicas": 1})));
    }

    #[test]
    fn the_selector_stays() {
        let old = deployment();
        let mut new = old.clone();
        new["spec"]["selector"]["matchLabels"]["app"] = json!("x");
        new["spec"]["template"]["metadata"]["labels"]["app"] = json!("x");
        let errors = KIND.validate_update(&new, &old, Target::Main);
        assert_eq!(
            errors[0].to_string(),
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"x\"}}: field is immutable"
        );
        assert_eq!(errors.len(), 1);
    }

    #[test]
    fn a_scale_is_read_and_written() {
        let mut deployment = deployment();
        deployment["status"] = json!({"replicas": 2});
        let mut scale = crate::scale::of(&KIND, &deployment).expect("deployments scale");
        assert_eq!(scale["spec"]["replicas"], 1);
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "app=web"}));
        scale["spec"]["replicas"] = json!(4);
        assert!(crate::scale::apply(&KIND, &mut deployment, &scale));
        assert_eq!(deployment["spec"]["replicas"], 4);
        assert!(!crate::scale::apply(&Kind::PLAIN, &mut deployment, &scale));
    }

    #[test]
    fn a_row_is_kubectl_s() {
        let mut deployment = deployment();
        deployment["status"] = json!({"readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        let row = row(&deployment, Timestamp::from_seconds(0));
        let expected = json!(["web", "1/1", 1, 1, "<unknown>", "web", "file:web.wasm", "app=web"]);
        assert_eq!(Value::from(row), expected);
    }
}

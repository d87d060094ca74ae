//! HorizontalPodAutoscaler: as many replicas as the load asks for.

use crate::compact::object;
use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Kind, Subresource};
use crate::kinds::workload;
use crate::meta::{self, Condition, ObjectMeta};
use crate::name;
use crate::quantity::Quantity;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

/// The condition that tells a target that the autoscaler has scaled to zero from one that somebody has.
pub const SCALED_TO_ZERO: &str = "ScaledToZero";

object! {
    /// A HorizontalPodAutoscaler, as far as nodes read it.
    struct HorizontalPodAutoscaler {
        /// Metadata.
        metadata: ObjectMeta,
        /// What is wished.
        spec: HorizontalPodAutoscalerSpec,
        /// What is.
        status: HorizontalPodAutoscalerStatus,
    }

    /// What is wished of an autoscaler.
    struct HorizontalPodAutoscalerSpec {
        /// The least replicas.
        min_replicas: Option<i32>,
        /// What is measured.
        metrics: Vec<MetricSpec>,
    }

    /// One thing that is measured.
    struct MetricSpec {
        /// By an object that is not a Pod.
        object: Option<ObjectMetricSource>,
    }

    /// A metric of an object.
    struct ObjectMetricSource {
        /// Which object.
        described_object: CrossVersionObjectReference,
    }

    /// An object of the same namespace.
    struct CrossVersionObjectReference {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    }

    /// What became of it.
    struct HorizontalPodAutoscalerStatus {
        /// Replicas as last seen.
        current_replicas: i32,
        /// Replicas as last decided.
        desired_replicas: i32,
        /// In which state it is.
        conditions: Vec<Condition>,
    }
}

impl HorizontalPodAutoscaler {
    /// The objects by which requests bring the target back that may be without replicas: those of its Object metrics.
    /// None while a request would be in vain, as with a target that somebody else has scaled to zero.
    pub fn woken_by(&self) -> impl Iterator<Item = &CrossVersionObjectReference> {
        let HorizontalPodAutoscalerStatus { current_replicas, desired_replicas, conditions } = &self.status;
        let own = conditions.iter().any(|one| one.type_ == SCALED_TO_ZERO && one.status == "True");
        let wakes =
            self.spec.min_replicas == Some(0) && (own || *current_replicas > 0 || *desired_replicas > 0);
        let objects = self.spec.metrics.iter().filter_map(|metric| metric.object.as_ref());
        objects.map(|object| &object.described_object).filter(move |_| wakes)
    }
}

/// What is shown of one, whichever its version.
pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new("Reference", "string", "What it scales."),
    Column::new("Targets", "string", "Metrics as they are, of what they should be."),
    Column::new("MinPods", "string", "The lower limit of replicas."),
    Column::new("MaxPods", "string", "The upper limit of replicas."),
    Column::new("Replicas", "string", "Replicas as last seen."),
    Column::AGE,
];

/// The table entry.
pub static KIND: Kind = Kind {
    group: "autoscaling",
    version: "v2",
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    schema: "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    subresources: &[Subresource::Status],
    columns: COLUMNS,
    row,
    defaults,
    create: |scaler| fill::set(scaler, "status", json!({"currentMetrics": null, "desiredReplicas": 0})),
    checks,
    status_checks,
    ..Kind::PLAIN
};

/// How many targets are shown before the rest is counted.
const SHOWN: usize = 2;

/// A row of [`COLUMNS`].
pub(super) fn row(scaler: &Value, now: Timestamp) -> Vec<Value> {
    let number = |path: &[&str], absent: &str| {
        meta::number(scaler, path).map_or_else(|| absent.to_owned(), |number| number.to_string())
    };
    let target = |field: &str| meta::text(scaler, &["spec", "scaleTargetRef", field]);
    vec![
        meta::name(scaler).into(),
        format!("{}/{}", target("kind"), target("name")).into(),
        targets(scaler).into(),
        number(&["spec", "minReplicas"], "<unset>").into(),
        number(&["spec", "maxReplicas"], "0").into(),
        number(&["status", "currentReplicas"], "0").into(),
        time::age(meta::creation_timestamp(scaler), now).into(),
    ]
}

fn targets(scaler: &Value) -> String {
    let metrics = meta::items(scaler, &["spec", "metrics"]);
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let current = meta::items(scaler, &["status", "currentMetrics"]);
    let null = Value::Null;
    let cells: Vec<String> = metrics
        .iter()
        .enumerate()
        .take(SHOWN)
        .map(|(i, metric)| cell(metric, current.get(i).unwrap_or(&null)))
        .collect();
    match metrics.len().saturating_sub(SHOWN) {
        0 => cells.join(", "),
        more => format!("{} + {more} more...", cells.join(", ")),
    }
}

fn cell(metric: &Value, status: &Value) -> String {
    let Some((source, _)) = SOURCES.iter().find(|(_, type_)| *type_ == meta::text(metric, &["type"])) else {
        return "<unknown type>".to_owned();
    };
    let (target, current) = (&metric[*source]["target"], &status[*source]["current"]);
    let now = |field: &str| match &current[field] {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Number(number) => format!("{number}%"),
        _ => "<unknown>".to_owned(),
    };
    let named = |text: String| match *source {
        "resource" | "containerResource" => format!("{}: {text}", meta::text(metric, &[source, "name"])),
        _ => text,
    };
    let average = meta::text(target, &["averageValue"]);
    match (average, meta::number(target, &["averageUtilization"])) {
        ("", Some(percent)) => named(format!("{}/{percent}%", now("averageUtilization"))),
        ("", None) => named(format!("{}/{}", now("value"), meta::text(target, &["value"]))),
        (average, _) if matches!(*source, "object" | "external") => {
            format!("{}/{average} (avg)", now("averageValue"))
        }
        (average, _) => named(format!("{}/{average}", now("averageValue"))),
    }
}

/// The fields that say what is measured, and the type that names each.
const SOURCES: &[(&str, &str)] = &[
    ("containerResource", "ContainerResource"),
    ("external", "External"),
    ("object", "Object"),
    ("pods", "Pods"),
    ("resource", "Resource"),
];

fn defaults(scaler: &mut Value) {
    let Some(spec) = fill::object(scaler, "spec") else { return };
    fill::absent(spec, "minReplicas", 1);
    if spec.get("metrics").is_none_or(|metrics| metrics.as_array().is_some_and(Vec::is_empty)) {
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 80}}});
        fill::set(spec, "metrics", json!([cpu]));
    }
    fill::each(spec, "metrics", |metric| {
        for (source, _) in SOURCES {
            if let Some(target) = fill::there(metric, source).and_then(|source| fill::there(source, "target"))
            {
                ["value", "averageValue"].iter().for_each(|field| {
                    if let Some(amount) = fill::there(target, field) {
                        fill::quantity(amount);
                    }
                });
            }
        }
    });
    if let Some(behavior) = fill::there(spec, "behavior").filter(|behavior| behavior.is_object()) {
        rules(
            behavior,
            "scaleUp",
            json!([{"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15}]),
        );
        rules(behavior, "scaleDown", json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
    }
}

fn rules(behavior: &mut Value, direction: &str, policies: Value) {
    let Some(rules) = fill::object(behavior, direction) else { return };
    if direction == "scaleUp" {
        fill::absent(rules, "stabilizationWindowSeconds", 0);
    }
    fill::absent(rules, "selectPolicy", "Max");
    fill::absent(rules, "policies", policies);
}

fn checks(scaler: &At<'_>, errors: &mut Errors) {
    let spec = scaler.get("spec");
    let (least, most) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    validate::not_negative(&least, errors);
    let limit = most.number().unwrap_or(0);
    if limit < 1 {
        errors.push(FieldError::invalid(&most.path, limit, "must be greater than 0"));
    }
    if least.number().is_some_and(|least| limit < least) {
        errors.push(FieldError::invalid(&most.path, limit, "must be greater than or equal to `minReplicas`"));
    }
    reference(&spec.get("scaleTargetRef"), errors);
    let metrics = spec.get("metrics");
    metrics.items().for_each(|one| metric(&one, errors));
    let measurable = metrics.items().any(|metric| matches!(metric.get("type").text(), "Object" | "External"));
    if least.number() == Some(0) && !measurable {
        let detail =
            "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(FieldError::forbidden(&metrics.path, detail));
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = spec.get("behavior").get(direction);
        if rules.is_set() {
            scaling_rules(&rules, errors);
        }
    }
}

fn reference(reference: &At<'_>, errors: &mut Errors) {
    for field in ["kind", "name"] {
        validate::required_name(&reference.get(field), name::path_segment, errors);
    }
}

fn metric(metric: &At<'_>, errors: &mut Errors) {
    let type_ = metric.get("type");
    if type_.text().is_empty() {
        errors.push(FieldError::required(&type_.path, "must specify a metric source type"));
    }
    let types: Vec<&str> = SOURCES.iter().map(|(_, type_)| *type_).collect();
    if !types.contains(&type_.text()) {
        errors.push(FieldError::not_supported(&type_.path, type_.text(), &types));
        return;
    }
    for (field, name) in SOURCES {
        let source = metric.get(field);
        match (source.is_set(), *name == type_.text()) {
            (true, true) => self::source(field, &source, errors),
            (false, true) => {
                let detail = "must populate information for the given metric source";
                errors.push(FieldError::required(&source.path, detail));
            }
            (true, false) => {
                let detail = "must populate the given metric source only";
                errors.push(FieldError::forbidden(&source.path, detail));
            }
            (false, false) => {}
        }
    }
}

fn source(kind: &str, source: &At<'_>, errors: &mut Errors) {
    let target = source.get("target");
    let type_ = target.get("type");
    if type_.text().is_empty() {
        errors.push(FieldError::required(&type_.path, "must specify a metric target type"));
    } else {
        validate::optional_one_of(&type_, &["Utilization", "Value", "AverageValue"], errors);
    }
    let [value, average, percent] =
        ["value", "averageValue", "averageUtilization"].map(|field| target.get(field));
    for amount in [&value, &average].into_iter().filter(|amount| amount.is_set()) {
        if Quantity::parse(amount.text()).is_ok_and(|quantity| quantity.is_zero() || quantity.is_negative()) {
            errors.push(FieldError::invalid(&amount.path, amount.value, "must be positive"));
        }
    }
    if percent.number().is_some_and(|percent| percent < 1) {
        errors.push(FieldError::invalid(&percent.path, percent.value, "must be greater than 0"));
    }
    match kind {
        "resource" | "containerResource" => {
            if kind == "containerResource" {
                validate::required(&source.get("container"), "must specify a container", errors);
            }
            validate::required(&source.get("name"), "must specify a resource name", errors);
            if !percent.is_set() && !average.is_set() {
                let detail = "must set either a target raw value or a target utilization";
                errors.push(FieldError::required(&percent.path, detail));
            }
            if percent.is_set() && average.is_set() {
                let detail = "may not set both a target raw value and a target utilization";
                errors.push(FieldError::forbidden(&average.path, detail));
            }
        }
        _ => {
            if kind == "object" {
                reference(&source.get("describedObject"), errors);
            }
            let metric = source.get("metric");
            validate::required(&metric.get("name"), "must specify a metric name", errors);
            validate::label_selector(&metric.get("selector"), errors);
            if kind == "pods" && !average.is_set() {
                let detail = "must specify a positive target averageValue";
                errors.push(FieldError::required(&average.path, detail));
            } else if !value.is_set() && !average.is_set() {
                let detail = "must set either a target value for metric or a per-pod target";
                errors.push(FieldError::required(&average.path, detail));
            } else if kind == "external" && value.is_set() && average.is_set() {
                let detail = "may not set both a target value for metric and a per-pod target";
                errors.push(FieldError::forbidden(&value.path, detail));
            }
        }
    }
}

/// The longest that a decision may wait for the load to settle.
const WINDOW_MAX: i64 = 3600;
/// The longest period of a policy.
const PERIOD_MAX: i64 = 1800;

fn within(at: &At<'_>, low: i64, high: i64, errors: &mut Errors) {
    let Some(number) = at.number() else { return };
    if number < low {
        let why =
            if low == 0 { "must be greater than or equal to zero" } else { "must be greater than zero" };
        errors.push(FieldError::invalid(&at.path, number, why));
    } else if number > high {
        errors.push(FieldError::invalid(&at.path, number, &format!("must be less than or equal to {high}")));
    }
}

fn scaling_rules(rules: &At<'_>, errors: &mut Errors) {
    within(&rules.get("stabilizationWindowSeconds"), 0, WINDOW_MAX, errors);
    validate::optional_one_of(&rules.get("selectPolicy"), &["Max", "Min", "Disabled"], errors);
    let policies = rules.get("policies");
    if policies.is_empty() {
        errors.push(FieldError::required(&policies.path, "must specify at least one Policy"));
    }
    for policy in policies.items() {
        validate::optional_one_of(&policy.get("type"), &["Percent", "Pods"], errors);
        within(&policy.get("value"), 1, i64::MAX, errors);
        within(&policy.get("periodSeconds"), 1, PERIOD_MAX, errors);
    }
    let tolerance = rules.get("tolerance");
    validate::quantity(&tolerance, errors);
}

/// Counts are not negative.
pub(super) fn status_checks(new: &At<'_>, _: &At<'_>, errors: &mut Errors) {
    workload::counts(&new.get("status"), &["currentReplicas", "desiredReplicas"], errors);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaler() -> Value {
        let mut scaler = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
        });
        KIND.default(&mut scaler);
        scaler
    }

    #[test]
    fn a_bare_autoscaler_looks_at_cpu() {
        let mut scaler = scaler();
        assert!(KIND.validate(&scaler).is_empty());
        let now = Timestamp::from_seconds(0);
        let expected = json!(["web", "Deployment/web", "cpu: <unknown>/80%", "1", "5", "0", "<unknown>"]);
        assert_eq!(Value::from(row(&scaler, now)), expected);
        scaler["status"] = json!({"currentReplicas": 2, "currentMetrics": [{"type": "Resource",
            "resource": {"name": "cpu", "current": {"averageUtilization": 50, "averageValue": "10m"}}}]});
        let rps = json!({"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}}});
        let queue = json!({"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "30"}}});
        if let Some(metrics) = scaler["spec"]["metrics"].as_array_mut() {
            metrics.extend([rps, queue]);
        }
        assert_eq!(row(&scaler, now)[2], "cpu: 50%/80%, <unknown>/10 + 1 more...");
    }

    #[test]
    fn requests_wake_what_the_autoscaler_itself_has_put_to_sleep() {
        let own = json!([{"type": "ScaledToZero", "status": "True"}]);
        let others = json!([{"type": "ScaledToZero", "status": "False"}]);
        for (what, least, current, desired, conditions, expected) in [
            ("it has replicas", 0, 2, 2, json!([]), true),
            ("it goes to zero", 0, 1, 0, others.clone(), true),
            ("it was scaled to zero", 0, 0, 0, own.clone(), true),
            ("it comes back", 0, 0, 1, others.clone(), true),
            ("somebody has scaled it to zero", 0, 0, 0, others, false),
            ("nothing is known yet", 0, 0, 0, json!([]), false),
            ("it may not be without replicas", 1, 0, 0, own, false),
        ] {
            let mut scaler = scaler();
            scaler["spec"]["minReplicas"] = json!(least);
            scaler["spec"]["metrics"] = json!([
                {"type": "Pods", "pods": {"metric": {"name": "m"}}},
                {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "web"}}},
            ]);
            scaler["status"] =
                json!({"currentReplicas": current, "desiredReplicas": desired, "conditions": conditions});
            let scaler: HorizontalPodAutoscaler = serde_json::from_value(scaler).unwrap_or_default();
            let names: Vec<&str> = scaler.woken_by().map(|object| object.name.as_str()).collect();
            assert_eq!(names, if expected { vec!["web"] } else { vec![] }, "{what}");
        }
    }

    #[test]
    fn behaviour_is_completed_when_there_is_some() {
        let mut scaler = scaler();
        assert_eq!(scaler["spec"].get("behavior"), None);
        scaler["spec"]["behavior"] = json!({"scaleDown": {"stabilizationWindowSeconds": 60}});
        KIND.default(&mut scaler);
        let behavior = &scaler["spec"]["behavior"];
        assert_eq!(
            behavior["scaleDown"]["policies"],
            json!([{"type": "Percent", "value": 100, "periodSeconds": 15}])
        );
        assert_eq!(behavior["scaleUp"]["stabilizationWindowSeconds"], 0);
    }

    #[test]
    fn an_autoscaler_is_checked() {
        type Change = fn(&mut Value);
        let cases: &[(Change, &[&str])] = &[
            (
                |s| s["maxReplicas"] = json!(0),
                &[
                    "spec.maxReplicas: Invalid value: 0: must be greater than 0",
                    "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
                ],
            ),
            (|s| s["scaleTargetRef"] = json!({"name": "x"}), &["spec.scaleTargetRef.kind: Required value"]),
            (
                |s| s["minReplicas"] = json!(0),
                &[
                    "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas",
                ],
            ),
            (
                |s| s["metrics"] = json!([{"type": "X"}]),
                &[
                    "spec.metrics[0].type: Unsupported value: \"X\": supported values: \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\"",
                ],
            ),
            (
                |s| s["metrics"] = json!([{"type": "Pods"}]),
                &[
                    "spec.metrics[0].pods: Required value: must populate information for the given metric source",
                ],
            ),
            (
                |s| {
                    s["metrics"][0]["resource"]["target"] =
                        json!({"type": "Utilization", "averageUtilization": 0})
                },
                &[
                    "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
                ],
            ),
            (
                |s| s["metrics"][0]["resource"]["target"] = json!({"type": "Utilization"}),
                &[
                    "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
                ],
            ),
            (
                |s| s["behavior"] = json!({"scaleUp": {"policies": [], "stabilizationWindowSeconds": 3601}}),
                &[
                    "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
                    "spec.behavior.scaleUp.policies: Required value: must specify at least one Policy",
                ],
            ),
        ];
        for (change, expected) in cases {
            let mut scaler = scaler();
            change(&mut scaler["spec"]);
            let found: Vec<String> = KIND.validate(&scaler).iter().map(ToString::to_string).collect();
            assert_eq!(found, *expected);
        }
    }
}

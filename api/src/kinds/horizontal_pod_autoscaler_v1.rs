//! `autoscaling/v1` HorizontalPodAutoscaler: the same objects as v2's, in their older shape.
//!
//! They are stored in v2's shape. The older one knows a single target, the utilisation of the CPU; everything else
//! goes into annotations, as in Kubernetes, so that nothing is lost on the way.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Alias, Kind, Subresource};
use crate::kinds::horizontal_pod_autoscaler as newer;
use crate::meta;
use crate::validate::{At, Errors};
use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// The table entry.
pub static KIND: Kind = Kind {
    group: "autoscaling",
    version: "v1",
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    schema: "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
    subresources: &[Subresource::Status],
    columns: newer::COLUMNS,
    row,
    defaults: |scaler| {
        if let Some(spec) = fill::object(scaler, "spec") {
            fill::absent(spec, "minReplicas", 1);
        }
    },
    create: |scaler| fill::set(scaler, "status", json!({"currentReplicas": 0, "desiredReplicas": 0})),
    checks,
    status_checks: newer::status_checks,
    alias: Some(Alias { of: &newer::KIND, store, load }),
    ..Kind::PLAIN
};

fn row(scaler: &Value, now: crate::time::Timestamp) -> Vec<Value> {
    let mut stored = scaler.clone();
    store(&mut stored);
    newer::row(&stored, now)
}

/// What is said in the older shape is checked in the newer one.
fn checks(scaler: &At<'_>, errors: &mut Errors) {
    let percent = scaler.get("spec").get("targetCPUUtilizationPercentage");
    if percent.number().is_some_and(|percent| percent < 1) {
        errors.push(FieldError::invalid(&percent.path, percent.value, "must be greater than 0"));
        return;
    }
    let mut stored = scaler.value.clone();
    store(&mut stored);
    (newer::KIND.checks)(&At::root(&stored), errors);
}

fn is_cpu(metric: &Value) -> bool {
    meta::text(metric, &["type"]) == "Resource" && meta::text(metric, &["resource", "name"]) == "cpu"
}

/// To v2's shape.
fn store(scaler: &mut Value) {
    let mut taken = |key: &str| -> Option<Value> {
        let annotations = scaler.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?;
        let text = annotations.get(key)?.as_str()?;
        let value = serde_json::from_str(text).ok()?;
        annotations.remove(key);
        Some(value)
    };
    let [metrics, current, conditions, behavior] =
        [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR].map(&mut taken);
    tidy(scaler);
    if let Some(spec) = scaler.get_mut("spec").and_then(Value::as_object_mut) {
        let mut all = list(metrics, newer_metric);
        if let Some(percent) = spec.remove("targetCPUUtilizationPercentage") {
            all.push(json!({"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": percent}}}));
        }
        spec.insert("metrics".to_owned(), all.into());
        if let Some(behavior) = behavior {
            spec.insert("behavior".to_owned(), behavior);
        }
    }
    if let Some(status) = scaler.get_mut("status").and_then(Value::as_object_mut) {
        let mut all = list(current, newer_status);
        if let Some(percent) = status.remove("currentCPUUtilizationPercentage") {
            all.push(json!({"type": "Resource", "resource": {"name": "cpu",
                "current": {"averageUtilization": percent}}}));
        }
        if !all.is_empty() {
            status.insert("currentMetrics".to_owned(), all.into());
        }
        if let Some(conditions) = conditions {
            status.insert("conditions".to_owned(), conditions);
        }
    }
    newer::KIND.default(scaler);
    fill::set(scaler, "apiVersion", "autoscaling/v2");
}

/// From v2's shape.
fn load(scaler: &mut Value) {
    let mut notes: Vec<(&str, Value)> = Vec::new();
    if let Some(spec) = scaler.get_mut("spec").and_then(Value::as_object_mut) {
        let metrics = spec.remove("metrics");
        let (cpu, rest) =
            parted(metrics, |metric| metric["resource"]["target"]["averageUtilization"].clone());
        if let Some(percent) = cpu {
            spec.insert("targetCPUUtilizationPercentage".to_owned(), percent);
        }
        if !rest.is_empty() {
            notes.push((METRICS, rest.iter().map(older_metric).collect()));
        }
        if let Some(behavior) = spec.remove("behavior") {
            notes.push((BEHAVIOR, behavior));
        }
    }
    if let Some(status) = scaler.get_mut("status").and_then(Value::as_object_mut) {
        status.entry("currentReplicas").or_insert(0.into());
        status.entry("desiredReplicas").or_insert(0.into());
        let metrics = status.remove("currentMetrics");
        let exact = |metric: &Value| {
            let current = metric["resource"]["current"].as_object();
            let only = current.filter(|current| current.len() == 1);
            only.and_then(|current| current.get("averageUtilization")).cloned().unwrap_or_default()
        };
        let (cpu, rest) = parted(metrics, exact);
        if let Some(percent) = cpu {
            status.insert("currentCPUUtilizationPercentage".to_owned(), percent);
        }
        if !rest.is_empty() {
            notes.push((CURRENT_METRICS, rest.iter().map(older_status).collect()));
        }
        if let Some(conditions) = status.remove("conditions") {
            notes.push((CONDITIONS, conditions));
        }
    }
    for (key, value) in notes {
        meta::set_annotation(scaler, key, &value.to_string());
    }
    fill::set(scaler, "apiVersion", "autoscaling/v1");
}

/// Removes annotations that have become empty.
fn tidy(scaler: &mut Value) {
    if meta::map(scaler, &["metadata", "annotations"]).is_some_and(Map::is_empty) {
        meta::unset(scaler, "annotations");
    }
}

fn list(value: Option<Value>, convert: fn(&Value) -> Value) -> Vec<Value> {
    value.as_ref().and_then(Value::as_array).into_iter().flatten().map(convert).collect()
}

/// The percentage of the last metric that is about the CPU, if `percent` finds one in it, and the other metrics.
fn parted(metrics: Option<Value>, percent: impl Fn(&Value) -> Value) -> (Option<Value>, Vec<Value>) {
    let mut rest = match metrics {
        Some(Value::Array(metrics)) => metrics,
        _ => Vec::new(),
    };
    let at = rest.iter().rposition(|metric| is_cpu(metric) && percent(metric).is_number());
    let found = at.map(|at| percent(&rest.remove(at)));
    (found, rest)
}

/// A source in the newer shape, the fields of which it says flat in the older one.
fn flat(metric: &Value, part: &str, names: &[(&str, &str)]) -> Value {
    let mut metric = metric.clone();
    let type_ = meta::text(&metric, &["type"]);
    let field = type_.get(..1).map(str::to_lowercase).unwrap_or_default() + type_.get(1..).unwrap_or("");
    let Some(source) = metric.get_mut(&field).and_then(Value::as_object_mut) else { return metric };
    if let Some(Value::Object(values)) = source.remove(part) {
        for (from, to) in names {
            if let Some(value) = values.get(*from) {
                source.insert((*to).to_owned(), value.clone());
            }
        }
    }
    if let Some(Value::Object(named)) = source.remove("metric") {
        if let Some(name) = named.get("name") {
            source.insert("metricName".to_owned(), name.clone());
        }
        if let Some(selector) = named.get("selector") {
            let to = if field == "external" { "metricSelector" } else { "selector" };
            source.insert(to.to_owned(), selector.clone());
        }
    }
    if let Some(object) = source.remove("describedObject") {
        source.insert("target".to_owned(), object);
    }
    metric
}

const TARGETS: &[(&str, &str)] = &[
    ("value", "targetValue"),
    ("averageValue", "targetAverageValue"),
    ("averageUtilization", "targetAverageUtilization"),
];
const CURRENTS: &[(&str, &str)] = &[
    ("value", "currentValue"),
    ("averageValue", "currentAverageValue"),
    ("averageUtilization", "currentAverageUtilization"),
];
/// An Object metric calls its average by another name.
const OF_OBJECT: &str = "averageValue";

fn renamed(names: &[(&'static str, &'static str)], metric: &Value) -> Vec<(&'static str, &'static str)> {
    let is_object = meta::text(metric, &["type"]) == "Object";
    let name = |pair: &(&'static str, &'static str)| {
        if is_object && pair.0 == OF_OBJECT { (pair.0, OF_OBJECT) } else { *pair }
    };
    names.iter().map(name).collect()
}

fn older_metric(metric: &Value) -> Value {
    flat(metric, "target", &renamed(TARGETS, metric))
}

fn older_status(metric: &Value) -> Value {
    flat(metric, "current", &renamed(CURRENTS, metric))
}

/// The reverse of [`flat`].
fn deep(metric: &Value, part: &str, names: &[(&str, &str)]) -> Value {
    let mut metric = metric.clone();
    let type_ = meta::text(&metric, &["type"]);
    let field = type_.get(..1).map(str::to_lowercase).unwrap_or_default() + type_.get(1..).unwrap_or("");
    let Some(source) = metric.get_mut(&field).and_then(Value::as_object_mut) else { return metric };
    if field == "object"
        && let Some(object) = source.remove("target")
    {
        source.insert("describedObject".to_owned(), object);
    }
    let mut named = Map::new();
    for (from, to) in [("metricName", "name"), ("metricSelector", "selector"), ("selector", "selector")] {
        if let Some(value) = source.remove(from) {
            named.insert(to.to_owned(), value);
        }
    }
    if !named.is_empty() {
        source.insert("metric".to_owned(), named.into());
    }
    let mut values = Map::new();
    for (to, from) in names {
        if let Some(value) = source.remove(*from) {
            values.insert((*to).to_owned(), value);
        }
    }
    source.insert(part.to_owned(), values.into());
    metric
}

fn newer_metric(metric: &Value) -> Value {
    let mut newer = deep(metric, "target", &renamed(TARGETS, metric));
    if let Some(source) =
        newer.as_object_mut().and_then(|metric| metric.values_mut().find(|one| one.is_object()))
        && let Some(target) = source.get_mut("target").filter(|target| target.is_object())
    {
        let type_ = if target.get("averageUtilization").is_some() {
            "Utilization"
        } else if target.get("averageValue").is_some() {
            "AverageValue"
        } else {
            "Value"
        };
        fill::set(target, "type", type_);
    }
    newer
}

fn newer_status(metric: &Value) -> Value {
    deep(metric, "current", &renamed(CURRENTS, metric))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn older(spec: Value) -> Value {
        let mut scaler = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "namespace": "default"}, "spec": spec});
        scaler["spec"]["maxReplicas"] = json!(5);
        scaler["spec"]["scaleTargetRef"] = json!({"kind": "Deployment", "name": "web"});
        KIND.default(&mut scaler);
        scaler
    }

    #[test]
    fn the_one_target_of_the_older_shape_is_a_metric_of_the_newer() {
        let scaler = older(json!({"targetCPUUtilizationPercentage": 50}));
        assert!(KIND.validate(&scaler).is_empty());
        let mut stored = scaler.clone();
        store(&mut stored);
        let metric = json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 50}}});
        assert_eq!(stored["spec"]["metrics"], json!([metric]));
        assert_eq!(stored["apiVersion"], "autoscaling/v2");
        load(&mut stored);
        assert_eq!(stored, scaler);
        let mut bare = older(json!({}));
        store(&mut bare);
        load(&mut bare);
        assert_eq!(bare["spec"]["targetCPUUtilizationPercentage"], 80);
        let row = row(&scaler, crate::time::Timestamp::from_seconds(0));
        assert_eq!(row[2], "cpu: <unknown>/50%");
    }

    #[test]
    fn what_the_older_shape_cannot_say_is_annotated_and_nothing_is_lost() {
        let cases = [
            json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}}),
            json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "1"}}}),
            json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c",
                "target": {"type": "Utilization", "averageUtilization": 60}}}),
            json!({"type": "Pods", "pods": {"metric": {"name": "rps", "selector": {"matchLabels": {"a": "b"}}},
                "target": {"type": "AverageValue", "averageValue": "10"}}}),
            json!({"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": {"name": "rps"},
                "target": {"type": "Value", "value": "10"}}}),
            json!({"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": {"name": "rps"},
                "target": {"type": "AverageValue", "averageValue": "10"}}}),
            json!({"type": "External", "external": {"metric": {"name": "q", "selector": {"matchLabels": {"a": "b"}}},
                "target": {"type": "Value", "value": "10"}}}),
        ];
        for metric in cases {
            let mut stored = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                    "metrics": [metric], "behavior": {"scaleUp": {"selectPolicy": "Disabled"}}},
                "status": {"currentReplicas": 1, "desiredReplicas": 2,
                    "conditions": [{"type": "AbleToScale", "status": "True"}],
                    "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu",
                        "current": {"averageUtilization": 3, "averageValue": "1m"}}}]}});
            newer::KIND.default(&mut stored);
            assert!(newer::KIND.validate(&stored).is_empty(), "{metric}");
            let mut object = stored.clone();
            load(&mut object);
            assert!(object["spec"].get("metrics").is_none() && object["status"].get("conditions").is_none());
            assert!(KIND.validate(&object).is_empty(), "{metric}");
            store(&mut object);
            assert_eq!(object, stored, "{metric}");
        }
    }
}

//! `http_requests_per_second`: what the nodes count of requests, as a metric of objects.

use edge_api::kind::Kind;
use edge_api::kinds::{ingress, pod, service};
use edge_api::quantity::Quantity;
use serde_json::{Value, json};

use crate::custom_metrics::{ALL, GROUP, Question, unknown};
use crate::mirror::Name;
use crate::rates::{Passed, Rates};
use crate::registry::{ApiError, Header, Object, Registry, Target};

/// The one metric.
pub const METRIC: &str = "http_requests_per_second";

/// A resource that has the metric.
pub struct Resource {
    /// With its group, as paths and discovery name it.
    pub name: &'static str,
    kind: &'static Kind,
    rate: fn(&Rates, &Header<'_>) -> Option<f64>,
}

/// Which resources have the metric.
pub const RESOURCES: &[Resource] = &[
    Resource {
        name: "ingresses.networking.k8s.io",
        kind: &ingress::KIND,
        rate: |rates, header| rates.of_passed(Passed::Ingress, &named(header)),
    },
    Resource { name: "pods", kind: &pod::KIND, rate: |rates, header| rates.of_pod(&header.uid) },
    Resource {
        name: "services",
        kind: &service::KIND,
        rate: |rates, header| rates.of_passed(Passed::Service, &named(header)),
    },
];

fn named(header: &Header<'_>) -> Name {
    Name::new(&header.namespace, &header.name)
}

/// The answer to a question. Of one object whose rate is not known there is no metric; of several, those are left out.
pub(super) fn answer(
    registry: &Registry,
    question: &Question<'_>,
    version: &str,
    rates: &Rates,
) -> Result<Value, ApiError> {
    // Resources may be named without their group, as kubectl's users do.
    let short = |name: &str| name.split('.').next() == Some(question.resource);
    let resource = RESOURCES.iter().find(|one| one.name == question.resource || short(one.name));
    let resource = resource.filter(|_| question.metric == METRIC && question.metric_selector.is_empty());
    let resource = resource.ok_or_else(|| unknown(question))?;
    let objects = if question.name == ALL {
        registry.labelled(&Target::all(resource.kind, question.namespace), question.selector)?
    } else {
        let one = registry.current(&Target::one(resource.kind, question.namespace, question.name));
        vec![one.map_err(|_| unknown(question))?]
    };
    let item = |object: &Object| {
        let header = object.header();
        let rate = (resource.rate)(rates, &header)?;
        Some(value(resource.kind, &header, rate, version, registry, rates))
    };
    let items: Vec<Value> = objects.iter().filter_map(item).collect();
    if items.is_empty() && question.name != ALL {
        return Err(unknown(question));
    }
    Ok(json!({
        "kind": "MetricValueList", "apiVersion": format!("{GROUP}/{version}"), "metadata": {}, "items": items,
    }))
}

fn value(
    kind: &Kind,
    header: &Header<'_>,
    rate: f64,
    version: &str,
    registry: &Registry,
    rates: &Rates,
) -> Value {
    // Rounded up: what is more than nothing must not look like it.
    let value = Quantity::from_milli((rate * 1000.0).ceil() as i64);
    let mut item = json!({
        "describedObject": {
            "kind": kind.kind, "namespace": header.namespace, "name": header.name,
            "apiVersion": format!("{}/{}", kind.group, kind.version),
        },
        "timestamp": registry.now().seconds(), "windowSeconds": rates.window.round() as i64,
        "value": value.to_string(),
    });
    if version == "v1beta1" {
        item["metricName"] = METRIC.into();
    } else {
        item["metric"] = json!({"name": METRIC, "selector": null});
    }
    item
}

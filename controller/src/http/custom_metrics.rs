//! `custom.metrics.k8s.io`: how many requests come for objects, for who may know; and what discovery says of it.

use http::StatusCode;
use serde_json::{Value, json};

use crate::aggregate::Aggregation;
use crate::custom_metrics::{CustomMetrics, GROUP, METRIC, Question, RESOURCES, VERSIONS};
use crate::http::body::Response;
use crate::http::query::Query;
use crate::http::route::MetricPlace;
use crate::http::status::json_response;
use crate::registry::{Access, Action, ApiError, Context, Registry};

/// The versions that we serve ourselves: none of them if somebody else serves the group.
pub fn versions(aggregation: &Aggregation) -> &'static [&'static str] {
    if aggregation.who_serves(GROUP, VERSIONS).is_none() { VERSIONS } else { &[] }
}

/// Whether this is a version of the group that we serve ourselves.
pub fn serves(aggregation: &Aggregation, group: &str, version: &str) -> bool {
    group == GROUP && versions(aggregation).contains(&version)
}

/// The APIResourceList of a version.
pub fn resources(version: &str) -> Value {
    let named = |resource: &str| {
        json!({"name": format!("{resource}/{METRIC}"), "singularName": "", "namespaced": true,
            "kind": "MetricValueList", "verbs": ["get"]})
    };
    let resources: Vec<Value> = RESOURCES.iter().map(|resource| named(resource.name)).collect();
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{GROUP}/{version}"),
        "resources": resources})
}

/// The metric of one object or of several.
pub async fn answer(
    registry: &Registry,
    metrics: &CustomMetrics,
    cx: &Context,
    place: &MetricPlace<'_>,
    query: &Query<'_>,
) -> Result<Response, ApiError> {
    let question = Question {
        namespace: &place.namespace,
        resource: &place.resource,
        name: &place.name,
        metric: &place.metric,
        selector: query.get("labelSelector"),
        metric_selector: query.get("metricLabelSelector"),
    };
    let access = Access {
        verb: "get",
        group: GROUP,
        resource: question.resource,
        subresource: question.metric,
        namespace: question.namespace,
        name: question.name,
    };
    registry.authorise_action(cx, &Action::Objects(access))?;
    let rates = metrics.rates().await;
    let list = metrics.own(&question, &place.version, &rates)?;
    Ok(json_response(StatusCode::OK, &list))
}

//! What Nodes and Pods use, asked of the nodes at the moment it is asked of us, in the shape of `metrics.k8s.io`.
//!
//! Nothing is collected beforehand and nothing is kept. A node that cannot be reached has no figures, as with
//! metrics-server; the others are answered all the same. The API and the autoscaler both ask here. Knows no HTTP of
//! ours, and does not ask who may know.

use std::collections::HashMap;

use edge_api::kind::Kind;
use edge_api::kinds::{node, node_metrics, pod, pod_metrics};
use edge_api::meta::{self, items, text};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::registry::{ApiError, Context, ListOptions, Object, Registry, Target};
use crate::tunnel::Tunnels;

/// Who knows what Nodes and Pods use. Cheap to clone.
#[derive(Clone)]
pub struct Usage {
    registry: Registry,
    tunnels: Tunnels,
}

impl Usage {
    /// What the nodes say on these tunnels.
    pub fn new(registry: Registry, tunnels: Tunnels) -> Usage {
        Usage { registry, tunnels }
    }

    /// The NodeMetrics of a target: of one Node, or of all.
    pub async fn of_nodes(&self, target: &Target<'_>) -> Result<Vec<Value>, ApiError> {
        of_nodes(&self.registry, &self.tunnels, target).await
    }

    /// The PodMetrics of a target: of one Pod, or of those of a namespace or of all.
    pub async fn of_pods(&self, target: &Target<'_>) -> Result<Vec<Value>, ApiError> {
        of_pods(&self.registry, &self.tunnels, target).await
    }
}

/// The objects of `kind` that figures are asked of: one if the target names it.
async fn subjects(
    registry: &Registry,
    kind: &'static Kind,
    target: &Target<'_>,
) -> Result<Vec<Object>, ApiError> {
    let cx = Context::controller("metrics");
    if target.name.is_empty() {
        let whole = Target::all(kind, target.namespace);
        return Ok(registry.list(&cx, &whole, &ListOptions::default()).await?.items);
    }
    let one = Target::one(kind, target.namespace, target.name);
    match registry.get(&cx, &one).await {
        Ok(object) => Ok(vec![object]),
        Err(error) if error.is_not_found() => Err(ApiError::not_found(target.kind, target.name)),
        Err(error) => Err(error),
    }
}

async fn of_nodes(
    registry: &Registry,
    tunnels: &Tunnels,
    target: &Target<'_>,
) -> Result<Vec<Value>, ApiError> {
    let nodes = subjects(registry, &node::KIND, target).await?;
    let figures = nodes.iter().map(|object| async move {
        let header = object.header();
        let summary = summary(tunnels, &header.name).await?;
        let figures = &summary["node"];
        let mut metrics = begin(&node_metrics::KIND, registry, &header.name, "", &header.labels, &summary);
        metrics["timestamp"] = figures["cpu"]["time"].clone();
        metrics["usage"] = usage(figures);
        Some(metrics)
    });
    Ok(join_all(figures).await.into_iter().flatten().collect())
}

async fn of_pods(
    registry: &Registry,
    tunnels: &Tunnels,
    target: &Target<'_>,
) -> Result<Vec<Value>, ApiError> {
    let pods = subjects(registry, &pod::KIND, target).await?;
    let nodes = match pods.as_slice() {
        [one] => vec![text(&one.value(), &["spec", "nodeName"]).to_owned()],
        _ => tunnels.connected(),
    };
    let summaries = join_all(nodes.iter().map(|node| summary(tunnels, node))).await;
    let mut found: HashMap<&str, (&Value, &Value)> = HashMap::new();
    for summary in summaries.iter().flatten() {
        for figures in items(summary, &["pods"]) {
            found.insert(text(figures, &["podRef", "uid"]), (summary, figures));
        }
    }
    let metrics = pods.iter().filter_map(|object| {
        let header = object.header();
        let (summary, figures) = found.get(header.uid.as_ref())?;
        let mut metrics =
            begin(&pod_metrics::KIND, registry, &header.name, &header.namespace, &header.labels, summary);
        let containers = items(figures, &["containers"]);
        metrics["timestamp"] = summary["node"]["cpu"]["time"].clone();
        metrics["containers"] = containers
            .iter()
            .map(|container| json!({"name": container["name"], "usage": usage(container)}))
            .collect();
        Some(metrics)
    });
    Ok(metrics.collect())
}

/// What figures of every kind begin with.
fn begin(
    kind: &Kind,
    registry: &Registry,
    name: &str,
    namespace: &str,
    labels: &impl serde::Serialize,
    summary: &Value,
) -> Value {
    let window = summary["windowSeconds"].as_f64().unwrap_or_default();
    let mut metrics = json!({
        "kind": kind.kind, "apiVersion": kind.api_version(),
        "metadata": {"name": name, "creationTimestamp": registry.now().seconds(), "labels": labels},
        "window": format!("{window:.3}s"),
    });
    if !namespace.is_empty() {
        meta::set(&mut metrics, "namespace", namespace);
    }
    metrics
}

/// `usage` of the figures of a node or container.
fn usage(figures: &Value) -> Value {
    let cpu = meta::number(figures, &["cpu", "usageNanoCores"]).unwrap_or_default();
    let memory = meta::number(figures, &["memory", "workingSetBytes"]).unwrap_or_default();
    json!({"cpu": format!("{cpu}n"), "memory": format!("{}Ki", memory / 1024)})
}

/// What a node says of itself; nothing if it cannot be reached.
async fn summary(tunnels: &Tunnels, node: &str) -> Option<Value> {
    serde_json::from_slice(&tunnels.read(node, "/stats/summary").await?).ok()
}

//! `metrics.k8s.io`: what Nodes and Pods use, for who may know.

use edge_api::kind::Kind;
use edge_api::kinds::{node_metrics, pod_metrics};
use serde_json::Value;

use crate::registry::{ApiError, Context, List, ListOptions, Object, Registry, Target, encode};
use crate::store::Revision;
use crate::usage::Usage;

/// Whether objects of this kind are answered here.
pub fn answers(kind: &Kind) -> bool {
    *kind == node_metrics::KIND || *kind == pod_metrics::KIND
}

/// The figures of one Node or Pod.
pub async fn get(
    registry: &Registry,
    usage: &Usage,
    cx: &Context,
    target: &Target<'_>,
) -> Result<Object, ApiError> {
    registry.authorise_for(cx, "get", target)?;
    let mut all = figures(usage, target).await?;
    let figures = all.pop().ok_or_else(|| ApiError::not_found(target.kind, target.name))?;
    Ok(Object { revision: Revision::ZERO, stored: encode(figures) })
}

/// The figures of all that are asked for.
pub async fn list(
    registry: &Registry,
    usage: &Usage,
    cx: &Context,
    target: &Target<'_>,
    options: &ListOptions,
) -> Result<List, ApiError> {
    registry.authorise_for(cx, "list", target)?;
    registry.computed(target.kind, figures(usage, target).await?, options)
}

async fn figures(usage: &Usage, target: &Target<'_>) -> Result<Vec<Value>, ApiError> {
    if *target.kind == node_metrics::KIND {
        usage.of_nodes(target).await
    } else {
        usage.of_pods(target).await
    }
}

//! `nodes/<name>/proxy/<path>`: what a node serves about itself, such as `/metrics`, passed on to administrators.
//!
//! Only GET, over the tunnel that the node opened; no other header of the caller reaches the node.

use futures::TryStreamExt as _;
use http::{Method, Request, header};
use http_body_util::BodyExt as _;
use serde_json::json;

use crate::http::body::{Body, Response};
use crate::registry::{ApiError, Context, Reason, Registry, Target};
use crate::tunnel::{TunnelError, Tunnels};

/// Asks `node` for `path`, which is as it was sent, and passes its answer on whatever it is.
pub async fn proxy(
    registry: &Registry,
    tunnels: &Tunnels,
    cx: &Context,
    node: &str,
    path: &str,
    query: Option<&str>,
) -> Result<Response, ApiError> {
    let target = Target::one(&edge_api::kinds::node::KIND, "", node);
    let options = json!({"kind": "NodeProxyOptions", "apiVersion": "v1", "path": path});
    registry.connect(cx, &target.sub("proxy"), options).await?;
    registry.current(&target)?;
    let question = query.map(|query| format!("?{query}")).unwrap_or_default();
    let request = Request::builder()
        .method(Method::GET)
        .uri(format!("http://node/{path}{question}"))
        .body(http_body_util::Empty::new())
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let answer = tunnels.send(node, request).await.map_err(|error| unreachable_node(node, &error))?;
    let (parts, body) = answer.into_parts();
    let data = body.into_data_stream().map_err(std::io::Error::other);
    let mut response = Response::new(Body::Chunks(Box::pin(data)));
    *response.status_mut() = parts.status;
    if let Some(media) = parts.headers.get(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, media.clone());
    }
    Ok(response)
}

fn unreachable_node(node: &str, error: &TunnelError) -> ApiError {
    let reason = match error {
        TunnelError::Late => Reason::Timeout,
        TunnelError::NotConnected | TunnelError::Broken(_) => Reason::ServiceUnavailable,
    };
    ApiError::new(reason, format!("node {node:?} cannot be reached: {error}"))
}

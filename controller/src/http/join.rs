//! `POST /edgectl.dev/v1/join`: an agent token becomes a node's token.

use edge_api::name;
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use crate::http::body::Response;
use crate::http::{connection, content, status};
use crate::registry::{ApiError, Reason, Registry};

/// Lets a node in.
pub async fn join(registry: &Registry, headers: &HeaderMap, body: Incoming) -> Result<Response, ApiError> {
    let unauthorized =
        || ApiError::new(Reason::Unauthorized, "Unauthorized: the agent token is not the server's");
    let token = connection::bearer(headers).ok_or_else(unauthorized)?.to_owned();
    let sent = content::object(content::media_type(headers), &content::read(body).await?)?.object;
    let node = sent["nodeName"].as_str().unwrap_or_default();
    name::dns1123_subdomain(node).map_err(|why| ApiError::bad_request(format!("nodeName: {why}")))?;
    let joined = registry.pki().join(&token, node).map_err(|error| {
        tracing::error!(node, error = &error as &dyn std::error::Error, "cannot let a node in");
        ApiError::internal("the node's token could not be kept")
    })?;
    let token = joined.ok_or_else(unauthorized)?;
    tracing::info!(node, "a node joined");
    Ok(status::json_response(StatusCode::OK, &json!({"token": token, "ca": registry.pki().authority_pem()})))
}

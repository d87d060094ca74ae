//! `POST /edgectl.dev/v1/nodes/<name>/wanted`: a node tells for which autoscalers' targets requests wait.

use edge_api::meta::{items, text};
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use crate::http::body::Response;
use crate::http::{content, status};
use crate::identity::User;
use crate::mirror::Name;
use crate::registry::{ApiError, Reason};
use crate::wanted::Wanted;

/// Takes note.
pub async fn tell(
    wanted: &Wanted,
    user: &User,
    node: &str,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response, ApiError> {
    if user.node_name() != Some(node) {
        let message = format!("forbidden: only node {node:?} may say what waits on it");
        return Err(ApiError::new(Reason::Forbidden, message));
    }
    let sent = content::object(content::media_type(headers), &content::read(body).await?)?.object;
    let named = |one| Name::new(text(one, &["namespace"]), text(one, &["name"]));
    wanted.tell(items(&sent, &["autoscalers"]).iter().map(named));
    Ok(status::json_response(StatusCode::OK, &json!({})))
}

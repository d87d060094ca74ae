//! `/openapi/v3`: the schema of what is served.

use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::http::body::Response;
use crate::http::discovery;
use crate::http::status;
use crate::registry::ApiError;

/// The index of groups.
pub fn index(_headers: &HeaderMap) -> Response {
    status::json_response(StatusCode::OK, &json!({"paths": {}}))
}

/// The document of a group and version.
pub fn group(_group: &str, _version: &str, _headers: &HeaderMap) -> Result<Response, ApiError> {
    Err(discovery::nothing())
}

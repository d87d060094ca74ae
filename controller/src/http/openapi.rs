//! `/openapi/v3` and `/openapi/v2`: the schema of what is served.
//!
//! The documents are made when they are asked for and forgotten: clients keep them by their hash for as long as the
//! program does not change.

use edge_api::openapi;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::http::body::{Body, Response};
use crate::http::discovery::{self, is_known, tagged};
use crate::http::reply;
use crate::identity::Digest;
use crate::registry::ApiError;

/// The index of groups.
pub fn index(headers: &HeaderMap) -> Response {
    answer(openapi::v3_index(), None, headers)
}

/// The document of a group and version.
pub fn group(group: &str, version: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let hash = openapi::v3_hash(group, version).ok_or_else(discovery::nothing)?;
    if is_known(headers, hash) {
        return Ok(answer(Vec::new(), Some(hash), headers));
    }
    let document = openapi::v3_group(group, version).ok_or_else(discovery::nothing)?;
    Ok(answer(document, Some(hash), headers))
}

/// The document of everything in the older format.
pub fn v2(headers: &HeaderMap) -> Response {
    answer(openapi::v2(), None, headers)
}

fn answer(document: Vec<u8>, hash: Option<&str>, headers: &HeaderMap) -> Response {
    let hash = hash.map_or_else(|| Digest::of(&document).to_hex().to_ascii_uppercase(), str::to_owned);
    let mut response = if is_known(headers, &hash) {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        let compressed =
            accepted.filter(|accepted| accepted.contains("gzip")).and_then(|_| reply::gzip(&document));
        let is_compressed = compressed.is_some();
        let mut response = Response::new(Body::Full(compressed.unwrap_or_else(|| document.into())));
        if is_compressed {
            reply::set_gzip(&mut response);
        }
        response
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    tagged(&mut response, &hash);
    response
}

//! `/openapi/v3` and `/openapi/v2`: the schema of what is served.
//!
//! The documents are made when they are asked for and forgotten: clients keep them by their hash for as long as neither
//! the program nor a definition changes.

use edge_api::catalogue::Catalogue;
use edge_api::kind::Kind;
use edge_api::openapi;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::aggregate::Aggregation;
use crate::http::body::{Body, Response};
use crate::http::discovery::{self, is_known, tagged};
use crate::http::query::Query;
use crate::http::reply;
use crate::identity::Digest;
use crate::registry::{ApiError, Reason, Registry};

/// The media type of everything, except where protobuf is asked for.
const JSON: &str = "application/json";
/// The names that version 2 has in protobuf, the present one first.
const V2_PROTOBUF: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
];
/// What may be kept for ever: the address says by its hash which document it is.
const IMMUTABLE: &str = "public, immutable";

/// The index of groups.
pub fn index(
    catalogue: &Catalogue,
    aggregation: &Aggregation,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    negotiate(headers, &[JSON])?;
    let remotes = aggregation.remotes();
    let mut custom = Vec::new();
    for (group, versions) in catalogue.groups() {
        for (version, kinds) in versions {
            custom.extend(custom_hash(group, version, &kinds).map(|hash| (group, version, hash)));
        }
    }
    for remote in remotes.iter() {
        // Their own hash is theirs to tell; what they serve changes with what discovery says.
        let learned = aggregation.learned(remote).map(|learned| Digest::of(learned.to_string().as_bytes()));
        let hash = learned.map(|digest| digest.to_hex().to_ascii_uppercase());
        custom.retain(|(group, version, _)| (*group, *version) != (&*remote.group, &*remote.version));
        custom.extend(hash.map(|hash| (&*remote.group, &*remote.version, hash)));
    }
    Ok(answer(openapi::v3_index(&custom), JSON, None, headers))
}

/// The hash of a document with custom kinds: it changes whenever one of their definitions does.
fn custom_hash(group: &str, version: &str, kinds: &[&'static Kind]) -> Option<String> {
    let revisions: Vec<String> = kinds
        .iter()
        .filter_map(|kind| kind.version_of_definition())
        .map(|version| format!("{}@{}", version.definition, version.since))
        .collect();
    let text = format!("{group}/{version} {}", revisions.join(" "));
    (!revisions.is_empty()).then(|| Digest::of(text.as_bytes()).to_hex().to_ascii_uppercase())
}

/// The document of a group and version. Who names the hash of another document is sent to this one.
pub fn group(
    registry: &Registry,
    catalogue: &Catalogue,
    (group, version): (&str, &str),
    query: &Query<'_>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    negotiate(headers, &[JSON])?;
    let of_group = |kind: &&'static Kind| kind.group == group && kind.version == version;
    let custom: Vec<&'static Kind> = catalogue.custom().filter(of_group).collect();
    let hash = custom_hash(group, version, &custom)
        .or_else(|| openapi::v3_hash(group, version).map(str::to_owned))
        .ok_or_else(discovery::nothing)?;
    let named = query.get("hash");
    if !named.is_empty() && named != hash {
        return Ok(moved(group, version, &hash));
    }
    let mut response = if is_known(headers, &hash) {
        answer(Vec::new(), JSON, Some(&hash), headers)
    } else {
        let published = registry.published(custom);
        let document = openapi::v3_group(group, version, &published).ok_or_else(discovery::nothing)?;
        answer(document, JSON, Some(&hash), headers)
    };
    if !named.is_empty() {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE));
    }
    Ok(response)
}

/// The document of everything in the older format.
pub fn v2(registry: &Registry, catalogue: &Catalogue, headers: &HeaderMap) -> Result<Response, ApiError> {
    let media = negotiate(headers, &[JSON, V2_PROTOBUF[0], V2_PROTOBUF[1]])?;
    let document = openapi::v2(&registry.published(catalogue.custom()));
    if media == JSON {
        return Ok(answer(document, JSON, None, headers));
    }
    let document = openapi::v2_protobuf(&document).map_err(ApiError::internal)?;
    Ok(answer(document, V2_PROTOBUF[0], None, headers))
}

/// Which of the offered media types the caller takes, in the caller's order; the first if it takes any.
fn negotiate(headers: &HeaderMap, offered: &[&'static str]) -> Result<&'static str, ApiError> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    let media = accept.split(',').map(|range| range.split(';').next().unwrap_or_default().trim());
    let found = media.filter_map(|media| match media {
        "" | "*/*" | "application/*" => offered.first(),
        media => offered.iter().find(|offered| **offered == media),
    });
    found.copied().next().ok_or_else(|| {
        let message = format!("only the following media types are accepted: {}", offered.join(", "));
        ApiError::new(Reason::NotAcceptable, message)
    })
}

fn moved(group: &str, version: &str, hash: &str) -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let part = if group.is_empty() { "api".to_owned() } else { format!("apis/{group}") };
    if let Ok(place) = HeaderValue::from_str(&format!("/openapi/v3/{part}/{version}?hash={hash}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

fn answer(document: Vec<u8>, media: &'static str, hash: Option<&str>, headers: &HeaderMap) -> Response {
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
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept"));
    tagged(&mut response, &hash);
    response
}

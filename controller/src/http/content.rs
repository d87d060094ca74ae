//! Bodies of requests: how much is read, and in which encodings.

use bytes::Bytes;
use edge_api::{meta, protobuf, schema};
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use crate::http::query::propagation;
use crate::registry::{ApiError, DeleteOptions, PatchKind, Reason};

/// The largest body that is read, in bytes.
const LARGEST: usize = 3 * 1024 * 1024;

/// The media type of server-side apply; JSON is sent as it, too.
pub const APPLY: &str = "application/apply-patch+yaml";

/// An object as it was sent.
#[derive(Default)]
pub struct Sent {
    /// The object.
    pub object: Value,
    /// Fields that were given twice.
    pub duplicates: Vec<String>,
}

/// Reads a whole body.
pub async fn read(body: Incoming) -> Result<Bytes, ApiError> {
    let collected = Limited::new(body, LARGEST).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let message = format!("Request entity too large: limit is {LARGEST}");
            return ApiError::new(Reason::RequestEntityTooLarge, message);
        }
        ApiError::bad_request("the body could not be read to its end")
    })?;
    Ok(collected.to_bytes())
}

/// The media type of a body without its parameters; JSON if there is none.
pub fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match value.split(';').next().unwrap_or_default().trim() {
        "" => "application/json",
        media => media,
    }
}

/// An object in any of the encodings.
pub fn object(media: &str, bytes: &[u8]) -> Result<Sent, ApiError> {
    match media {
        "application/json" => json(bytes),
        "application/yaml" => yaml(bytes),
        "application/vnd.kubernetes.protobuf" => {
            let object = protobuf::decode(bytes).map_err(|error| ApiError::bad_request(error.to_string()))?;
            Ok(Sent { object, duplicates: Vec::new() })
        }
        _ => Err(unknown("application/json, application/yaml, application/vnd.kubernetes.protobuf")),
    }
}

/// A patch: its language by the media type, and its document.
pub fn patch(media: &str, bytes: &[u8]) -> Result<(PatchKind, Value), ApiError> {
    let kind = match media {
        "application/json-patch+json" => PatchKind::Json,
        "application/merge-patch+json" => PatchKind::Merge,
        "application/strategic-merge-patch+json" => PatchKind::Strategic,
        APPLY => PatchKind::Apply,
        _ => {
            return Err(unknown(
                "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml, \
                 application/strategic-merge-patch+json",
            ));
        }
    };
    let sent = match kind {
        // YAML in flow style may look like JSON, and not all of JSON is YAML.
        PatchKind::Apply => json(bytes).or_else(|_| yaml(bytes))?,
        _ => json(bytes)?,
    };
    Ok((kind, sent.object))
}

/// The options in the body of a delete, which may be empty, and whether it is a dry run.
pub fn delete_options(media: &str, bytes: &[u8]) -> Result<(DeleteOptions, bool), ApiError> {
    if bytes.is_empty() {
        return Ok((DeleteOptions::default(), false));
    }
    let sent = object(media, bytes)?.object;
    let text = |path: &[&str]| Some(meta::text(&sent, path).to_owned()).filter(|text| !text.is_empty());
    let mut options = DeleteOptions {
        grace_period_seconds: meta::number(&sent, &["gracePeriodSeconds"]),
        uid: text(&["preconditions", "uid"]),
        resource_version: text(&["preconditions", "resourceVersion"]),
        propagation: text(&["propagationPolicy"]).map(|word| propagation(&word)).transpose()?,
    };
    if options.propagation.is_none() {
        let orphan = sent.get("orphanDependents").and_then(Value::as_bool);
        options.propagation = match orphan {
            Some(true) => Some(crate::registry::Propagation::Orphan),
            Some(false) => Some(crate::registry::Propagation::Background),
            None => None,
        };
    }
    let dry_run = meta::items(&sent, &["dryRun"]).iter().any(|word| word == "All");
    Ok((options, dry_run))
}

fn json(bytes: &[u8]) -> Result<Sent, ApiError> {
    let (object, duplicates) = schema::strict_json(bytes).map_err(|error| {
        let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        ApiError::bad_request(format!("{error}: {why}"))
    })?;
    Ok(Sent { object, duplicates })
}

fn yaml(bytes: &[u8]) -> Result<Sent, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ApiError::bad_request("the body is not UTF-8"))?;
    let object =
        serde_saphyr::from_str(text).map_err(|error| ApiError::bad_request(format!("yaml: {error}")))?;
    Ok(Sent { object, duplicates: Vec::new() })
}

fn unknown(known: &str) -> ApiError {
    let message =
        format!("the body of the request was in an unknown format - accepted media types include: {known}");
    ApiError::new(Reason::UnsupportedMediaType, message)
}

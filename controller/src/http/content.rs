//! Bodies of requests: how much is read, and in which encodings.

use bytes::Bytes;
use edge_api::{meta, protobuf, schema};
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use crate::http::query::{dry_run, orphan, propagation};
use crate::registry::{ApiError, DeleteOptions, PatchKind, Reason};

/// The largest body that is read, in bytes.
const LARGEST: usize = 3 * 1024 * 1024;

/// The schema of the options of a delete.
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
/// Levels of lists and objects in a body of YAML; JSON's reader has a bound of its own.
const DEEPEST: usize = 120;

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
pub fn patch(media: &str, bytes: &[u8]) -> Result<(PatchKind, Sent), ApiError> {
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
    Ok((kind, sent))
}

/// The options in the body of a delete, which may be empty, and whether it is a dry run.
pub fn delete_options(media: &str, bytes: &[u8]) -> Result<(DeleteOptions, bool), ApiError> {
    if bytes.is_empty() {
        return Ok((DeleteOptions::default(), false));
    }
    let sent = object(media, bytes)?.object;
    if !matches!(meta::text(&sent, &["kind"]), "" | "DeleteOptions") {
        let kind = meta::text(&sent, &["kind"]);
        return Err(ApiError::bad_request(format!(
            "the body of a delete is a DeleteOptions, not a {kind:?}"
        )));
    }
    if let Some(problem) = schema::check(DELETE_OPTIONS, &sent).iter().find(|problem| problem.fatal()) {
        return Err(ApiError::bad_request(format!("DeleteOptions cannot be handled: {problem}")));
    }
    let text = |path: &[&str]| Some(meta::text(&sent, path).to_owned()).filter(|text| !text.is_empty());
    let mut options = DeleteOptions {
        grace_period_seconds: meta::number(&sent, &["gracePeriodSeconds"]),
        uid: text(&["preconditions", "uid"]),
        resource_version: text(&["preconditions", "resourceVersion"]),
        propagation: text(&["propagationPolicy"]).map(|word| propagation(&word)).transpose()?,
        disruption: None,
    };
    if let Some(orphans) = sent.get("orphanDependents").and_then(Value::as_bool) {
        options.propagation = Some(orphan(orphans, options.propagation)?);
    }
    let words = meta::items(&sent, &["dryRun"]).iter().filter_map(Value::as_str);
    let dry = words.map(|word| dry_run("DeleteOptions", word)).try_fold(false, |_, word| word)?;
    Ok((options, dry))
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
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        strict_booleans: false,
        with_snippet: false,
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough,
    };
    let read =
        serde_saphyr::with_deserializer_from_str_with_options(text, options, |reader| schema::strict(reader));
    let (object, duplicates) = read.map_err(|error| ApiError::bad_request(format!("yaml: {error}")))?;
    if schema::depth(&object) > DEEPEST {
        return Err(ApiError::bad_request("yaml: the body is nested too deeply"));
    }
    Ok(Sent { object, duplicates })
}

fn unknown(known: &str) -> ApiError {
    let message =
        format!("the body of the request was in an unknown format - accepted media types include: {known}");
    ApiError::new(Reason::UnsupportedMediaType, message)
}

#[cfg(test)]
mod tests {
    use super::{delete_options, object, patch};

    /// Whatever a body holds, it is read or refused; nothing panics, and nothing takes long.
    #[test]
    fn garbage_is_refused() {
        let seeds: [&[u8]; 5] = [
            br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":{"x":"y"}},"data":{"k":"v"}}"#,
            b"apiVersion: v1\nkind: ConfigMap\nmetadata: &m {name: a}\ndata:\n  k: |\n    text\n  other: *m\n",
            br#"[{"op":"add","path":"/data/x","value":[1,2.5e3,null,true]}]"#,
            b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x05\n\x03\n\x01a",
            b"- 0x1F\n- 0o17\n- yes\n- ~\n- 2026-01-01\n- !!binary aGk=\n- 'it''s'\n- \"\\u00e9\"\n",
        ];
        let medias = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
        let patches = ["application/json-patch+json", "application/apply-patch+yaml"];
        let mut rng = fastrand::Rng::with_seed(11);
        let mut read = 0;
        for round in 0..20_000 {
            let mut bytes = seeds[round % seeds.len()].to_vec();
            for _ in 0..rng.usize(0..8) {
                let at = rng.usize(0..bytes.len().max(1)).min(bytes.len().saturating_sub(1));
                match rng.u8(0..4) {
                    0 if !bytes.is_empty() => bytes[at] = rng.u8(..),
                    1 => bytes.truncate(at),
                    2 => bytes.insert(at, *rng.choice(b"{}[]:,&*-\"'\n \\|>%@").unwrap_or(&b'{')),
                    _ => bytes.extend_from_within(at.min(bytes.len())..),
                }
            }
            bytes.truncate(4096);
            read += medias.iter().filter(|media| object(media, &bytes).is_ok()).count();
            read += medias.iter().filter(|media| delete_options(media, &bytes).is_ok()).count();
            read += patches.iter().filter(|media| patch(media, &bytes).is_ok()).count();
        }
        assert!(read > 10_000, "some of it can be read: {read}");
    }
}

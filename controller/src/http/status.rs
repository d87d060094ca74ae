//! `Status`: how failures, and successes without an object, are told.

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::http::body::{Body, Response};
use crate::registry::{ApiError, Details, Object, Reason, Target};

/// The code and the wire name of a reason.
fn wire(reason: &Reason) -> (StatusCode, &str) {
    match reason {
        Reason::BadRequest => (StatusCode::BAD_REQUEST, "BadRequest"),
        Reason::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized"),
        Reason::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
        Reason::NotFound => (StatusCode::NOT_FOUND, "NotFound"),
        Reason::AlreadyExists => (StatusCode::CONFLICT, "AlreadyExists"),
        Reason::Conflict => (StatusCode::CONFLICT, "Conflict"),
        Reason::Expired => (StatusCode::GONE, "Expired"),
        Reason::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
        Reason::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        Reason::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "NotAcceptable"),
        Reason::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType"),
        Reason::RequestEntityTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"),
        Reason::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
        Reason::Timeout => (StatusCode::GATEWAY_TIMEOUT, "Timeout"),
        Reason::ServiceUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        Reason::InternalError => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        Reason::Foreign { code, name } => {
            (StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), name)
        }
    }
}

/// A failure as a `Status` object.
pub fn object(error: &ApiError) -> Value {
    let (code, reason) = wire(&error.reason);
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": error.message, "code": code.as_u16(),
    });
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    if let Some(details) = &error.details {
        status["details"] = details_of(details);
        if !details.continue_token.is_empty() {
            status["metadata"]["continue"] = details.continue_token.as_str().into();
        }
    }
    status
}

/// A failure as an answer.
pub fn failure(error: &ApiError) -> Response {
    let (code, _) = wire(&error.reason);
    let mut response = json_response(code, &object(error));
    let retry = error.details.as_ref().and_then(|details| details.retry_after_seconds);
    if let Some(seconds) = retry {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if code == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer realm=\"kubernetes\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// A success that speaks of an object without showing it.
pub fn success(code: StatusCode, target: &Target<'_>, object: Option<&Object>) -> Response {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    match object {
        Some(object) => {
            status["details"] = details_of(&Details {
                name: target.name.to_owned(),
                group: target.kind.group.to_owned(),
                kind: target.kind.plural.to_owned(),
                uid: object.header().uid.into_owned(),
                ..Details::default()
            });
        }
        None => status["code"] = code.as_u16().into(),
    }
    json_response(code, &status)
}

/// Any JSON as an answer.
pub fn json_response(code: StatusCode, value: &Value) -> Response {
    let bytes = serde_json::to_vec(value).expect("a tree is JSON and a vector takes it");
    let mut response = Response::new(Body::Full(bytes.into()));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Plain text as an answer.
pub fn text(code: StatusCode, text: impl Into<String>) -> Response {
    let mut response = Response::new(Body::Full(text.into().into()));
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

fn details_of(details: &Details) -> Value {
    let mut out = json!({});
    for (field, text) in
        [("name", &details.name), ("group", &details.group), ("kind", &details.kind), ("uid", &details.uid)]
    {
        if !text.is_empty() {
            out[field] = text.as_str().into();
        }
    }
    if !details.causes.is_empty() {
        let causes = details.causes.iter().map(|cause| {
            let mut out = json!({"reason": cause.reason, "message": cause.message});
            if !cause.field.is_empty() {
                out["field"] = cause.field.as_str().into();
            }
            out
        });
        out["causes"] = causes.collect();
    }
    if let Some(seconds) = details.retry_after_seconds {
        out["retryAfterSeconds"] = seconds.into();
    }
    out
}

//! Groups that somebody else serves: requests passed on to him in the caller's name, and what discovery says of them.
//!
//! The caller is authenticated and authorised here; the other side hears who he is, by headers that it believes from
//! us alone, and never his credentials.

use std::sync::Arc;

use edge_api::uri::encode_but;
use futures::TryStreamExt as _;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::aggregate::{Aggregation, PATIENCE, Remote};
use crate::http::body::{Body, Response};
use crate::http::connection::Shared;
use crate::http::pod_proxy;
use crate::http::query::{Plus, Query, decode};
use crate::http::status;
use crate::identity::User;
use crate::outward;
use crate::registry::{Access, Action, ApiError, Context, Reason};

/// Fields that concern the caller's connection or say who he is.
const OURS: &[&str] = &[
    "authorization",
    "connection",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];
/// What the names of fields begin with that say who calls.
const SAYS: &[&str] = &["x-remote-", "impersonate-"];

/// Who serves a path, if not we ourselves: objects of a version of a group, or what OpenAPI says of it.
pub fn whose(aggregation: &Aggregation, path: &str) -> Option<Arc<Remote>> {
    let path = path.strip_prefix("/openapi/v3").unwrap_or(path);
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    if parts.next() != Some("apis") {
        return None;
    }
    let (group, version) = (parts.next()?, parts.next()?);
    aggregation.remote(&decode(group, Plus::Plus), &decode(version, Plus::Plus))
}

/// Passes a request on and its answer back, whatever it is.
pub async fn proxy(
    shared: &Shared,
    cx: &Context,
    remote: &Remote,
    parts: Parts,
    upgrade: Option<OnUpgrade>,
    body: Incoming,
) -> Result<Response, ApiError> {
    authorise(shared, cx, &parts)?;
    if !remote.available {
        return Ok(status::text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n"));
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let to = remote.destination(&shared.registry, path).map_err(|why| unavailable(&why))?;
    let mut request = Request::builder()
        .method(parts.method.clone())
        .uri(path)
        .body(body.map_err(std::io::Error::other))
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    *request.headers_mut() = passed_on(&parts.headers);
    introduce(request.headers_mut(), &cx.user);
    if let Some(protocol) = parts.headers.get(header::UPGRADE).filter(|_| upgrade.is_some()) {
        request.headers_mut().insert(header::UPGRADE, protocol.clone());
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    let trust = shared.aggregation.trust(remote);
    let mut answer = outward::stream(&to, trust, request, PATIENCE)
        .await
        .map_err(|error| unavailable(&format!("error trying to reach service: {error}")))?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(upgrade) = upgrade
    {
        join(upgrade, hyper::upgrade::on(&mut answer), shared);
    }
    let switching = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    let (parts, body) = answer.into_parts();
    let mut response = match switching {
        true => Response::new(Body::Empty),
        false => {
            let data = body.into_data_stream().map_err(std::io::Error::other);
            Response::new(Body::Chunks(Box::pin(data)))
        }
    };
    *response.status_mut() = parts.status;
    *response.headers_mut() = passed_on(&parts.headers);
    if switching {
        for name in [header::UPGRADE, header::CONNECTION] {
            if let Some(value) = parts.headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
    } else if let Some(length) = parts.headers.get(header::CONTENT_LENGTH) {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.clone());
    }
    Ok(response)
}

/// Passes bytes both ways until either side ends, or the server drains.
fn join(ours: OnUpgrade, theirs: OnUpgrade, shared: &Shared) {
    let draining = shared.draining.clone();
    tokio::spawn(async move {
        let (Ok(ours), Ok(theirs)) = tokio::join!(ours, theirs) else { return };
        let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut ours, &mut theirs) => {}
            () = draining.cancelled() => {}
        }
    });
}

fn unavailable(why: &str) -> ApiError {
    ApiError::new(Reason::ServiceUnavailable, why)
}

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    let says = |name: &HeaderName| SAYS.iter().any(|says| name.as_str().starts_with(says));
    let doomed: Vec<HeaderName> =
        headers.keys().filter(|name| OURS.contains(&name.as_str()) || says(name)).cloned().collect();
    for name in doomed {
        headers.remove(name);
    }
    headers
}

/// Says who calls.
fn introduce(headers: &mut HeaderMap, user: &User) {
    let mut say = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.to_ascii_lowercase()), HeaderValue::from_str(value))
        {
            headers.append(name, value);
        }
    };
    say("X-Remote-User", &user.name);
    if !user.uid.is_empty() {
        say("X-Remote-Uid", &user.uid);
    }
    user.groups.iter().for_each(|group| say("X-Remote-Group", group));
    for (key, values) in &user.extra {
        values.iter().for_each(|value| say(&format!("X-Remote-Extra-{}", escaped(key)), value));
    }
}

/// A key as part of a field's name: what may not be there, and the sign of that, percent-encoded.
fn escaped(key: &str) -> String {
    encode_but(key, b"!#$&'*+-.^_`|~")
}

/// What a request of a group that we know nothing of asks for.
fn authorise(shared: &Shared, cx: &Context, parts: &Parts) -> Result<(), ApiError> {
    let path = parts.uri.path();
    let words: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| decode(part, Plus::Plus).into_owned())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (group, rest) = match &words[..] {
        ["apis", group, _, rest @ ..] if !rest.is_empty() => (*group, rest),
        _ => {
            let verb = if parts.method == Method::HEAD { "head" } else { "get" };
            return shared.registry.authorise_action(cx, &Action::Path { verb, path });
        }
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let word = |at: usize| rest.get(at).copied().unwrap_or_default();
    let query = Query::parse(parts.uri.query());
    let verb = match parts.method {
        Method::GET | Method::HEAD if query.truth("watch") => "watch",
        Method::GET | Method::HEAD if word(1).is_empty() => "list",
        Method::DELETE if word(1).is_empty() => "deletecollection",
        _ => pod_proxy::verb(&parts.method),
    };
    let access = Access { verb, group, resource: word(0), subresource: word(2), namespace, name: word(1) };
    shared.registry.authorise_action(cx, &Action::Objects(access))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{escaped, passed_on};

    #[test]
    fn nobody_says_himself_who_he_is() {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "x-remote-user", "x-remote-extra-a", "impersonate-user", "accept"] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        let passed = passed_on(&headers);
        assert_eq!(passed.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn keys_are_escaped() {
        assert_eq!(escaped("example.com/a b"), "example.com%2Fa%20b");
    }
}

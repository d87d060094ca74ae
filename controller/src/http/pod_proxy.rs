//! `pods/<name>/proxy/<path>` and `services/<name>/proxy/<path>`: requests passed on to what a Pod serves.
//!
//! Over the tunnel of the Pod's node, with their method, headers and body, but not with the caller's credentials. Only
//! HTTP without TLS, which is what guests speak, and no change of protocol.

use edge_api::kinds::endpoint_slice;
use edge_api::meta::{self, items, text};
use futures::TryStreamExt as _;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use crate::http::body::{Body, Response};
use crate::http::route::Passage;
use crate::registry::{ApiError, Context, Reason, Registry, Target};
use crate::tunnel::Tunnels;

/// The port of a Pod that names none.
const DEFAULT_PORT: i64 = 80;
/// Fields that concern the caller's connection, or say who calls.
const OURS: [HeaderName; 10] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// An address of a Pod, and the node that knows the way.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    node: String,
    ip: String,
    port: i64,
}

/// The verb of a method, as rules name it.
pub fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    }
}

/// Passes a request on and its answer back, whatever it is.
pub async fn proxy(
    registry: &Registry,
    tunnels: &Tunnels,
    cx: &Context,
    passage: &Passage<'_>,
    parts: &Parts,
    body: Incoming,
) -> Result<Response, ApiError> {
    let (name, port) = split_name(&passage.name)?;
    let target = Target::one(passage.kind, &passage.namespace, name);
    // Rules name the Pod or Service as the path does, port and all.
    registry.authorise(cx, verb(&parts.method), &target.sub("proxy"), &passage.name)?;
    let Some(path) = passage.path else { return Ok(with_slash(parts)) };
    let object = registry.current(&target)?.value();
    let place = match passage.kind.kind {
        "Service" => of_service(registry, &target, &object, port)?,
        _ => of_pod(&object, port)?,
    };
    let question = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let uri = format!("http://node/podProxy/{}/{}/{path}{question}", place.ip, place.port);
    let mut request = Request::builder()
        .method(parts.method.clone())
        .uri(uri)
        .body(body.map_err(std::io::Error::other).boxed_unsync())
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    *request.headers_mut() = passed_on(&parts.headers);
    announce(request.headers_mut(), parts);
    let answer = tunnels
        .stream(&place.node, request)
        .await
        .map_err(|error| unavailable(&format!("the node {:?} cannot be reached: {error}", place.node)))?;
    let (parts, body) = answer.into_parts();
    let data = body.into_data_stream().map_err(std::io::Error::other);
    let mut response = Response::new(Body::Chunks(Box::pin(data)));
    *response.status_mut() = parts.status;
    *response.headers_mut() = passed_on(&parts.headers);
    Ok(response)
}

/// `name`, `name:port` or `scheme:name:port`.
fn split_name(name: &str) -> Result<(&str, &str), ApiError> {
    let (scheme, name, port) = match name.split(':').collect::<Vec<_>>()[..] {
        [name] => ("", name, ""),
        [name, port] => ("", name, port),
        [scheme, name, port] => (scheme, name, port),
        _ => return Err(ApiError::bad_request(format!("invalid proxy request {name:?}"))),
    };
    if !matches!(scheme, "" | "http") {
        return Err(ApiError::bad_request(format!(
            "Pods are not reached by {scheme:?} here, only by \"http\""
        )));
    }
    Ok((name, port))
}

fn of_pod(pod: &Value, port: &str) -> Result<Place, ApiError> {
    let mut ports =
        items(pod, &["spec", "containers"]).iter().flat_map(|container| items(container, &["ports"]));
    let number = match (port, port.parse::<i64>()) {
        ("", _) => {
            Some(ports.next().and_then(|port| meta::number(port, &["containerPort"])).unwrap_or(DEFAULT_PORT))
        }
        (_, Ok(number)) => Some(number).filter(|number| (1..=65_535).contains(number)),
        (name, _) => ports
            .find(|port| text(port, &["name"]) == name)
            .and_then(|port| meta::number(port, &["containerPort"])),
    };
    let port =
        number.ok_or_else(|| unavailable(&format!("no port {port:?} in pod {:?}", meta::name(pod))))?;
    let (ip, node) = (text(pod, &["status", "podIP"]), text(pod, &["spec", "nodeName"]));
    if ip.is_empty() || node.is_empty() {
        return Err(unavailable(&format!("pod {:?} does not have an address", meta::name(pod))));
    }
    Ok(Place { node: node.to_owned(), ip: ip.to_owned(), port })
}

/// One of the endpoints that are ready.
fn of_service(
    registry: &Registry,
    target: &Target<'_>,
    service: &Value,
    port: &str,
) -> Result<Place, ApiError> {
    let ports = items(service, &["spec", "ports"]);
    let found = ports.iter().find(|one| match port {
        "" => ports.len() == 1 || text(one, &["name"]).is_empty(),
        port => {
            text(one, &["name"]) == port
                || meta::number(one, &["port"]).is_some_and(|n| n.to_string() == port)
        }
    });
    let found = found.ok_or_else(|| {
        unavailable(&format!("no service port {port:?} found for service {:?}", target.name))
    })?;
    let slices = Target::all(&endpoint_slice::KIND, target.namespace);
    let label = format!("{}={}", endpoint_slice::SERVICE_NAME_LABEL, target.name);
    let slices = registry.labelled(&slices, &label)?;
    let places: Vec<Place> =
        slices.iter().flat_map(|slice| ready(&slice.value(), text(found, &["name"]))).collect();
    let count = places.len();
    let chosen = (count > 0).then(|| places.into_iter().nth(fastrand::usize(..count))).flatten();
    chosen.ok_or_else(|| unavailable(&format!("no endpoints available for service {:?}", target.name)))
}

/// The endpoints of a slice that are ready on the port of a name.
fn ready(slice: &Value, port: &str) -> Vec<Place> {
    let port = items(slice, &["ports"]).iter().find(|one| text(one, &["name"]) == port);
    let Some(port) = port.and_then(|port| meta::number(port, &["port"])) else { return Vec::new() };
    let endpoints = items(slice, &["endpoints"]).iter();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != Value::Bool(false));
    ready
        .filter_map(|endpoint| {
            let ip = items(endpoint, &["addresses"]).first()?.as_str()?.to_owned();
            Some(Place { node: endpoint["nodeName"].as_str()?.to_owned(), ip, port })
        })
        .collect()
}

/// Relative links work only behind a slash.
fn with_slash(parts: &Parts) -> Response {
    let question = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(place) = HeaderValue::from_str(&format!("{}/{question}", parts.uri.path())) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in &OURS {
        headers.remove(name);
    }
    headers
}

/// Tells the Pod what was asked of us.
fn announce(headers: &mut HeaderMap, parts: &Parts) {
    let host = parts.headers.get(header::HOST).cloned();
    let host = host.or_else(|| HeaderValue::from_str(parts.uri.authority()?.as_str()).ok());
    if let Some(host) = host {
        headers.insert(HeaderName::from_static("x-forwarded-host"), host);
    }
    headers.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("https"));
    if let Ok(path) = HeaderValue::from_str(parts.uri.path()) {
        headers.insert(HeaderName::from_static("x-forwarded-uri"), path);
    }
}

fn unavailable(message: &str) -> ApiError {
    ApiError::new(Reason::ServiceUnavailable, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::{Place, of_pod, ready, split_name};

    #[test]
    fn names_hold_schemes_and_ports() {
        assert_eq!(split_name("web").unwrap(), ("web", ""));
        assert_eq!(split_name("web:http").unwrap(), ("web", "http"));
        assert_eq!(split_name("http:web:80").unwrap(), ("web", "80"));
        assert_eq!(split_name("http:web:").unwrap(), ("web", ""));
        assert!(split_name("https:web:443").is_err() && split_name("a:b:c:d").is_err());
    }

    #[test]
    fn a_pod_is_reached_at_the_port_that_is_meant() {
        let pod = json!({
            "metadata": {"name": "p"}, "status": {"podIP": "10.42.0.5"},
            "spec": {"nodeName": "n", "containers": [{}, {"ports": [
                {"name": "web", "containerPort": 8080}, {"name": "admin", "containerPort": 9000},
            ]}]},
        });
        let port = |wished: &str| of_pod(&pod, wished).map(|place| place.port).ok();
        assert_eq!([port(""), port("admin"), port("7")], [Some(8080), Some(9000), Some(7)]);
        assert_eq!([port("none"), port("0"), port("70000")], [None, None, None]);
        let bare = json!({"spec": {"nodeName": "n"}, "status": {"podIP": "10.42.0.5"}});
        assert_eq!(of_pod(&bare, "").unwrap().port, 80);
        assert!(of_pod(&json!({"spec": {"nodeName": "n"}}), "").is_err(), "it has no address yet");
    }

    #[test]
    fn only_endpoints_that_are_ready_are_chosen() {
        let endpoint = |ip: &str, ready: serde_json::Value| json!({"addresses": [ip], "conditions": {"ready": ready}, "nodeName": "n"});
        let slice = json!({
            "ports": [{"name": "web", "port": 8080}],
            "endpoints": [endpoint("10.42.0.1", true.into()), endpoint("10.42.0.2", false.into())],
        });
        let place = Place { node: "n".into(), ip: "10.42.0.1".into(), port: 8080 };
        assert_eq!(ready(&slice, "web"), [place]);
        assert_eq!(ready(&slice, "other"), []);
    }
}

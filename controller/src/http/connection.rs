//! One connection: who is on the other side, and the answer to each of its requests.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_api::catalogue::Catalogue;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::aggregate::Aggregation;
use crate::custom_metrics::CustomMetrics;
use crate::http::audit::{Audit, Draft};
use crate::http::body::{Body, Response};
use crate::http::discovery::Discovered;
use crate::http::fairness::{Effort, Seats};
use crate::http::head::{self, Cut, Watch, Watched};
use crate::http::health::Checks;
use crate::http::metrics::{Labels, Metrics};
use crate::http::objects::{Call, Verb};
use crate::http::query::Query;
use crate::http::reconcilers::Reconcilers;
use crate::http::route::Route;
use crate::http::seldom::Seldom;
use crate::http::status::json_response;
use crate::http::zpages::Zpages;
use crate::http::{
    aggregate, custom_metrics, discovery, exec, impersonate, issuer, join, node_proxy, openapi, pod_proxy,
    port_forward, reply, wanted,
};
use crate::identity::User;
use crate::registry::{Action, ApiError, Context, Reason, Registry};
use crate::tunnel::{self, Tunnels};
use crate::usage::Usage;
use crate::wanted::Wanted;

/// How long a request that is no watch or log may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the headers of a request may take. The reader of HTTP counts from the answer before, so this is also how
/// long a connection may be idle: as long as kube-apiserver allows, since clients keep connections for the next call.
const HEADERS: Duration = Duration::from_secs(90);
/// The largest headers of a request on HTTP/1, in bytes; [`head`] cuts what is larger off before.
const HEADER_BYTES: usize = 128 * 1024;
/// The same on HTTP/2: less than the longest URL that can be represented, so that a longer one is refused with a code
/// and does not break its stream.
const HEADER_LIST_BYTES: u32 = 64 * 1024;
/// The longest path with its parameters, in bytes: less than the reader of HTTP takes, so that who sends more is told.
const URL_BYTES: usize = 60 * 1024;
/// Requests under way on one connection.
const STREAMS: u32 = 2000;

/// What all connections share.
pub struct Shared {
    /// The objects.
    pub registry: Registry,
    /// The ways to the nodes.
    pub tunnels: Tunnels,
    /// What Nodes and Pods use.
    pub usage: Usage,
    /// Who serves other groups.
    pub aggregation: Aggregation,
    /// Metrics of objects.
    pub custom_metrics: CustomMetrics,
    /// Autoscalers for whose targets requests wait.
    pub wanted: Wanted,
    /// The checks.
    pub checks: Checks,
    /// The metrics.
    pub metrics: Metrics,
    /// What the controllers are doing.
    pub reconcilers: Reconcilers,
    /// Since when it runs and with which settings.
    pub zpages: Zpages,
    /// Who may be under way.
    pub seats: Seats,
    /// The audit log, if there is one.
    pub audit: Option<Audit>,
    /// Set when the server takes no more and streams are to end.
    pub draining: CancellationToken,
    /// What discovery says.
    pub discovered: Discovered,
}

/// Who is on the other side.
#[derive(Clone)]
pub enum Peer {
    /// Somebody at this address on the network, who may have shown a client certificate.
    Remote(Option<IpAddr>, Option<User>),
    /// Somebody whose stream itself says who it is.
    Known(User),
}

/// Serves a stream until it ends, or until the server drains and its requests are answered.
pub async fn serve<S>(shared: Arc<Shared>, peer: Peer, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADER_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_LIST_BYTES)
        .max_concurrent_streams(STREAMS);
    let draining = shared.draining.clone();
    let watch = Watch::default();
    let stream = Watched::new(stream, watch.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        if request.version() == Version::HTTP_2 {
            watch.end();
        }
        let (shared, peer, watch) = (shared.clone(), peer.clone(), watch.clone());
        async move {
            let response = answer(shared, peer, request, watch.cut()).await;
            Ok::<_, Infallible>(watch.answer(response))
        }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = Seldom::new(draining.cancelled()) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &*error, "a connection broke");
    }
}

/// The bearer token of a request.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
}

async fn answer(shared: Arc<Shared>, peer: Peer, request: Request<Incoming>, cut: Option<Cut>) -> Response {
    let begun = Instant::now();
    let accept = request.headers().get(header::ACCEPT).cloned();
    let failure =
        |error: &ApiError| reply::failure(error, accept.as_ref().and_then(|accept| accept.to_str().ok()));
    let mut labels = Labels { verb: "other", group: "", resource: "", code: 0 };
    let mut draft = shared.audit.as_ref().and_then(|_| draft(&shared, &peer, &request));
    let answering = async {
        match cut {
            Some(cut) => Err(too_large(cut)),
            None => dispatch(&shared, &peer, request, &mut labels, &mut draft).await,
        }
    };
    let mut response = match tokio::time::timeout(PATIENCE, answering).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => failure(&error),
        Err(_) => failure(&ApiError::new(
            Reason::Timeout,
            "Timeout: request did not complete within the allotted timeout",
        )),
    };
    labels.code = response.status().as_u16();
    let took = begun.elapsed();
    tracing::debug!(verb = labels.verb, resource = labels.resource, code = labels.code, ?took, "answered");
    shared.metrics.answered(labels, took);
    if let (Some(audit), Some(draft)) = (&shared.audit, draft) {
        audit.record(draft.answered(response.status(), shared.registry.now())).await;
    }
    let caching = response.headers_mut().entry(header::CACHE_CONTROL);
    caching.or_insert(HeaderValue::from_static("no-cache, private"));
    response
}

/// Why a request is not even read.
fn too_large(cut: Cut) -> ApiError {
    let (code, name, message) = match cut {
        Cut::Line => {
            (414, "RequestURITooLong", format!("the URL is too long; the limit is {URL_BYTES} bytes"))
        }
        Cut::Fields => {
            let message = format!(
                "the headers are too large; the limits are {} bytes and {} lines",
                head::HEAD,
                head::LINES
            );
            (431, "RequestHeaderFieldsTooLarge", message)
        }
    };
    ApiError::new(Reason::Foreign { code, name: name.into() }, message)
}

/// The beginning of what the audit log says of a request; nothing for questions about health.
fn draft(shared: &Shared, peer: &Peer, request: &Request<Incoming>) -> Option<Draft> {
    // No kind is needed to know these.
    if let Route::Health(..) | Route::Version = Route::parse(request.uri().path(), &Catalogue::default()) {
        return None;
    }
    let address = match peer {
        Peer::Remote(address, _) => *address,
        Peer::Known(_) => None,
    };
    let (uri, method) = (request.uri(), request.method().as_str());
    Some(Draft::new(uri, method, request.headers(), address, shared.registry.now()))
}

async fn dispatch(
    shared: &Arc<Shared>,
    peer: &Peer,
    mut request: Request<Incoming>,
    labels: &mut Labels,
    draft: &mut Option<Draft>,
) -> Result<Response, ApiError> {
    let length = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    if length > URL_BYTES {
        let message = format!("the URL has {length} bytes; the limit is {URL_BYTES}");
        return Err(ApiError::new(Reason::Foreign { code: 414, name: "RequestURITooLong".into() }, message));
    }
    let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query());
    let catalogue = shared.registry.catalogue();
    let route = Route::parse(parts.uri.path(), &catalogue);
    match &route {
        Route::Version if parts.method == Method::GET => return Ok(discovery::version()),
        Route::Health(endpoint, check) if parts.method == Method::GET || parts.method == Method::HEAD => {
            return Ok(shared.checks.answer(endpoint, check, &query));
        }
        Route::Join if parts.method == Method::POST => {
            return join::join(&shared.registry, &parts.headers, body).await;
        }
        _ => {}
    }
    let user = identify(shared, peer, &parts.headers, draft)?;
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    let _seat = shared.seats.take(&user, if reads { Effort::Read } else { Effort::Write }).await?;
    let annotations = draft.as_ref().map(Draft::annotations).unwrap_or_default();
    let cx = Context { annotations, ..Context::new(user) };
    if let Some(remote) = aggregate::whose(&shared.aggregation, parts.uri.path()) {
        *labels = Labels { verb: pod_proxy::verb(&parts.method), ..*labels };
        return aggregate::proxy(shared, &cx, &remote, parts, upgrade, body).await;
    }
    let place = match &route {
        Route::Objects(place) => place,
        Route::NodeProxy(node, path) if parts.method == Method::GET => {
            *labels = Labels { verb: "get", group: "", resource: "nodes", code: 0 };
            let query = parts.uri.query();
            return node_proxy::proxy(&shared.registry, &shared.tunnels, &cx, node, path, query).await;
        }
        Route::PodProxy(passage) => {
            let verb = pod_proxy::verb(&parts.method);
            *labels = Labels { verb, group: "", resource: passage.kind.plural, code: 0 };
            return pod_proxy::proxy(&shared.registry, &shared.tunnels, &cx, passage, &parts, body).await;
        }
        Route::Tunnel(node) => return tunnel_to(shared, &cx.user, node, &parts, upgrade),
        Route::Wanted(node) if parts.method == Method::POST => {
            return wanted::tell(&shared.wanted, &cx.user, node, &parts.headers, body).await;
        }
        Route::CustomMetric(place)
            if parts.method == Method::GET
                && custom_metrics::serves(
                    &shared.aggregation,
                    crate::custom_metrics::GROUP,
                    &place.version,
                ) =>
        {
            *labels = Labels { verb: "get", group: crate::custom_metrics::GROUP, resource: "", code: 0 };
            let (registry, metrics) = (&shared.registry, &shared.custom_metrics);
            return custom_metrics::answer(registry, metrics, &cx, place, &query).await;
        }
        other if parts.method == Method::GET || parts.method == Method::HEAD => {
            return document(shared, &cx, other, &query, &catalogue, &parts);
        }
        _ => return Err(discovery::nothing()),
    };
    let verb = Verb::of(&parts.method, place, &query).ok_or_else(|| {
        let method = parts.method.as_str();
        ApiError::new(Reason::MethodNotAllowed, format!("{method} is not supported on this path"))
    })?;
    *labels = Labels { verb: verb.name(), group: place.kind.group, resource: place.kind.plural, code: 0 };
    if let Some(draft) = draft {
        draft.about(verb.name(), place);
    }
    if matches!(&*place.subresource, "exec" | "attach") {
        let target = place.target();
        return exec::session(shared, &cx, &target, &query, &parts, upgrade).await;
    }
    if place.subresource == "portforward" {
        let target = place.target();
        return port_forward::session(shared, &cx, &target, &parts, upgrade).await;
    }
    Call { shared, cx, place, verb, query: &query, parts: &parts }.answer(body).await
}

/// Who the request is made as.
fn identify(
    shared: &Shared,
    peer: &Peer,
    headers: &HeaderMap,
    draft: &mut Option<Draft>,
) -> Result<User, ApiError> {
    let caller = authenticate(shared, peer, headers)?;
    if let Some(draft) = draft {
        draft.by(&caller);
    }
    let Some(other) = impersonate::wished(&shared.registry, &caller, headers)? else { return Ok(caller) };
    if let Some(draft) = draft {
        draft.acting_as(&other);
    }
    Ok(other)
}

fn authenticate(shared: &Shared, peer: &Peer, headers: &HeaderMap) -> Result<User, ApiError> {
    if let Peer::Known(user) | Peer::Remote(_, Some(user)) = peer {
        return Ok(user.clone());
    }
    let registry = &shared.registry;
    let user = bearer(headers).and_then(|token| {
        let now = registry.now().as_seconds();
        registry.pki().authenticate_token(token, now, |bound| registry.exists(bound))
    });
    user.ok_or_else(|| ApiError::new(Reason::Unauthorized, "Unauthorized"))
}

/// What is read at a path without objects.
fn document(
    shared: &Shared,
    cx: &Context,
    route: &Route<'_>,
    query: &Query<'_>,
    catalogue: &Arc<Catalogue>,
    parts: &Parts,
) -> Result<Response, ApiError> {
    let verb = if parts.method == Method::HEAD { "head" } else { "get" };
    shared.registry.authorise_action(cx, &Action::Path { verb, path: parts.uri.path() })?;
    let headers = &parts.headers;
    match route {
        Route::Root => Ok(discovery::root(catalogue, &shared.aggregation)),
        Route::CoreVersions => Ok(discovery::core_versions(&shared.discovered, catalogue, headers)),
        Route::Groups => Ok(discovery::groups(&shared.discovered, &shared.aggregation, catalogue, headers)),
        Route::Group(group) => discovery::group(&shared.aggregation, catalogue, group),
        Route::Resources(group, version) if custom_metrics::serves(&shared.aggregation, group, version) => {
            Ok(json_response(StatusCode::OK, &custom_metrics::resources(version)))
        }
        Route::Resources(group, version) => discovery::resources(catalogue, group, version),
        Route::OpenApiIndex => openapi::index(catalogue, &shared.aggregation, headers),
        Route::OpenApiV2 => openapi::v2(&shared.registry, catalogue, headers),
        Route::OpenApiGroup(group, version) => {
            openapi::group(&shared.registry, catalogue, (group, version), query, headers)
        }
        Route::Metrics => Ok(shared.metrics.answer()),
        Route::Issuer => Ok(issuer::configuration(shared.registry.pki().signer())),
        Route::IssuerKeys => Ok(issuer::keys(shared.registry.pki().signer())),
        Route::Reconcilers => Ok(shared.reconcilers.answer()),
        Route::Statusz => Ok(shared.zpages.status(shared.registry.now())),
        Route::Flagz => Ok(shared.zpages.flags()),
        Route::Why => shared.reconcilers.why(query),
        _ => Err(discovery::nothing()),
    }
}

/// Turns a request of a node into the way on which the server calls it.
fn tunnel_to(
    shared: &Arc<Shared>,
    user: &User,
    node: &str,
    parts: &Parts,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Result<Response, ApiError> {
    let wanted = parts.headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    let upgrade =
        upgrade.filter(|_| wanted.is_some_and(|wanted| wanted.eq_ignore_ascii_case(tunnel::PROTOCOL)));
    let upgrade = upgrade.ok_or_else(|| ApiError::bad_request("an upgrade to edgectl-tunnel is required"))?;
    if user.node_name() != Some(node) {
        return Err(ApiError::new(
            Reason::Forbidden,
            format!("forbidden: only node {node:?} may open its tunnel"),
        ));
    }
    let (tunnels, node, draining) = (shared.tunnels.clone(), node.to_owned(), shared.draining.clone());
    tokio::spawn(async move {
        match upgrade.await {
            Ok(stream) => tunnels.keep(&node, stream, draining).await,
            Err(error) => tracing::debug!(node, error = &error as &dyn std::error::Error, "no tunnel"),
        }
    });
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(tunnel::PROTOCOL));
    Ok(response)
}

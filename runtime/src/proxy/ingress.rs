//! One request through the Ingress: match, pick, forward.

use crate::http::{Body, HandlerError, Request, Response};
use crate::net::{Caller, ExchangeError, Network};
use crate::proxy::config::Limits;
use crate::proxy::forward::{self, Client};
use crate::proxy::splice;
use crate::table::{HostPort, Origin, ServicePort, Table};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use std::sync::Arc;
use tokio_util::task::TaskTracker;

/// What every request needs.
#[derive(Clone)]
pub(crate) struct Forwarder {
    pub(crate) network: Network,
    pub(crate) limits: Arc<Limits>,
    /// Streams that outlive their request: changed protocols.
    pub(crate) tasks: TaskTracker,
}

impl Forwarder {
    /// Answers a request by the Ingress routes.
    pub(crate) async fn route(&self, client: &Client, request: Request) -> Response {
        let host = host_of(request.uri(), request.headers());
        let Some(host) = host else {
            return plain(StatusCode::BAD_REQUEST, "the request names no host\n");
        };
        let found = {
            let table = self.network.tables().load();
            table.routes().find(without_port(host.as_str()), request.uri().path()).cloned()
        };
        let Some(backend) = found else {
            return plain(StatusCode::NOT_FOUND, "no Ingress route matches this host and path\n");
        };
        let present = backend.tally.begin();
        let find = move |table: &Table| table.backend(&backend).cloned();
        let response = self.forward(find, Origin::Routed, client, host.value(), request).await;
        response.map(|body| body.counted(present))
    }

    /// Sends a request to the Pod behind a hostPort.
    pub(crate) async fn forward_to_pod(
        &self,
        port: HostPort,
        client: &Client,
        mut request: Request,
    ) -> Response {
        let found = self.network.tables().load().host_port(&port);
        let Some(target) = found else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "no Pod has this port any more\n");
        };
        forward::strip_hop_by_hop(request.headers_mut());
        let host = request.headers().get(header::HOST).cloned();
        client.announce(request.headers_mut(), host);
        let exchange = self.network.exchange_at(target, self.network.gateway(), request);
        match tokio::time::timeout(self.limits.response_timeout, exchange).await {
            Ok(Ok(mut response)) => {
                forward::strip_hop_by_hop(response.headers_mut());
                response
            }
            Ok(Err(error)) => failure(&error),
            Err(_) => plain(StatusCode::GATEWAY_TIMEOUT, "the backend did not answer in time\n"),
        }
    }

    /// Sends a request to a Service port and brings the response back.
    pub(crate) async fn forward(
        &self,
        find: impl Fn(&Table) -> Option<Arc<ServicePort>>,
        origin: Origin,
        client: &Client,
        host: Option<HeaderValue>,
        mut request: Request,
    ) -> Response {
        let upgrade = forward::upgrade(request.headers());
        let upgraded = upgrade.as_ref().map(|_| hyper::upgrade::on(&mut request));
        forward::strip_hop_by_hop(request.headers_mut());
        if let (Some(host), false) = (&host, request.headers().contains_key(header::HOST)) {
            request.headers_mut().insert(header::HOST, host.clone());
        }
        client.announce(request.headers_mut(), host);
        if let Some(protocol) = upgrade {
            forward::set_upgrade(request.headers_mut(), protocol);
        }
        let caller = Caller { origin, client: client.ip, source: self.network.gateway() };
        let patience = {
            let port = find(&self.network.tables().load());
            self.network.patience(port.as_deref(), self.limits.patience)
        };
        let exchange = self.network.exchange(find, caller, request, self.limits.patience);
        let allowed = self.limits.response_timeout + patience;
        let mut response = match tokio::time::timeout(allowed, exchange).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return failure(&error),
            Err(_) => return plain(StatusCode::GATEWAY_TIMEOUT, "the backend did not answer in time\n"),
        };
        let protocol = response.headers().get(header::UPGRADE).cloned();
        forward::strip_hop_by_hop(response.headers_mut());
        if let (StatusCode::SWITCHING_PROTOCOLS, Some(near), Some(protocol)) =
            (response.status(), upgraded, protocol)
        {
            forward::set_upgrade(response.headers_mut(), protocol);
            let far = hyper::upgrade::on(&mut response);
            self.tasks.spawn(splice::upgraded(near, far));
        }
        response
    }
}

/// The host a request is for.
enum Host {
    Authority(Authority),
    Field(HeaderValue),
}

/// The URI's authority (HTTP/2, absolute form), else `Host`.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Option<Host> {
    match uri.authority() {
        Some(authority) => Some(Host::Authority(authority.clone())),
        None => {
            let value = headers.get(header::HOST)?;
            value.to_str().ok()?;
            Some(Host::Field(value.clone()))
        }
    }
}

impl Host {
    fn as_str(&self) -> &str {
        match self {
            Host::Authority(authority) => authority.as_str(),
            Host::Field(value) => value.to_str().unwrap_or(""),
        }
    }

    fn value(&self) -> Option<HeaderValue> {
        match self {
            Host::Authority(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            Host::Field(value) => Some(value.clone()),
        }
    }
}

/// `shop.example:8080` → `shop.example`, `[::1]:80` → `[::1]`; user names are no hosts.
fn without_port(host: &str) -> &str {
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

/// A short answer of the proxy itself.
fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The answer to a request that waited in vain for a Service that is scaled to zero.
pub(crate) fn asleep() -> Response {
    plain(StatusCode::GATEWAY_TIMEOUT, "the Service was scaled to zero and did not come back in time\n")
}

/// The answer to one that may not even wait.
pub(crate) fn crowded() -> Response {
    let mut response = plain(
        StatusCode::SERVICE_UNAVAILABLE,
        "the Service is scaled to zero and too many requests wait for it\n",
    );
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn failure(error: &ExchangeError) -> Response {
    tracing::debug!(error = error as &dyn std::error::Error, "request could not be forwarded");
    match error {
        ExchangeError::Asleep => asleep(),
        ExchangeError::Crowded => crowded(),
        ExchangeError::NoService => {
            plain(StatusCode::SERVICE_UNAVAILABLE, "the backend Service or its port does not exist\n")
        }
        ExchangeError::Unsent { .. } => {
            plain(StatusCode::SERVICE_UNAVAILABLE, "no endpoint of the Service is ready\n")
        }
        ExchangeError::Handler(HandlerError::Timeout) => {
            plain(StatusCode::GATEWAY_TIMEOUT, "the backend did not answer in time\n")
        }
        _ => plain(StatusCode::BAD_GATEWAY, "the backend failed\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_no_part_of_the_host() {
        let cases = [
            ("shop.example", "shop.example"),
            ("shop.example:8080", "shop.example"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("me@shop.example:80", "shop.example"),
        ];
        for (host, want) in cases {
            assert_eq!(without_port(host), want);
        }
    }
}

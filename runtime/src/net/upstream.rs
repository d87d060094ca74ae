//! HTTP/1 connections to Pods that speak it themselves, kept for the next request.

use crate::http::{Body, Request, Response};
use crate::net::NetError;
use crate::net::exchange::ExchangeError;
use crate::net::stream::Stream;
use http::{Method, Version, header};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

/// Connections kept for one pair of client and endpoint.
const KEPT_PER_ENDPOINT: usize = 32;

/// A request that must not be sent twice takes a kept connection only this soon after its last
/// use: later, the other side may be about to close it.
const TRUSTED: Duration = Duration::from_secs(1);

type Key = (IpAddr, SocketAddr);

/// Idle connections by client and endpoint.
#[derive(Default)]
pub(crate) struct Upstreams(Mutex<HashMap<Key, Vec<Idle>>>);

struct Idle {
    sender: SendRequest<Body>,
    used: Instant,
}

impl Upstreams {
    /// Sends over a kept connection or one that `open` makes. The connection is kept if `keep`
    /// says so in the end.
    pub(crate) async fn send<F>(
        &self,
        key: Key,
        mut request: Request,
        open: impl FnOnce() -> F,
        keep: impl Fn() -> bool,
    ) -> Result<Response, ExchangeError>
    where
        F: Future<Output = Result<Stream, NetError>>,
    {
        to_origin_form(&mut request);
        let repeatable = is_repeatable(request.method());
        while let Some(mut sender) = self.take(key, repeatable) {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.done(key, sender, response, keep)),
                Err(mut failed) => match failed.take_message() {
                    Some(back) => request = back,
                    None => return Err(ExchangeError::Protocol(failed.into_error())),
                },
            }
        }
        let stream = match open().await {
            Ok(stream) => stream,
            Err(error) => return Err(ExchangeError::unsent(error, request)),
        };
        let (sender, response) = send_on(stream, request).await?;
        Ok(self.done(key, sender, response, keep))
    }

    fn take(&self, key: Key, repeatable: bool) -> Option<SendRequest<Body>> {
        let mut idle = self.0.lock();
        let kept = idle.get_mut(&key)?;
        kept.retain(|idle| !idle.sender.is_closed());
        let trusted = |idle: &Idle| repeatable || idle.used.elapsed() < TRUSTED;
        let at = kept.iter().rposition(|idle| idle.sender.is_ready() && trusted(idle))?;
        Some(kept.swap_remove(at).sender)
    }

    /// Keeps the connection; it becomes ready again when the response has been read.
    fn done(
        &self,
        key: Key,
        sender: SendRequest<Body>,
        response: http::Response<hyper::body::Incoming>,
        keep: impl Fn() -> bool,
    ) -> Response {
        let upgraded = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
        let mut idle = self.0.lock();
        // Asked under the lock: a Pod that drains forgets its connections after saying no here.
        if !upgraded && !sender.is_closed() && keep() {
            let kept = idle.entry(key).or_default();
            kept.retain(|idle| !idle.sender.is_closed());
            if kept.len() < KEPT_PER_ENDPOINT {
                kept.push(Idle { sender, used: Instant::now() });
            }
        }
        drop(idle);
        response.map(Body::from)
    }

    /// Drops every connection from or to a Pod.
    pub(crate) fn forget(&self, ip: IpAddr) {
        self.0.lock().retain(|(from, to), _| *from != ip && to.ip() != ip);
    }
}

/// One exchange on a connection of its own.
pub(crate) async fn send_fresh<S>(stream: S, mut request: Request) -> Result<Response, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    to_origin_form(&mut request);
    let (_, response) = send_on(stream, request).await?;
    Ok(response.map(Body::from))
}

async fn send_on<S>(
    stream: S,
    request: Request,
) -> Result<(SendRequest<Body>, http::Response<hyper::body::Incoming>), ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(ExchangeError::Protocol)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "HTTP connection to a Pod ended");
        }
    });
    match sender.try_send_request(request).await {
        Ok(response) => Ok((sender, response)),
        Err(mut failed) => Err(match failed.take_message() {
            Some(request) => ExchangeError::unsent(NetError::ConnectionReset, request),
            None => ExchangeError::Protocol(failed.into_error()),
        }),
    }
}

/// Whether sending it twice does no harm (RFC 9110, 9.2.2).
fn is_repeatable(method: &Method) -> bool {
    method.is_safe() || matches!(*method, Method::PUT | Method::DELETE)
}

/// HTTP/1.1 to an origin server: the authority moves from the URI to `Host`.
fn to_origin_form(request: &mut Request) {
    *request.version_mut() = Version::HTTP_11;
    let Some(authority) = request.uri().authority() else { return };
    if !request.headers().contains_key(header::HOST)
        && let Ok(host) = http::HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    let path = request.uri().path_and_query().cloned();
    let path = path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
    *request.uri_mut() = http::Uri::from(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_becomes_origin_form() {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = "http://web:8080/a?b".parse().expect("valid");
        to_origin_form(&mut request);
        assert_eq!(request.uri(), "/a?b");
        assert_eq!(request.headers()[header::HOST], "web:8080");
    }
}

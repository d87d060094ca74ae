//! HTTP on one accepted connection.

use crate::http::{Body, Request, Response};
use crate::proxy::config::Limits;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// Serves HTTP/1.1 and HTTP/2 (also without TLS) until the client leaves. When `drain` is
/// cancelled, what runs is finished and nothing new begins.
pub(crate) async fn serve<S, F>(
    stream: S,
    peer: SocketAddr,
    limits: &Limits,
    drain: CancellationToken,
    answer: impl Fn(Request) -> F,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| {
        let answer = answer(request.map(Body::from));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let builder = builder(limits);
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error, "client connection ended early");
    }
}

/// Whether these first bytes of a stream are those of a request: a method and a space.
pub(crate) fn is_http(begin: &[u8]) -> bool {
    let method = begin.split(|byte| *byte == b' ').next().unwrap_or_default();
    method.len() >= 3 && method.len() < begin.len() && method.iter().all(u8::is_ascii_uppercase)
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes.max(8192))
        .max_headers(limits.head_fields)
        .pipeline_flush(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(250)
        .keep_alive_interval(limits.head_timeout);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_from_other_beginnings() {
        for (begin, expected) in [
            ("GET / HT", true),
            ("OPTIONS ", true),
            ("PRI * HT", true),
            ("DELETE /", true),
            ("", false),
            ("GET", false),
            ("* OK ", false),
            ("\u{16}\u{3}\u{1} a", false),
            ("EHLO", false),
        ] {
            assert_eq!(is_http(begin.as_bytes()), expected, "{begin:?}");
        }
    }
}

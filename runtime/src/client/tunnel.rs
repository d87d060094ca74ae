//! The connection that the node opens and the server calls back on: logs and health, with no port on the node.
//!
//! HTTP/2 has no `Upgrade`, so the tunnel begins as HTTP/1.1 on a stream of its own. After the `101` the node is
//! an HTTP/2 server on it.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio_util::task::AbortOnDropHandle;

use crate::client::backoff::Backoff;
use crate::client::{Client, ClientError, Protocol};

/// The protocol's name in `Upgrade`.
pub const PROTOCOL: &str = "edgectl-tunnel";
/// How often the node asks whether the server is still there.
const PING: Duration = Duration::from_secs(30);
/// How long the server may take to say `101`.
const ANSWER: Duration = Duration::from_secs(15);

/// The body of what the node answers.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;
/// What answers the server's calls.
pub type Answer = Arc<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// Why a tunnel ended or never began.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The stream to the server.
    #[error("no tunnel to the API server")]
    Client(#[source] ClientError),
    /// The server does not offer tunnels.
    #[error("the API server answered {0} to the tunnel's upgrade")]
    Refused(StatusCode),
    /// The tunnel broke.
    #[error("the tunnel broke")]
    Broken(#[source] hyper::Error),
}

/// Keeps a tunnel for node `name` open for as long as it is polled.
pub async fn keep(client: Client, name: String, answer: Answer) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));
    loop {
        let begun = tokio::time::Instant::now();
        match serve(&client, &name, answer.clone()).await {
            Ok(()) => tracing::debug!(node = name, "the tunnel was closed by the server"),
            Err(error) => tracing::debug!(node = name, error = &error as &dyn std::error::Error, "no tunnel"),
        }
        if begun.elapsed() > PING {
            backoff.reset();
        }
        backoff.wait().await;
    }
}

/// Opens one tunnel and serves it until it ends.
pub async fn serve(client: &Client, name: &str, answer: Answer) -> Result<(), TunnelError> {
    let upgraded = tokio::time::timeout(ANSWER, open(client, name))
        .await
        .map_err(|_| TunnelError::Client(ClientError::Timeout(ANSWER)))??;
    let service = service_fn(move |request| {
        let answering = answer(request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(client.connector().may_vanish().then_some(PING))
        .serve_connection(upgraded, service)
        .await
        .map_err(TunnelError::Broken)
}

async fn open(client: &Client, name: &str) -> Result<hyper::upgrade::Upgraded, TunnelError> {
    let broken = |error| TunnelError::Client(ClientError::Http(error));
    let connector = client.connector();
    let stream = connector
        .connect(Protocol::Http1)
        .await
        .map_err(|error| TunnelError::Client(ClientError::Connect(error)))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection.with_upgrades()));
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("/edgectl.dev/v1/nodes/{name}/tunnel"))
        .body(Empty::<Bytes>::new())
        .map_err(|error| TunnelError::Client(ClientError::Target(error)))?;
    let headers = request.headers_mut();
    *headers = client.headers();
    if let Ok(host) = HeaderValue::from_str(connector.authority()) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    let response = sender.send_request(request).await.map_err(broken)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(TunnelError::Refused(response.status()));
    }
    hyper::upgrade::on(response).await.map_err(broken)
}

/// A short text answer.
pub fn text(status: StatusCode, message: &str) -> Response<Body> {
    let body = http_body_util::Full::new(Bytes::copy_from_slice(message.as_bytes()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

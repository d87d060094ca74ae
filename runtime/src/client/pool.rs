//! The client's connections: as few as carry the streams, replaced when they break.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::client::{ClientError, Connector, Credentials, Protocol};

/// Streams per connection; below what servers allow, so that a request never waits behind watches.
const STREAMS: usize = 90;
/// How often a connection over a wire is asked whether it still lives, while something runs on it.
const PING: Duration = Duration::from_secs(15);

pub(crate) struct Pool {
    connector: Connector,
    credentials: Credentials,
    agent: HeaderValue,
    connections: Mutex<Vec<Connection>>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    streams: Arc<AtomicUsize>,
    _driver: AbortOnDropHandle<()>,
}

impl Pool {
    pub(crate) fn new(connector: Connector, credentials: Credentials, agent: &str) -> Pool {
        let agent = HeaderValue::from_str(agent).unwrap_or(HeaderValue::from_static("edged"));
        Pool { connector, credentials, agent, connections: Mutex::default() }
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// What every request says about its sender.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, self.agent.clone());
        if let Credentials::Bearer(token) = &self.credentials
            && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {token}"))
        {
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        headers
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> Result<Request<()>, ClientError> {
        let scheme = if self.connector.may_vanish() { "https" } else { "http" };
        let target = format!("{scheme}://{}{path}", self.connector.authority());
        let mut request =
            Request::builder().method(method).uri(target).body(()).map_err(ClientError::Target)?;
        *request.headers_mut() = self.headers();
        Ok(request)
    }

    /// Sends a request; one that provably never left is sent once more on a new connection.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Reply>, ClientError> {
        match self.attempt(request.clone()).await {
            Err(ClientError::Http(error)) if error.is_canceled() => self.attempt(request).await,
            other => other,
        }
    }

    async fn attempt(&self, request: Request<Full<Bytes>>) -> Result<Response<Reply>, ClientError> {
        let (mut sender, lease) = self.take().await?;
        sender.ready().await.map_err(ClientError::Http)?;
        let response = sender.send_request(request).await.map_err(ClientError::Http)?;
        Ok(response.map(|body| Reply { body, _lease: lease }))
    }

    async fn take(&self) -> Result<(SendRequest<Full<Bytes>>, Lease), ClientError> {
        let mut connections = self.connections.lock().await;
        connections.retain(|connection| !connection.sender.is_closed());
        let free = connections.iter().position(|each| each.streams.load(Ordering::Relaxed) < STREAMS);
        let index = match free {
            Some(index) => index,
            None => {
                connections.push(self.open().await?);
                connections.len() - 1
            }
        };
        let connection = &connections[index];
        connection.streams.fetch_add(1, Ordering::Relaxed);
        Ok((connection.sender.clone(), Lease(connection.streams.clone())))
    }

    async fn open(&self) -> Result<Connection, ClientError> {
        let stream = self.connector.connect(Protocol::Http2).await.map_err(ClientError::Connect)?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        if self.connector.may_vanish() {
            builder.keep_alive_interval(PING).keep_alive_timeout(PING);
        }
        let (sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(ClientError::Http)?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the API server ended");
            }
        });
        Ok(Connection { sender, streams: Arc::default(), _driver: AbortOnDropHandle::new(driver) })
    }
}

/// One stream's place on its connection.
struct Lease(Arc<AtomicUsize>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer; holds its place on the connection until it is dropped.
pub struct Reply {
    body: Incoming,
    _lease: Lease,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! Ways to the nodes: connections that they opened and on which the server calls.
//!
//! A node needs no port and no certificate of its own: it asks the API server to turn a request into a tunnel, on
//! which it then answers HTTP/2. One tunnel a node; a new one replaces the old. Knows no paths and no Pods.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The name of the protocol in `Upgrade`.
pub const PROTOCOL: &str = "edgectl-tunnel";
/// How long a node may take to begin an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer of a node that is read as a whole, in bytes: what is told of 100,000 Pods and Services fits.
const LARGEST: usize = 32 << 20;

/// Why a node did not answer.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// It has no tunnel.
    #[error("the node is not connected")]
    NotConnected,
    /// The tunnel broke.
    #[error("the connection to the node broke")]
    Broken(#[source] hyper::Error),
    /// It took too long.
    #[error("the node did not answer within {PATIENCE:?}")]
    Late,
}

/// What a node is sent.
pub type Sent = UnsyncBoxBody<Bytes, io::Error>;

type Sender = SendRequest<Sent>;

/// The tunnels of all nodes. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tunnels(Arc<Mutex<HashMap<String, (u64, Sender)>>>);

impl Tunnels {
    /// Uses `stream` as the tunnel of `node` until it ends or `draining` is set.
    pub async fn keep<S>(&self, node: &str, stream: S, draining: CancellationToken)
    where
        S: Read + Write + Unpin + Send + 'static,
    {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        let (sender, connection) = match builder.handshake(stream).await {
            Ok(parts) => parts,
            Err(error) => {
                tracing::debug!(node, error = &error as &dyn std::error::Error, "no tunnel");
                return;
            }
        };
        let number = fastrand::u64(..);
        self.0.lock().insert(node.to_owned(), (number, sender));
        tokio::select! {
            _ = connection => {}
            () = draining.cancelled() => {}
        }
        let mut tunnels = self.0.lock();
        if tunnels.get(node).is_some_and(|(current, _)| *current == number) {
            tunnels.remove(node);
        }
    }

    /// What a node tells at a path such as `/metrics`; none if it cannot be reached or does not tell.
    pub async fn read(&self, node: &str, path: &str) -> Option<Bytes> {
        let request = Request::get(format!("http://node{path}")).body(Empty::new()).ok()?;
        let answer = match self.send(node, request).await {
            Ok(answer) if answer.status().is_success() => answer,
            Ok(answer) => {
                tracing::debug!(node, path, status = %answer.status(), "a node does not tell");
                return None;
            }
            Err(error) => {
                tracing::debug!(node, path, error = &error as &dyn std::error::Error, "a node does not tell");
                return None;
            }
        };
        Some(Limited::new(answer.into_body(), LARGEST).collect().await.ok()?.to_bytes())
    }

    /// Asks a node; only the path of the URI counts.
    pub async fn send(
        &self,
        node: &str,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, TunnelError> {
        let request = request.map(|body| body.map_err(|never| match never {}).boxed_unsync());
        self.stream(node, request).await
    }

    /// The same with a body, which may go on while the node answers.
    pub async fn stream(
        &self,
        node: &str,
        request: Request<Sent>,
    ) -> Result<Response<Incoming>, TunnelError> {
        let sender = self.0.lock().get(node).map(|(_, sender)| sender.clone());
        let mut sender = sender.ok_or(TunnelError::NotConnected)?;
        let answering = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        match tokio::time::timeout(PATIENCE, answering).await {
            Ok(answer) => answer.map_err(TunnelError::Broken),
            Err(_) => Err(TunnelError::Late),
        }
    }

    /// The nodes that have a tunnel.
    pub fn connected(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }

    /// Whether a node has a tunnel.
    pub fn is_connected(&self, node: &str) -> bool {
        self.0.lock().contains_key(node)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::convert::Infallible;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::{BodyExt, Empty, Full};
    use hyper::server::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio_util::sync::CancellationToken;

    use super::{TunnelError, Tunnels};

    fn ask() -> Request<Empty<Bytes>> {
        Request::get("http://node/healthz").body(Empty::new()).unwrap()
    }

    #[tokio::test]
    async fn a_node_answers_on_the_connection_it_opened() {
        let tunnels = Tunnels::default();
        assert!(matches!(tunnels.send("a", ask()).await, Err(TunnelError::NotConnected)));
        let (ours, theirs) = tokio::io::duplex(4096);
        let draining = CancellationToken::new();
        let keeping = tokio::spawn({
            let (tunnels, draining) = (tunnels.clone(), draining.clone());
            async move { tunnels.keep("a", TokioIo::new(ours), draining).await }
        });
        let node = tokio::spawn(async move {
            let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(request.uri().path().to_owned()))))
            });
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(theirs), service).await
        });
        while !tunnels.is_connected("a") {
            tokio::task::yield_now().await;
        }
        let answer = tunnels.send("a", ask()).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "/healthz");
        draining.cancel();
        keeping.await.unwrap();
        assert!(!tunnels.is_connected("a"));
        let _ = node.await;
    }
}

//! The listeners of the proxy: bound first, run later, drained in two phases.

use crate::net::{Attachment, Network, PodIdentity, PodNet};
use crate::proxy::config::Config;
use crate::proxy::forward::Client;
use crate::proxy::ingress::Forwarder;
use crate::proxy::{http, ports, tls};
use crate::table::Certificate;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A listener that is there from the start cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("{purpose} cannot listen on {address}")]
pub struct BindError {
    address: SocketAddr,
    purpose: &'static str,
    #[source]
    source: io::Error,
}

/// The bound proxy.
pub struct Proxy {
    http: TcpListener,
    https: Option<TcpListener>,
    http_address: SocketAddr,
    https_address: Option<SocketAddr>,
    certificate: Option<Arc<Certificate>>,
    node_ports: IpAddr,
    door: Arc<Door>,
    gateway: PodNet,
}

/// What every listener shares.
pub(crate) struct Door {
    pub(crate) forwarder: Forwarder,
    /// Cancelled when nothing new is to begin.
    pub(crate) drain: CancellationToken,
    /// Cancelled when everything is to end.
    end: CancellationToken,
    connections: Arc<Semaphore>,
}

impl Proxy {
    /// Binds the Ingress listeners. NodePorts and hostPorts follow the table once it runs.
    pub async fn bind(config: Config, network: Network) -> Result<Proxy, BindError> {
        let (http, http_address) = listen(config.http, "Ingress over HTTP").await?;
        let (https, https_address) = match config.https {
            None => (None, None),
            Some(address) => {
                let (listener, address) = listen(address, "Ingress over HTTPS").await?;
                (Some(listener), Some(address))
            }
        };
        let gateway = attach_gateway(&network);
        let connections = Arc::new(Semaphore::new(config.limits.connections));
        let limits = Arc::new(config.limits);
        let tasks = TaskTracker::new();
        let door = Arc::new(Door {
            forwarder: Forwarder { network, limits, tasks },
            drain: CancellationToken::new(),
            end: CancellationToken::new(),
            connections,
        });
        Ok(Proxy {
            http,
            https,
            http_address,
            https_address,
            certificate: config.certificate,
            node_ports: config.node_ports,
            door,
            gateway,
        })
    }

    /// Where Ingress is served over HTTP.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_address
    }

    /// Where Ingress is served over TLS.
    pub fn https_addr(&self) -> Option<SocketAddr> {
        self.https_address
    }

    /// Serves until `drain` is cancelled; then takes no connection, finishes what runs and
    /// returns. Dropping the future ends the rest, which is how a deadline is kept.
    pub async fn run(self, drain: CancellationToken) {
        let Proxy { http, https, certificate, node_ports, door, gateway, .. } = self;
        let _end = door.end.clone().drop_guard();
        let serving = async {
            let secure = async {
                match https {
                    Some(listener) => serve_https(door.clone(), listener, certificate).await,
                    None => std::future::pending().await,
                }
            };
            tokio::join!(
                serve_http(door.clone(), http),
                secure,
                ports::follow(door.clone(), gateway.clone(), node_ports),
            );
        };
        tokio::select! {
            () = serving => {}
            () = drain.cancelled() => {}
        }
        door.drain.cancel();
        door.forwarder.tasks.close();
        door.forwarder.tasks.wait().await;
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("http", &self.http_address)
            .field("https", &self.https_address)
            .finish_non_exhaustive()
    }
}

async fn listen(address: SocketAddr, purpose: &'static str) -> Result<(TcpListener, SocketAddr), BindError> {
    let error = |source| BindError { address, purpose, source };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let bound = listener.local_addr().map_err(error)?;
    Ok((listener, bound))
}

/// The node's own place on the Pod network.
fn attach_gateway(network: &Network) -> PodNet {
    let identity = PodIdentity { namespace: "".into(), name: "gateway".into(), uid: "".into() };
    let gateway = network.gateway();
    match network.attach(identity.clone(), gateway) {
        Ok(attached) => attached,
        // A Pod may hold the address on a node of another server; the gateway then has none.
        Err(_) => network
            .attach_with(identity, gateway, Attachment { host_network: true, names: None })
            .expect("the host's own network has room for everybody"),
    }
}

impl Door {
    /// Accepts until dropped or drained; each connection is a task that ends with the proxy.
    pub(crate) async fn accept<F>(
        self: Arc<Self>,
        listener: TcpListener,
        serve: impl Fn(TcpStream, SocketAddr) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        loop {
            let Ok(permit) = self.connections.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.drain.cancelled() => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, mostly: wait for some to come back.
                    tracing::warn!(%error, "the proxy cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            drop(stream.set_nodelay(true));
            let (end, connection) = (self.end.clone(), serve(stream, peer));
            self.forwarder.tasks.spawn(async move {
                tokio::select! {
                    () = connection => {}
                    () = end.cancelled() => {}
                }
                drop(permit);
            });
        }
    }

    async fn serve_ingress<S>(&self, stream: S, peer: SocketAddr, encrypted: bool)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        // One reference count a request.
        let shared = Arc::new((self.forwarder.clone(), Client::new(peer.ip(), encrypted)));
        let answer = |request| {
            let shared = shared.clone();
            async move { shared.0.route(&shared.1, request).await }
        };
        http::serve(stream, peer, &self.forwarder.limits, self.drain.clone(), answer).await;
    }
}

async fn serve_http(door: Arc<Door>, listener: TcpListener) {
    let serve = |stream, peer| {
        let door = door.clone();
        async move { door.serve_ingress(stream, peer, false).await }
    };
    door.clone().accept(listener, serve).await;
}

async fn serve_https(door: Arc<Door>, listener: TcpListener, certificate: Option<Arc<Certificate>>) {
    let tables = door.forwarder.network.tables().clone();
    let acceptor = TlsAcceptor::from(tls::server_config(tables, certificate.as_deref()));
    let serve = |stream, peer| {
        let (door, acceptor) = (door.clone(), acceptor.clone());
        async move {
            let allowed = door.forwarder.limits.handshake_timeout;
            match tokio::time::timeout(allowed, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => door.serve_ingress(stream, peer, true).await,
                Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
            }
        }
    };
    door.clone().accept(listener, serve).await;
}

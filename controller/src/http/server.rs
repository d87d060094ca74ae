//! The server: its listeners, the connections it has taken, and how it ends.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::aggregate::Aggregation;
use crate::custom_metrics::CustomMetrics;
use crate::http::audit::Audit;
use crate::http::connection::{self, Peer, Shared};
use crate::http::discovery::Discovered;
use crate::http::fairness::Seats;
use crate::http::health::Checks;
use crate::http::metrics::Metrics;
use crate::http::reconcilers::Reconcilers;
use crate::http::seldom::Seldom;
use crate::http::wire::Wire;
use crate::http::zpages::Zpages;
use crate::identity::{IdentityError, User};
use crate::registry::Registry;
use crate::tunnel::Tunnels;
use crate::usage::Usage;
use crate::wanted::Wanted;

/// Connections served at a time; more wait.
const CONNECTIONS: usize = 8192;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes in flight in each direction of a stream in memory.
const MEMORY: usize = 64 * 1024;
/// How long accepting rests when the system has no file left for a connection.
const REST: Duration = Duration::from_millis(100);
/// Seconds without a sign of life after which the system asks whether a peer is there.
const KEEPALIVE: u64 = 60;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address.
    #[error("cannot listen on {0}; is another process using it?")]
    Address(SocketAddr, #[source] io::Error),
    /// The Unix socket.
    #[error("cannot listen on {0}")]
    Path(PathBuf, #[source] io::Error),
    /// The certificate.
    #[error("cannot serve TLS")]
    Identity(#[source] IdentityError),
}

/// Opens connections inside this process for one user. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    shared: Arc<Shared>,
    connections: TaskTracker,
    cut: CancellationToken,
    user: User,
}

impl Connector {
    /// A new connection: HTTP/1.1 or HTTP/2, no TLS. Needs a runtime.
    pub fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(MEMORY);
        let serving = connection::serve(self.shared.clone(), Peer::Known(self.user.clone()), ours);
        spawn(&self.connections, &self.cut, serving);
        theirs
    }
}

/// The API server. It binds first and runs later; dropping it ends every connection.
pub struct ApiServer {
    shared: Arc<Shared>,
    tls: TlsAcceptor,
    listeners: Mutex<Vec<Listener>>,
    connections: TaskTracker,
    cut: CancellationToken,
    places: Arc<Semaphore>,
    _guard: DropGuard,
}

enum Listener {
    Tls(TcpListener),
    Unix { listener: UnixListener, user: User, uid: u32 },
}

impl ApiServer {
    /// A server of the registry that listens nowhere yet.
    pub fn new(registry: Registry) -> Result<ApiServer, ListenError> {
        let config = registry.pki().server_config().map_err(ListenError::Identity)?;
        let cut = CancellationToken::new();
        let aggregation = Aggregation::new(registry.clone());
        let (tunnels, zpages) = (registry.tunnels().clone(), Zpages::starting(registry.now()));
        let shared = Shared {
            usage: Usage::new(registry.clone(), tunnels.clone()),
            custom_metrics: CustomMetrics::new(registry.clone(), aggregation.clone()),
            aggregation,
            wanted: Wanted::default(),
            registry,
            tunnels,
            checks: Checks::default(),
            metrics: Metrics::default(),
            reconcilers: Reconcilers::default(),
            zpages,
            seats: Seats::default(),
            audit: None,
            draining: CancellationToken::new(),
            discovered: Discovered::default(),
        };
        shared.checks.alive_when("ping", || true);
        Ok(ApiServer {
            shared: Arc::new(shared),
            tls: TlsAcceptor::from(Arc::new(config)),
            listeners: Mutex::default(),
            connections: TaskTracker::new(),
            _guard: cut.clone().drop_guard(),
            cut,
            places: Arc::new(Semaphore::new(CONNECTIONS)),
        })
    }

    /// The same server, keeping an audit log. Only before anybody has a connection.
    pub fn with_audit(mut self, audit: Audit) -> ApiServer {
        Arc::get_mut(&mut self.shared).expect("nobody has a connection yet").audit = Some(audit);
        self
    }

    /// Binds an address for TLS; the answer has the real port.
    pub async fn bind_tls(&self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        let failed = |error| ListenError::Address(address, error);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        self.listeners.lock().push(Listener::Tls(listener));
        Ok(bound)
    }

    /// Binds a Unix socket on which everybody of user id `uid` (and our own and root) is `user`.
    pub fn bind_unix(&self, path: &Path, user: User, uid: u32) -> Result<(), ListenError> {
        let failed = |error| ListenError::Path(path.to_owned(), error);
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        if uid != rustix::process::geteuid().as_raw() {
            std::os::unix::fs::chown(path, Some(uid), None).map_err(failed)?;
        }
        self.listeners.lock().push(Listener::Unix { listener, user, uid });
        Ok(())
    }

    /// A new connection inside this process, spoken by `user`: HTTP/1.1 or HTTP/2, no TLS. Needs a runtime.
    pub fn connect(&self, user: User) -> DuplexStream {
        self.connector(user).connect()
    }

    /// What opens such connections without the server at hand.
    pub fn connector(&self, user: User) -> Connector {
        let (shared, connections, cut) = (self.shared.clone(), self.connections.clone(), self.cut.clone());
        Connector { shared, connections, cut, user }
    }

    /// The checks of `/readyz` and `/livez`.
    pub fn checks(&self) -> &Checks {
        &self.shared.checks
    }

    /// The metrics of `/metrics`.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// What `/statusz` and `/flagz` show.
    pub fn zpages(&self) -> &Zpages {
        &self.shared.zpages
    }

    /// What `/debug/reconcilers` shows.
    pub fn reconcilers(&self) -> &Reconcilers {
        &self.shared.reconcilers
    }

    /// The ways to the nodes.
    pub fn tunnels(&self) -> &Tunnels {
        &self.shared.tunnels
    }

    /// Who serves other groups.
    pub fn aggregation(&self) -> &Aggregation {
        &self.shared.aggregation
    }

    /// What Nodes and Pods use.
    pub fn usage(&self) -> &Usage {
        &self.shared.usage
    }

    /// Metrics of objects.
    pub fn custom_metrics(&self) -> &CustomMetrics {
        &self.shared.custom_metrics
    }

    /// Autoscalers for whose targets requests wait.
    pub fn wanted(&self) -> &Wanted {
        &self.shared.wanted
    }

    /// The objects it serves.
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Accepts connections on everything that was bound, until the server drains.
    pub async fn run(&self) {
        let listeners = std::mem::take(&mut *self.listeners.lock());
        let accepting = listeners.into_iter().map(|listener| self.accept(listener));
        tokio::select! {
            _ = futures::future::join_all(accepting) => {}
            () = self.shared.draining.cancelled() => {}
        }
        self.shared.draining.cancelled().await;
    }

    /// Takes no more connections, ends streams, lets requests under way finish until `deadline`, then cuts.
    pub async fn drain(&self, deadline: Duration) {
        self.shared.draining.cancel();
        self.connections.close();
        if tokio::time::timeout(deadline, self.connections.wait()).await.is_err() {
            tracing::info!(connections = self.connections.len(), "connections are cut at the deadline");
        }
        self.cut.cancel();
    }

    async fn accept(&self, listener: Listener) {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else { return };
            match &listener {
                Listener::Tls(tcp) => match tcp.accept().await {
                    Ok((stream, _)) => {
                        let (tls, shared) = (self.tls.clone(), self.shared.clone());
                        spawn(&self.connections, &self.cut, async move {
                            serve_tls(shared, tls, stream).await;
                            drop(place);
                        });
                    }
                    Err(error) => rest(&error).await,
                },
                Listener::Unix { listener, user, uid } => match listener.accept().await {
                    Ok((stream, _)) if is_allowed(&stream, *uid) => {
                        let serving =
                            connection::serve(self.shared.clone(), Peer::Known(user.clone()), stream);
                        spawn(&self.connections, &self.cut, async move {
                            serving.await;
                            drop(place);
                        });
                    }
                    Ok(_) => tracing::warn!("a process of another user was turned away from the Unix socket"),
                    Err(error) => rest(&error).await,
                },
            }
        }
    }
}

/// Runs until the connection ends or is cut.
fn spawn(
    connections: &TaskTracker,
    cut: &CancellationToken,
    serving: impl Future<Output = ()> + Send + 'static,
) {
    let cut = cut.clone();
    connections.spawn(async move {
        tokio::select! {
            biased;
            () = serving => {}
            () = Seldom::new(cut.cancelled()) => {}
        }
    });
}

async fn serve_tls(shared: Arc<Shared>, tls: TlsAcceptor, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
    let _ = rustix::net::sockopt::set_tcp_keepidle(&stream, Duration::from_secs(KEEPALIVE));
    let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(Wire(stream))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "no TLS");
            return;
        }
        Err(_) => return,
    };
    let address = stream.get_ref().0.0.peer_addr().ok().map(|address| address.ip());
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let user = certificate.and_then(|leaf| shared.registry.pki().authenticate_certificate(leaf));
    connection::serve(shared, Peer::Remote(address, user), stream).await;
}

fn is_allowed(stream: &UnixStream, uid: u32) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| [uid, own, 0].contains(&peer.uid()))
}

async fn rest(error: &io::Error) {
    tracing::warn!(error = error as &dyn std::error::Error, "cannot accept a connection");
    tokio::time::sleep(REST).await;
}

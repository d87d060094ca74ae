//! The sockets of one Pod, as its sandboxes use them.

use crate::dns::{PodNames, ResolveError};
use crate::http::{Request, Response, SharedHandler};
use crate::net::exchange;
use crate::net::network::{Dialed, Inner, pair};
use crate::net::outgoing::{self, HttpError};
use crate::net::outside;
use crate::net::pod::{Pod, PortLease, Tcp};
use crate::net::stream::Stream;
use crate::net::udp::{Queue, Udp};
use crate::net::{NetError, PodIdentity};
use crate::table::Origin;
use parking_lot::Mutex;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// One Pod's sockets. Clones are the same Pod.
#[derive(Clone)]
pub struct PodNet(Arc<Attached>);

struct Attached {
    network: Arc<Inner>,
    pod: Arc<Pod>,
    names: PodNames,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.network.detach(&self.pod);
    }
}

impl PodNet {
    pub(crate) fn new(network: Arc<Inner>, pod: Arc<Pod>, names: PodNames) -> Self {
        PodNet(Arc::new(Attached { network, pod, names }))
    }

    /// The Pod's logical address.
    pub fn ip(&self) -> IpAddr {
        self.0.pod.ip
    }

    /// Who the Pod is.
    pub fn identity(&self) -> &PodIdentity {
        &self.0.pod.identity
    }

    /// Binds a TCP socket. The address is the Pod's, its loopback or unspecified; port 0 takes a
    /// free one. Errors: `AddressInUse`, `AddressNotBindable`, `SocketLimit`.
    pub fn tcp_bind(&self, address: SocketAddr) -> Result<TcpBound, NetError> {
        let pod = &self.0.pod;
        if pod.host_network {
            let lease = pod.socket()?;
            let socket = host_socket(address)?;
            let local = socket.local_addr()?;
            let kind = Bound::Host(socket, lease);
            return Ok(TcpBound { network: self.0.network.clone(), local, kind });
        }
        let port = pod.bind_tcp(address, Tcp::Bound)?;
        let (local, kind) = (port.address, Bound::Pod(port));
        Ok(TcpBound { network: self.0.network.clone(), local, kind })
    }

    /// Connects, from a bound socket or an ephemeral port. Errors: `ConnectionRefused`,
    /// `Timeout`, `AccessDenied`, `OtherNode`, `Unreachable`, `SocketLimit`,
    /// `InvalidArgument` (port 0).
    pub async fn tcp_connect(&self, from: Option<TcpBound>, to: SocketAddr) -> Result<Stream, NetError> {
        if to.port() == 0 {
            return Err(NetError::InvalidArgument("port 0"));
        }
        let pod = &self.0.pod;
        if pod.host_network {
            return self.connect_as_host(from, to).await;
        }
        let bound = from.as_ref().map(|bound| bound.local.port());
        let port = bound.unwrap_or_else(|| pod.ephemeral_port());
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        let stream = match own_target(pod, to) {
            Some(to) => {
                let local = SocketAddr::new(to.ip(), port);
                self.connect_own(to, local).await?
            }
            None => {
                let dial = self.0.network.dial(to, SocketAddr::new(pod.ip, port), Origin::Inside);
                self.stream_of(dial.await?, to, SocketAddr::new(pod.ip, port))
            }
        };
        pod.adopt(stream)
    }

    async fn connect_own(&self, to: SocketAddr, local: SocketAddr) -> Result<Stream, NetError> {
        match self.0.pod.tcp_at(to) {
            Some(Tcp::Http(handler)) => Ok(self.stream_of(Dialed::Http(handler), to, local)),
            Some(Tcp::Listening(_)) => crate::net::network::join(&self.0.pod, to, local).await,
            _ => Err(NetError::ConnectionRefused),
        }
    }

    /// A byte stream even to a handler: HTTP is then spoken on it.
    fn stream_of(&self, dialed: Dialed, to: SocketAddr, local: SocketAddr) -> Stream {
        match dialed {
            Dialed::Stream(stream) => stream,
            Dialed::Http(handler) => {
                let (near, far) = pair(&self.0.pod, to, local);
                tokio::spawn(exchange::serve_stream(far, handler));
                near
            }
        }
    }

    async fn connect_as_host(&self, from: Option<TcpBound>, to: SocketAddr) -> Result<Stream, NetError> {
        let pod = &self.0.pod;
        let near = SocketAddr::new(pod.ip, pod.ephemeral_port());
        let is_service = self.0.network.tables.load().service_at(to.ip()).is_some();
        if is_service || self.0.network.pod_at(to.ip()).is_some() {
            let dialed = self.0.network.dial(to, near, Origin::Inside).await?;
            return pod.adopt(self.stream_of(dialed, to, near));
        }
        let stream = match from.map(|bound| bound.kind) {
            Some(Bound::Host(socket, _lease)) => {
                let local = socket.local_addr()?;
                Stream::kernel(socket.connect(to).await?, local, to)
            }
            _ => outside::connect(to, near, &pod.limits).await?,
        };
        pod.adopt(stream)
    }

    /// Binds a UDP socket; addresses and errors as for [`PodNet::tcp_bind`].
    pub fn udp_bind(&self, address: SocketAddr) -> Result<Udp, NetError> {
        let pod = &self.0.pod;
        if pod.host_network {
            return Err(NetError::NotSupported("UDP with hostNetwork"));
        }
        let queue = Arc::new(Queue::new(pod.limits.datagrams));
        let port = pod.bind_udp(address, queue.clone())?;
        Ok(Udp::new(port, self.0.network.clone(), queue))
    }

    /// The addresses of a name, as the Pod's `dnsPolicy`, `dnsConfig` and `hostAliases` say. An
    /// address in text form is its own answer.
    pub async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, NetError> {
        if let Ok(ip) = name.parse() {
            return Ok(vec![ip]);
        }
        if name.eq_ignore_ascii_case("localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let resolved = self.0.network.resolver.resolve(&self.0.names, name).await;
        resolved.map_err(|error| match error {
            ResolveError::NotFound => NetError::NameUnresolvable,
            ResolveError::Temporary => NetError::ResolverTemporary,
            ResolveError::Malformed => NetError::ResolverPermanent,
        })
    }

    /// Lets `handler` answer HTTP on this TCP port of the Pod until the guard is dropped.
    pub fn serve_http(&self, port: u16, handler: SharedHandler) -> Result<HttpServing, NetError> {
        let pod = &self.0.pod;
        if pod.host_network {
            return self.serve_http_as_host(port, handler);
        }
        let counted: SharedHandler = Arc::new(exchange::Counted::new(pod.clone(), handler));
        let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let bind = |ip| pod.bind_tcp(SocketAddr::new(ip, port), Tcp::Http(counted.clone()));
        let ports = vec![bind(any[0])?, bind(any[1])?];
        self.0.network.arrived();
        Ok(HttpServing { _ports: ports, host: None })
    }

    fn serve_http_as_host(&self, port: u16, handler: SharedHandler) -> Result<HttpServing, NetError> {
        let bound = self.tcp_bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))?;
        let listener = bound.listen(self.0.pod.limits.backlog)?;
        let handler: SharedHandler = Arc::new(exchange::Counted::new(self.0.pod.clone(), handler));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(exchange::serve_stream(stream, handler.clone()));
            }
        });
        Ok(HttpServing { _ports: Vec::new(), host: Some(task) })
    }

    /// Sends a request with an absolute URI; a handler in a local Pod is called directly. The
    /// response's body may still be arriving.
    pub async fn send_http(&self, request: Request) -> Result<Response, HttpError> {
        outgoing::send(self, request).await
    }

    /// The Pod terminates: Services and routes send it nothing new as long as another endpoint
    /// exists; what is open goes on.
    pub fn drain(&self) {
        self.0.pod.drain();
        self.0.network.upstreams.forget(self.0.pod.ip);
    }

    /// Waits until no accepted connection is open and no HTTP call runs. On a Pod that drains,
    /// nothing new is taken from then on, so that it can be ended without a loss.
    pub async fn idle(&self) {
        self.0.pod.idle().await;
    }

    /// Resets every socket and frees the address. Further calls fail.
    pub fn close(&self) {
        self.0.network.detach(&self.0.pod);
    }

    pub(crate) fn network(&self) -> &Arc<Inner> {
        &self.0.network
    }

    pub(crate) fn pod(&self) -> &Arc<Pod> {
        &self.0.pod
    }
}

impl fmt::Debug for PodNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = self.identity();
        f.debug_struct("PodNet")
            .field("namespace", &identity.namespace)
            .field("name", &identity.name)
            .field("ip", &self.ip())
            .finish()
    }
}

/// The Pod's own address a target means, if it means the Pod itself.
pub(crate) fn own_target(pod: &Pod, to: SocketAddr) -> Option<SocketAddr> {
    let ip = to.ip();
    if ip == pod.ip || ip.is_loopback() {
        return Some(to);
    }
    ip.is_unspecified().then(|| match ip {
        IpAddr::V4(_) => (Ipv4Addr::LOCALHOST, to.port()).into(),
        IpAddr::V6(_) => (Ipv6Addr::LOCALHOST, to.port()).into(),
    })
}

fn host_socket(address: SocketAddr) -> Result<tokio::net::TcpSocket, NetError> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Keeps an HTTP handler on its port; dropping it frees the port.
pub struct HttpServing {
    _ports: Vec<PortLease>,
    host: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for HttpServing {
    fn drop(&mut self) {
        if let Some(task) = &self.host {
            task.abort();
        }
    }
}

impl fmt::Debug for HttpServing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServing").finish_non_exhaustive()
    }
}

/// A bound TCP socket that neither listens nor is connected.
pub struct TcpBound {
    network: Arc<Inner>,
    local: SocketAddr,
    kind: Bound,
}

enum Bound {
    Pod(PortLease),
    Host(tokio::net::TcpSocket, crate::net::pod::SocketLease),
}

impl TcpBound {
    /// The bound address; the port is never 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Starts to accept. The backlog is at least 1 and capped by
    /// [`Limits::backlog`](crate::net::Limits::backlog).
    pub fn listen(self, backlog: u32) -> Result<Listener, NetError> {
        let local = self.local;
        let kind = match self.kind {
            Bound::Pod(port) => {
                let backlog = backlog.clamp(1, port.pod.limits.backlog);
                let (queue, incoming) = mpsc::channel(backlog as usize);
                port.set_tcp(Tcp::Listening(queue));
                Accepting::Pod { _port: port, incoming: Mutex::new(incoming) }
            }
            Bound::Host(socket, lease) => {
                Accepting::Host { listener: socket.listen(backlog)?, _lease: lease }
            }
        };
        self.network.arrived();
        Ok(Listener { local, kind })
    }
}

impl fmt::Debug for TcpBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpBound").field("local", &self.local).finish()
    }
}

/// A listening TCP socket. Dropping it resets what waits in its queue.
pub struct Listener {
    local: SocketAddr,
    kind: Accepting,
}

enum Accepting {
    Pod { _port: PortLease, incoming: Mutex<mpsc::Receiver<Box<Stream>>> },
    Host { listener: tokio::net::TcpListener, _lease: crate::net::pod::SocketLease },
}

impl Listener {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The next connection and who opened it.
    pub async fn accept(&self) -> Result<(Stream, SocketAddr), NetError> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// [`Listener::accept`], polled; one waiter at a time.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<(Stream, SocketAddr), NetError>> {
        match &self.kind {
            Accepting::Pod { incoming, .. } => match ready!(incoming.lock().poll_recv(cx)) {
                Some(stream) => {
                    let peer = stream.peer_addr();
                    Poll::Ready(Ok((*stream, peer)))
                }
                None => Poll::Ready(Err(NetError::InvalidState("the Pod has ended"))),
            },
            Accepting::Host { listener, .. } => {
                let (socket, peer) = ready!(listener.poll_accept(cx))?;
                let local = socket.local_addr()?;
                Poll::Ready(Ok((Stream::kernel(socket, local, peer), peer)))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Accepting::Pod { incoming, .. } = &self.kind {
            let mut incoming = incoming.lock();
            incoming.close();
            while let Ok(stream) = incoming.try_recv() {
                stream.reset();
            }
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("local", &self.local).finish_non_exhaustive()
    }
}

//! The Pod network: streams and datagrams between sandboxes, without packets.
//!
//! A guest sees logical addresses only. A connect is looked up in the [`crate::table`], balanced
//! and joined to the listener's accept queue by an in-memory stream when the target is a Pod of
//! this node; it becomes a kernel socket only when the target is outside the cluster. The host's
//! own loopback is never a target. Streams to Pods of other nodes do not exist yet and fail with
//! [`NetError::OtherNode`].

mod error;

pub use error::NetError;

use crate::http::{Request, Response, SharedHandler};
use crate::table::Tables;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the network of a node needs to know.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Where the Service `kubernetes` leads: the API server as this host dials it.
    pub api_server: Option<SocketAddr>,
    /// Listening addresses of this host that guests may not dial even by an outside address.
    pub control_addresses: Vec<SocketAddr>,
    /// Quotas of each Pod.
    pub limits: Limits,
}

/// Quotas of each Pod. Beyond them a call fails; nothing queues without bound.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open sockets: bound, listening, connected, accepted.
    pub sockets: usize,
    /// The longest accept queue.
    pub backlog: u32,
    /// Datagrams waiting in one UDP socket.
    pub datagrams: usize,
    /// Bytes buffered in each direction of an in-memory stream.
    pub stream_buffer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { sockets: 4096, backlog: 1024, datagrams: 256, stream_buffer: 64 * 1024 }
    }
}

/// Who a Pod is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodIdentity {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its UID.
    pub uid: Arc<str>,
}

/// The network of one node.
#[derive(Debug, Clone)]
pub struct Network {
    _tables: Arc<Tables>,
}

/// What a dialled address turned out to be.
pub enum Dialed {
    /// An HTTP handler of a local Pod: call it.
    Http(SharedHandler),
    /// A byte stream.
    Stream(Stream),
}

impl Network {
    /// A network without Pods.
    pub fn new(_config: Config, tables: Arc<Tables>) -> Self {
        Network { _tables: tables }
    }

    /// Gives a Pod its place. Fails if the address is taken. [`PodNet::close`], or dropping the
    /// last clone, resets all its sockets and frees the address.
    pub fn attach(&self, identity: PodIdentity, ip: IpAddr) -> Result<PodNet, NetError> {
        Ok(PodNet { identity: Arc::new(identity), ip })
    }

    /// A Pod with `hostNetwork: true`: its sockets are the host's.
    pub fn attach_host(&self, identity: PodIdentity, ip: IpAddr) -> Result<PodNet, NetError> {
        self.attach(identity, ip)
    }

    /// Opens what is behind a Pod's or Service's address for a client that `from` names.
    pub async fn dial(&self, _to: SocketAddr, _from: SocketAddr) -> Result<Dialed, NetError> {
        Err(NetError::ConnectionRefused)
    }
}

/// One Pod's sockets. Clones are the same Pod.
#[derive(Debug, Clone)]
pub struct PodNet {
    identity: Arc<PodIdentity>,
    ip: IpAddr,
}

impl PodNet {
    /// The Pod's logical address.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Who the Pod is.
    pub fn identity(&self) -> &PodIdentity {
        &self.identity
    }

    /// Binds a TCP socket. The address is the Pod's, its loopback or unspecified; port 0 takes a
    /// free one. Errors: `AddressInUse`, `AddressNotBindable`, `SocketLimit`.
    pub fn tcp_bind(&self, _address: SocketAddr) -> Result<TcpBound, NetError> {
        Err(NetError::NotSupported("not yet"))
    }

    /// Connects, from a bound socket or an ephemeral port.
    pub async fn tcp_connect(
        &self,
        _from: Option<TcpBound>,
        _to: SocketAddr,
    ) -> Result<Stream, NetError> {
        Err(NetError::NotSupported("not yet"))
    }

    /// Binds a UDP socket.
    pub fn udp_bind(&self, _address: SocketAddr) -> Result<Udp, NetError> {
        Err(NetError::NotSupported("not yet"))
    }

    /// The addresses of a name, as the Pod's `dnsPolicy`, `dnsConfig` and `hostAliases` say. An
    /// address in text form is its own answer.
    pub async fn resolve(&self, _name: &str) -> Result<Vec<IpAddr>, NetError> {
        Err(NetError::NameUnresolvable)
    }

    /// Lets `handler` answer HTTP on this TCP port of the Pod until the guard is dropped.
    pub fn serve_http(&self, _port: u16, _handler: SharedHandler) -> Result<HttpServing, NetError> {
        Err(NetError::NotSupported("not yet"))
    }

    /// Sends a request with an absolute URI; a handler in a local Pod is called directly. The
    /// response's body may still be arriving.
    pub async fn send_http(&self, _request: Request) -> Result<Response, HttpError> {
        Err(HttpError::Net(NetError::NotSupported("not yet")))
    }

    /// The Pod terminates: Services and routes send it nothing new as long as another endpoint
    /// exists; what is open goes on.
    pub fn drain(&self) {}

    /// Waits until no accepted connection is open and no HTTP call runs.
    pub async fn idle(&self) {}

    /// Resets every socket and frees the address.
    pub fn close(&self) {}
}

/// Why an outgoing HTTP request got no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No connection.
    #[error("cannot connect")]
    Net(#[source] NetError),
    /// The URI is not absolute `http://…` or `https://…` with a host.
    #[error("URI is not one a request can be sent to")]
    Uri,
    /// The other side broke the connection or HTTP.
    #[error("HTTP exchange failed")]
    Protocol(#[source] hyper::Error),
    /// TLS failed.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The local handler gave no response.
    #[error("handler gave no response")]
    Handler(#[source] crate::http::HandlerError),
}

/// Keeps an HTTP handler on its port; dropping it frees the port.
#[derive(Debug)]
pub struct HttpServing {
    _private: (),
}

/// A bound TCP socket that neither listens nor is connected.
#[derive(Debug)]
pub struct TcpBound {
    address: SocketAddr,
}

impl TcpBound {
    /// The bound address; the port is never 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Starts to accept. The backlog is capped by [`Limits::backlog`].
    pub fn listen(self, _backlog: u32) -> Result<Listener, NetError> {
        Err(NetError::NotSupported("not yet"))
    }
}

/// A listening TCP socket.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
}

impl Listener {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The next connection and who opened it.
    pub async fn accept(&self) -> Result<(Stream, SocketAddr), NetError> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// [`Listener::accept`], polled; one waiter at a time.
    pub fn poll_accept(
        &self,
        _cx: &mut Context<'_>,
    ) -> Poll<Result<(Stream, SocketAddr), NetError>> {
        Poll::Ready(Err(NetError::NotSupported("not yet")))
    }
}

/// A connected stream. Shutdown closes the sending direction only; dropping closes both.
#[derive(Debug)]
pub struct Stream {
    local: SocketAddr,
    peer: SocketAddr,
}

impl Stream {
    /// This side's logical address.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The other side's logical address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Both directions apart, without a lock between them.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (ReadHalf(self), WriteHalf(()))
    }
}

/// The receiving direction of a [`Stream`].
#[derive(Debug)]
pub struct ReadHalf(Stream);

/// The sending direction of a [`Stream`]; dropping it sends the end of the stream.
#[derive(Debug)]
pub struct WriteHalf(());

impl AsyncRead for ReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A UDP socket.
#[derive(Debug)]
pub struct Udp {
    address: SocketAddr,
}

impl Udp {
    /// The bound address.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Sends one datagram, waiting while the target's queue is full or dropping it, as the
    /// target decides.
    pub async fn send_to(&self, _payload: &[u8], _to: SocketAddr) -> Result<(), NetError> {
        Err(NetError::NotSupported("not yet"))
    }

    /// The next datagram and its sender.
    pub async fn recv_from(&self) -> Result<(bytes::Bytes, SocketAddr), NetError> {
        std::future::poll_fn(|cx| self.poll_recv_from(cx)).await
    }

    /// [`Udp::recv_from`], polled; one waiter at a time.
    pub fn poll_recv_from(
        &self,
        _cx: &mut Context<'_>,
    ) -> Poll<Result<(bytes::Bytes, SocketAddr), NetError>> {
        Poll::Ready(Err(NetError::NotSupported("not yet")))
    }

    /// The next datagram if one waits.
    pub fn try_recv_from(&self) -> Result<Option<(bytes::Bytes, SocketAddr)>, NetError> {
        Ok(None)
    }
}

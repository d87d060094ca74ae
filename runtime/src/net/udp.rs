//! Datagrams: a bounded queue per socket, Service addresses translated both ways.

use crate::net::NetError;
use crate::net::network::Inner;
use crate::net::pod::PortLease;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::task::JoinHandle;

/// The longest UDP payload.
pub const MAX_DATAGRAM: usize = 65_507;

/// Bytes that may wait in one socket; Linux's default receive buffer.
const QUEUED_BYTES: usize = 212_992;

/// Service addresses one socket remembers the endpoints of.
const FLOWS: usize = 1024;

/// Received datagrams. What does not fit is dropped, as UDP does.
pub(crate) struct Queue {
    state: Mutex<State>,
    datagrams: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Bytes, SocketAddr)>,
    bytes: usize,
    closed: bool,
    reader: Option<Waker>,
}

impl Queue {
    pub(crate) fn new(datagrams: usize) -> Self {
        Queue { state: Mutex::default(), datagrams }
    }

    pub(crate) fn push(&self, payload: Bytes, from: SocketAddr) {
        let mut state = self.state.lock();
        let full = state.waiting.len() >= self.datagrams
            || (state.bytes + payload.len() > QUEUED_BYTES && !state.waiting.is_empty());
        if full || state.closed {
            return;
        }
        state.bytes += payload.len();
        state.waiting.push_back((payload, from));
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.waiting = VecDeque::new();
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<(Bytes, SocketAddr), NetError>> {
        match self.take()? {
            Some(datagram) => Poll::Ready(Ok(datagram)),
            None => {
                let mut state = self.state.lock();
                if !state.waiting.is_empty() || state.closed {
                    cx.waker().wake_by_ref();
                } else {
                    state.reader = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if !state.waiting.is_empty() || state.closed {
            return Poll::Ready(());
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn take(&self) -> Result<Option<(Bytes, SocketAddr)>, NetError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(NetError::InvalidState("the Pod has ended"));
        }
        let datagram = state.waiting.pop_front();
        state.bytes -= datagram.as_ref().map_or(0, |(payload, _)| payload.len());
        Ok(datagram)
    }
}

/// A UDP socket of a Pod.
pub struct Udp {
    port: PortLease,
    network: Arc<Inner>,
    queue: Arc<Queue>,
    flows: Mutex<Flows>,
    outside: tokio::sync::Mutex<[Option<Arc<Outside>>; 2]>,
}

/// Which endpoint a Service address stands for in this socket, and back.
#[derive(Default)]
struct Flows {
    endpoints: HashMap<SocketAddr, SocketAddr>,
    services: HashMap<SocketAddr, SocketAddr>,
}

/// The kernel socket behind a socket that talks to the outside.
struct Outside {
    socket: Arc<tokio::net::UdpSocket>,
    reader: JoinHandle<()>,
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Udp {
    pub(crate) fn new(port: PortLease, network: Arc<Inner>, queue: Arc<Queue>) -> Self {
        Udp { port, network, queue, flows: Mutex::default(), outside: Default::default() }
    }

    /// The bound address.
    pub fn local_addr(&self) -> SocketAddr {
        self.port.address
    }

    /// Sends one datagram. It is dropped if the receiver's queue is full or nobody receives.
    /// Errors: `DatagramTooLarge`, `AccessDenied`, `OtherNode`, `Unreachable`.
    pub async fn send_to(&self, payload: &[u8], to: SocketAddr) -> Result<(), NetError> {
        if payload.len() > MAX_DATAGRAM {
            return Err(NetError::DatagramTooLarge);
        }
        if to.port() == 0 {
            return Err(NetError::InvalidArgument("port 0"));
        }
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        let pod = &self.port.pod;
        if to.ip().is_loopback() || to.ip().is_unspecified() || to.ip() == pod.ip {
            let from = self.source(if to.ip() == pod.ip { pod.ip } else { loopback(to.ip()) });
            let to = SocketAddr::new(
                if to.ip().is_unspecified() { loopback(to.ip()) } else { to.ip() },
                to.port(),
            );
            if let Some(queue) = pod.udp_at(to) {
                queue.push(Bytes::copy_from_slice(payload), from);
            }
            return Ok(());
        }
        let endpoint = self.endpoint_for(to)?;
        match self.network.pod_or_outside(endpoint)? {
            Some(target) => {
                if let Some(queue) = target.udp_at(endpoint) {
                    queue.push(Bytes::copy_from_slice(payload), self.source(pod.ip));
                }
                Ok(())
            }
            None => self.send_outside(payload, endpoint).await,
        }
    }

    /// The next datagram and its sender.
    pub async fn recv_from(&self) -> Result<(Bytes, SocketAddr), NetError> {
        std::future::poll_fn(|cx| self.poll_recv_from(cx)).await
    }

    /// [`Udp::recv_from`], polled; one waiter at a time.
    pub fn poll_recv_from(&self, cx: &mut Context<'_>) -> Poll<Result<(Bytes, SocketAddr), NetError>> {
        self.queue.poll(cx).map_ok(|(payload, from)| (payload, self.seen_as(from)))
    }

    /// Becomes ready when a datagram waits or the socket is dead; one waiter at a time.
    pub fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.queue.poll_ready(cx)
    }

    /// The next datagram if one waits.
    pub fn try_recv_from(&self) -> Result<Option<(Bytes, SocketAddr)>, NetError> {
        let datagram = self.queue.take()?;
        Ok(datagram.map(|(payload, from)| (payload, self.seen_as(from))))
    }

    /// This socket's address as a receiver sees it.
    fn source(&self, ip: IpAddr) -> SocketAddr {
        let local = self.port.address;
        let ip = if local.ip().is_unspecified() { ip } else { local.ip() };
        SocketAddr::new(ip, local.port())
    }

    fn endpoint_for(&self, to: SocketAddr) -> Result<SocketAddr, NetError> {
        let client = self.port.pod.ip;
        let kept = self.flows.lock().endpoints.get(&to).copied();
        let Some(endpoint) = self.network.udp_endpoint(to, client, kept)? else { return Ok(to) };
        if kept != Some(endpoint) {
            let mut flows = self.flows.lock();
            if flows.endpoints.len() >= FLOWS {
                *flows = Flows::default();
            }
            flows.endpoints.insert(to, endpoint);
            flows.services.insert(endpoint, to);
        }
        Ok(endpoint)
    }

    fn seen_as(&self, from: SocketAddr) -> SocketAddr {
        self.flows.lock().services.get(&from).copied().unwrap_or(from)
    }

    async fn send_outside(&self, payload: &[u8], to: SocketAddr) -> Result<(), NetError> {
        let mut both = self.outside.lock().await;
        let slot = &mut both[usize::from(to.is_ipv6())];
        let outside = match slot {
            Some(outside) => outside.clone(),
            None => slot.insert(Arc::new(self.open_outside(to).await?)).clone(),
        };
        drop(both);
        outside.socket.send_to(payload, to).await?;
        Ok(())
    }

    async fn open_outside(&self, to: SocketAddr) -> Result<Outside, NetError> {
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = Arc::new(tokio::net::UdpSocket::bind(SocketAddr::new(any, 0)).await?);
        let reader = tokio::spawn(receive_outside(socket.clone(), self.queue.clone()));
        Ok(Outside { socket, reader })
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Udp").field("local", &self.local_addr()).finish_non_exhaustive()
    }
}

async fn receive_outside(socket: Arc<tokio::net::UdpSocket>, queue: Arc<Queue>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    // An error here is an ICMP answer to something sent before; the socket goes on.
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => queue.push(Bytes::copy_from_slice(&buffer[..length]), from),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                tracing::debug!(%error, "UDP socket to the outside failed");
                return;
            }
        }
    }
}

fn loopback(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

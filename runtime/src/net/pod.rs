//! One Pod's side of the network: its ports, its quota and its open streams.

use crate::http::{Gauge, InFlight, SharedHandler};
use crate::net::pipe::Pipe;
use crate::net::stream::Stream;
use crate::net::udp::Queue;
use crate::net::{Limits, NetError, PodIdentity};
use crate::table::{Protocol, Tally};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// The ports `bind` and `connect` take when none is named; Linux's range.
const EPHEMERAL: std::ops::Range<u16> = 32768..60999;

/// Work in progress of a Pod.
pub(crate) type Accounted = InFlight;

/// A Pod of this node.
pub(crate) struct Pod {
    pub(crate) identity: PodIdentity,
    pub(crate) ip: IpAddr,
    /// Its sockets are the host's.
    pub(crate) host_network: bool,
    pub(crate) limits: Limits,
    /// Connections and HTTP calls the Pod accepted.
    pub(crate) work: Gauge,
    /// Requests that were sent to it, but for probes and its own.
    pub(crate) tally: Tally,
    draining: AtomicBool,
    /// Nothing runs any more and nothing may begin: the Pod is about to end.
    sealed: AtomicBool,
    closed: AtomicBool,
    sockets: AtomicUsize,
    next_id: AtomicU64,
    ports: Mutex<Ports>,
    streams: Mutex<HashMap<u64, (Pipe, Pipe)>>,
}

#[derive(Default)]
struct Ports {
    tcp: HashMap<u16, Vec<Binding<Tcp>>>,
    udp: HashMap<u16, Vec<Binding<Arc<Queue>>>>,
    next_ephemeral: u16,
}

struct Binding<T> {
    id: u64,
    ip: IpAddr,
    holder: T,
}

/// What a TCP port is used for.
#[derive(Clone)]
pub(crate) enum Tcp {
    /// Bound only.
    Bound,
    /// New connections go to this accept queue.
    ///
    /// In boxes: a queue keeps room for 32, and most wait for ever.
    Listening(mpsc::Sender<Box<Stream>>),
    /// Requests go to this handler.
    Http(SharedHandler),
}

/// A share of a Pod's quota of sockets; the last clone gives it back.
#[derive(Clone)]
pub(crate) struct SocketLease(#[allow(dead_code, reason = "held for its drop")] Arc<Lease>);

struct Lease {
    pod: Arc<Pod>,
    stream: Option<u64>,
}

/// Keeps a port; dropping it frees the port.
pub(crate) struct PortLease {
    pub(crate) pod: Arc<Pod>,
    pub(crate) address: SocketAddr,
    protocol: Protocol,
    id: u64,
    _socket: SocketLease,
}

impl Pod {
    pub(crate) fn new(identity: PodIdentity, ip: IpAddr, limits: Limits, host_network: bool) -> Self {
        Pod {
            identity,
            ip,
            host_network,
            limits,
            work: Gauge::default(),
            tally: Tally::default(),
            draining: AtomicBool::new(false),
            sealed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            sockets: AtomicUsize::new(0),
            next_id: AtomicU64::new(0),
            ports: Mutex::new(Ports { next_ephemeral: EPHEMERAL.start, ..Ports::default() }),
            streams: Mutex::default(),
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Counts an accepted connection or call, unless the Pod is sealed.
    pub(crate) fn begin_work(&self) -> Option<InFlight> {
        // Counted first, looked second; `idle` does it the other way round. So either this sees
        // the seal or `idle` sees the count.
        let work = self.work.begin();
        (!self.sealed.load(Ordering::SeqCst)).then_some(work)
    }

    /// Waits until no work is in progress; then, if the Pod drains, seals it.
    pub(crate) async fn idle(&self) {
        loop {
            self.work.idle().await;
            if !self.is_draining() {
                return;
            }
            self.sealed.store(true, Ordering::SeqCst);
            if self.work.count() == 0 {
                return;
            }
            self.sealed.store(false, Ordering::SeqCst);
        }
    }

    /// Breaks every stream and frees every port.
    pub(crate) fn close(&self) {
        self.drain();
        self.sealed.store(true, Ordering::SeqCst);
        self.closed.store(true, Ordering::SeqCst);
        let ports = std::mem::take(&mut *self.ports.lock());
        for binding in ports.udp.into_values().flatten() {
            binding.holder.close();
        }
        drop(ports.tcp);
        let streams: Vec<_> = self.streams.lock().drain().map(|(_, pipes)| pipes).collect();
        for (read, write) in streams {
            read.reset();
            write.reset();
        }
    }

    /// Whether the Pod may bind this address.
    fn may_bind(&self, ip: IpAddr) -> bool {
        ip == self.ip || ip.is_loopback() || ip.is_unspecified()
    }

    /// Takes one socket of the quota.
    pub(crate) fn socket(self: &Arc<Self>) -> Result<SocketLease, NetError> {
        if self.is_closed() {
            return Err(NetError::InvalidState("the Pod has ended"));
        }
        let before = self.sockets.fetch_add(1, Ordering::Relaxed);
        let lease = Lease { pod: self.clone(), stream: None };
        if before >= self.limits.sockets {
            return Err(NetError::SocketLimit);
        }
        Ok(SocketLease(Arc::new(lease)))
    }

    /// Counts a stream against the quota and breaks it when the Pod closes.
    pub(crate) fn adopt(self: &Arc<Self>, stream: Stream) -> Result<Stream, NetError> {
        let before = self.sockets.fetch_add(1, Ordering::Relaxed);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let lease = SocketLease(Arc::new(Lease { pod: self.clone(), stream: Some(id) }));
        if before >= self.limits.sockets {
            return Err(NetError::SocketLimit);
        }
        if let Some(pipes) = stream.pipes() {
            self.streams.lock().insert(id, pipes);
        }
        if self.is_closed() {
            stream.reset();
            return Err(NetError::ConnectionReset);
        }
        Ok(stream.leased(lease))
    }

    /// Binds a TCP address.
    pub(crate) fn bind_tcp(self: &Arc<Self>, to: SocketAddr, holder: Tcp) -> Result<PortLease, NetError> {
        self.bind(to, Protocol::Tcp, |ports| &mut ports.tcp, |_| holder)
    }

    /// Binds a UDP address to the queue `make` makes for it.
    pub(crate) fn bind_udp(
        self: &Arc<Self>,
        to: SocketAddr,
        queue: Arc<Queue>,
    ) -> Result<PortLease, NetError> {
        self.bind(to, Protocol::Udp, |ports| &mut ports.udp, |_| queue)
    }

    fn bind<T>(
        self: &Arc<Self>,
        to: SocketAddr,
        protocol: Protocol,
        which: impl Fn(&mut Ports) -> &mut HashMap<u16, Vec<Binding<T>>>,
        make: impl FnOnce(SocketAddr) -> T,
    ) -> Result<PortLease, NetError> {
        if !self.may_bind(to.ip()) {
            return Err(NetError::AddressNotBindable);
        }
        let socket = self.socket()?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut ports = self.ports.lock();
        let port = match to.port() {
            0 => {
                let start = ports.next_ephemeral;
                let free = free_port(which(&mut ports), start, to.ip());
                let free = free.ok_or(NetError::AddressInUse)?;
                ports.next_ephemeral = after(free);
                free
            }
            port if taken(which(&mut ports), port, to.ip()) => return Err(NetError::AddressInUse),
            port => port,
        };
        let address = SocketAddr::new(to.ip(), port);
        let binding = Binding { id, ip: to.ip(), holder: make(address) };
        which(&mut ports).entry(port).or_default().push(binding);
        drop(ports);
        Ok(PortLease { pod: self.clone(), address, protocol, id, _socket: socket })
    }

    /// A port for the near end of a connection. It is not held: no two ends are told apart by it.
    pub(crate) fn ephemeral_port(&self) -> u16 {
        let mut ports = self.ports.lock();
        let start = ports.next_ephemeral;
        let unspecified = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let port = free_port(&ports.tcp, start, unspecified).unwrap_or(start);
        ports.next_ephemeral = after(port);
        port
    }

    /// What holds the TCP address, if anything that takes connections does.
    pub(crate) fn tcp_at(&self, to: SocketAddr) -> Option<Tcp> {
        let ports = self.ports.lock();
        Some(find(ports.tcp.get(&to.port())?, to.ip())?.holder.clone())
    }

    /// The queue of the UDP socket at the address.
    pub(crate) fn udp_at(&self, to: SocketAddr) -> Option<Arc<Queue>> {
        let ports = self.ports.lock();
        Some(find(ports.udp.get(&to.port())?, to.ip())?.holder.clone())
    }
}

impl PortLease {
    /// Changes what a TCP port is used for.
    pub(crate) fn set_tcp(&self, holder: Tcp) {
        let mut ports = self.pod.ports.lock();
        let bindings = ports.tcp.get_mut(&self.address.port());
        if let Some(binding) = bindings.and_then(|all| all.iter_mut().find(|b| b.id == self.id)) {
            binding.holder = holder;
        }
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        let mut ports = self.pod.ports.lock();
        let port = self.address.port();
        // What was held is dropped after the lock: a handler may hold sockets of its own.
        let _tcp;
        let _udp;
        match self.protocol {
            Protocol::Tcp => _tcp = release(&mut ports.tcp, port, self.id),
            Protocol::Udp => _udp = release(&mut ports.udp, port, self.id),
        }
        drop(ports);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pod.sockets.fetch_sub(1, Ordering::Relaxed);
        if let Some(id) = self.stream {
            self.pod.streams.lock().remove(&id);
        }
    }
}

fn release<T>(ports: &mut HashMap<u16, Vec<Binding<T>>>, port: u16, id: u64) -> Option<Binding<T>> {
    let bindings = ports.get_mut(&port)?;
    let at = bindings.iter().position(|binding| binding.id == id)?;
    let binding = bindings.swap_remove(at);
    if bindings.is_empty() {
        ports.remove(&port);
    }
    Some(binding)
}

/// Two addresses meet when they are equal or one is the wildcard of the other's family.
fn overlaps(a: IpAddr, b: IpAddr) -> bool {
    a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
}

fn taken<T>(ports: &HashMap<u16, Vec<Binding<T>>>, port: u16, ip: IpAddr) -> bool {
    ports.get(&port).is_some_and(|all| all.iter().any(|binding| overlaps(binding.ip, ip)))
}

fn free_port<T>(ports: &HashMap<u16, Vec<Binding<T>>>, start: u16, ip: IpAddr) -> Option<u16> {
    let start = if EPHEMERAL.contains(&start) { start } else { EPHEMERAL.start };
    (start..EPHEMERAL.end).chain(EPHEMERAL.start..start).find(|port| !taken(ports, *port, ip))
}

fn after(port: u16) -> u16 {
    if port + 1 < EPHEMERAL.end { port + 1 } else { EPHEMERAL.start }
}

/// The binding of exactly this address, else the wildcard's.
fn find<T>(bindings: &[Binding<T>], ip: IpAddr) -> Option<&Binding<T>> {
    let wildcard: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let exact = bindings.iter().find(|binding| binding.ip == ip);
    exact.or_else(|| bindings.iter().find(|binding| binding.ip == wildcard))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pod() -> Arc<Pod> {
        let name: Arc<str> = "a".into();
        let identity = PodIdentity { namespace: name.clone(), name: name.clone(), uid: name };
        let limits = Limits { sockets: 4, ..Limits::default() };
        Arc::new(Pod::new(identity, "10.42.0.2".parse().unwrap(), limits, false))
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_conflict_as_on_linux() {
        let pod = pod();
        let first = pod.bind_tcp(at("127.0.0.1:80"), Tcp::Bound).unwrap();
        let _second = pod.bind_tcp(at("10.42.0.2:80"), Tcp::Bound).unwrap();
        let wildcard = pod.bind_tcp(at("0.0.0.0:80"), Tcp::Bound);
        assert_eq!(wildcard.err(), Some(NetError::AddressInUse));
        let six = pod.bind_tcp(at("[::]:80"), Tcp::Bound);
        assert!(six.is_ok(), "families are apart");
        let foreign = pod.bind_tcp(at("10.42.0.3:80"), Tcp::Bound);
        assert_eq!(foreign.err(), Some(NetError::AddressNotBindable));
        drop(first);
        assert!(pod.bind_tcp(at("127.0.0.1:80"), Tcp::Bound).is_ok());
    }

    #[test]
    fn quota_counts_what_is_open() {
        let pod = pod();
        let held: Vec<_> = (0..4).map(|_| pod.bind_tcp(at("0.0.0.0:0"), Tcp::Bound).unwrap()).collect();
        assert_eq!(pod.socket().err(), Some(NetError::SocketLimit));
        drop(held);
        assert!(pod.socket().is_ok());
    }

    #[test]
    fn ephemeral_ports_differ() {
        let pod = pod();
        let a = pod.bind_tcp(at("0.0.0.0:0"), Tcp::Bound).unwrap();
        let b = pod.bind_tcp(at("127.0.0.1:0"), Tcp::Bound).unwrap();
        assert_ne!(a.address.port(), b.address.port());
        assert_ne!(pod.ephemeral_port(), pod.ephemeral_port());
    }
}

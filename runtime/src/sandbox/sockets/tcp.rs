//! A TCP socket of a guest: its life from creation to connected or listening.
//!
//! Without WASI's two-step calls, which are the affair of [`p2`](crate::sandbox::sockets) alone.

use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;

use crate::net::{Listener, NetError, PodNet, ReadHalf, Stream, TcpBound, WriteHalf};
use crate::sandbox::sockets::options::Options;

/// Which kind of addresses a socket takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// Refuses addresses of the other family.
    pub(super) fn check(self, address: SocketAddr) -> Result<SocketAddr, NetError> {
        match (self, address.ip()) {
            (Family::V4, IpAddr::V4(_)) => Ok(address),
            (Family::V6, IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_none() => Ok(address),
            _ => Err(NetError::InvalidArgument("address of another family than the socket's")),
        }
    }

    /// Refuses addresses nobody can be reached at.
    pub(super) fn check_remote(self, address: SocketAddr) -> Result<SocketAddr, NetError> {
        let address = self.check(address)?;
        if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
            return Err(NetError::InvalidArgument("no address to connect to"));
        }
        Ok(address)
    }

    /// Any address, any port.
    pub(super) fn any(self) -> SocketAddr {
        match self {
            Family::V4 => SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0),
            Family::V6 => SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), 0),
        }
    }
}

/// A guest's TCP socket.
pub(super) struct Tcp {
    pub(super) family: Family,
    pub(super) options: Options,
    state: State,
}

enum State {
    Unbound,
    Bound(TcpBound),
    Connecting(BoxFuture<'static, Result<Stream, NetError>>),
    Connected { local: SocketAddr, peer: SocketAddr, read: Option<ReadHalf>, write: Option<WriteHalf> },
    Listening { listener: Listener, accepted: Option<Result<(Stream, SocketAddr), NetError>> },
    Closed,
}

const WRONG_STATE: NetError = NetError::InvalidState("the socket is in another state");

impl Tcp {
    /// A new socket.
    pub(super) fn new(family: Family) -> Tcp {
        Tcp { family, options: Options::default(), state: State::Unbound }
    }

    /// A socket that was accepted from, or connected as, `stream`.
    fn connected(family: Family, options: Options, stream: Stream) -> Tcp {
        let mut tcp = Tcp { family, options, state: State::Closed };
        tcp.attach(stream);
        tcp
    }

    fn attach(&mut self, stream: Stream) {
        let (local, peer) = (stream.local_addr(), stream.peer_addr());
        let (read, write) = stream.into_split();
        self.state = State::Connected { local, peer, read: Some(read), write: Some(write) };
    }

    /// Takes an address of the Pod.
    pub(super) fn bind(&mut self, net: &PodNet, address: SocketAddr) -> Result<(), NetError> {
        if !matches!(self.state, State::Unbound) {
            return Err(WRONG_STATE);
        }
        self.state = State::Bound(net.tcp_bind(self.family.check(address)?)?);
        Ok(())
    }

    /// Whether it has an address and nothing else yet.
    pub(super) fn is_bound(&self) -> bool {
        matches!(self.state, State::Bound(_))
    }

    /// Begins to connect.
    pub(super) fn connect(&mut self, net: &PodNet, to: SocketAddr) -> Result<(), NetError> {
        let to = self.family.check_remote(to)?;
        let bound = match std::mem::replace(&mut self.state, State::Closed) {
            State::Unbound => None,
            State::Bound(bound) => Some(bound),
            other => {
                self.state = other;
                return Err(WRONG_STATE);
            }
        };
        let net = net.clone();
        let connecting = async move { net.tcp_connect(bound, to).await };
        self.state = State::Connecting(Box::pin(connecting));
        Ok(())
    }

    /// Goes on connecting. Ready once, with the outcome; a failed socket is closed.
    pub(super) fn poll_connect(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NetError>> {
        let State::Connecting(connecting) = &mut self.state else {
            return Poll::Ready(Err(WRONG_STATE));
        };
        let result = ready!(connecting.as_mut().poll(cx));
        self.state = State::Closed;
        Poll::Ready(result.map(|stream| self.attach(stream)))
    }

    /// Begins to accept; takes any address if it has none.
    pub(super) fn listen(&mut self, net: &PodNet) -> Result<(), NetError> {
        if matches!(self.state, State::Unbound) {
            self.bind(net, self.family.any())?;
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Bound(bound) => {
                let listener = bound.listen(self.options.backlog)?;
                self.state = State::Listening { listener, accepted: None };
                Ok(())
            }
            other => {
                self.state = other;
                Err(WRONG_STATE)
            }
        }
    }

    /// Whether it accepts connections.
    pub(super) fn is_listening(&self) -> bool {
        matches!(self.state, State::Listening { .. })
    }

    /// Waits until [`poll_accept`](Tcp::poll_accept) has something to say.
    pub(super) fn poll_acceptable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let State::Listening { listener, accepted } = &mut self.state
            && accepted.is_none()
        {
            *accepted = Some(ready!(listener.poll_accept(cx)));
        }
        Poll::Ready(())
    }

    /// The next connection, as a socket with this one's options.
    pub(super) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Tcp, NetError>> {
        ready!(self.poll_acceptable(cx));
        let State::Listening { accepted, .. } = &mut self.state else {
            return Poll::Ready(Err(WRONG_STATE));
        };
        let result = accepted.take().unwrap_or(Err(WRONG_STATE));
        let (family, options) = (self.family, self.options.clone());
        Poll::Ready(result.map(|(stream, _)| Tcp::connected(family, options, stream)))
    }

    /// The receiving direction, once.
    pub(super) fn take_read(&mut self) -> Result<ReadHalf, NetError> {
        match &mut self.state {
            State::Connected { read, .. } => read.take().ok_or(WRONG_STATE),
            _ => Err(WRONG_STATE),
        }
    }

    /// The sending direction, once.
    pub(super) fn take_write(&mut self) -> Result<WriteHalf, NetError> {
        match &mut self.state {
            State::Connected { write, .. } => write.take().ok_or(WRONG_STATE),
            _ => Err(WRONG_STATE),
        }
    }

    /// The address it is bound to.
    pub(super) fn local(&self) -> Result<SocketAddr, NetError> {
        match &self.state {
            State::Bound(bound) => Ok(bound.local_addr()),
            State::Connected { local, .. } => Ok(*local),
            State::Listening { listener, .. } => Ok(listener.local_addr()),
            _ => Err(WRONG_STATE),
        }
    }

    /// The address it is connected to.
    pub(super) fn remote(&self) -> Result<SocketAddr, NetError> {
        match &self.state {
            State::Connected { peer, .. } => Ok(*peer),
            _ => Err(WRONG_STATE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_refuse_each_other() {
        let cases = [
            (Family::V4, "10.42.0.1:80", true),
            (Family::V6, "10.42.0.1:80", false),
            (Family::V6, "[fd42::1]:80", true),
            (Family::V6, "[::ffff:10.42.0.1]:80", false),
            (Family::V4, "10.42.0.1:0", false),
            (Family::V4, "0.0.0.0:80", false),
        ];
        for (family, address, allowed) in cases {
            let address = address.parse().expect("an address");
            assert_eq!(family.check_remote(address).is_ok(), allowed, "{address}");
        }
    }
}

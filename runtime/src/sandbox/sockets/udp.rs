//! A UDP socket of a guest.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::net::{NetError, PodNet, Udp};
use crate::sandbox::sockets::options::Options;
use crate::sandbox::sockets::tcp::Family;

/// A guest's UDP socket.
pub(super) struct UdpSocket {
    pub(super) family: Family,
    pub(super) options: Options,
    pub(super) socket: Option<Arc<Udp>>,
    pub(super) remote: Option<SocketAddr>,
}

const NOT_BOUND: NetError = NetError::InvalidState("the socket is not bound");

impl UdpSocket {
    /// A new socket.
    pub(super) fn new(family: Family) -> UdpSocket {
        UdpSocket { family, options: Options::default(), socket: None, remote: None }
    }

    /// Takes an address of the Pod.
    pub(super) fn bind(&mut self, net: &PodNet, address: SocketAddr) -> Result<(), NetError> {
        if self.socket.is_some() {
            return Err(NetError::InvalidState("the socket is already bound"));
        }
        self.socket = Some(Arc::new(net.udp_bind(self.family.check(address)?)?));
        Ok(())
    }

    /// Binds to any address unless it is bound.
    pub(super) fn ensure_bound(&mut self, net: &PodNet) -> Result<Arc<Udp>, NetError> {
        if self.socket.is_none() {
            self.bind(net, self.family.any())?;
        }
        self.bound()
    }

    /// The bound socket.
    pub(super) fn bound(&self) -> Result<Arc<Udp>, NetError> {
        self.socket.clone().ok_or(NOT_BOUND)
    }

    /// The address it is bound to.
    pub(super) fn local(&self) -> Result<SocketAddr, NetError> {
        Ok(self.bound()?.local_addr())
    }

    /// The address it is connected to.
    pub(super) fn remote(&self) -> Result<SocketAddr, NetError> {
        self.remote.ok_or(NetError::InvalidState("the socket is not connected"))
    }

    /// Where a datagram goes that names `to`, or nothing.
    pub(super) fn target(&self, to: Option<SocketAddr>) -> Result<SocketAddr, NetError> {
        target(self.family, self.remote, to)
    }
}

fn target(
    family: Family,
    remote: Option<SocketAddr>,
    to: Option<SocketAddr>,
) -> Result<SocketAddr, NetError> {
    match (remote, to) {
        (Some(remote), Some(to)) if remote != to => {
            Err(NetError::InvalidArgument("the socket is connected to another address"))
        }
        (Some(address), _) => Ok(address),
        (None, Some(to)) => family.check_remote(to),
        (None, None) => Err(NetError::InvalidArgument("no address to send to")),
    }
}

/// The receiving direction of WASI 0.2.
pub(super) struct Incoming {
    socket: Arc<Udp>,
    remote: Option<SocketAddr>,
    waiting: VecDeque<Result<(Bytes, SocketAddr), NetError>>,
}

impl Incoming {
    pub(super) fn new(socket: Arc<Udp>, remote: Option<SocketAddr>) -> Incoming {
        Incoming { socket, remote, waiting: VecDeque::new() }
    }

    /// Ready when [`take`](Incoming::take) has something.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.waiting.is_empty() {
            let received = ready!(self.socket.poll_recv_from(cx));
            let wanted = match (&received, self.remote) {
                (Ok((_, from)), Some(remote)) => *from == remote,
                _ => true,
            };
            if wanted {
                self.waiting.push_back(received);
            }
        }
        Poll::Ready(())
    }

    /// The next datagram, if one waits.
    pub(super) fn take(&mut self, cx: &mut Context<'_>) -> Option<Result<(Bytes, SocketAddr), NetError>> {
        match self.poll_ready(cx) {
            Poll::Ready(()) => self.waiting.pop_front(),
            Poll::Pending => None,
        }
    }
}

/// The sending direction of WASI 0.2.
pub(super) struct Outgoing {
    family: Family,
    socket: Arc<Udp>,
    remote: Option<SocketAddr>,
    sending: Option<BoxFuture<'static, Result<(), NetError>>>,
    pub(super) permitted: u64,
}

impl Outgoing {
    pub(super) fn new(family: Family, socket: Arc<Udp>, remote: Option<SocketAddr>) -> Outgoing {
        Outgoing { family, socket, remote, sending: None, permitted: 0 }
    }

    /// Ready when another datagram can be taken. A datagram that failed after it was taken is
    /// lost, as datagrams may be.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sending) = &mut self.sending {
            let _ = ready!(sending.as_mut().poll(cx));
            self.sending = None;
        }
        Poll::Ready(())
    }

    /// Sends one datagram; `false` if the last one is still on its way.
    pub(super) fn send(
        &mut self,
        cx: &mut Context<'_>,
        data: Vec<u8>,
        to: Option<SocketAddr>,
    ) -> Result<bool, NetError> {
        if self.poll_ready(cx).is_pending() {
            return Ok(false);
        }
        let to = target(self.family, self.remote, to)?;
        let socket = Arc::clone(&self.socket);
        let mut sending: BoxFuture<'static, _> = Box::pin(async move { socket.send_to(&data, to).await });
        match sending.as_mut().poll(cx) {
            Poll::Ready(result) => result.map(|()| true),
            Poll::Pending => {
                self.sending = Some(sending);
                Ok(true)
            }
        }
    }
}

//! The host functions of `wasi:sockets` 0.2: calls in two steps, readiness by pollables.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sockets::network::{
    self, ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Network,
};
use wasmtime_wasi::p2::bindings::sockets::{
    instance_network, ip_name_lookup, tcp, tcp_create_socket, udp, udp_create_socket,
};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, Pollable, SocketError, SocketResult, subscribe,
};

use crate::net::NetError;
use crate::sandbox::sockets::names::Answers;
use crate::sandbox::sockets::options::{InvalidOption, Options};
use crate::sandbox::sockets::stream::{Reader, Writer};
use crate::sandbox::sockets::tcp::{Family, Tcp};
use crate::sandbox::sockets::udp::{Incoming, Outgoing, UdpSocket};
use crate::sandbox::sockets::{SocketsView, ours, theirs};

/// Datagrams received or permitted at once.
const DATAGRAMS: u64 = 16;

type Handle<T> = Resource<T>;

/// A TCP socket with the step it is in.
struct TcpSocket {
    tcp: Tcp,
    step: Option<Step>,
    /// The outcome of a connect that a pollable has seen before the guest asked.
    outcome: Option<Result<(), NetError>>,
    streams: Option<(Reader, Writer)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Bind,
    Connect,
    Listen,
}

impl TcpSocket {
    fn new(tcp: Tcp) -> TcpSocket {
        TcpSocket { tcp, step: None, outcome: None, streams: None }
    }

    fn idle(&self) -> Result<(), ErrorCode> {
        if self.step.is_some() { Err(ErrorCode::ConcurrencyConflict) } else { Ok(()) }
    }

    fn finish(&mut self, step: Step) -> Result<(), ErrorCode> {
        if self.step != Some(step) {
            return Err(ErrorCode::NotInProgress);
        }
        self.step = None;
        Ok(())
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.step == Some(Step::Connect) && self.outcome.is_none() {
            match self.tcp.poll_connect(cx) {
                Poll::Ready(outcome) => self.outcome = Some(outcome),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    fn open(&mut self) -> Result<(DynInputStream, DynOutputStream), ErrorCode> {
        let read = self.tcp.take_read().map_err(code)?;
        let write = self.tcp.take_write().map_err(code)?;
        let (reader, writer) = (Reader::new(read), Writer::new(write));
        self.streams = Some((reader.clone(), writer.clone()));
        Ok((Box::new(reader), Box::new(writer)))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for TcpSocket {
    async fn ready(&mut self) {
        poll_fn(|cx| match self.step {
            Some(Step::Connect) => self.poll_outcome(cx),
            None => self.tcp.poll_acceptable(cx),
            Some(_) => Poll::Ready(()),
        })
        .await;
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for UdpSocket {
    async fn ready(&mut self) {} // Nothing on the socket itself ever waits.
}

#[wasmtime_wasi::async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll_ready(cx)).await;
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Outgoing {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll_ready(cx)).await;
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Answers {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll_ready(cx)).await;
    }
}

fn now() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn code(error: NetError) -> ErrorCode {
    match error {
        NetError::AccessDenied(_) => ErrorCode::AccessDenied,
        NetError::NotSupported(_) => ErrorCode::NotSupported,
        NetError::InvalidArgument(_) => ErrorCode::InvalidArgument,
        NetError::InvalidState(_) => ErrorCode::InvalidState,
        NetError::Timeout => ErrorCode::Timeout,
        NetError::AddressNotBindable => ErrorCode::AddressNotBindable,
        NetError::AddressInUse => ErrorCode::AddressInUse,
        NetError::Unreachable(_) | NetError::OtherNode { .. } => ErrorCode::RemoteUnreachable,
        NetError::ConnectionRefused => ErrorCode::ConnectionRefused,
        NetError::ConnectionReset => ErrorCode::ConnectionReset,
        NetError::ConnectionAborted => ErrorCode::ConnectionAborted,
        NetError::DatagramTooLarge => ErrorCode::DatagramTooLarge,
        NetError::SocketLimit => ErrorCode::NewSocketLimit,
        NetError::NameUnresolvable => ErrorCode::NameUnresolvable,
        NetError::ResolverTemporary => ErrorCode::TemporaryResolverFailure,
        NetError::ResolverPermanent => ErrorCode::PermanentResolverFailure,
    }
}

fn fail(error: NetError) -> SocketError {
    code(error).into()
}

fn invalid(_: InvalidOption) -> SocketError {
    ErrorCode::InvalidArgument.into()
}

fn family(family: IpAddressFamily) -> Family {
    match family {
        IpAddressFamily::Ipv4 => Family::V4,
        IpAddressFamily::Ipv6 => Family::V6,
    }
}

fn family_back(family: Family) -> IpAddressFamily {
    match family {
        Family::V4 => IpAddressFamily::Ipv4,
        Family::V6 => IpAddressFamily::Ipv6,
    }
}

impl SocketsView<'_> {
    fn tcp(&mut self, this: &Handle<tcp::TcpSocket>) -> wasmtime::Result<&mut TcpSocket> {
        Ok(self.table.get_mut(&ours::<_, TcpSocket>(this))?)
    }

    fn tcp_options(&mut self, this: &Handle<tcp::TcpSocket>) -> SocketResult<&mut Options> {
        Ok(&mut self.tcp(this).map_err(SocketError::trap)?.tcp.options)
    }

    fn udp(&mut self, this: &Handle<udp::UdpSocket>) -> SocketResult<&mut UdpSocket> {
        Ok(self.table.get_mut(&ours::<_, UdpSocket>(this))?)
    }

    fn incoming(&mut self, this: &Handle<udp::IncomingDatagramStream>) -> SocketResult<&mut Incoming> {
        Ok(self.table.get_mut(&ours::<_, Incoming>(this))?)
    }

    fn outgoing(&mut self, this: &Handle<udp::OutgoingDatagramStream>) -> SocketResult<&mut Outgoing> {
        Ok(self.table.get_mut(&ours::<_, Outgoing>(this))?)
    }
}

impl network::Host for SocketsView<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(&mut self, error: Handle<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        let error = self.table.get(&error)?;
        Ok(error.downcast_ref::<std::io::Error>().map(ErrorCode::from))
    }
}

/// The right to use the network, which every guest has: its Pod's network.
struct TheNetwork;

impl network::HostNetwork for SocketsView<'_> {
    fn drop(&mut self, this: Handle<Network>) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, TheNetwork>(&this))?;
        Ok(())
    }
}

impl instance_network::Host for SocketsView<'_> {
    fn instance_network(&mut self) -> wasmtime::Result<Handle<Network>> {
        Ok(theirs(self.table.push(TheNetwork)?))
    }
}

impl tcp_create_socket::Host for SocketsView<'_> {
    fn create_tcp_socket(&mut self, address_family: IpAddressFamily) -> SocketResult<Handle<tcp::TcpSocket>> {
        let socket = TcpSocket::new(Tcp::new(family(address_family)));
        Ok(theirs(self.table.push(socket)?))
    }
}

impl tcp::Host for SocketsView<'_> {}

impl tcp::HostTcpSocket for SocketsView<'_> {
    async fn start_bind(
        &mut self,
        this: Handle<tcp::TcpSocket>,
        _: Handle<Network>,
        local_address: IpSocketAddress,
    ) -> SocketResult<()> {
        let net = self.net;
        let socket = self.table.get_mut(&ours::<_, TcpSocket>(&this))?;
        socket.idle()?;
        socket.tcp.bind(net, local_address.into()).map_err(fail)?;
        socket.step = Some(Step::Bind);
        Ok(())
    }

    fn finish_bind(&mut self, this: Handle<tcp::TcpSocket>) -> SocketResult<()> {
        Ok(self.tcp(&this).map_err(SocketError::trap)?.finish(Step::Bind)?)
    }

    fn start_connect(
        &mut self,
        this: Handle<tcp::TcpSocket>,
        _: Handle<Network>,
        remote_address: IpSocketAddress,
    ) -> SocketResult<()> {
        let net = self.net;
        let socket = self.table.get_mut(&ours::<_, TcpSocket>(&this))?;
        socket.idle()?;
        socket.tcp.connect(net, remote_address.into()).map_err(fail)?;
        socket.step = Some(Step::Connect);
        Ok(())
    }

    fn finish_connect(
        &mut self,
        this: Handle<tcp::TcpSocket>,
    ) -> SocketResult<(Handle<DynInputStream>, Handle<DynOutputStream>)> {
        let socket = self.tcp(&this).map_err(SocketError::trap)?;
        if socket.step != Some(Step::Connect) {
            return Err(ErrorCode::NotInProgress.into());
        }
        if socket.poll_outcome(&mut now()).is_pending() {
            return Err(ErrorCode::WouldBlock.into());
        }
        socket.step = None;
        if let Some(Err(error)) = socket.outcome.take() {
            return Err(fail(error));
        }
        let (input, output) = socket.open()?;
        Ok((self.table.push(input)?, self.table.push(output)?))
    }

    async fn start_listen(&mut self, this: Handle<tcp::TcpSocket>) -> SocketResult<()> {
        let net = self.net;
        let socket = self.table.get_mut(&ours::<_, TcpSocket>(&this))?;
        socket.idle()?;
        if !socket.tcp.is_bound() {
            return Err(ErrorCode::InvalidState.into());
        }
        socket.tcp.listen(net).map_err(fail)?;
        socket.step = Some(Step::Listen);
        Ok(())
    }

    fn finish_listen(&mut self, this: Handle<tcp::TcpSocket>) -> SocketResult<()> {
        Ok(self.tcp(&this).map_err(SocketError::trap)?.finish(Step::Listen)?)
    }

    fn accept(
        &mut self,
        this: Handle<tcp::TcpSocket>,
    ) -> SocketResult<(Handle<tcp::TcpSocket>, Handle<DynInputStream>, Handle<DynOutputStream>)> {
        let socket = self.tcp(&this).map_err(SocketError::trap)?;
        if socket.step.is_some() || !socket.tcp.is_listening() {
            return Err(ErrorCode::InvalidState.into());
        }
        let Poll::Ready(accepted) = socket.tcp.poll_accept(&mut now()) else {
            return Err(ErrorCode::WouldBlock.into());
        };
        let mut accepted = TcpSocket::new(accepted.map_err(fail)?);
        let (input, output) = accepted.open()?;
        let socket = theirs(self.table.push(accepted)?);
        Ok((socket, self.table.push(input)?, self.table.push(output)?))
    }

    fn local_address(&mut self, this: Handle<tcp::TcpSocket>) -> SocketResult<IpSocketAddress> {
        let socket = self.tcp(&this).map_err(SocketError::trap)?;
        Ok(socket.tcp.local().map_err(fail)?.into())
    }

    fn remote_address(&mut self, this: Handle<tcp::TcpSocket>) -> SocketResult<IpSocketAddress> {
        let socket = self.tcp(&this).map_err(SocketError::trap)?;
        Ok(socket.tcp.remote().map_err(fail)?.into())
    }

    fn is_listening(&mut self, this: Handle<tcp::TcpSocket>) -> wasmtime::Result<bool> {
        Ok(self.tcp(&this)?.tcp.is_listening())
    }

    fn address_family(&mut self, this: Handle<tcp::TcpSocket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(family_back(self.tcp(&this)?.tcp.family))
    }

    fn set_listen_backlog_size(&mut self, this: Handle<tcp::TcpSocket>, value: u64) -> SocketResult<()> {
        self.tcp_options(&this)?.set_backlog(value).map_err(invalid)
    }

    fn keep_alive_enabled(&mut self, this: Handle<tcp::TcpSocket>) -> SocketResult<bool> {
        Ok(self.tcp_options(&this)?.keep_alive)
    }

    fn set_keep_alive_enabled(&mut self, this: Handle<tcp::TcpSocket>, value: bool) -> SocketResult<()> {
        self.tcp_options(&this)?.keep_alive = value;
        Ok(())
    }

    fn keep_alive_idle_time(&mut self, this: Handle<tcp::TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp_options(&this)?.keep_alive_idle_nanos())
    }

    fn set_keep_alive_idle_time(&mut self, this: Handle<tcp::TcpSocket>, value: u64) -> SocketResult<()> {
        self.tcp_options(&this)?.set_keep_alive_idle(value).map_err(invalid)
    }

    fn keep_alive_interval(&mut self, this: Handle<tcp::TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp_options(&this)?.keep_alive_interval_nanos())
    }

    fn set_keep_alive_interval(&mut self, this: Handle<tcp::TcpSocket>, value: u64) -> SocketResult<()> {
        self.tcp_options(&this)?.set_keep_alive_interval(value).map_err(invalid)
    }

    fn keep_alive_count(&mut self, this: Handle<tcp::TcpSocket>) -> SocketResult<u32> {
        Ok(self.tcp_options(&this)?.keep_alive_count)
    }

    fn set_keep_alive_count(&mut self, this: Handle<tcp::TcpSocket>, value: u32) -> SocketResult<()> {
        self.tcp_options(&this)?.set_keep_alive_count(value).map_err(invalid)
    }

    fn hop_limit(&mut self, this: Handle<tcp::TcpSocket>) -> SocketResult<u8> {
        Ok(self.tcp_options(&this)?.hop_limit)
    }

    fn set_hop_limit(&mut self, this: Handle<tcp::TcpSocket>, value: u8) -> SocketResult<()> {
        self.tcp_options(&this)?.set_hop_limit(value).map_err(invalid)
    }

    fn receive_buffer_size(&mut self, this: Handle<tcp::TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp_options(&this)?.receive_buffer)
    }

    fn set_receive_buffer_size(&mut self, this: Handle<tcp::TcpSocket>, value: u64) -> SocketResult<()> {
        self.tcp_options(&this)?.set_receive_buffer(value).map_err(invalid)
    }

    fn send_buffer_size(&mut self, this: Handle<tcp::TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp_options(&this)?.send_buffer)
    }

    fn set_send_buffer_size(&mut self, this: Handle<tcp::TcpSocket>, value: u64) -> SocketResult<()> {
        self.tcp_options(&this)?.set_send_buffer(value).map_err(invalid)
    }

    fn subscribe(&mut self, this: Handle<tcp::TcpSocket>) -> wasmtime::Result<Handle<DynPollable>> {
        subscribe(self.table, Resource::<TcpSocket>::new_borrow(this.rep()))
    }

    fn shutdown(
        &mut self,
        this: Handle<tcp::TcpSocket>,
        shutdown_type: tcp::ShutdownType,
    ) -> SocketResult<()> {
        let socket = self.tcp(&this).map_err(SocketError::trap)?;
        let Some((reader, writer)) = &socket.streams else {
            return Err(ErrorCode::InvalidState.into());
        };
        if !matches!(shutdown_type, tcp::ShutdownType::Send) {
            reader.shut();
        }
        if !matches!(shutdown_type, tcp::ShutdownType::Receive) {
            writer.shut();
        }
        Ok(())
    }

    fn drop(&mut self, this: Handle<tcp::TcpSocket>) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, TcpSocket>(&this))?;
        Ok(())
    }
}

impl udp_create_socket::Host for SocketsView<'_> {
    async fn create_udp_socket(
        &mut self,
        address_family: IpAddressFamily,
    ) -> SocketResult<Handle<udp::UdpSocket>> {
        Ok(theirs(self.table.push(UdpSocket::new(family(address_family)))?))
    }
}

impl udp::Host for SocketsView<'_> {}

impl udp::HostUdpSocket for SocketsView<'_> {
    async fn start_bind(
        &mut self,
        this: Handle<udp::UdpSocket>,
        _: Handle<Network>,
        local_address: IpSocketAddress,
    ) -> SocketResult<()> {
        let net = self.net;
        self.table.get_mut(&ours::<_, UdpSocket>(&this))?.bind(net, local_address.into()).map_err(fail)
    }

    fn finish_bind(&mut self, this: Handle<udp::UdpSocket>) -> SocketResult<()> {
        match self.udp(&this)?.socket {
            Some(_) => Ok(()),
            None => Err(ErrorCode::NotInProgress.into()),
        }
    }

    async fn stream(
        &mut self,
        this: Handle<udp::UdpSocket>,
        remote_address: Option<IpSocketAddress>,
    ) -> SocketResult<(Handle<udp::IncomingDatagramStream>, Handle<udp::OutgoingDatagramStream>)> {
        let socket = self.udp(&this)?;
        let remote = remote_address.map(SocketAddr::from);
        let remote = remote.map(|remote| socket.family.check_remote(remote)).transpose();
        socket.remote = remote.map_err(fail)?;
        let (family, remote) = (socket.family, socket.remote);
        let bound = socket.bound().map_err(fail)?;
        let incoming = Incoming::new(std::sync::Arc::clone(&bound), remote);
        let outgoing = Outgoing::new(family, bound, remote);
        Ok((theirs(self.table.push(incoming)?), theirs(self.table.push(outgoing)?)))
    }

    fn local_address(&mut self, this: Handle<udp::UdpSocket>) -> SocketResult<IpSocketAddress> {
        Ok(self.udp(&this)?.local().map_err(fail)?.into())
    }

    fn remote_address(&mut self, this: Handle<udp::UdpSocket>) -> SocketResult<IpSocketAddress> {
        Ok(self.udp(&this)?.remote().map_err(fail)?.into())
    }

    fn address_family(&mut self, this: Handle<udp::UdpSocket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(family_back(self.table.get(&ours::<_, UdpSocket>(&this))?.family))
    }

    fn unicast_hop_limit(&mut self, this: Handle<udp::UdpSocket>) -> SocketResult<u8> {
        Ok(self.udp(&this)?.options.hop_limit)
    }

    fn set_unicast_hop_limit(&mut self, this: Handle<udp::UdpSocket>, value: u8) -> SocketResult<()> {
        self.udp(&this)?.options.set_hop_limit(value).map_err(invalid)
    }

    fn receive_buffer_size(&mut self, this: Handle<udp::UdpSocket>) -> SocketResult<u64> {
        Ok(self.udp(&this)?.options.receive_buffer)
    }

    fn set_receive_buffer_size(&mut self, this: Handle<udp::UdpSocket>, value: u64) -> SocketResult<()> {
        self.udp(&this)?.options.set_receive_buffer(value).map_err(invalid)
    }

    fn send_buffer_size(&mut self, this: Handle<udp::UdpSocket>) -> SocketResult<u64> {
        Ok(self.udp(&this)?.options.send_buffer)
    }

    fn set_send_buffer_size(&mut self, this: Handle<udp::UdpSocket>, value: u64) -> SocketResult<()> {
        self.udp(&this)?.options.set_send_buffer(value).map_err(invalid)
    }

    fn subscribe(&mut self, this: Handle<udp::UdpSocket>) -> wasmtime::Result<Handle<DynPollable>> {
        subscribe(self.table, Resource::<UdpSocket>::new_borrow(this.rep()))
    }

    fn drop(&mut self, this: Handle<udp::UdpSocket>) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, UdpSocket>(&this))?;
        Ok(())
    }
}

impl udp::HostIncomingDatagramStream for SocketsView<'_> {
    fn receive(
        &mut self,
        this: Handle<udp::IncomingDatagramStream>,
        max_results: u64,
    ) -> SocketResult<Vec<udp::IncomingDatagram>> {
        let stream = self.incoming(&this)?;
        let mut datagrams = Vec::new();
        for _ in 0..max_results.min(DATAGRAMS) {
            match stream.take(&mut now()) {
                Some(Ok((data, from))) => {
                    datagrams.push(udp::IncomingDatagram { data: data.into(), remote_address: from.into() })
                }
                Some(Err(error)) if datagrams.is_empty() => return Err(fail(error)),
                Some(Err(_)) | None => break,
            }
        }
        Ok(datagrams)
    }

    fn subscribe(
        &mut self,
        this: Handle<udp::IncomingDatagramStream>,
    ) -> wasmtime::Result<Handle<DynPollable>> {
        subscribe(self.table, Resource::<Incoming>::new_borrow(this.rep()))
    }

    fn drop(&mut self, this: Handle<udp::IncomingDatagramStream>) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, Incoming>(&this))?;
        Ok(())
    }
}

impl udp::HostOutgoingDatagramStream for SocketsView<'_> {
    fn check_send(&mut self, this: Handle<udp::OutgoingDatagramStream>) -> SocketResult<u64> {
        let stream = self.outgoing(&this)?;
        stream.permitted = if stream.poll_ready(&mut now()).is_ready() { DATAGRAMS } else { 0 };
        Ok(stream.permitted)
    }

    fn send(
        &mut self,
        this: Handle<udp::OutgoingDatagramStream>,
        datagrams: Vec<udp::OutgoingDatagram>,
    ) -> SocketResult<u64> {
        let stream = self.outgoing(&this)?;
        let permitted = std::mem::take(&mut stream.permitted);
        if datagrams.len() as u64 > permitted {
            let error = wasmtime::Error::msg("more datagrams than permitted");
            return Err(SocketError::trap(error));
        }
        let mut sent = 0;
        for datagram in datagrams {
            let to = datagram.remote_address.map(SocketAddr::from);
            match stream.send(&mut now(), datagram.data, to) {
                Ok(true) => sent += 1,
                Ok(false) => break,
                Err(error) if sent == 0 => return Err(fail(error)),
                Err(_) => break,
            }
        }
        Ok(sent)
    }

    fn subscribe(
        &mut self,
        this: Handle<udp::OutgoingDatagramStream>,
    ) -> wasmtime::Result<Handle<DynPollable>> {
        subscribe(self.table, Resource::<Outgoing>::new_borrow(this.rep()))
    }

    async fn drop(&mut self, this: Handle<udp::OutgoingDatagramStream>) -> wasmtime::Result<()> {
        let mut stream = self.table.delete(ours::<_, Outgoing>(&this))?;
        // A datagram that was taken is not dropped silently.
        poll_fn(|cx| stream.poll_ready(cx)).await;
        Ok(())
    }
}

impl ip_name_lookup::Host for SocketsView<'_> {
    fn resolve_addresses(
        &mut self,
        _: Handle<Network>,
        name: String,
    ) -> SocketResult<Handle<ip_name_lookup::ResolveAddressStream>> {
        let mut answers = Answers::new(self.net, name);
        if let (Poll::Ready(()), Answers::Failed(error)) = (answers.poll_ready(&mut now()), &answers) {
            return Err(fail(error.clone()));
        }
        Ok(theirs(self.table.push(answers)?))
    }
}

impl ip_name_lookup::HostResolveAddressStream for SocketsView<'_> {
    fn resolve_next_address(
        &mut self,
        this: Handle<ip_name_lookup::ResolveAddressStream>,
    ) -> SocketResult<Option<IpAddress>> {
        let answers = self.table.get_mut(&ours::<_, Answers>(&this))?;
        match (answers.poll_ready(&mut now()), answers) {
            (Poll::Ready(()), Answers::Answered(addresses)) => Ok(addresses.next().map(IpAddress::from)),
            (Poll::Ready(()), Answers::Failed(error)) => Err(fail(error.clone())),
            _ => Err(ErrorCode::WouldBlock.into()),
        }
    }

    fn subscribe(
        &mut self,
        this: Handle<ip_name_lookup::ResolveAddressStream>,
    ) -> wasmtime::Result<Handle<DynPollable>> {
        subscribe(self.table, Resource::<Answers>::new_borrow(this.rep()))
    }

    fn drop(&mut self, this: Handle<ip_name_lookup::ResolveAddressStream>) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, Answers>(&this))?;
        Ok(())
    }
}

//! The host functions of `wasi:sockets` 0.3: calls that wait, streams of the component model.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use wasmtime::component::{
    Access, Accessor, Destination, FutureReader, Resource, Source, StreamConsumer, StreamProducer,
    StreamReader, StreamResult,
};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::p3::bindings::sockets::types::{self, ErrorCode, IpAddressFamily, IpSocketAddress};
use wasmtime_wasi::p3::bindings::sockets::{ip_name_lookup, types::IpAddress};
use wasmtime_wasi::p3::sockets::{SocketError, SocketResult};

use crate::net::{NetError, ReadHalf, WriteHalf};
use crate::sandbox::sockets::names;
use crate::sandbox::sockets::options::{InvalidOption, Options};
use crate::sandbox::sockets::tcp::{Family, Tcp};
use crate::sandbox::sockets::udp::UdpSocket;
use crate::sandbox::sockets::{PodSockets, SocketsView, ours, theirs};

/// Bytes read from a connection at once.
const PIECE: usize = 16 * 1024;

type Handle<T> = Resource<T>;
type Outcome = oneshot::Sender<Result<(), ErrorCode>>;

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
        other => ErrorCode::Other(Some(other.to_string())),
    }
}

fn fail(error: NetError) -> SocketError {
    code(error).into()
}

fn broken(error: std::io::Error) -> ErrorCode {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => ErrorCode::ConnectionBroken,
        _ => code(error.into()),
    }
}

async fn refused(error: NetError) -> wasmtime::Result<Result<(), ErrorCode>> {
    Ok(Err(code(error)))
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
    fn tcp3(&mut self, this: &Handle<types::TcpSocket>) -> SocketResult<&mut Tcp> {
        self.table.get_mut(&ours::<_, Tcp>(this)).map_err(SocketError::trap)
    }

    fn tcp3_options(&mut self, this: &Handle<types::TcpSocket>) -> SocketResult<&mut Options> {
        Ok(&mut self.tcp3(this)?.options)
    }

    fn udp3(&mut self, this: &Handle<types::UdpSocket>) -> SocketResult<&mut UdpSocket> {
        self.table.get_mut(&ours::<_, UdpSocket>(this)).map_err(SocketError::trap)
    }
}

/// Accepted connections as a stream of sockets. Shares the listener with the guest's handle.
struct Accepting<T> {
    listener: u32,
    view: for<'a> fn(&'a mut T) -> SocketsView<'a>,
}

impl<T: 'static> StreamProducer<T> for Accepting<T> {
    type Item = Handle<types::TcpSocket>;
    type Buffer = Option<Self::Item>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, T>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let probing = destination.remaining(&mut store) == Some(0);
        let view = (self.view)(store.data_mut());
        let Ok(listener) = view.table.get_mut(&Resource::<Tcp>::new_own(self.listener)) else {
            return Poll::Ready(Ok(StreamResult::Dropped)); // The guest dropped the socket.
        };
        if probing {
            return match listener.poll_acceptable(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(StreamResult::Completed)),
                Poll::Pending => pending(finish),
            };
        }
        match listener.poll_accept(cx) {
            Poll::Ready(Ok(accepted)) => {
                let socket = view.table.push(accepted)?;
                destination.set_buffer(Some(theirs(socket)));
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending => pending(finish),
        }
    }
}

fn pending(finish: bool) -> Poll<wasmtime::Result<StreamResult>> {
    if finish { Poll::Ready(Ok(StreamResult::Cancelled)) } else { Poll::Pending }
}

/// What arrives, as a stream of bytes.
struct Receiving {
    half: ReadHalf,
    buffer: BytesMut,
    outcome: Option<Outcome>,
}

impl Receiving {
    fn end(&mut self, outcome: Result<(), ErrorCode>) -> Poll<wasmtime::Result<StreamResult>> {
        if let Some(sender) = self.outcome.take() {
            // The guest may have no interest in it.
            let _ = sender.send(outcome);
        }
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let _ = self.end(Ok(()));
    }
}

impl<T> StreamProducer<T> for Receiving {
    type Item = u8;
    type Buffer = BytesMut;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, T>,
        mut destination: Destination<'a, u8, BytesMut>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = &mut *self;
        let wanted = destination.remaining(store.as_context_mut());
        if this.buffer.is_empty() {
            this.buffer.resize(PIECE, 0);
            let mut space = ReadBuf::new(&mut this.buffer);
            let polled = Pin::new(&mut this.half).poll_read(cx, &mut space);
            let filled = space.filled().len();
            this.buffer.truncate(filled);
            match polled {
                Poll::Ready(Ok(())) if filled == 0 => return this.end(Ok(())),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return this.end(Err(broken(error))),
                Poll::Pending => return pending(finish),
            }
        }
        if wanted != Some(0) {
            destination.set_buffer(std::mem::take(&mut this.buffer));
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

/// What the guest sends, from a stream of bytes.
struct Sending {
    half: WriteHalf,
    outcome: Option<Outcome>,
}

impl Sending {
    fn end(&mut self, outcome: Result<(), ErrorCode>) -> Poll<wasmtime::Result<StreamResult>> {
        if let Some(sender) = self.outcome.take() {
            // The guest may have no interest in it.
            let _ = sender.send(outcome);
        }
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let _ = self.end(Ok(()));
    }
}

impl<T> StreamConsumer<T> for Sending {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, T>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut source = source.as_direct(store);
        if source.remaining().is_empty() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match Pin::new(&mut self.half).poll_write(cx, source.remaining()) {
            Poll::Ready(Ok(count)) => {
                source.mark_read(count);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(Err(error)) => self.end(Err(broken(error))),
            Poll::Pending => pending(finish),
        }
    }
}

impl types::Host for SocketsView<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }
}

impl<T: Send + 'static> types::HostTcpSocketWithStore<T> for PodSockets {
    async fn connect(
        store: &Accessor<T, Self>,
        this: Handle<types::TcpSocket>,
        remote_address: IpSocketAddress,
    ) -> SocketResult<()> {
        store.with(|mut store| {
            let view = store.get();
            let socket = view.table.get_mut(&ours::<_, Tcp>(&this)).map_err(SocketError::trap)?;
            socket.connect(view.net, remote_address.into()).map_err(fail)
        })?;
        poll_fn(|cx| {
            store.with(|mut store| match store.get().tcp3(&this) {
                Ok(socket) => socket.poll_connect(cx).map_err(fail),
                Err(error) => Poll::Ready(Err(error)),
            })
        })
        .await
    }

    async fn listen(
        mut store: Access<'_, T, Self>,
        this: Handle<types::TcpSocket>,
    ) -> SocketResult<StreamReader<Handle<types::TcpSocket>>> {
        let view = store.getter();
        let sockets = store.get();
        let socket = sockets.table.get_mut(&ours::<_, Tcp>(&this)).map_err(SocketError::trap)?;
        socket.listen(sockets.net).map_err(fail)?;
        let accepting = Accepting { listener: this.rep(), view };
        StreamReader::new(&mut store, accepting).map_err(SocketError::trap)
    }

    fn send(
        mut store: Access<'_, T, Self>,
        this: Handle<types::TcpSocket>,
        mut data: StreamReader<u8>,
    ) -> wasmtime::Result<FutureReader<Result<(), ErrorCode>>> {
        let half = store.get().table.get_mut(&ours::<_, Tcp>(&this))?.take_write();
        match half {
            Ok(half) => {
                let (sender, outcome) = oneshot::channel();
                data.pipe(&mut store, Sending { half, outcome: Some(sender) })?;
                FutureReader::new(&mut store, outcome)
            }
            Err(error) => {
                data.close(&mut store)?;
                FutureReader::new(&mut store, refused(error))
            }
        }
    }

    fn receive(
        mut store: Access<'_, T, Self>,
        this: Handle<types::TcpSocket>,
    ) -> wasmtime::Result<(StreamReader<u8>, FutureReader<Result<(), ErrorCode>>)> {
        let half = store.get().table.get_mut(&ours::<_, Tcp>(&this))?.take_read();
        match half {
            Ok(half) => {
                let (sender, outcome) = oneshot::channel();
                let buffer = BytesMut::new();
                let receiving = Receiving { half, buffer, outcome: Some(sender) };
                let stream = StreamReader::new(&mut store, receiving)?;
                Ok((stream, FutureReader::new(&mut store, outcome)?))
            }
            Err(error) => {
                let stream = StreamReader::new(&mut store, std::iter::empty())?;
                Ok((stream, FutureReader::new(&mut store, refused(error))?))
            }
        }
    }
}

impl types::HostTcpSocket for SocketsView<'_> {
    async fn bind(
        &mut self,
        this: Handle<types::TcpSocket>,
        local_address: IpSocketAddress,
    ) -> SocketResult<()> {
        let net = self.net;
        self.tcp3(&this)?.bind(net, local_address.into()).map_err(fail)
    }

    fn create(&mut self, address_family: IpAddressFamily) -> SocketResult<Handle<types::TcpSocket>> {
        let socket = self.table.push(Tcp::new(family(address_family)));
        Ok(theirs(socket.map_err(SocketError::trap)?))
    }

    fn get_local_address(&mut self, this: Handle<types::TcpSocket>) -> SocketResult<IpSocketAddress> {
        Ok(self.tcp3(&this)?.local().map_err(fail)?.into())
    }

    fn get_remote_address(&mut self, this: Handle<types::TcpSocket>) -> SocketResult<IpSocketAddress> {
        Ok(self.tcp3(&this)?.remote().map_err(fail)?.into())
    }

    fn get_is_listening(&mut self, this: Handle<types::TcpSocket>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&ours::<_, Tcp>(&this))?.is_listening())
    }

    fn get_address_family(&mut self, this: Handle<types::TcpSocket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(family_back(self.table.get(&ours::<_, Tcp>(&this))?.family))
    }

    fn set_listen_backlog_size(&mut self, this: Handle<types::TcpSocket>, value: u64) -> SocketResult<()> {
        self.tcp3_options(&this)?.set_backlog(value).map_err(invalid)
    }

    fn get_keep_alive_enabled(&mut self, this: Handle<types::TcpSocket>) -> SocketResult<bool> {
        Ok(self.tcp3_options(&this)?.keep_alive)
    }

    fn set_keep_alive_enabled(&mut self, this: Handle<types::TcpSocket>, value: bool) -> SocketResult<()> {
        self.tcp3_options(&this)?.keep_alive = value;
        Ok(())
    }

    fn get_keep_alive_idle_time(&mut self, this: Handle<types::TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp3_options(&this)?.keep_alive_idle_nanos())
    }

    fn set_keep_alive_idle_time(&mut self, this: Handle<types::TcpSocket>, value: u64) -> SocketResult<()> {
        self.tcp3_options(&this)?.set_keep_alive_idle(value).map_err(invalid)
    }

    fn get_keep_alive_interval(&mut self, this: Handle<types::TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp3_options(&this)?.keep_alive_interval_nanos())
    }

    fn set_keep_alive_interval(&mut self, this: Handle<types::TcpSocket>, value: u64) -> SocketResult<()> {
        self.tcp3_options(&this)?.set_keep_alive_interval(value).map_err(invalid)
    }

    fn get_keep_alive_count(&mut self, this: Handle<types::TcpSocket>) -> SocketResult<u32> {
        Ok(self.tcp3_options(&this)?.keep_alive_count)
    }

    fn set_keep_alive_count(&mut self, this: Handle<types::TcpSocket>, value: u32) -> SocketResult<()> {
        self.tcp3_options(&this)?.set_keep_alive_count(value).map_err(invalid)
    }

    fn get_hop_limit(&mut self, this: Handle<types::TcpSocket>) -> SocketResult<u8> {
        Ok(self.tcp3_options(&this)?.hop_limit)
    }

    fn set_hop_limit(&mut self, this: Handle<types::TcpSocket>, value: u8) -> SocketResult<()> {
        self.tcp3_options(&this)?.set_hop_limit(value).map_err(invalid)
    }

    fn get_receive_buffer_size(&mut self, this: Handle<types::TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp3_options(&this)?.receive_buffer)
    }

    fn set_receive_buffer_size(&mut self, this: Handle<types::TcpSocket>, value: u64) -> SocketResult<()> {
        self.tcp3_options(&this)?.set_receive_buffer(value).map_err(invalid)
    }

    fn get_send_buffer_size(&mut self, this: Handle<types::TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp3_options(&this)?.send_buffer)
    }

    fn set_send_buffer_size(&mut self, this: Handle<types::TcpSocket>, value: u64) -> SocketResult<()> {
        self.tcp3_options(&this)?.set_send_buffer(value).map_err(invalid)
    }

    fn drop(&mut self, this: Handle<types::TcpSocket>) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, Tcp>(&this))?;
        Ok(())
    }
}

impl<T: Send + 'static> types::HostUdpSocketWithStore<T> for PodSockets {
    async fn send(
        store: &Accessor<T, Self>,
        this: Handle<types::UdpSocket>,
        data: Vec<u8>,
        remote_address: Option<IpSocketAddress>,
    ) -> SocketResult<()> {
        let (socket, to) = store.with(|mut store| {
            let view = store.get();
            let socket = view.table.get_mut(&ours::<_, UdpSocket>(&this)).map_err(SocketError::trap)?;
            let to = socket.target(remote_address.map(SocketAddr::from)).map_err(fail)?;
            SocketResult::Ok((socket.ensure_bound(view.net).map_err(fail)?, to))
        })?;
        socket.send_to(&data, to).await.map_err(fail)
    }

    async fn receive(
        store: &Accessor<T, Self>,
        this: Handle<types::UdpSocket>,
    ) -> SocketResult<(Vec<u8>, IpSocketAddress)> {
        let (socket, remote) = store.with(|mut store| {
            let mut view = store.get();
            let socket = view.udp3(&this)?;
            SocketResult::Ok((socket.bound().map_err(fail)?, socket.remote))
        })?;
        loop {
            let (data, from): (Bytes, SocketAddr) = socket.recv_from().await.map_err(fail)?;
            if remote.is_none_or(|remote| remote == from) {
                return Ok((data.into(), from.into()));
            }
        }
    }
}

impl types::HostUdpSocket for SocketsView<'_> {
    async fn bind(
        &mut self,
        this: Handle<types::UdpSocket>,
        local_address: IpSocketAddress,
    ) -> SocketResult<()> {
        let net = self.net;
        self.udp3(&this)?.bind(net, local_address.into()).map_err(fail)
    }

    async fn connect(
        &mut self,
        this: Handle<types::UdpSocket>,
        remote_address: IpSocketAddress,
    ) -> SocketResult<()> {
        let net = self.net;
        let socket = self.udp3(&this)?;
        let remote = socket.family.check_remote(remote_address.into()).map_err(fail)?;
        socket.ensure_bound(net).map_err(fail)?;
        socket.remote = Some(remote);
        Ok(())
    }

    async fn create(&mut self, address_family: IpAddressFamily) -> SocketResult<Handle<types::UdpSocket>> {
        let socket = self.table.push(UdpSocket::new(family(address_family)));
        Ok(theirs(socket.map_err(SocketError::trap)?))
    }

    fn disconnect(&mut self, this: Handle<types::UdpSocket>) -> SocketResult<()> {
        let socket = self.udp3(&this)?;
        socket.remote().map_err(fail)?;
        socket.remote = None;
        Ok(())
    }

    fn get_local_address(&mut self, this: Handle<types::UdpSocket>) -> SocketResult<IpSocketAddress> {
        Ok(self.udp3(&this)?.local().map_err(fail)?.into())
    }

    fn get_remote_address(&mut self, this: Handle<types::UdpSocket>) -> SocketResult<IpSocketAddress> {
        Ok(self.udp3(&this)?.remote().map_err(fail)?.into())
    }

    fn get_address_family(&mut self, this: Handle<types::UdpSocket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(family_back(self.table.get(&ours::<_, UdpSocket>(&this))?.family))
    }

    fn get_unicast_hop_limit(&mut self, this: Handle<types::UdpSocket>) -> SocketResult<u8> {
        Ok(self.udp3(&this)?.options.hop_limit)
    }

    fn set_unicast_hop_limit(&mut self, this: Handle<types::UdpSocket>, value: u8) -> SocketResult<()> {
        self.udp3(&this)?.options.set_hop_limit(value).map_err(invalid)
    }

    fn get_receive_buffer_size(&mut self, this: Handle<types::UdpSocket>) -> SocketResult<u64> {
        Ok(self.udp3(&this)?.options.receive_buffer)
    }

    fn set_receive_buffer_size(&mut self, this: Handle<types::UdpSocket>, value: u64) -> SocketResult<()> {
        self.udp3(&this)?.options.set_receive_buffer(value).map_err(invalid)
    }

    fn get_send_buffer_size(&mut self, this: Handle<types::UdpSocket>) -> SocketResult<u64> {
        Ok(self.udp3(&this)?.options.send_buffer)
    }

    fn set_send_buffer_size(&mut self, this: Handle<types::UdpSocket>, value: u64) -> SocketResult<()> {
        self.udp3(&this)?.options.set_send_buffer(value).map_err(invalid)
    }

    fn drop(&mut self, this: Handle<types::UdpSocket>) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, UdpSocket>(&this))?;
        Ok(())
    }
}

impl ip_name_lookup::Host for SocketsView<'_> {}

impl<T: Send + 'static> ip_name_lookup::HostWithStore<T> for PodSockets {
    async fn resolve_addresses(
        store: &Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<Vec<IpAddress>, ip_name_lookup::ErrorCode>> {
        use ip_name_lookup::ErrorCode as Code;
        let net = store.with(|mut store| store.get().net.clone());
        Ok(match names::resolve(net, name).await {
            Ok(addresses) => Ok(addresses.into_iter().map(IpAddress::from).collect()),
            Err(NetError::AccessDenied(_)) => Err(Code::AccessDenied),
            Err(NetError::InvalidArgument(_)) => Err(Code::InvalidArgument),
            Err(NetError::NameUnresolvable) => Err(Code::NameUnresolvable),
            Err(NetError::ResolverTemporary) => Err(Code::TemporaryResolverFailure),
            Err(NetError::ResolverPermanent) => Err(Code::PermanentResolverFailure),
            Err(other) => Err(Code::Other(Some(other.to_string()))),
        })
    }
}

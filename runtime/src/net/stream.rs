//! A connected byte stream: in memory between local Pods, a kernel socket towards the outside.

use crate::net::pipe::Pipe;
use crate::net::pod::{Accounted, SocketLease};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A connected stream. Shutdown closes the sending direction only; dropping closes both, and the
/// peer's further writes fail with a reset.
#[derive(Debug)]
pub struct Stream {
    read: ReadHalf,
    write: WriteHalf,
}

/// The receiving direction of a [`Stream`].
pub struct ReadHalf {
    source: Source,
    local: SocketAddr,
    peer: SocketAddr,
    _lease: Option<SocketLease>,
    _accounted: Option<Accounted>,
}

/// The sending direction of a [`Stream`]; dropping it sends the end of the stream.
pub struct WriteHalf {
    sink: Sink,
    _lease: Option<SocketLease>,
    _accounted: Option<Accounted>,
}

enum Source {
    Memory(Pipe),
    Kernel(OwnedReadHalf),
}

enum Sink {
    Memory(Pipe),
    Kernel(OwnedWriteHalf),
}

impl Stream {
    pub(crate) fn memory(read: Pipe, write: Pipe, local: SocketAddr, peer: SocketAddr) -> Self {
        Stream::new(Source::Memory(read), Sink::Memory(write), local, peer)
    }

    /// A kernel socket under the addresses the Pod is to see.
    pub(crate) fn kernel(socket: tokio::net::TcpStream, local: SocketAddr, peer: SocketAddr) -> Self {
        let (read, write) = socket.into_split();
        Stream::new(Source::Kernel(read), Sink::Kernel(write), local, peer)
    }

    fn new(source: Source, sink: Sink, local: SocketAddr, peer: SocketAddr) -> Self {
        Stream {
            read: ReadHalf { source, local, peer, _lease: None, _accounted: None },
            write: WriteHalf { sink, _lease: None, _accounted: None },
        }
    }

    /// The stream under the peer address the client dialled.
    pub(crate) fn seen_at(mut self, peer: SocketAddr) -> Self {
        self.read.peer = peer;
        self
    }

    /// Counts the stream against a Pod's quota until both halves are gone.
    pub(crate) fn leased(mut self, lease: SocketLease) -> Self {
        self.read._lease = Some(lease.clone());
        self.write._lease = Some(lease);
        self
    }

    /// Counts the stream as work in progress until both halves are gone.
    pub(crate) fn accounted(mut self, accounted: Accounted) -> Self {
        self.read._accounted = Some(accounted.clone());
        self.write._accounted = Some(accounted);
        self
    }

    /// This side's logical address.
    pub fn local_addr(&self) -> SocketAddr {
        self.read.local
    }

    /// The other side's logical address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.read.peer
    }

    /// Both directions apart, without a lock between them.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (self.read, self.write)
    }

    /// The pipes of an in-memory stream, to break them.
    pub(crate) fn pipes(&self) -> Option<(Pipe, Pipe)> {
        match (&self.read.source, &self.write.sink) {
            (Source::Memory(read), Sink::Memory(write)) => Some((read.clone(), write.clone())),
            _ => None,
        }
    }

    /// Breaks the stream for both sides.
    pub(crate) fn reset(self) {
        if let Some((read, write)) = self.pipes() {
            read.reset();
            write.reset();
        }
    }
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadHalf").field("local", &self.local).field("peer", &self.peer).finish()
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteHalf").finish_non_exhaustive()
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        if let Source::Memory(pipe) = &self.source {
            pipe.abandon();
        }
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        if let Sink::Memory(pipe) = &self.sink {
            pipe.finish();
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.source {
            Source::Memory(pipe) => pipe.poll_read(cx, buf),
            Source::Kernel(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.sink {
            Sink::Memory(pipe) => pipe.poll_write(cx, data),
            Sink::Kernel(socket) => Pin::new(socket).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.sink {
            Sink::Memory(pipe) => pipe.poll_write_slices(cx, slices),
            Sink::Kernel(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.sink {
            Sink::Memory(pipe) => {
                pipe.finish();
                Poll::Ready(Ok(()))
            }
            Sink::Kernel(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(cx)
    }
}

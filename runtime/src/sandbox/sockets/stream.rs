//! The two directions of a connection as WASI 0.2's streams.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio::task::JoinHandle;
use tokio_util::io::poll_read_buf;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::net::{ReadHalf, WriteHalf};

/// The largest piece read or written at once.
const PIECE: usize = 16 * 1024;

fn now() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn failed(error: io::Error) -> StreamError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => StreamError::Closed,
        _ => StreamError::LastOperationFailed(wasmtime::Error::from(error)),
    }
}

/// The receiving direction; clones are the same one.
#[derive(Clone)]
pub(super) struct Reader(Arc<Mutex<Reading>>);

struct Reading {
    half: Option<ReadHalf>,
    buffer: BytesMut,
    error: Option<io::Error>,
}

impl Reader {
    /// Reads from `half`.
    pub(super) fn new(half: ReadHalf) -> Reader {
        let reading = Reading { half: Some(half), buffer: BytesMut::new(), error: None };
        Reader(Arc::new(Mutex::new(reading)))
    }

    /// Reads nothing more.
    pub(super) fn shut(&self) {
        self.0.lock().half = None;
    }
}

impl Reading {
    /// Ready when there are bytes, an error or the end to report.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(half) = &mut self.half else { return Poll::Ready(()) };
        if !self.buffer.is_empty() {
            return Poll::Ready(());
        }
        self.buffer.reserve(PIECE);
        match ready!(poll_read_buf(Pin::new(half), cx, &mut self.buffer)) {
            Ok(0) => self.half = None,
            Ok(_) => {}
            Err(error) => {
                self.half = None;
                self.error = Some(error);
            }
        }
        Poll::Ready(())
    }
}

impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut reading = self.0.lock();
        if size == 0 {
            return Ok(Bytes::new());
        }
        if reading.poll_fill(&mut now()).is_pending() {
            return Ok(Bytes::new());
        }
        if reading.buffer.is_empty() {
            return Err(reading.error.take().map_or(StreamError::Closed, failed));
        }
        let size = size.min(reading.buffer.len());
        Ok(reading.buffer.split_to(size).freeze())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {
        poll_fn(|cx| self.0.lock().poll_fill(cx)).await;
    }
}

/// The sending direction; clones are the same one.
#[derive(Clone)]
pub(super) struct Writer(Arc<Mutex<Writing>>);

/// A piece that was taken is sent even if the guest never looks again: by a task, once the
/// connection cannot take it at once. The task ends with the Pod's network at the latest.
enum Writing {
    Idle(WriteHalf),
    Busy(JoinHandle<io::Result<WriteHalf>>),
    /// Shut down while busy: what was taken is still sent.
    Closed,
    Failed(io::Error),
}

impl Writer {
    /// Writes to `half`.
    pub(super) fn new(half: WriteHalf) -> Writer {
        Writer(Arc::new(Mutex::new(Writing::Idle(half))))
    }

    /// Writes nothing more: the other side reads the end once it has read everything.
    pub(super) fn shut(&self) {
        *self.0.lock() = Writing::Closed;
    }
}

impl Writing {
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Writing::Busy(task) = self {
            *self = match ready!(Pin::new(task).poll(cx)) {
                Ok(Ok(half)) => Writing::Idle(half),
                Ok(Err(error)) => Writing::Failed(error),
                Err(_) => Writing::Closed,
            };
        }
        Poll::Ready(())
    }

    /// Reports a failure once, then the end.
    fn check(&mut self) -> StreamResult<bool> {
        let _ = self.poll_idle(&mut now());
        match self {
            Writing::Idle(_) => Ok(true),
            Writing::Busy(_) => Ok(false),
            Writing::Closed => Err(StreamError::Closed),
            Writing::Failed(_) => match std::mem::replace(self, Writing::Closed) {
                Writing::Failed(error) => Err(failed(error)),
                _ => Err(StreamError::Closed),
            },
        }
    }

    fn write(&mut self, mut bytes: Bytes) -> StreamResult<()> {
        let Writing::Idle(half) = self else {
            return Err(StreamError::Trap(wasmtime::Error::msg("write without permission")));
        };
        while bytes.has_remaining() {
            match Pin::new(&mut *half).poll_write(&mut now(), &bytes) {
                Poll::Ready(Ok(count)) => bytes.advance(count),
                Poll::Ready(Err(error)) => {
                    *self = Writing::Closed;
                    return Err(failed(error));
                }
                Poll::Pending => {
                    self.send_later(bytes);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn send_later(&mut self, bytes: Bytes) {
        use tokio::io::AsyncWriteExt;
        if let Writing::Idle(mut half) = std::mem::replace(self, Writing::Closed) {
            *self = Writing::Busy(tokio::spawn(async move {
                half.write_all(&bytes).await?;
                Ok(half)
            }));
        }
    }
}

impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.0.lock().check().map(|_| ())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(if self.0.lock().check()? { PIECE } else { 0 })
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        poll_fn(|cx| self.0.lock().poll_idle(cx)).await;
    }
}

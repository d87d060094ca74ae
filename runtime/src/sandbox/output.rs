//! Where a guest's standard output and error go: a bounded queue of chunks.
//!
//! A guest that writes faster than the reader takes waits, without occupying a thread. When the
//! reader is gone what is written is dropped: a lost log never ends a guest. Chunks, not lines:
//! cutting lines is the log's business.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// The largest chunk a guest writes at once.
const CHUNK: usize = 16 * 1024;

/// What was written at once. In a box: a queue keeps room for 32 of them, and most containers are silent.
pub type Chunk = Box<Bytes>;

/// The guest's end. Clones write to the same queue; chunks of one write stay together.
#[derive(Debug, Clone)]
pub struct Output {
    queue: Option<mpsc::Sender<Chunk>>,
    terminal: bool,
}

impl Output {
    /// A queue of at most `chunks` chunks of up to 16 KiB, and its reader.
    pub fn channel(chunks: usize) -> (Output, mpsc::Receiver<Chunk>) {
        let (sender, receiver) = mpsc::channel(chunks.max(1));
        (Output { queue: Some(sender), terminal: false }, receiver)
    }

    /// Output that nobody reads.
    pub fn discard() -> Output {
        Output { queue: None, terminal: false }
    }

    /// The same; the guest is told that it is a terminal.
    pub fn on_terminal(self) -> Output {
        Output { terminal: true, ..self }
    }

    /// Writes a message of the host's own, such as a trap; waits while the queue is full.
    pub(super) async fn say(&self, text: String) {
        if let Some(queue) = &self.queue {
            // A reader that is gone has no use for the message.
            let _ = queue.send(Box::new(Bytes::from(text))).await;
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        self.terminal
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        match &self.queue {
            Some(queue) => Box::new(Writer { queue: PollSender::new(queue.clone()) }),
            None => Box::new(tokio::io::sink()),
        }
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Stream { queue: self.queue.clone(), waiting: None })
    }
}

/// WASI 0.2's and preview 1's view: write what was permitted, then wait to be permitted again.
struct Stream {
    queue: Option<mpsc::Sender<Chunk>>,
    /// A permitted chunk that another writer of the container left no room for.
    waiting: Option<Chunk>,
}

impl Stream {
    fn send(&mut self, chunk: Chunk) {
        let Some(queue) = &self.queue else { return };
        match queue.try_send(chunk) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(chunk)) => self.waiting = Some(chunk),
            Err(mpsc::error::TrySendError::Closed(_)) => self.queue = None,
        }
    }

    fn retry(&mut self) {
        if let Some(chunk) = self.waiting.take() {
            self.send(chunk);
        }
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.retry();
        if self.waiting.is_some() || bytes.len() > CHUNK {
            return Err(StreamError::Trap(wasmtime::Error::msg("write without permission")));
        }
        if !bytes.is_empty() {
            self.send(Box::new(bytes));
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.retry();
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.retry();
        let room = match &self.queue {
            Some(queue) => self.waiting.is_none() && (queue.capacity() > 0 || queue.is_closed()),
            None => true,
        };
        Ok(if room { CHUNK } else { 0 })
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {
        let Some(queue) = self.queue.clone() else { return };
        match queue.reserve().await {
            Ok(permit) => {
                if let Some(chunk) = self.waiting.take() {
                    permit.send(chunk);
                }
            }
            Err(_) => {
                self.queue = None;
                self.waiting = None;
            }
        }
    }
}

/// WASI 0.3's view.
struct Writer {
    queue: PollSender<Chunk>,
}

impl AsyncWrite for Writer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let chunk = &bytes[..bytes.len().min(CHUNK)];
        if ready!(self.queue.poll_reserve(cx)).is_ok() {
            // Closed between the two calls: dropped, like everything after it.
            let _ = self.queue.send_item(Box::new(Bytes::copy_from_slice(chunk)));
        }
        Poll::Ready(Ok(chunk.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

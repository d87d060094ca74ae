//! Where a guest's standard input comes from: nowhere, or whoever feeds the other end of a pipe.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWriteExt as _, DuplexStream, ReadBuf};
use wasmtime_wasi::cli::{IsTerminal, StdinStream};
use wasmtime_wasi::p2::InputStream;
use wasmtime_wasi::p2::pipe::{AsyncReadStream, ClosedInputStream};

/// Bytes that wait for the guest before the writer does.
const WAITING: usize = 64 * 1024;

/// The guest's end. Clones, and all streams a guest makes of it, read from the same place.
#[derive(Debug, Clone, Default)]
pub struct Input {
    stream: Option<Arc<Mutex<DuplexStream>>>,
    terminal: bool,
}

/// The other end of a pipe. Clones feed the same guest; when the last one is gone, or says so, the input ends.
#[derive(Debug, Clone)]
pub struct Feed(Arc<tokio::sync::Mutex<Option<DuplexStream>>>);

impl Feed {
    /// Gives the guest bytes; waits while it has enough. What it does not want any more is dropped.
    pub async fn give(&self, bytes: &[u8]) {
        let mut stream = self.0.lock().await;
        if let Some(writer) = &mut *stream
            && writer.write_all(bytes).await.is_err()
        {
            *stream = None;
        }
    }

    /// Ends the input.
    pub async fn end(&self) {
        *self.0.lock().await = None;
    }
}

impl Input {
    /// Input that is at its end.
    pub fn empty() -> Input {
        Input::default()
    }

    /// Input and who feeds it.
    pub fn pipe() -> (Input, Feed) {
        let (guest, writer) = tokio::io::duplex(WAITING);
        let input = Input { stream: Some(Arc::new(Mutex::new(guest))), terminal: false };
        (input, Feed(Arc::new(tokio::sync::Mutex::new(Some(writer)))))
    }

    /// The same; the guest is told that it is a terminal.
    pub fn on_terminal(self) -> Input {
        Input { terminal: true, ..self }
    }
}

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &self.stream {
            Some(stream) => Pin::new(&mut *stream.lock()).poll_read(cx, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        self.terminal
    }
}

impl StdinStream for Input {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        match &self.stream {
            // A task that reads is for those who have something to read.
            Some(_) => Box::new(AsyncReadStream::new(self.clone())),
            None => Box::new(ClosedInputStream),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_to_its_end() {
        let (mut input, feed) = Input::pipe();
        let (mut other, second) = (input.clone(), feed.clone());
        feed.give(b"a").await;
        drop(feed);
        second.give(b"b").await;
        second.end().await;
        second.give(b"too late").await;
        let mut first = [0];
        other.read_exact(&mut first).await.expect("a byte");
        let mut rest = String::new();
        input.read_to_string(&mut rest).await.expect("text");
        assert_eq!((first, rest.as_str()), ([b'a'], "b"));
        assert_eq!(Input::empty().read_to_string(&mut rest).await.expect("nothing"), 0);
    }
}

//! Where a guest's standard input comes from: nowhere, or whoever holds the other end of a pipe.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, DuplexStream, ReadBuf};
use wasmtime_wasi::cli::{IsTerminal, StdinStream};

/// Bytes that wait for the guest before the writer does.
const WAITING: usize = 64 * 1024;

/// The guest's end. Clones, and all streams a guest makes of it, read from the same place.
#[derive(Debug, Clone, Default)]
pub struct Input(Option<Arc<Mutex<DuplexStream>>>);

impl Input {
    /// Input that is at its end.
    pub fn empty() -> Input {
        Input(None)
    }

    /// Input and who writes it; dropping the writer is the end of the input.
    pub fn pipe() -> (Input, DuplexStream) {
        let (guest, writer) = tokio::io::duplex(WAITING);
        (Input(Some(Arc::new(Mutex::new(guest)))), writer)
    }
}

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &self.0 {
            Some(stream) => Pin::new(&mut *stream.lock()).poll_read(cx, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Input {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_to_its_end() {
        let (mut input, mut writer) = Input::pipe();
        let mut other = input.clone();
        writer.write_all(b"ab").await.expect("there is room");
        drop(writer);
        let mut first = [0];
        other.read_exact(&mut first).await.expect("a byte");
        let mut rest = String::new();
        input.read_to_string(&mut rest).await.expect("text");
        assert_eq!((first, rest.as_str()), ([b'a'], "b"));
        assert_eq!(Input::empty().read_to_string(&mut rest).await.expect("nothing"), 0);
    }
}

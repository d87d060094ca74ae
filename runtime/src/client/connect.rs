//! How a byte stream to the API server comes about.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use crate::client::tls::Tls;

/// How long connecting and the TLS handshake may take together.
const CONNECT: Duration = Duration::from_secs(10);

/// A duplex byte stream of any kind.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A boxed [`Duplex`].
pub type ByteStream = Box<dyn Duplex>;

/// A closure that opens an in-memory stream.
pub type Open = Arc<dyn Fn() -> BoxFuture<'static, io::Result<ByteStream>> + Send + Sync>;

/// What will be spoken on the stream; TLS negotiates it, the others just begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, which can be upgraded.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Where the API server is and how to get there.
#[derive(Clone)]
pub enum Connector {
    /// TLS over TCP.
    Tls(Tls),
    /// A Unix socket; the peer is known by its credentials.
    Unix(PathBuf),
    /// A stream inside this process.
    Memory(Open),
}

impl Connector {
    /// An in-memory connector.
    pub fn memory<F>(open: F) -> Connector
    where
        F: Fn() -> BoxFuture<'static, io::Result<ByteStream>> + Send + Sync + 'static,
    {
        Connector::Memory(Arc::new(open))
    }

    /// Opens a stream on which `protocol` can be spoken.
    pub async fn connect(&self, protocol: Protocol) -> io::Result<ByteStream> {
        let opening = async {
            match self {
                Connector::Tls(tls) => tls.connect(protocol).await,
                Connector::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?) as ByteStream),
                Connector::Memory(open) => open().await,
            }
        };
        tokio::time::timeout(CONNECT, opening).await.map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {CONNECT:?}"))
        })?
    }

    /// The `host:port` that requests name.
    pub fn authority(&self) -> &str {
        match self {
            Connector::Tls(tls) => tls.authority(),
            Connector::Unix(_) | Connector::Memory(_) => "localhost",
        }
    }

    /// Whether the far side can vanish without the stream ending.
    pub fn may_vanish(&self) -> bool {
        matches!(self, Connector::Tls(_))
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Connector::Tls(tls) => write!(f, "Tls({})", tls.authority()),
            Connector::Unix(path) => write!(f, "Unix({})", path.display()),
            Connector::Memory(_) => f.write_str("Memory"),
        }
    }
}

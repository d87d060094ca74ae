//! One way to somebody: an address to dial, or a port of a Pod over the tunnel of its node.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use http::Request;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::{AsyncRead, AsyncWrite, join, simplex};
use tokio::net::TcpStream;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::tunnel::Tunnels;

/// Bytes that wait to be sent over a tunnel.
const WAITING: usize = 64 * 1024;

/// A way.
#[derive(Clone)]
pub enum Way {
    /// To an address.
    Address(SocketAddr),
    /// To a port of a Pod.
    Tunnel {
        /// The tunnels of all nodes.
        tunnels: Tunnels,
        /// The Pod's node.
        node: String,
        /// Its namespace and name.
        pod: [String; 2],
        /// The port.
        port: u16,
    },
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place())
    }
}

/// What goes both ways.
pub(super) trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// A connection.
pub(super) type Stream = Box<dyn Both>;

impl Way {
    /// Where it leads, for people.
    fn place(&self) -> String {
        match self {
            Way::Address(address) => address.to_string(),
            Way::Tunnel { pod: [namespace, name], port, .. } => format!("{namespace}/{name}:{port}"),
        }
    }

    /// Opens it. The error says where it should have led, and why there is none.
    pub(super) async fn open(&self) -> Result<Stream, (String, String)> {
        match self {
            Way::Address(address) => match TcpStream::connect(address).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) => Err((self.place(), plain(&error))),
            },
            Way::Tunnel { tunnels, node, pod: [namespace, name], port } => {
                let path = format!("http://node/portForward/{namespace}/{name}/{port}");
                through(tunnels, node, &path).await.map_err(|why| (self.place(), why))
            }
        }
    }
}

async fn through(tunnels: &Tunnels, node: &str, path: &str) -> Result<Stream, String> {
    let (said, writer) = simplex(WAITING);
    let body = StreamBody::new(ReaderStream::new(said).map_ok(http_body::Frame::data)).boxed_unsync();
    let request = Request::post(path).body(body).map_err(|error| error.to_string())?;
    let answer = tunnels.stream(node, request).await.map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("node {node:?} answers {}", answer.status()));
    }
    let heard: BoxStream<'static, io::Result<Bytes>> =
        Box::pin(answer.into_body().into_data_stream().map_err(io::Error::other));
    Ok(Box::new(join(StreamReader::new(heard), writer)))
}

/// The error of the system in its own words, without our language's additions.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}

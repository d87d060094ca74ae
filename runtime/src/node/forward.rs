//! A connection to a port of a Pod, for the server: bytes in both bodies.
//!
//! It is dialled like any other of the Pod network, so that a handler answers HTTP on it as it does elsewhere.

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::client::tunnel::{Body, text};
use crate::net::{Dialed, serve_duplex};
use crate::supervisor::host::Host;

/// Chunks that wait for the tunnel.
const WAITING: usize = 16;
/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// Bytes between a handler and its caller.
const BUFFER: usize = 64 * 1024;

/// Dials the port and answers with what it says.
pub async fn answer(host: &Host, ip: Option<IpAddr>, port: &str, body: Incoming) -> Response<Body> {
    let to = match (ip, port.parse()) {
        (Some(ip), Ok(port)) => SocketAddr::new(ip, port),
        (None, _) => return text(StatusCode::BAD_REQUEST, "the Pod has no address yet"),
        _ => return text(StatusCode::BAD_REQUEST, "the port is not a number"),
    };
    let from = SocketAddr::new(host.address, 0);
    let (sender, receiver) = mpsc::channel(WAITING);
    let task = match host.network.dial(to, from).await {
        Ok(Dialed::Stream(stream)) => tokio::spawn(pass(stream, body, sender)),
        Ok(Dialed::Http(handler)) => tokio::spawn(async move {
            let (ours, theirs) = tokio::io::duplex(BUFFER);
            tokio::join!(pass(ours, body, sender), serve_duplex(theirs, handler));
        }),
        Err(error) => return text(StatusCode::BAD_GATEWAY, &format!("dial tcp {to}: {error}")),
    };
    let task = AbortOnDropHandle::new(task);
    let chunks = futures::stream::unfold((receiver, task), |(mut receiver, task)| async move {
        receiver.recv().await.map(|bytes| (Ok::<_, io::Error>(Frame::data(bytes)), (receiver, task)))
    });
    Response::new(BodyExt::boxed_unsync(StreamBody::new(chunks)))
}

/// Passes bytes both ways until the Pod's side has said its last.
async fn pass(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    body: Incoming,
    sender: mpsc::Sender<Bytes>,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let there = async {
        let mut body = body.into_data_stream();
        while let Some(Ok(chunk)) = body.next().await {
            if writer.write_all(&chunk).await.is_err() {
                break;
            }
        }
        let _ = writer.shutdown().await;
        std::future::pending::<()>().await;
    };
    let back = async {
        let mut buffer = vec![0; CHUNK];
        while let Ok(read @ 1..) = reader.read(&mut buffer).await {
            if sender.send(Bytes::copy_from_slice(&buffer[..read])).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

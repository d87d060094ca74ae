//! An upgraded connection as messages that go both ways: what exec, attach and port-forward have in common.

use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::http::body::Response;
use crate::http::handshake::Handshake;
use crate::http::logs::refusal;
use crate::http::spdy;
use crate::http::websocket::{self, Event};
use crate::registry::{ApiError, Reason};
use crate::tunnel::Tunnels;

/// Messages that wait before whoever sends them does.
pub const WAITING: usize = 16;
/// Bytes read at once.
const CHUNK: usize = 32 * 1024;
/// How often a caller is asked whether it is still there: nothing else tells when it sends more than is taken.
const ASKING: Duration = Duration::from_secs(30);
/// How long a caller that has heard everything is given to go.
const LEAVING: Duration = Duration::from_secs(5);

/// What the caller hears.
pub type Messages = BoxStream<'static, io::Result<Bytes>>;

/// A message of a channel, as WebSockets of `channel.k8s.io` carry it.
pub fn message(channel: u8, bytes: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(1 + bytes.len());
    message.put_u8(channel);
    message.put_slice(bytes);
    message.freeze()
}

/// What comes out of a queue.
pub fn queued(mut queue: mpsc::Receiver<Bytes>) -> impl futures::Stream<Item = Bytes> + Send + 'static {
    futures::stream::poll_fn(move |cx| queue.poll_recv(cx))
}

/// Asks a node for something that goes both ways: what comes out of `said` goes to it as it is.
pub async fn ask(
    tunnels: &Tunnels,
    node: &str,
    (method, path): (Method, &str),
    said: impl futures::Stream<Item = Bytes> + Send + 'static,
) -> Result<Incoming, ApiError> {
    let chunks = said.map(|bytes| Ok::<_, io::Error>(Frame::data(bytes)));
    let body = StreamBody::new(chunks).boxed_unsync();
    let request = Request::builder().method(method).uri(path).body(body);
    let request = request.map_err(|error| ApiError::bad_request(error.to_string()))?;
    let response = tunnels.stream(node, request).await.map_err(|error| {
        ApiError::new(Reason::ServiceUnavailable, format!("node {node:?} cannot be reached: {error}"))
    })?;
    match response.status().is_success() {
        true => Ok(response.into_body()),
        false => Err(refusal(response.status(), response.into_body()).await),
    }
}

/// Passes messages both ways on a connection that is being upgraded, until either side has ended, and gives the answer
/// to the handshake. Over SPDY a message is bytes as they come.
pub fn join(
    handshake: &Handshake,
    upgrade: OnUpgrade,
    heard: mpsc::Sender<Bytes>,
    said: Messages,
    draining: CancellationToken,
) -> Response {
    let wire = match handshake {
        Handshake::WebSocket { .. } => Wire::WebSocket,
        Handshake::Spdy { .. } => Wire::Spdy,
    };
    tokio::spawn(async move {
        let stream = match upgrade.await {
            Ok(stream) => stream,
            Err(error) => {
                return tracing::debug!(error = &error as &dyn std::error::Error, "no upgrade");
            }
        };
        let (reader, writer) = tokio::io::split(TokioIo::new(stream));
        let (pongs, pinged) = mpsc::channel(1);
        let mut listening = std::pin::pin!(listen(wire, reader, heard, pongs));
        let ended = tokio::select! {
            ended = listening.as_mut() => ended,
            ended = speak(wire, writer, said, pinged) => {
                // What closes with something unread is reset, and what is on its way to the caller is lost.
                let _ = tokio::time::timeout(LEAVING, listening).await;
                ended
            }
            () = draining.cancelled() => Ok(()),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a session broke");
        }
    });
    handshake.answer()
}

/// What messages are in on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    WebSocket,
    /// Frames of SPDY, which whoever speaks it cuts and makes.
    Spdy,
}

type Stream = TokioIo<Upgraded>;

async fn listen(
    wire: Wire,
    mut stream: ReadHalf<Stream>,
    heard: mpsc::Sender<Bytes>,
    pongs: mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let mut reader = websocket::Reader::default();
    let mut buffer = vec![0; CHUNK];
    // Once nobody listens any longer the rest is read all the same, until the caller has heard everything.
    let mut listened_to = true;
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let chunk = &buffer[..read];
        match wire {
            _ if !listened_to => {}
            Wire::Spdy => listened_to = heard.send(Bytes::copy_from_slice(chunk)).await.is_ok(),
            Wire::WebSocket => {
                reader.push(chunk);
                match events(&mut reader, &heard, &pongs).await? {
                    Heard::All => {}
                    Heard::Close => return Ok(()),
                    Heard::ByNobody => listened_to = false,
                }
            }
        }
    }
}

/// What became of what the caller said.
enum Heard {
    All,
    /// It goes.
    Close,
    /// Nobody listens any longer.
    ByNobody,
}

async fn events(
    reader: &mut websocket::Reader,
    heard: &mpsc::Sender<Bytes>,
    pongs: &mpsc::Sender<Bytes>,
) -> io::Result<Heard> {
    while let Some(event) = reader.next_event().map_err(io::Error::other)? {
        let sent = match event {
            Event::Close => return Ok(Heard::Close),
            Event::Ping(payload) => pongs.send(websocket::pong(&payload)).await,
            Event::Message(message) => heard.send(message).await,
        };
        if sent.is_err() {
            return Ok(Heard::ByNobody);
        }
    }
    Ok(Heard::All)
}

async fn speak(
    wire: Wire,
    mut stream: WriteHalf<Stream>,
    mut said: Messages,
    mut pongs: mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    let mut asking = tokio::time::interval(ASKING);
    asking.reset();
    loop {
        tokio::select! {
            _ = asking.tick() => match wire {
                Wire::WebSocket => stream.write_all(&websocket::ping()).await?,
                Wire::Spdy => stream.write_all(&spdy::ping(spdy::OWN_PING)).await?,
            },
            Some(pong) = pongs.recv() => stream.write_all(&pong).await?,
            message = said.next() => {
                let Some(message) = message else { break };
                let message = message?;
                match wire {
                    Wire::WebSocket => stream.write_all(&websocket::message(&message)).await?,
                    Wire::Spdy => stream.write_all(&message).await?,
                }
            }
        }
        stream.flush().await?;
    }
    if wire == Wire::WebSocket {
        stream.write_all(&websocket::close()).await?;
        stream.flush().await?;
    }
    stream.shutdown().await
}

//! An upgraded connection as messages that go both ways: what exec, attach and port-forward have in common.

use std::io;

use bytes::Bytes;
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

use crate::http::logs::refusal;
use crate::http::websocket::{self, Event};
use crate::registry::{ApiError, Reason};
use crate::tunnel::Tunnels;

/// Messages that wait before whoever sends them does.
pub const WAITING: usize = 16;
/// Bytes read at once.
const CHUNK: usize = 32 * 1024;

/// What the caller hears.
pub type Messages = BoxStream<'static, io::Result<Bytes>>;

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

/// Passes messages both ways on a connection that is being upgraded, until either side has ended.
pub fn join(upgrade: OnUpgrade, heard: mpsc::Sender<Bytes>, said: Messages, draining: CancellationToken) {
    tokio::spawn(async move {
        let stream = match upgrade.await {
            Ok(stream) => stream,
            Err(error) => {
                return tracing::debug!(error = &error as &dyn std::error::Error, "no WebSocket");
            }
        };
        let (reader, writer) = tokio::io::split(TokioIo::new(stream));
        let (pongs, pinged) = mpsc::channel(1);
        let ended = tokio::select! {
            ended = listen(reader, heard, pongs) => ended,
            ended = speak(writer, said, pinged) => ended,
            () = draining.cancelled() => Ok(()),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a session broke");
        }
    });
}

type Stream = TokioIo<Upgraded>;

async fn listen(
    mut stream: ReadHalf<Stream>,
    heard: mpsc::Sender<Bytes>,
    pongs: mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let mut reader = websocket::Reader::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        reader.push(&buffer[..read]);
        while let Some(event) = reader.next_event().map_err(io::Error::other)? {
            let sent = match event {
                Event::Close => return Ok(()),
                Event::Ping(payload) => pongs.send(websocket::pong(&payload)).await,
                Event::Message(message) => heard.send(message).await,
            };
            if sent.is_err() {
                // Nobody listens any longer; what is still said to the caller is passed on.
                return std::future::pending().await;
            }
        }
    }
}

async fn speak(
    mut stream: WriteHalf<Stream>,
    mut said: Messages,
    mut pongs: mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    loop {
        tokio::select! {
            Some(pong) = pongs.recv() => stream.write_all(&pong).await?,
            message = said.next() => {
                let Some(message) = message else { break };
                stream.write_all(&websocket::message(&message?)).await?;
            }
        }
        stream.flush().await?;
    }
    stream.write_all(&websocket::close()).await?;
    stream.flush().await?;
    stream.shutdown().await
}

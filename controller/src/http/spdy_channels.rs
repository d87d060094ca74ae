//! The channels of `exec` and `attach` for a caller that has a stream of SPDY for each of them.
//!
//! The caller opens the streams it wants, named by their `streamtype`; what the node says waits until all are there.
//! The end of its stream for input is said to the node as WebSockets of `v5.channel.k8s.io` say it. When the node has
//! ended, every stream does; and when it has not said how, that is said instead, since a caller takes silence for
//! success.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use edge_api::frames;
use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot};

use crate::http::duplex::{self, Messages, WAITING};
use crate::http::spdy::{self, Frame};
use crate::http::status;
use crate::registry::{ApiError, Reason};

/// How long a caller may take to open its streams; Kubernetes gives it as long.
const OPENING: Duration = Duration::from_secs(30);
/// Bytes of input in one message to a node.
const PIECE: usize = 32 * 1024;
/// Channels with a stream of their own.
const CHANNELS: [(&str, u8); 5] = [
    ("stdin", frames::STDIN),
    ("stdout", frames::STDOUT),
    ("stderr", frames::STDERR),
    ("error", frames::ERROR),
    ("resize", frames::RESIZE),
];

/// Stands between a caller that speaks SPDY and a node that speaks in messages of channels. Gives where the caller's
/// bytes go, and what it hears.
pub fn between(
    wanted: Vec<u8>,
    node: mpsc::Sender<Bytes>,
    answers: Messages,
) -> (mpsc::Sender<Bytes>, Messages) {
    let (heard, bytes) = mpsc::channel(WAITING);
    let (said, frames) = mpsc::channel(WAITING);
    let (opened, streams) = oneshot::channel();
    let caller =
        Caller { node, said: said.clone(), wanted, streams: Streams::default(), opened: Some(opened) };
    // It ends with the caller's connection, or when the node has ended.
    tokio::spawn(async move {
        let ended = tokio::select! {
            ended = caller.listen(bytes) => ended,
            ended = speak(answers, streams, said) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a session over SPDY broke");
        }
    });
    (heard, Box::pin(duplex::queued(frames).map(Ok)))
}

/// The streams of the channels, by number; none is 0.
#[derive(Debug, Default, Clone, Copy)]
struct Streams([u32; CHANNELS.len()]);

impl Streams {
    fn of(&self, channel: u8) -> Option<u32> {
        self.0.get(usize::from(channel)).copied().filter(|stream| *stream != 0)
    }

    fn channel(&self, stream: u32) -> Option<u8> {
        CHANNELS.iter().map(|(_, channel)| *channel).find(|channel| self.of(*channel) == Some(stream))
    }
}

/// What the caller says.
struct Caller {
    node: mpsc::Sender<Bytes>,
    said: mpsc::Sender<Bytes>,
    wanted: Vec<u8>,
    streams: Streams,
    opened: Option<oneshot::Sender<Streams>>,
}

impl Caller {
    async fn listen(mut self, mut bytes: mpsc::Receiver<Bytes>) -> io::Result<()> {
        let (mut reader, mut writer) = (spdy::Reader::default(), spdy::Writer::default());
        while let Some(chunk) = bytes.recv().await {
            reader.push(&chunk);
            while let Some(frame) = reader.next_frame().map_err(io::Error::other)? {
                match frame {
                    Frame::Open { stream, headers } => {
                        self.say(writer.accept(stream)).await?;
                        self.open(stream, headers.get("streamtype").map_or("", String::as_str));
                    }
                    Frame::Data { stream, bytes, last } => self.data(stream, &bytes, last).await,
                    Frame::Reset { stream } => self.data(stream, b"", true).await,
                    Frame::Ping(id) => self.say(spdy::ping(id)).await?,
                    Frame::GoAway => return Ok(()),
                }
            }
        }
        Ok(())
    }

    async fn say(&self, frame: Bytes) -> io::Result<()> {
        self.said.send(frame).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn open(&mut self, stream: u32, name: &str) {
        if let Some((_, channel)) = CHANNELS.iter().find(|(known, _)| *known == name) {
            self.streams.0[usize::from(*channel)] = stream;
        }
        if self.wanted.iter().all(|channel| self.streams.of(*channel).is_some())
            && let Some(opened) = self.opened.take()
        {
            // Whoever waits for it has ended if it is not taken.
            let _ = opened.send(self.streams);
        }
    }

    async fn data(&self, stream: u32, bytes: &[u8], last: bool) {
        let Some(channel @ (frames::STDIN | frames::RESIZE)) = self.streams.channel(stream) else { return };
        // A command that has ended takes nothing; its end is told.
        for piece in bytes.chunks(PIECE) {
            let _ = self.node.send(duplex::message(channel, piece)).await;
        }
        if last && channel == frames::STDIN {
            let _ = self.node.send(duplex::message(frames::CLOSE, &[channel])).await;
        }
    }
}

/// What the node says, and the end.
async fn speak(
    mut answers: Messages,
    streams: oneshot::Receiver<Streams>,
    said: mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let streams = tokio::time::timeout(OPENING, streams).await?.map_err(io::Error::other)?;
    let say = async |frame| said.send(frame).await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe));
    let mut unsaid = Some("the node has not said how the command ended".to_owned());
    while let Some(message) = answers.next().await {
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                unsaid = unsaid.map(|_| format!("the connection with the node broke: {error}"));
                break;
            }
        };
        let Some((channel, bytes)) = message.split_first() else { continue };
        if *channel == frames::ERROR {
            unsaid = None;
        }
        if let Some(stream) = streams.of(*channel) {
            say(spdy::data(stream, bytes, false)).await?;
        }
    }
    if let (Some(why), Some(stream)) = (unsaid, streams.of(frames::ERROR)) {
        let status = status::object(&ApiError::new(Reason::InternalError, why));
        say(spdy::data(stream, status.to_string().as_bytes(), false)).await?;
    }
    for stream in
        [frames::STDOUT, frames::STDERR, frames::ERROR].into_iter().filter_map(|channel| streams.of(channel))
    {
        say(spdy::data(stream, b"", true)).await?;
    }
    Ok(())
}

//! `pods/portforward`: connections to ports of a Pod, as kubectl makes them: SPDY/3.1, inside a WebSocket
//! or alone.
//!
//! For each connection the client opens two streams with the same `requestid`: one for bytes, one on which it hears
//! what went wrong. Bytes go to the node over its tunnel, one request a connection.

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use edge_api::meta::text;
use futures::StreamExt as _;
use http::Method;
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::upgrade::OnUpgrade;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::http::body::Response;
use crate::http::connection::Shared;
use crate::http::duplex::{self, WAITING};
use crate::http::handshake::{Handshake, Known};
use crate::http::spdy::{self, Frame};
use crate::registry::{ApiError, Context, Target};
use crate::tunnel::Tunnels;

/// The protocols spoken.
const PROTOCOLS: Known = Known { websocket: &["SPDY/3.1+portforward.k8s.io"], spdy: &["portforward.k8s.io"] };
/// Connections at once in one session.
const MOST: usize = 256;

/// Connects the caller with the Pod.
pub async fn session(
    shared: &Shared,
    cx: &Context,
    target: &Target<'_>,
    parts: &Parts,
    upgrade: Option<OnUpgrade>,
) -> Result<Response, ApiError> {
    shared.registry.authorise_for(cx, "create", target)?;
    let handshake = Handshake::read(&parts.headers, &PROTOCOLS)?;
    let upgrade = upgrade.ok_or_else(|| ApiError::bad_request("Upgrade request required"))?;
    let pod = shared.registry.current(&target.sub(""))?.value();
    let node = text(&pod, &["spec", "nodeName"]).to_owned();
    if node.is_empty() {
        return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", target.name)));
    }
    let (heard, messages) = mpsc::channel::<Bytes>(WAITING);
    let (said, frames) = mpsc::channel::<Bytes>(WAITING);
    let session = Session {
        tunnels: shared.tunnels.clone(),
        node,
        pod: format!("{}/{}", target.namespace, target.name),
        said,
        errors: HashMap::new(),
        connections: HashMap::new(),
        tasks: JoinSet::new(),
    };
    // It ends with the caller's last message, and with it every connection.
    tokio::spawn(async move {
        if let Err(error) = session.run(messages).await {
            tracing::debug!(%error, "a port-forward broke");
        }
    });
    let frames = duplex::queued(frames).map(Ok::<_, io::Error>);
    Ok(duplex::join(&handshake, upgrade, heard, Box::pin(frames), shared.draining.clone()))
}

struct Session {
    tunnels: Tunnels,
    node: String,
    /// Namespace and name.
    pod: String,
    said: mpsc::Sender<Bytes>,
    /// Streams for errors by request.
    errors: HashMap<String, u32>,
    /// Where the bytes of a stream go; none once the client has said its last.
    connections: HashMap<u32, mpsc::Sender<Bytes>>,
    tasks: JoinSet<u32>,
}

impl Session {
    async fn run(mut self, mut messages: mpsc::Receiver<Bytes>) -> io::Result<()> {
        let (mut reader, mut writer) = (spdy::Reader::default(), spdy::Writer::default());
        loop {
            tokio::select! {
                message = messages.recv() => {
                    let Some(message) = message else { return Ok(()) };
                    reader.push(&message);
                }
                Some(Ok(ended)) = self.tasks.join_next() => drop(self.connections.remove(&ended)),
            }
            while let Some(frame) = reader.next_frame().map_err(io::Error::other)? {
                match frame {
                    Frame::Open { stream, headers } => {
                        self.say(writer.accept(stream)).await?;
                        self.open(stream, |name| headers.get(name).map_or("", String::as_str)).await?;
                    }
                    Frame::Data { stream, bytes, last } => self.data(stream, bytes, last).await,
                    Frame::Reset { stream } => drop(self.connections.remove(&stream)),
                    Frame::Ping(id) => self.say(spdy::ping(id)).await?,
                    Frame::GoAway => return Ok(()),
                }
            }
        }
    }

    async fn say(&self, frame: Bytes) -> io::Result<()> {
        self.said.send(frame).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn open<'a>(&mut self, stream: u32, header: impl Fn(&str) -> &'a str) -> io::Result<()> {
        let request = header("requestid");
        if header("streamtype") == "error" {
            if self.errors.len() < MOST {
                self.errors.insert(request.to_owned(), stream);
            }
            return Ok(());
        }
        let Some(error) = self.errors.remove(request) else {
            return self.say(spdy::data(stream, b"", true)).await;
        };
        let port = header("port").parse::<u16>().ok().filter(|port| *port > 0);
        let refused = match port {
            None => Some("the port is not a number from 1 to 65535"),
            Some(_) if self.tasks.len() >= MOST => Some("too many connections at once"),
            Some(_) => None,
        };
        let (Some(port), None) = (port, refused) else {
            self.say(spdy::data(error, refused.unwrap_or_default().as_bytes(), true)).await?;
            return self.say(spdy::data(stream, b"", true)).await;
        };
        let (bytes, sent) = mpsc::channel(WAITING);
        self.connections.insert(stream, bytes);
        let path = format!("http://node/portForward/{}/{port}", self.pod);
        let connection = Connection { stream, error, port, path, said: self.said.clone() };
        let (tunnels, node) = (self.tunnels.clone(), self.node.clone());
        self.tasks.spawn(async move { connection.run(&tunnels, &node, sent).await });
        Ok(())
    }

    async fn data(&mut self, stream: u32, bytes: Bytes, last: bool) {
        if let Some(connection) = self.connections.get(&stream)
            && !bytes.is_empty()
        {
            // A connection that has ended takes nothing; its end is told.
            let _ = connection.send(bytes).await;
        }
        if last {
            self.connections.remove(&stream);
        }
    }
}

/// One connection to a port.
struct Connection {
    stream: u32,
    error: u32,
    port: u16,
    path: String,
    said: mpsc::Sender<Bytes>,
}

impl Connection {
    /// Passes bytes on until both sides have said their last; the answer is the stream.
    async fn run(self, tunnels: &Tunnels, node: &str, sent: mpsc::Receiver<Bytes>) -> u32 {
        let failure = match duplex::ask(tunnels, node, (Method::POST, &self.path), duplex::queued(sent)).await
        {
            Ok(body) => {
                let mut chunks = body.into_data_stream();
                let mut failure = None;
                while let Some(chunk) = chunks.next().await {
                    let Ok(chunk) = chunk else {
                        failure = Some("the connection broke".to_owned());
                        break;
                    };
                    if self.said.send(spdy::data(self.stream, &chunk, false)).await.is_err() {
                        return self.stream;
                    }
                }
                failure
            }
            Err(error) => Some(error.message),
        };
        let message = failure
            .map(|why| format!("error forwarding port {} to pod {}: {why}", self.port, self.path_of_pod()));
        let ends = [
            spdy::data(self.error, message.unwrap_or_default().as_bytes(), true),
            spdy::data(self.stream, b"", true),
        ];
        for end in ends {
            let _ = self.said.send(end).await;
        }
        self.stream
    }

    fn path_of_pod(&self) -> &str {
        let rest = self.path.trim_start_matches("http://node/portForward/");
        rest.rsplit_once('/').map_or(rest, |(pod, _)| pod)
    }
}

//! `pods/exec` and `pods/attach`: a command in a container, and the container itself, over a WebSocket or SPDY.
//!
//! The caller's messages (`v5.channel.k8s.io`, `v4.channel.k8s.io`) go to the node over its tunnel as they are, with
//! their length before them, and the node's come back the same way; streams of SPDY become such messages on the way.
//! What the channels mean is the node's. The caller gets its `101` only when the command has begun.

use std::io;

use bytes::Bytes;
use edge_api::frames::{self, Frames};
use edge_api::meta::text;
use edge_api::uri::encode_component;
use futures::StreamExt as _;
use http::Method;
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::http::body::Response;
use crate::http::connection::Shared;
use crate::http::duplex::{self, Messages, WAITING};
use crate::http::handshake::{Handshake, Known};
use crate::http::logs::container;
use crate::http::query::Query;
use crate::http::spdy_channels;
use crate::registry::{ApiError, Context, Target};

/// The protocols spoken.
const PROTOCOLS: Known =
    Known { websocket: &["v5.channel.k8s.io", "v4.channel.k8s.io"], spdy: &["v4.channel.k8s.io"] };

/// Runs a command, or attaches to the container, as the target's subresource says, and connects the caller with it.
pub async fn session(
    shared: &Shared,
    cx: &Context,
    target: &Target<'_>,
    query: &Query<'_>,
    parts: &Parts,
    upgrade: Option<OnUpgrade>,
) -> Result<Response, ApiError> {
    shared.registry.authorise_for(cx, "create", target)?;
    // Before the handshake, so that whoever is refused hears why.
    let place = place(shared, target, query)?;
    let handshake = Handshake::read(&parts.headers, &PROTOCOLS)?;
    let upgrade = upgrade.ok_or_else(|| ApiError::bad_request("Upgrade request required"))?;
    let (said, heard) = mpsc::channel::<Bytes>(WAITING);
    let framed = duplex::queued(heard).filter_map(|message| {
        let framed = message.split_first().map(|(channel, bytes)| frames::frame(*channel, bytes));
        std::future::ready(framed)
    });
    let answers = duplex::ask(&shared.tunnels, &place.node, (Method::POST, &place.path), framed).await?;
    let (answers, draining) = (messages(answers), shared.draining.clone());
    Ok(match handshake {
        Handshake::WebSocket { .. } => duplex::join(&handshake, upgrade, said, answers, draining),
        Handshake::Spdy { .. } => {
            // Whoever is cut off without a word takes that for success.
            let answers = Box::pin(answers.take_until(draining.cancelled_owned()));
            let (said, answers) = spdy_channels::between(place.channels, said, answers);
            duplex::join(&handshake, upgrade, said, answers, CancellationToken::new())
        }
    })
}

/// What a node is asked.
struct Place {
    node: String,
    path: String,
    /// What the caller sends and hears.
    channels: Vec<u8>,
}

fn place(shared: &Shared, target: &Target<'_>, query: &Query<'_>) -> Result<Place, ApiError> {
    if !["stdin", "stdout", "stderr"].iter().any(|stream| query.truth(stream)) {
        return Err(ApiError::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    let verb = target.subresource;
    if verb == "exec" && query.all("command").next().is_none() {
        return Err(ApiError::bad_request("you must specify a command"));
    }
    let pod = shared.registry.current(&target.sub(""))?.value();
    let container = container(&pod, query.get("container"))?;
    let node = text(&pod, &["spec", "nodeName"]);
    if node.is_empty() {
        return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", target.name)));
    }
    let mut path = format!("http://node/{verb}/{}/{}/{container}?", target.namespace, target.name);
    for stream in ["stdin", "stdout", "stderr", "tty"].into_iter().filter(|stream| query.truth(stream)) {
        path.push_str(stream);
        path.push_str("=true&");
    }
    for word in query.all("command").filter(|_| verb == "exec") {
        path.push_str("command=");
        path.push_str(&encode_component(word));
        path.push('&');
    }
    Ok(Place { node: node.to_owned(), path, channels: channels(query) })
}

/// A terminal has its errors among its output, and a size.
fn channels(query: &Query<'_>) -> Vec<u8> {
    let terminal = query.truth("tty");
    let wanted = [
        (frames::STDIN, query.truth("stdin")),
        (frames::STDOUT, query.truth("stdout")),
        (frames::STDERR, query.truth("stderr") && !terminal),
        (frames::ERROR, true),
        (frames::RESIZE, terminal),
    ];
    wanted.into_iter().filter_map(|(channel, wanted)| wanted.then_some(channel)).collect()
}

/// What a node's body says, message by message.
fn messages(body: Incoming) -> Messages {
    let state = (body.into_data_stream(), Frames::default());
    let messages = futures::stream::try_unfold(state, |(mut body, mut frames)| async move {
        loop {
            if let Some((channel, bytes)) = frames.next_message().map_err(io::Error::other)? {
                return Ok(Some((duplex::message(channel, &bytes), (body, frames))));
            }
            let Some(chunk) = body.next().await else { return Ok(None) };
            frames.push(&chunk.map_err(io::Error::other)?);
        }
    });
    Box::pin(messages)
}

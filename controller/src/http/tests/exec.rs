//! Commands in containers, spoken with over a WebSocket, with a node that answers by hand.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use edge_api::frames::{self, Frames};
use futures::StreamExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::harness::{Api, pod};
use crate::identity::User;

const PODS: &str = "/api/v1/namespaces/default/pods";

/// What the node answers with.
type Said = http_body_util::combinators::BoxBody<Bytes, io::Error>;

/// Says first what it was asked, then what it hears, in capitals; at the end of the input it ends with a status.
async fn shout(request: Request<Incoming>) -> Result<Response<Said>, Infallible> {
    let asked = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let (sender, mut receiver) = mpsc::channel::<Bytes>(4);
    tokio::spawn(async move {
        let _ = sender.send(frames::frame(frames::STDERR, asked.as_bytes())).await;
        let mut body = request.into_body().into_data_stream();
        let mut messages = Frames::default();
        while let Some(Ok(chunk)) = body.next().await {
            messages.push(&chunk);
            while let Ok(Some((channel, bytes))) = messages.next_message() {
                let answer = match channel {
                    frames::CLOSE => frames::frame(frames::ERROR, br#"{"status":"Success"}"#),
                    _ => frames::frame(frames::STDOUT, &bytes.to_ascii_uppercase()),
                };
                if sender.send(answer).await.is_err() || channel == frames::CLOSE {
                    return;
                }
            }
        }
    });
    let chunks = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    Ok(Response::new(BodyExt::boxed(StreamBody::new(chunks.map(|bytes| Ok(Frame::data(bytes)))))))
}

/// Opens an upgraded stream as `user`.
async fn upgrade(api: &Api, user: User, request: Request<Empty<Bytes>>) -> Result<Upgraded, (u16, String)> {
    let stream = api.server.connect(user);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await.unwrap();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        return Err((code, String::from_utf8_lossy(&bytes).into_owned()));
    }
    Ok(hyper::upgrade::on(response).await.unwrap())
}

async fn shouting_node(api: &Api, node: &str) {
    let request = Request::post(format!("/edgectl.dev/v1/nodes/{node}/tunnel"))
        .header("connection", "Upgrade")
        .header("upgrade", "edgectl-tunnel")
        .body(Empty::new())
        .unwrap();
    let tunnel = upgrade(api, User::node(node), request).await.unwrap();
    tokio::spawn(async move {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server.serve_connection(tunnel, hyper::service::service_fn(shout)).await
    });
    while !api.server.tunnels().is_connected(node) {
        tokio::task::yield_now().await;
    }
}

fn exec(query: &str, protocol: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("{PODS}/p/exec?{query}"))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", protocol)
        .body(Empty::new())
        .unwrap()
}

/// A short message as clients send it, masked with nothing.
async fn say(stream: &mut TokioIo<Upgraded>, first: u8, payload: &[u8]) {
    let length = 0x80 | u8::try_from(payload.len()).unwrap();
    stream.write_all(&[&[first, length, 0, 0, 0, 0], payload].concat()).await.unwrap();
}

/// The next short frame: its first byte and its payload.
async fn hear(stream: &mut TokioIo<Upgraded>) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.unwrap();
    let mut payload = vec![0; usize::from(head[1])];
    stream.read_exact(&mut payload).await.unwrap();
    (head[0], payload)
}

#[tokio::test]
async fn a_session_goes_both_ways_and_ends_in_order() {
    let api = Api::new().await;
    api.make(PODS, pod("p")).await;
    let binding = json!({"target": {"kind": "Node", "name": "n1"}});
    api.call(Method::POST, &format!("{PODS}/p/binding"), binding).await.expect(201);
    shouting_node(&api, "n1").await;
    let query = "command=a%20b&command=c&stdin=true&stdout=true&container=main";
    let stream =
        upgrade(&api, User::admin("admin"), exec(query, "v4.channel.k8s.io, v5.channel.k8s.io")).await;
    let mut stream = TokioIo::new(stream.unwrap());
    let (first, asked) = hear(&mut stream).await;
    assert_eq!((first, asked[0]), (0x82, frames::STDERR));
    assert_eq!(
        String::from_utf8_lossy(&asked[1..]),
        "/exec/default/p/main?stdin=true&stdout=true&command=a%20b&command=c&"
    );
    say(&mut stream, 0x82, b"\x00hello").await;
    assert_eq!(hear(&mut stream).await, (0x82, b"\x01HELLO".to_vec()));
    say(&mut stream, 0x89, b"there?").await;
    assert_eq!(hear(&mut stream).await, (0x8a, b"there?".to_vec()));
    say(&mut stream, 0x82, &[frames::CLOSE, frames::STDIN]).await;
    assert_eq!(hear(&mut stream).await, (0x82, b"\x03{\"status\":\"Success\"}".to_vec()));
    assert_eq!(hear(&mut stream).await, (0x88, vec![3, 232]));
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn who_asks_wrongly_is_told_before_anything_runs() {
    let api = Api::new().await;
    api.make(PODS, pod("p")).await;
    let cases = [
        ("command=a&stdout=true", "v5.channel.k8s.io", "pod p does not have a host assigned"),
        ("stdout=true", "v5.channel.k8s.io", "you must specify a command"),
        ("command=a", "v5.channel.k8s.io", "you must specify at least 1 of stdin, stdout, stderr"),
        ("command=a&stdout=true&container=x", "v5.channel.k8s.io", "container x is not valid for pod p"),
    ];
    for (query, protocol, expected) in cases {
        let refused = upgrade(&api, User::admin("admin"), exec(query, protocol)).await;
        let (code, message) = refused.err().unwrap();
        assert!(code == 400 && message.contains(expected), "{query}: {code} {message}");
    }
    let plain = api.get(&format!("{PODS}/p/exec?command=a&stdout=true")).await;
    assert_eq!((plain.code, plain.message().as_str()), (400, "pod p does not have a host assigned"));
    let refused = upgrade(&api, User::node("n1"), exec("command=a&stdout=true", "v5.channel.k8s.io")).await;
    assert_eq!(refused.err().map(|(code, _)| code), Some(403));
}

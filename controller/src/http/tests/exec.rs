//! Commands in containers, spoken with over a WebSocket and over SPDY, with a node that answers by hand.

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

/// Says first what it was asked, then what it hears, in capitals; at the end of the input it ends with a status, and
/// when told to leave without.
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
                let ends = channel == frames::CLOSE || bytes == "leave";
                if sender.send(answer).await.is_err() || ends {
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

/// A Pod `p` on a node that shouts.
async fn with_a_pod_that_shouts() -> Api {
    let api = Api::new().await;
    api.make(PODS, pod("p")).await;
    let binding = json!({"target": {"kind": "Node", "name": "n1"}});
    api.call(Method::POST, &format!("{PODS}/p/binding"), binding).await.expect(201);
    shouting_node(&api, "n1").await;
    api
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
    let api = with_a_pod_that_shouts().await;
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

/// A frame that opens a stream, with headers that are packed but not compressed; `first` begins the compression.
fn opened(stream: u32, name: &str, first: bool) -> Vec<u8> {
    let mut pairs = 1_u32.to_be_bytes().to_vec();
    for text in ["streamtype", name] {
        pairs.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        pairs.extend(text.as_bytes());
    }
    let length = u16::try_from(pairs.len()).unwrap();
    let mut body = [&stream.to_be_bytes()[..], &[0; 6]].concat();
    if first {
        body.extend([0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2]);
    }
    body.push(0);
    body.extend(length.to_le_bytes());
    body.extend((!length).to_le_bytes());
    body.extend(pairs);
    let mut frame = vec![0x80, 3, 0, 1, 0, 0, 0, u8::try_from(body.len()).unwrap()];
    frame.extend(body);
    frame
}

/// A frame of bytes of a stream: its number, whether it is the last, the bytes.
async fn hear_data(stream: &mut TokioIo<Upgraded>) -> (u8, bool, String) {
    let mut head = [0; 8];
    stream.read_exact(&mut head).await.unwrap();
    let mut payload = vec![0; usize::from(head[7])];
    stream.read_exact(&mut payload).await.unwrap();
    match head[0] {
        0x80 => (0, false, format!("control {}", head[3])),
        _ => (head[3], head[4] == 1, String::from_utf8(payload).unwrap()),
    }
}

/// Opens a session over SPDY with all streams but that for the terminal's size: 1 for the error, 3, 5 and 7.
async fn session_over_spdy(api: &Api) -> TokioIo<Upgraded> {
    let request = Request::post(format!("{PODS}/p/exec?command=a&stdin=true&stdout=true&stderr=true"))
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .header("x-stream-protocol-version", "v5.channel.k8s.io")
        .header("x-stream-protocol-version", "v4.channel.k8s.io")
        .body(Empty::new())
        .unwrap();
    let stream = upgrade(api, User::admin("admin"), request).await;
    let mut stream = TokioIo::new(stream.unwrap());
    // What the node has said already waits until the last stream is there.
    for (at, name) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")] {
        stream.write_all(&opened(at, name, at == 1)).await.unwrap();
        assert_eq!(hear_data(&mut stream).await, (0, false, "control 2".to_owned()));
    }
    let asked = "/exec/default/p/main?stdin=true&stdout=true&stderr=true&command=a&".to_owned();
    assert_eq!(hear_data(&mut stream).await, (7, false, asked));
    stream
}

#[tokio::test]
async fn a_session_over_spdy_has_a_stream_for_each_channel() {
    let api = with_a_pod_that_shouts().await;
    let mut stream = session_over_spdy(&api).await;
    stream.write_all(&[0, 0, 0, 3, 0, 0, 0, 5, b'h', b'e', b'l', b'l', b'o']).await.unwrap();
    assert_eq!(hear_data(&mut stream).await, (5, false, "HELLO".to_owned()));
    stream.write_all(&[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9]).await.unwrap();
    assert_eq!(hear_data(&mut stream).await, (0, false, "control 6".to_owned()));
    // The answer to a ping of the server's own is not answered.
    stream.write_all(&[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 2]).await.unwrap();
    stream.write_all(&[0, 0, 0, 3, 1, 0, 0, 0]).await.unwrap();
    assert_eq!(hear_data(&mut stream).await, (1, false, "{\"status\":\"Success\"}".to_owned()));
    for number in [5, 7, 1] {
        assert_eq!(hear_data(&mut stream).await, (number, true, String::new()));
    }
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);

    // Silence would be taken for success.
    let mut stream = session_over_spdy(&api).await;
    stream.write_all(&[0, 0, 0, 3, 0, 0, 0, 5, b'l', b'e', b'a', b'v', b'e']).await.unwrap();
    assert_eq!(hear_data(&mut stream).await, (5, false, "LEAVE".to_owned()));
    let (number, last, status) = hear_data(&mut stream).await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!((number, last), (1, false));
    assert_eq!((&status["status"], &status["code"]), (&json!("Failure"), &json!(500)));
    for number in [5, 7, 1] {
        assert_eq!(hear_data(&mut stream).await, (number, true, String::new()));
    }
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

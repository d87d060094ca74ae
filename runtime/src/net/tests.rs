#![allow(clippy::unwrap_used)]

use crate::dns::{self, Upstream};
use crate::http::{Body, Handler, HandlerError, Request, Response};
use crate::net::{Config, Limits, NetError, Network, PodIdentity, PodNet};
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn network() -> Network {
    network_with(Config::default())
}

fn network_with(config: Config) -> Network {
    let names = dns::Config { upstream: Upstream::Servers(Vec::new()), ..dns::Config::default() };
    Network::new(Config { names, ..config }, Arc::default())
}

fn pod(network: &Network, name: &str, ip: &str) -> PodNet {
    let identity = PodIdentity { namespace: "default".into(), name: name.into(), uid: name.into() };
    network.attach(identity, ip.parse().unwrap()).unwrap()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn pods_meet_on_logical_addresses() {
    let network = network();
    let (server, client) = (pod(&network, "s", "10.42.0.2"), pod(&network, "c", "10.42.0.3"));
    let listener = server.tcp_bind(at("0.0.0.0:80")).unwrap().listen(8).unwrap();
    let mut near = client.tcp_connect(None, at("10.42.0.2:80")).await.unwrap();
    let (mut far, peer) = listener.accept().await.unwrap();
    assert_eq!(peer.ip(), client.ip());
    assert_eq!((near.local_addr(), near.peer_addr()), (peer, at("10.42.0.2:80")));
    assert_eq!(far.local_addr(), at("10.42.0.2:80"));

    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut heard = String::new();
    far.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "question");
    far.write_all(b"answer").await.unwrap();
    drop(far);
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "answer", "a half-closed stream still receives");
}

#[tokio::test]
async fn streams_are_bounded_and_carry_everything() {
    let network = network();
    let pod = pod(&network, "a", "10.42.0.2");
    let listener = pod.tcp_bind(at("127.0.0.1:9")).unwrap().listen(1).unwrap();
    let near = pod.tcp_connect(None, at("127.0.0.1:9")).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let (_, mut write) = near.into_split();
    let mut random = fastrand::Rng::with_seed(1);
    let copy = sent.clone();
    let writer = tokio::spawn(async move {
        let mut rest = &copy[..];
        while !rest.is_empty() {
            let step = random.usize(1..5000).min(rest.len());
            write.write_all(&rest[..step]).await.unwrap();
            rest = &rest[step..];
        }
    });
    let mut got = Vec::new();
    let (mut read, _write) = far.into_split();
    read.read_to_end(&mut got).await.unwrap();
    writer.await.unwrap();
    assert!(got == sent, "every byte in order");
}

#[tokio::test]
async fn writing_waits_when_the_reader_does_not_read() {
    let config = Config { limits: Limits { stream_buffer: 10, ..Limits::default() }, ..Config::default() };
    let network = network_with(config);
    let pod = pod(&network, "a", "10.42.0.2");
    let listener = pod.tcp_bind(at("0.0.0.0:9")).unwrap().listen(1).unwrap();
    let mut near = pod.tcp_connect(None, at("10.42.0.2:9")).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    assert_eq!(near.write(&[7; 100]).await.unwrap(), 10);
    let more = futures::poll!(std::pin::pin!(near.write(&[7; 100])));
    assert!(more.is_pending());
    let mut buffer = [0; 4];
    far.read_exact(&mut buffer).await.unwrap();
    assert_eq!(near.write(&[7; 100]).await.unwrap(), 4);
}

#[tokio::test]
async fn the_pods_own_localhost_is_its_own() {
    let network = network();
    let (a, b) = (pod(&network, "a", "10.42.0.2"), pod(&network, "b", "10.42.0.3"));
    let _listener = a.tcp_bind(at("127.0.0.1:8080")).unwrap().listen(8).unwrap();
    for target in ["127.0.0.1:8080", "0.0.0.0:8080", "[::ffff:127.0.0.1]:8080"] {
        assert!(a.tcp_connect(None, at(target)).await.is_ok(), "{target}");
        let refused = b.tcp_connect(None, at(target)).await.err();
        assert_eq!(refused, Some(NetError::ConnectionRefused), "{target}");
    }
    let outer = a.tcp_connect(None, at("10.42.0.2:8080")).await.err();
    assert_eq!(outer, Some(NetError::ConnectionRefused), "bound to loopback only");
}

/// A guest cannot reach what listens on the host.
#[tokio::test]
async fn the_hosts_loopback_is_out_of_reach() {
    let host = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = host.local_addr().unwrap().port();
    let network = network();
    let pod = pod(&network, "a", "10.42.0.2");
    for ip in ["127.0.0.1", "[::1]", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "127.1.2.3"] {
        let got = pod.tcp_connect(None, at(&format!("{ip}:{port}"))).await.err();
        assert_eq!(got, Some(NetError::ConnectionRefused), "{ip}");
    }
    let host_pod = network.attach_with(
        pod.identity().clone(),
        "127.0.0.1".parse().unwrap(),
        crate::net::Attachment { host_network: true, ..Default::default() },
    );
    let stream = host_pod.unwrap().tcp_connect(None, at(&format!("127.0.0.1:{port}"))).await;
    assert!(stream.is_ok(), "hostNetwork is what grants it");
}

#[tokio::test]
async fn addresses_without_anybody_say_so() {
    let network = network();
    let pod = pod(&network, "a", "10.42.0.2");
    let cases = [
        ("10.42.0.2:1", NetError::ConnectionRefused),
        ("10.42.0.9:1", NetError::Unreachable("no Pod has this address")),
        ("10.43.0.9:1", NetError::ConnectionRefused),
        ("169.254.169.254:80", NetError::AccessDenied("link-local, multicast and reserved addresses")),
        ("10.42.0.2:0", NetError::InvalidArgument("port 0")),
    ];
    for (to, want) in cases {
        assert_eq!(pod.tcp_connect(None, at(to)).await.err(), Some(want), "{to}");
    }
}

#[tokio::test]
async fn closing_a_pod_resets_its_peers_and_frees_its_address() {
    let network = network();
    let (a, b) = (pod(&network, "a", "10.42.0.2"), pod(&network, "b", "10.42.0.3"));
    let listener = a.tcp_bind(at("0.0.0.0:80")).unwrap().listen(8).unwrap();
    let mut near = b.tcp_connect(None, at("10.42.0.2:80")).await.unwrap();
    let (_far, _) = listener.accept().await.unwrap();
    a.close();
    let read = near.read(&mut [0; 1]).await.map_err(|error| error.kind());
    assert_eq!(read, Err(std::io::ErrorKind::ConnectionReset));
    assert!(listener.accept().await.is_err());
    assert!(a.tcp_bind(at("0.0.0.0:81")).is_err());
    pod(&network, "again", "10.42.0.2");
}

#[tokio::test]
async fn a_full_accept_queue_makes_clients_wait_and_dropping_it_resets_them() {
    let network = network();
    let (a, b) = (pod(&network, "a", "10.42.0.2"), pod(&network, "b", "10.42.0.3"));
    let listener = a.tcp_bind(at("0.0.0.0:80")).unwrap().listen(1).unwrap();
    let mut first = b.tcp_connect(None, at("10.42.0.2:80")).await.unwrap();
    let mut second = Box::pin(b.tcp_connect(None, at("10.42.0.2:80")));
    assert!(futures::poll!(&mut second).is_pending());
    drop(listener);
    assert_eq!(second.await.err(), Some(NetError::ConnectionRefused));
    let read = first.read(&mut [0; 1]).await.map_err(|error| error.kind());
    assert_eq!(read, Err(std::io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn datagrams_find_their_way_and_do_not_pile_up() {
    let network = network();
    let (a, b) = (pod(&network, "a", "10.42.0.2"), pod(&network, "b", "10.42.0.3"));
    let server = a.udp_bind(at("0.0.0.0:53")).unwrap();
    let client = b.udp_bind(at("0.0.0.0:0")).unwrap();
    client.send_to(b"ping", at("10.42.0.2:53")).await.unwrap();
    let (payload, from) = server.recv_from().await.unwrap();
    assert_eq!((&payload[..], from.ip()), (&b"ping"[..], b.ip()));
    server.send_to(b"pong", from).await.unwrap();
    assert_eq!(client.recv_from().await.unwrap().1, at("10.42.0.2:53"));

    for _ in 0..10_000 {
        client.send_to(&[0; 1000], at("10.42.0.2:53")).await.unwrap();
    }
    let mut kept = 0;
    while server.try_recv_from().unwrap().is_some() {
        kept += 1;
    }
    assert!(kept <= Limits::default().datagrams, "{kept}");
    let huge = vec![0; 70_000];
    let error = client.send_to(&huge, at("10.42.0.2:53")).await.err();
    assert_eq!(error, Some(NetError::DatagramTooLarge));
}

struct Echo;

impl Handler for Echo {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, HandlerError>> {
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let text = format!("{path} {}", String::from_utf8_lossy(&body));
            Ok(Response::new(Body::from(text)))
        })
    }
}

async fn text(response: Response) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn request(uri: &str, body: &str) -> Request {
    http::Request::post(uri).body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn handlers_are_called_and_also_speak_http_on_streams() {
    let network = network();
    let (a, b) = (pod(&network, "a", "10.42.0.2"), pod(&network, "b", "10.42.0.3"));
    let serving = a.serve_http(8080, Arc::new(Echo)).unwrap();
    let called = b.send_http(request("http://10.42.0.2:8080/x", "hi")).await.unwrap();
    assert_eq!(text(called).await, "/x hi");
    let own = a.send_http(request("http://localhost:8080/own", "")).await.unwrap();
    assert_eq!(text(own).await, "/own ");

    let mut raw = b.tcp_connect(None, at("10.42.0.2:8080")).await.unwrap();
    let message = b"POST /raw HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nconnection: close\r\n\r\nyo";
    raw.write_all(message).await.unwrap();
    let mut answer = String::new();
    raw.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("/raw yo"), "{answer}");

    a.idle().await;
    drop(serving);
    let gone = b.send_http(request("http://10.42.0.2:8080/", "")).await;
    assert!(gone.is_err());
}

#[tokio::test]
async fn http_servers_on_streams_are_reused() {
    let network = network();
    let (a, b) = (pod(&network, "a", "10.42.0.2"), pod(&network, "b", "10.42.0.3"));
    let listener = a.tcp_bind(at("0.0.0.0:80")).unwrap().listen(8).unwrap();
    let handler: crate::http::SharedHandler = Arc::new(Echo);
    let accepted = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(crate::net::exchange::serve_stream(stream, handler));
        listener.accept().await.map(|_| ())
    });
    for _ in 0..3 {
        let answer = b.send_http(request("http://10.42.0.2/p", "q")).await.unwrap();
        assert_eq!(text(answer).await, "/p q");
    }
    assert!(!accepted.is_finished(), "one connection carried all");
    accepted.abort();
}

#[tokio::test]
async fn a_draining_pod_is_sealed_once_idle() {
    let network = network();
    let (a, b) = (pod(&network, "a", "10.42.0.2"), pod(&network, "b", "10.42.0.3"));
    let _serving = a.serve_http(8080, Arc::new(Echo)).unwrap();
    let open = b.send_http(request("http://10.42.0.2:8080/", "")).await.unwrap();
    a.drain();
    let idle = tokio::spawn({
        let a = a.clone();
        async move { a.idle().await }
    });
    let still = b.send_http(request("http://10.42.0.2:8080/", "")).await.unwrap();
    assert_eq!(text(still).await, "/ ", "while it works it may be asked");
    drop(open);
    tokio::time::timeout(Duration::from_secs(10), idle).await.unwrap().unwrap();
    let refused = b.send_http(request("http://10.42.0.2:8080/", "")).await;
    assert!(refused.is_err(), "after that nothing begins");
}

#[tokio::test]
async fn names_resolve() {
    let network = network();
    let a = pod(&network, "a", "10.42.0.2");
    assert_eq!(a.resolve("10.1.2.3").await.unwrap(), [at("10.1.2.3:0").ip()]);
    assert_eq!(a.resolve("localhost").await.unwrap()[0].to_string(), "127.0.0.1");
    assert_eq!(a.resolve("..").await, Err(NetError::ResolverPermanent));
}

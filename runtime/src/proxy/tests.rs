#![allow(clippy::unwrap_used)]

use crate::dns::{self, Upstream};
use crate::http::{Body, Handler, HandlerError, Request, Response};
use crate::net::{self, HttpServing, Network, PodIdentity, PodNet};
use crate::proxy::{Config, Limits, Proxy};
use crate::table::{TableBuilder, Tables};
use base64::Engine;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

/// A network, its proxy, and the objects that make its table.
struct World {
    tables: Arc<Tables>,
    builder: TableBuilder,
    network: Network,
    http: SocketAddr,
    https: SocketAddr,
    drain: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

impl World {
    async fn new(patience: Duration) -> World {
        World::with(patience, net::Limits::default()).await
    }

    async fn with(patience: Duration, limits: net::Limits) -> World {
        let tables = Arc::new(Tables::default());
        let names = dns::Config { upstream: Upstream::Servers(Vec::new()), ..dns::Config::default() };
        let config = net::Config { names, limits, ..net::Config::default() };
        let network = Network::new(config, tables.clone());
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let config = Config {
            http: any,
            https: Some(any),
            certificate: None,
            node_ports: any.ip(),
            limits: Limits { patience, ..Limits::default() },
        };
        let proxy = Proxy::bind(config, network.clone()).await.unwrap();
        let (http, https) = (proxy.http_addr(), proxy.https_addr().unwrap());
        let drain = CancellationToken::new();
        let running = tokio::spawn(proxy.run(drain.clone()));
        let builder = TableBuilder::new("here", "edgectl");
        World { tables, builder, network, http, https, drain, running }
    }

    fn service(&mut self, name: &str, spec: Value) {
        let mut service = json!({"metadata": {"name": name, "namespace": "shop"}, "spec":
            {"clusterIP": "10.43.0.5", "clusterIPs": ["10.43.0.5"],
             "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}});
        for (field, value) in spec.as_object().unwrap() {
            service["spec"][field] = value.clone();
        }
        self.builder.apply_service(&typed(service));
    }

    fn endpoints(&mut self, name: &str, protocol: &str, ips: &[&str]) {
        let endpoints: Vec<Value> =
            ips.iter().map(|ip| json!({"addresses": [ip], "nodeName": "here"})).collect();
        self.builder.apply_endpoint_slice(&typed(json!({
            "metadata": {"name": name, "namespace": "shop",
                "labels": {"kubernetes.io/service-name": name}},
            "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080, "protocol": protocol}]})));
        self.publish();
    }

    fn ingress(&mut self, host: &str, path: &str, service: &str) {
        self.builder.apply_ingress(&typed(json!({
            "metadata": {"name": host, "namespace": "shop"},
            "spec": {"rules": [{"host": host, "http": {"paths": [{"path": path,
                "pathType": "Prefix", "backend": {"service": {"name": service,
                "port": {"number": 80}}}}]}}],
                "tls": [{"hosts": [host], "secretName": "cert"}]}})));
        self.publish();
    }

    /// An autoscaler that has scaled what is behind a Service or Ingress to zero.
    fn asleep(&mut self, kind: &str, name: &str) {
        self.builder.apply_autoscaler(&typed(json!({
            "metadata": {"name": "hpa", "namespace": "shop"},
            "spec": {"minReplicas": 0, "metrics": [
                {"type": "Object", "object": {"describedObject": {"kind": kind, "name": name}}}]},
            "status": {"conditions": [{"type": "ScaledToZero", "status": "True"}]}})));
        self.publish();
    }

    fn publish(&mut self) {
        self.tables.publish(self.builder.build());
    }

    fn pod(&self, ip: &str) -> PodNet {
        let identity = PodIdentity { namespace: "shop".into(), name: ip.into(), uid: ip.into() };
        self.network.attach(identity, ip.parse().unwrap()).unwrap()
    }
}

/// Says its name, the body it got and the heads it saw; remembers every body.
struct Named {
    name: &'static str,
    bodies: Arc<Mutex<HashMap<String, usize>>>,
}

impl Handler for Named {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, HandlerError>> {
        let (name, bodies) = (self.name, self.bodies.clone());
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body = String::from_utf8(body.to_vec()).unwrap();
            *bodies.lock().entry(body.clone()).or_default() += 1;
            tokio::task::yield_now().await;
            let heads: Vec<String> =
                ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "host", "te"]
                    .iter()
                    .map(|field| head.headers.get(*field).map_or("-", |v| v.to_str().unwrap()).to_owned())
                    .collect();
            Ok(Response::new(Body::from(format!("{name} {} {body} {}", head.uri, heads.join(" ")))))
        })
    }
}

fn serve(pod: &PodNet, name: &'static str) -> HttpServing {
    pod.serve_http(8080, Arc::new(Named { name, bodies: Arc::default() })).unwrap()
}

async fn exchange(
    stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin),
    head: &str,
    body: &str,
) -> String {
    let message = format!("{head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(message.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(to: SocketAddr, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    exchange(&mut stream, &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nte: trailers"), "").await
}

#[tokio::test]
async fn requests_are_routed_and_announced() {
    let mut world = World::new(Duration::ZERO).await;
    let pod = world.pod("10.42.0.2");
    let _serving = serve(&pod, "a");
    world.service("web", json!({}));
    world.ingress("shop.example", "/in", "web");
    world.endpoints("web", "TCP", &["10.42.0.2"]);
    let answer = get(world.http, "Shop.Example:8080", "/in/x?y").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let want = "a /in/x?y  127.0.0.1 http Shop.Example:8080 Shop.Example:8080 -";
    assert!(answer.ends_with(want), "{answer}");
    assert!(get(world.http, "shop.example", "/out").await.starts_with("HTTP/1.1 404"));
    assert!(get(world.http, "else.example", "/in").await.starts_with("HTTP/1.1 404"));
    world.endpoints("web", "TCP", &[]);
    assert!(get(world.http, "shop.example", "/in").await.starts_with("HTTP/1.1 503"));
    world.builder.delete_service("shop", "web");
    world.publish();
    assert!(get(world.http, "shop.example", "/in").await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn a_request_waits_for_an_endpoint_that_is_about_to_come() {
    let mut world = World::new(Duration::from_secs(30)).await;
    world.service("web", json!({}));
    world.ingress("shop.example", "/", "web");
    world.endpoints("web", "TCP", &[]);
    let waiting = tokio::spawn(get(world.http, "shop.example", "/"));
    let pod = world.pod("10.42.0.2");
    let _serving = serve(&pod, "late");
    world.endpoints("web", "TCP", &["10.42.0.2"]);
    let answer = waiting.await.unwrap();
    assert!(answer.contains("late /"), "{answer}");
}

/// Pods come, drain and go under load: every request is answered, and none is executed twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_pods_change() {
    let mut world = World::new(Duration::from_secs(10)).await;
    let bodies: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    world.service("web", json!({}));
    world.ingress("shop.example", "/", "web");
    let attach = |world: &World, number: u8| {
        let pod = world.pod(&format!("10.42.0.{number}"));
        let handler = Arc::new(Named { name: "pod", bodies: bodies.clone() });
        let serving = pod.serve_http(8080, handler).unwrap();
        (pod, serving)
    };
    let mut pods = vec![attach(&world, 2)];
    world.endpoints("web", "TCP", &["10.42.0.2"]);

    let stop = CancellationToken::new();
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (stop, http) = (stop.clone(), world.http);
            tokio::spawn(async move {
                let mut sent = Vec::new();
                while !stop.is_cancelled() {
                    let body = format!("{client}-{}", sent.len());
                    let mut stream = TcpStream::connect(http).await.unwrap();
                    let answer = exchange(&mut stream, "POST / HTTP/1.1\r\nhost: shop.example", &body).await;
                    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                    sent.push(body);
                }
                sent
            })
        })
        .collect();
    for round in 3..60 {
        pods.push(attach(&world, round));
        // Sometimes the table learns of the end before the Pod ends, sometimes after.
        let (old, serving) = pods.remove(0);
        let (new, gone) = (format!("10.42.0.{round}"), format!("10.42.0.{}", round - 1));
        if round % 2 == 0 {
            world.endpoints("web", "TCP", &[&new]);
        } else {
            world.endpoints("web", "TCP", &[&gone, &new]);
        }
        old.drain();
        old.idle().await;
        drop(serving);
        old.close();
        let before = bodies.lock().len();
        while bodies.lock().len() < before + 5 {
            tokio::task::yield_now().await;
        }
    }
    stop.cancel();
    let mut sent = 0;
    for client in clients {
        for body in client.await.unwrap() {
            assert_eq!(bodies.lock().get(&body), Some(&1), "{body}");
            sent += 1;
        }
    }
    assert_eq!(bodies.lock().len(), sent);
}

/// A server of HTTP on a Pod's own sockets, which changes protocols when asked to.
async fn speak_http(pod: PodNet) {
    let listener = pod.tcp_bind("0.0.0.0:8080".parse().unwrap()).unwrap().listen(16).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        tokio::spawn(async move {
            let service =
                hyper::service::service_fn(|mut request: http::Request<hyper::body::Incoming>| async move {
                    let mut response =
                        http::Response::new(http_body_util::Full::new(bytes::Bytes::from("tcp")));
                    if request.headers().contains_key("upgrade") {
                        let upgraded = hyper::upgrade::on(&mut request);
                        tokio::spawn(async move {
                            let mut io = hyper_util::rt::TokioIo::new(upgraded.await.unwrap());
                            let mut word = [0; 4];
                            io.read_exact(&mut word).await.unwrap();
                            io.write_all(&word).await.unwrap();
                        });
                        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
                        response.headers_mut().insert("upgrade", request.headers()["upgrade"].clone());
                        response
                            .headers_mut()
                            .insert("connection", http::HeaderValue::from_static("upgrade"));
                        *response.body_mut() = http_body_util::Full::default();
                    }
                    Ok::<_, std::convert::Infallible>(response)
                });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(hyper_util::rt::TokioIo::new(stream), service);
            drop(connection.with_upgrades().await);
        });
    }
}

#[tokio::test]
async fn backends_on_sockets_answer_and_change_protocols() {
    let mut world = World::new(Duration::from_secs(10)).await;
    let pod = world.pod("10.42.0.2");
    let server = tokio::spawn(speak_http(pod.clone()));
    world.service("web", json!({}));
    world.ingress("shop.example", "/", "web");
    world.endpoints("web", "TCP", &["10.42.0.2"]);
    for _ in 0..3 {
        assert!(get(world.http, "shop.example", "/").await.ends_with("tcp"));
    }
    let mut stream = TcpStream::connect(world.http).await.unwrap();
    let head = b"GET /ws HTTP/1.1\r\nhost: shop.example\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101") && answer.contains("upgrade: echo"), "{answer}");
    stream.write_all(b"ping").await.unwrap();
    let mut word = [0; 4];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"ping");
    drop(stream);
    pod.drain();
    tokio::time::timeout(Duration::from_secs(10), pod.idle()).await.unwrap();
    server.abort();
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn connect(to: SocketAddr) -> TcpStream {
    loop {
        match TcpStream::connect(to).await {
            Ok(stream) => return stream,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn node_ports_come_and_go() {
    let mut world = World::new(Duration::ZERO).await;
    let number = free_port();
    let at: SocketAddr = ([127, 0, 0, 1], number).into();
    let pod = world.pod("10.42.0.2");
    let serving = serve(&pod, "called");
    let ports = json!([{"name": "http", "port": 80, "protocol": "TCP", "nodePort": number}]);
    world.service("web", json!({"type": "NodePort", "ports": ports}));
    world.endpoints("web", "TCP", &["10.42.0.2"]);
    let mut stream = connect(at).await;
    let answer = exchange(&mut stream, "GET /x HTTP/1.1\r\nhost: h", "").await;
    assert!(answer.contains("called /x"), "{answer}");

    drop(serving);
    let listener = pod.tcp_bind("0.0.0.0:8080".parse().unwrap()).unwrap().listen(1).unwrap();
    let mut near = TcpStream::connect(at).await.unwrap();
    let (mut far, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, near.local_addr().unwrap(), "the Pod sees the client's own address");
    near.write_all(b"hi").await.unwrap();
    near.shutdown().await.unwrap();
    let mut heard = String::new();
    far.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "hi");

    world.builder.delete_service("shop", "web");
    world.publish();
    while TcpStream::connect(at).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

/// Waits until so many requests, of whichever kind, are there for a Service.
async fn until_present(world: &World, service: &str, count: usize) {
    while world.tables.load().service(service).unwrap().tally.present() < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn requests_wait_for_a_service_that_is_scaled_to_zero_and_none_is_lost() {
    let mut world = World::new(Duration::ZERO).await;
    let number = free_port();
    let ports = json!([{"name": "http", "port": 80, "protocol": "TCP", "nodePort": number}]);
    world.service("web", json!({"type": "NodePort", "ports": ports}));
    world.ingress("shop.example", "/", "web");
    world.endpoints("web", "TCP", &[]);
    world.asleep("Service", "web");
    let caller = world.pod("10.42.0.9");
    let through_ingress = |n: usize| {
        let to = world.http;
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(to).await.unwrap();
            exchange(&mut stream, "POST /i HTTP/1.1\r\nhost: shop.example", &format!("i{n}")).await
        })
    };
    let through_port = |n: usize| {
        tokio::spawn(async move {
            let mut stream = connect(([127, 0, 0, 1], number).into()).await;
            exchange(&mut stream, "POST /p HTTP/1.1\r\nhost: h", &format!("p{n}")).await
        })
    };
    let from_pod = |n: usize| {
        let caller = caller.clone();
        tokio::spawn(async move {
            let request =
                http::Request::post("http://10.43.0.5/s").body(Body::from(format!("s{n}"))).unwrap();
            let answer = caller.send_http(request).await.unwrap();
            let bytes = answer.into_body().collect().await.unwrap().to_bytes();
            format!("HTTP/1.1 200 {}", String::from_utf8_lossy(&bytes))
        })
    };
    let from_socket = |n: usize| {
        let caller = caller.clone();
        tokio::spawn(async move {
            let mut stream = caller.tcp_connect(None, "10.43.0.5:80".parse().unwrap()).await.unwrap();
            exchange(&mut stream, "POST /c HTTP/1.1\r\nhost: h", &format!("c{n}")).await
        })
    };
    let waiting: Vec<_> =
        (0..25).flat_map(|n| [through_ingress(n), through_port(n), from_pod(n), from_socket(n)]).collect();
    until_present(&world, "web.shop", 100).await;
    assert_eq!(world.network.lobby().wanted(), [Arc::from("shop/hpa")]);
    let web = world.tables.load().service("web.shop").unwrap().tally.clone();
    assert_eq!(web.came(), 50, "of connections nobody knows yet what comes on them");
    let pod = world.pod("10.42.0.2");
    let bodies = Arc::new(Mutex::new(HashMap::new()));
    world.endpoints("web", "TCP", &["10.42.0.2"]);
    let _serving = pod.serve_http(8080, Arc::new(Named { name: "woken", bodies: bodies.clone() })).unwrap();
    for answer in futures::future::join_all(waiting).await {
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("woken"), "{answer}");
    }
    let once = bodies.lock().values().filter(|count| **count == 1).count();
    assert_eq!((once, bodies.lock().len()), (100, 100), "each exactly once");
    while web.present() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(web.came(), 100);
    let pods: Vec<u64> = world.network.pod_tallies().iter().map(|(_, tally)| tally.came()).collect();
    assert_eq!(pods.iter().sum::<u64>(), 100);
    assert!(world.network.lobby().wanted().is_empty());
}

#[tokio::test]
async fn a_request_is_there_until_its_answer_has_been_read() {
    let mut world = World::new(Duration::ZERO).await;
    world.service("web", json!({}));
    world.endpoints("web", "TCP", &["10.42.0.2"]);
    let (pod, caller) = (world.pod("10.42.0.2"), world.pod("10.42.0.9"));
    let _serving = serve(&pod, "slow");
    let request = http::Request::get("http://10.43.0.5/").body(Body::empty()).unwrap();
    let response = caller.send_http(request).await.unwrap();
    let web = world.tables.load().service("web.shop").unwrap().tally.clone();
    assert_eq!((web.came(), web.present()), (1, 1));
    drop(response);
    assert_eq!((web.came(), web.present()), (1, 0));
}

#[tokio::test]
async fn a_stream_waits_for_a_service_that_is_scaled_to_zero() {
    let mut world = World::new(Duration::ZERO).await;
    let number = free_port();
    let ports = json!([{"name": "http", "port": 80, "protocol": "TCP", "nodePort": number}]);
    world.service("web", json!({"type": "NodePort", "ports": ports}));
    world.asleep("Service", "web");
    let mut near = connect(([127, 0, 0, 1], number).into()).await;
    near.write_all(b"hi").await.unwrap();
    near.shutdown().await.unwrap();
    until_present(&world, "web.shop", 1).await;
    let pod = world.pod("10.42.0.2");
    world.endpoints("web", "TCP", &["10.42.0.2"]);
    // The Pod counts as ready before it listens.
    tokio::task::yield_now().await;
    let listener = pod.tcp_bind("0.0.0.0:8080".parse().unwrap()).unwrap().listen(1).unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    let mut heard = String::new();
    far.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "hi");
    assert_eq!(world.tables.load().service("web.shop").unwrap().tally.came(), 1);
}

#[tokio::test]
async fn waiting_for_a_service_that_is_scaled_to_zero_has_an_end() {
    let limits = net::Limits { waiting: 1, hold: Duration::from_millis(200), ..net::Limits::default() };
    let mut world = World::with(Duration::ZERO, limits).await;
    let number = free_port();
    let ports = json!([{"name": "http", "port": 80, "protocol": "TCP", "nodePort": number}]);
    world.service("web", json!({"type": "NodePort", "ports": ports}));
    world.ingress("shop.example", "/", "web");
    world.asleep("Ingress", "shop.example");
    let get = |to: SocketAddr| async move {
        let mut stream = connect(to).await;
        exchange(&mut stream, "GET / HTTP/1.1\r\nhost: shop.example", "").await
    };
    let first = tokio::spawn(get(world.http));
    until_present(&world, "web.shop", 1).await;
    while world.network.lobby().wanted().is_empty() {
        tokio::task::yield_now().await;
    }
    let second = get(world.http).await;
    assert!(second.starts_with("HTTP/1.1 503") && second.contains("retry-after: 1"), "{second}");
    let third = get(([127, 0, 0, 1], number).into()).await;
    assert!(third.starts_with("HTTP/1.1 503") && third.contains("too many requests wait"), "{third}");
    let first = first.await.unwrap();
    assert!(first.starts_with("HTTP/1.1 504") && first.contains("did not come back in time"), "{first}");
    let late = get(([127, 0, 0, 1], number).into()).await;
    assert!(late.starts_with("HTTP/1.1 504"), "{late}");
    let ingresses: Vec<u64> = world.tables.load().ingress_tallies().map(|(_, tally)| tally.came()).collect();
    assert_eq!(ingresses, [2]);
}

#[tokio::test]
async fn other_services_without_endpoints_answer_as_ever() {
    let mut world = World::new(Duration::ZERO).await;
    let number = free_port();
    let ports = json!([{"name": "http", "port": 80, "protocol": "TCP", "nodePort": number}]);
    world.service("web", json!({"type": "NodePort", "ports": ports}));
    world.ingress("shop.example", "/", "web");
    world.asleep("Service", "another");
    let caller = world.pod("10.42.0.9");
    let mut stream = TcpStream::connect(world.http).await.unwrap();
    let answer = exchange(&mut stream, "GET / HTTP/1.1\r\nhost: shop.example", "").await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("no endpoint of the Service is ready"),
        "{answer}"
    );
    let refused = caller.tcp_connect(None, "10.43.0.5:80".parse().unwrap()).await;
    assert_eq!(refused.err(), Some(net::NetError::ConnectionRefused));
    let mut stream = connect(([127, 0, 0, 1], number).into()).await;
    let mut word = String::new();
    // Closed without a word, or reset.
    let _ = stream.read_to_string(&mut word).await;
    assert_eq!(word, "");
    assert!(world.network.lobby().wanted().is_empty());
}

#[tokio::test]
async fn who_waits_hears_that_nobody_will_come() {
    let mut world = World::new(Duration::ZERO).await;
    world.service("web", json!({}));
    world.ingress("shop.example", "/", "web");
    world.asleep("Service", "web");
    let to = world.http;
    let waiting = tokio::spawn(async move {
        let mut stream = TcpStream::connect(to).await.unwrap();
        exchange(&mut stream, "GET / HTTP/1.1\r\nhost: shop.example", "").await
    });
    until_present(&world, "web.shop", 1).await;
    world.builder.delete_autoscaler("shop", "hpa");
    world.publish();
    let answer = waiting.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[tokio::test]
async fn udp_node_ports_relay_both_ways() {
    let mut world = World::new(Duration::ZERO).await;
    let number = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let pod = world.pod("10.42.0.2");
    let server = pod.udp_bind("0.0.0.0:8080".parse().unwrap()).unwrap();
    tokio::spawn(async move {
        while let Ok((payload, from)) = server.recv_from().await {
            server.send_to(&payload, from).await.unwrap();
        }
    });
    let ports = json!([{"name": "http", "port": 53, "protocol": "UDP", "nodePort": number}]);
    world.service("dns", json!({"type": "NodePort", "ports": ports}));
    world.endpoints("dns", "UDP", &["10.42.0.2"]);
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(("127.0.0.1", number)).await.unwrap();
    let mut word = [0; 16];
    // The port opens a moment after the table changed; until then datagrams are refused.
    loop {
        drop(client.send(b"ping").await);
        let answer = tokio::time::timeout(Duration::from_millis(50), client.recv(&mut word)).await;
        if let Ok(Ok(length)) = answer {
            assert_eq!(&word[..length], b"ping");
            break;
        }
    }
}

#[tokio::test]
async fn certificates_are_chosen_by_name() {
    let mut world = World::new(Duration::ZERO).await;
    let pod = world.pod("10.42.0.2");
    let _serving = serve(&pod, "secure");
    let (chain, key) = (include_str!("testdata/shop.example.crt"), include_str!("testdata/shop.example.key"));
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    world.builder.apply_secret(&typed(json!({
        "metadata": {"name": "cert", "namespace": "shop"}, "type": "kubernetes.io/tls",
        "data": {"tls.crt": encode(chain), "tls.key": encode(key)}})));
    world.service("web", json!({}));
    world.ingress("shop.example", "/", "web");
    world.endpoints("web", "TCP", &["10.42.0.2"]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(world.https).await.unwrap();
    let name = "shop.example".try_into().unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    let answer = exchange(&mut stream, "GET / HTTP/1.1\r\nhost: shop.example", "").await;
    assert!(answer.contains("secure /") && answer.contains(" https "), "{answer}");
    let stream = TcpStream::connect(world.https).await.unwrap();
    let other = connector.connect("other.example".try_into().unwrap(), stream).await;
    assert!(other.is_err(), "there is no certificate for it");
}

#[tokio::test]
async fn draining_finishes_what_runs_and_takes_nothing_new() {
    let mut world = World::new(Duration::from_secs(30)).await;
    world.service("web", json!({}));
    world.ingress("shop.example", "/", "web");
    world.endpoints("web", "TCP", &[]);
    let mut running = TcpStream::connect(world.http).await.unwrap();
    running.write_all(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await.unwrap();
    let idle = get(world.http, "shop.example", "/").await_pending().await;
    world.drain.cancel();
    let pod = world.pod("10.42.0.2");
    let _serving = serve(&pod, "a");
    world.endpoints("web", "TCP", &["10.42.0.2"]);
    let mut answer = String::new();
    running.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(idle);
    world.running.await.unwrap();
    assert!(TcpStream::connect(world.http).await.is_err());
}

trait AwaitPending: Future + Sized {
    /// Polls until the request has been sent and waits for its answer.
    async fn await_pending(self) -> std::pin::Pin<Box<Self>> {
        let mut future = Box::pin(self);
        for _ in 0..1000 {
            assert!(futures::poll!(&mut future).is_pending());
            tokio::task::yield_now().await;
        }
        future
    }
}

impl<F: Future> AwaitPending for F {}

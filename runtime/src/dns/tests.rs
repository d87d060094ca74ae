#![allow(clippy::unwrap_used)]

use crate::dns::wire::{self, Edns, Name, kind};
use crate::dns::{Config, PodNames, ResolveError, Resolver, Server, Upstream};
use crate::table::{TableBuilder, Tables};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn service(namespace: &str, name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

fn slice(name: &str, endpoints: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop",
            "labels": {"kubernetes.io/service-name": name}},
        "endpoints": endpoints, "ports": [{"name": "sql", "protocol": "TCP", "port": 5432}]})
}

/// A cluster with a ClusterIP Service `web`, headless `db` (one endpoint with a host name) and
/// `empty`, ExternalNames `out` and `near`, and `many` with 200 endpoints.
fn tables() -> Arc<Tables> {
    let mut builder = TableBuilder::new("here", "edgectl");
    let web = json!({"clusterIP": "10.43.0.5", "clusterIPs": ["10.43.0.5", "fd43::5"],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"},
                  {"name": "dns", "port": 53, "protocol": "UDP"}]});
    builder.apply_service(&typed(service("shop", "web", web)));
    let headless = json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]});
    for name in ["db", "empty", "many"] {
        builder.apply_service(&typed(service("shop", name, headless.clone())));
    }
    for (name, target) in [("out", "db.example."), ("near", "web.shop.svc.cluster.local")] {
        let spec = json!({"type": "ExternalName", "externalName": target});
        builder.apply_service(&typed(service("shop", name, spec)));
    }
    let two = json!([{"addresses": ["10.42.0.2"], "hostname": "db-0"}, {"addresses": ["10.42.0.3"]},
        {"addresses": ["10.42.0.4"], "conditions": {"ready": false}}]);
    builder.apply_endpoint_slice(&typed(slice("db", two)));
    let many: Vec<Value> = (0..200).map(|n| json!({"addresses": [format!("10.42.7.{n}")]})).collect();
    builder.apply_endpoint_slice(&typed(slice("many", many.into())));
    let tables = Arc::new(Tables::default());
    tables.publish(builder.build());
    tables
}

fn resolver(upstream: Vec<SocketAddr>) -> Arc<Resolver> {
    let config = Config { upstream: Upstream::Servers(upstream), ..Config::default() };
    Arc::new(Resolver::new(config, tables()))
}

/// An answer in words: the code, whether truncated, then each record.
fn read(packet: &[u8]) -> Vec<String> {
    let code = match packet[3] & 0xf {
        0 => "ok",
        3 => "no such name",
        2 => "server failure",
        5 => "refused",
        _ => "other",
    };
    let cut = if packet[2] & 2 != 0 { " truncated" } else { "" };
    let mut words = vec![format!("{code}{cut}")];
    for (section, record) in wire::records(packet).unwrap() {
        if record.kind == kind::OPT {
            continue;
        }
        let data = &packet[record.data_at..record.end];
        let name = |at| wire::read_name(packet, at).unwrap().0.as_str().unwrap().to_owned();
        let text = match record.kind {
            kind::A | kind::AAAA => wire::address(packet, &record).unwrap().to_string(),
            kind::PTR | kind::CNAME | kind::NS => name(record.data_at),
            kind::SRV => format!("srv {} {}", wire::u16_at(data, 4), name(record.data_at + 6)),
            kind::TXT => String::from_utf8(data[1..].to_vec()).unwrap(),
            kind::SOA => "soa".to_owned(),
            other => format!("type {other}"),
        };
        words.push(if section == 2 { format!("+{text}") } else { text });
    }
    words
}

async fn ask(resolver: &Resolver, name: &str, kind: u16) -> Vec<String> {
    let edns = Edns { udp_size: 1232, version: 0, dnssec_ok: false };
    let packet = wire::write_query(9, &Name::parse(name).unwrap(), kind, Some(edns));
    read(&resolver.respond(&packet, false).await.unwrap())
}

#[tokio::test]
async fn answers_as_the_specification_says() {
    let resolver = resolver(Vec::new());
    let web = "web.shop.svc.cluster.local";
    let cases: &[(&str, u16, &[&str])] = &[
        (web, kind::A, &["ok", "10.43.0.5"]),
        ("WEB.shop.SVC.cluster.local", kind::A, &["ok", "10.43.0.5"]),
        (web, kind::AAAA, &["ok", "fd43::5"]),
        (web, kind::TXT, &["ok", "soa"]),
        (
            "_http._tcp.web.shop.svc.cluster.local",
            kind::SRV,
            &["ok", "srv 80 web.shop.svc.cluster.local", "+10.43.0.5", "+fd43::5"],
        ),
        ("_http._udp.web.shop.svc.cluster.local", kind::SRV, &["no such name", "soa"]),
        ("_http._tcp.web.shop.svc.cluster.local", kind::A, &["ok", "soa"]),
        ("_tcp.web.shop.svc.cluster.local", kind::A, &["ok", "soa"]),
        ("5.0.43.10.in-addr.arpa", kind::PTR, &["ok", "web.shop.svc.cluster.local"]),
        (
            "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.3.4.d.f.ip6.arpa",
            kind::PTR,
            &["ok", "web.shop.svc.cluster.local"],
        ),
        ("2.0.42.10.in-addr.arpa", kind::PTR, &["ok", "db-0.db.shop.svc.cluster.local"]),
        ("99.0.42.10.in-addr.arpa", kind::PTR, &["no such name", "soa"]),
        ("db-0.db.shop.svc.cluster.local", kind::A, &["ok", "10.42.0.2"]),
        ("10-42-0-3.db.shop.svc.cluster.local", kind::A, &["ok", "10.42.0.3"]),
        ("10-42-0-4.db.shop.svc.cluster.local", kind::A, &["no such name", "soa"]),
        (
            "_sql._tcp.db.shop.svc.cluster.local",
            kind::SRV,
            &[
                "ok",
                "srv 5432 db-0.db.shop.svc.cluster.local",
                "srv 5432 10-42-0-3.db.shop.svc.cluster.local",
                "+10.42.0.2",
                "+10.42.0.3",
            ],
        ),
        ("empty.shop.svc.cluster.local", kind::A, &["no such name", "soa"]),
        ("near.shop.svc.cluster.local", kind::A, &["ok", "web.shop.svc.cluster.local", "10.43.0.5"]),
        ("near.shop.svc.cluster.local", kind::CNAME, &["ok", "web.shop.svc.cluster.local"]),
        ("none.shop.svc.cluster.local", kind::A, &["no such name", "soa"]),
        ("web.none.svc.cluster.local", kind::A, &["no such name", "soa"]),
        ("shop.svc.cluster.local", kind::A, &["ok", "soa"]),
        ("none.svc.cluster.local", kind::A, &["no such name", "soa"]),
        ("svc.cluster.local", kind::A, &["ok", "soa"]),
        ("cluster.local", kind::SOA, &["ok", "soa"]),
        ("cluster.local", kind::NS, &["ok", "ns.dns.cluster.local"]),
        ("dns-version.cluster.local", kind::TXT, &["ok", "1.1.0"]),
        ("10-42-0-9.shop.pod.cluster.local", kind::A, &["ok", "10.42.0.9"]),
        ("8-8-8-8.shop.pod.cluster.local", kind::A, &["no such name", "soa"]),
        ("example.org", kind::A, &["server failure"]),
    ];
    for (name, kind, want) in cases {
        assert_eq!(ask(&resolver, name, *kind).await, *want, "{name} {kind}");
    }
    let mut both = ask(&resolver, "db.shop.svc.cluster.local", kind::A).await;
    both.sort();
    assert_eq!(both, ["10.42.0.2", "10.42.0.3", "ok"]);
}

#[tokio::test]
async fn long_answers_are_cut_over_udp_and_whole_over_tcp() {
    let resolver = resolver(Vec::new());
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), resolver).await.unwrap();
    let address = server.local_addr();
    let server = tokio::spawn(server.run());
    let name = Name::parse("many.shop.svc.cluster.local").unwrap();
    let query = wire::write_query(3, &name, kind::A, None);

    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&query, address).await.unwrap();
    let mut packet = [0; 65_536];
    let length = socket.recv(&mut packet).await.unwrap();
    assert!(length <= 512, "a client without EDNS gets at most 512 bytes");
    assert_eq!(read(&packet[..length])[0], "ok truncated");

    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        stream.write_u16(query.len() as u16).await.unwrap();
        stream.write_all(&query).await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut packet = vec![0; length.into()];
        stream.read_exact(&mut packet).await.unwrap();
        assert_eq!(read(&packet).len(), 201);
    }
    server.abort();
}

/// A server that answers every A question with 192.0.2.7 and counts the questions.
async fn elsewhere() -> (SocketAddr, Arc<std::sync::atomic::AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = count.clone();
    tokio::spawn(async move {
        let mut packet = [0; 1500];
        loop {
            let (length, client) = socket.recv_from(&mut packet).await.unwrap();
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let wire::Incoming::Query(query) = wire::read_query(&packet[..length]) else { continue };
            let mut answer = packet[..query.question_end].to_vec();
            answer[2..4].copy_from_slice(&[0x81, 0x80]);
            answer[6..12].copy_from_slice(&[0, u8::from(query.kind == kind::A), 0, 0, 0, 1]);
            if query.kind == kind::A {
                answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
            }
            wire::put_opt(&mut answer, 1232, 0, false);
            socket.send_to(&answer, client).await.unwrap();
        }
    });
    (address, count)
}

#[tokio::test]
async fn other_names_are_asked_elsewhere_once() {
    let (address, count) = elsewhere().await;
    let resolver = resolver(vec![address]);
    for _ in 0..3 {
        assert_eq!(ask(&resolver, "Example.org", kind::A).await, ["ok", "192.0.2.7"]);
    }
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1, "remembered");
    let external = ask(&resolver, "out.shop.svc.cluster.local", kind::A).await;
    assert_eq!(external, ["ok", "db.example", "192.0.2.7"]);
}

#[tokio::test]
async fn nothing_is_forwarded_to_ourselves() {
    let (address, count) = elsewhere().await;
    let resolver = resolver(vec![address]);
    resolver.exclude(address);
    assert_eq!(ask(&resolver, "example.org", kind::A).await, ["server failure"]);
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn pods_resolve_short_full_and_foreign_names() {
    let (address, _) = elsewhere().await;
    let resolver = resolver(vec![address]);
    let mut names = PodNames::cluster_first("shop", "cluster.local");
    names.hosts.push(("fixed".to_owned(), "192.0.2.1".parse().unwrap()));
    let web: Vec<IpAddr> = vec!["10.43.0.5".parse().unwrap(), "fd43::5".parse().unwrap()];
    for name in
        ["web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local", "Web.Shop.Svc.Cluster.Local."]
    {
        assert_eq!(resolver.resolve(&names, name).await.as_ref(), Ok(&web), "{name}");
    }
    let foreign: Vec<IpAddr> = vec!["192.0.2.7".parse().unwrap()];
    for name in ["example.org", "out"] {
        assert_eq!(resolver.resolve(&names, name).await.as_ref(), Ok(&foreign), "{name}");
    }
    assert_eq!(resolver.resolve(&names, "FIXED").await.unwrap()[0].to_string(), "192.0.2.1");
    assert_eq!(resolver.resolve(&names, "a..b").await, Err(ResolveError::Malformed));
}

#[tokio::test]
async fn without_resolvers_foreign_names_fail_for_now() {
    let resolver = resolver(Vec::new());
    let names = PodNames::cluster_first("shop", "cluster.local");
    assert_eq!(resolver.resolve(&names, "example.org").await, Err(ResolveError::Temporary));
    let inside = resolver.resolve(&names, "none.shop.svc.cluster.local.").await;
    assert_eq!(inside, Err(ResolveError::NotFound));
}

/// Random and damaged packets never panic the whole path and never get more than they may.
#[tokio::test]
async fn fuzz_answering() {
    let resolver = resolver(Vec::new());
    let mut random = fastrand::Rng::with_seed(0xd5);
    let edns = Edns { udp_size: 512, version: 0, dnssec_ok: true };
    let names = [
        "many.shop.svc.cluster.local",
        "_sql._tcp.db.shop.svc.cluster.local",
        "5.0.43.10.in-addr.arpa",
        "cluster.local",
    ];
    for round in 0..50_000 {
        let name = Name::parse(names[round % names.len()]).unwrap();
        let mut packet = wire::write_query(1, &name, kind::A, Some(edns));
        for _ in 0..random.usize(0..4) {
            let at = random.usize(0..packet.len());
            packet[at] = random.u8(..);
        }
        if random.u8(..) < 64 {
            packet.truncate(random.usize(0..=packet.len()));
        }
        if let Some(answer) = resolver.respond(&packet, false).await {
            assert!(answer.len() <= 1232);
            assert!(wire::records(&answer).is_ok(), "what we write can be read");
        }
    }
}

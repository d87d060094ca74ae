//! Whatever is sent, the answer is an object or a `Status` of 4xx that says why; never a 5xx, never silence.
//!
//! Bounded and seeded: valid bodies in every encoding, patches in every language, selectors and parameters, each
//! damaged at random. Nothing is stored but what a valid request could store, too.

use bytes::Bytes;
use edge_api::protobuf;
use fastrand::Rng;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::http::content;
use crate::http::tests::harness::{Answer, Api, Client, pod};
use crate::identity::User;

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Objects of different shapes, and where they are made.
fn objects() -> Vec<(&'static str, Value)> {
    let mut a_pod = pod("g");
    a_pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80}]);
    a_pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "100m", "memory": "1Gi"}});
    let mut objects = vec![
        ("/api/v1/namespaces/default/pods", a_pod.clone()),
        (
            "/api/v1/namespaces/default/configmaps",
            json!({"metadata": {"name": "g", "labels": {"a": "b"}}, "data": {"k": "v"}, "binaryData": {"b": "AAEC"}}),
        ),
        (
            "/api/v1/namespaces/default/services",
            json!({"metadata": {"name": "g"}, "spec": {"ports": [{"port": 80, "targetPort": "x"}]}}),
        ),
        (
            "/apis/apps/v1/namespaces/default/deployments",
            json!({"metadata": {"name": "g"}, "spec": {
                "replicas": 1, "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": a_pod["spec"]},
            }}),
        ),
    ];
    for (path, object) in &mut objects {
        object["apiVersion"] = json!(if path.contains("apps") { "apps/v1" } else { "v1" });
        let kind = ["Pod", "ConfigMap", "Service", "Deployment"]
            .into_iter()
            .find(|kind| path.ends_with(&format!("{}s", kind.to_lowercase())));
        object["kind"] = json!(kind);
    }
    objects
}

/// JSON is YAML; block style is what people write.
fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                out.push_str(&format!("\n{}{name}: ", " ".repeat(indent)));
                block(value, indent + 2, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                out.push_str(&format!("\n{}- ", " ".repeat(indent)));
                block(item, indent + 2, out);
            }
        }
        other => out.push_str(&other.to_string()),
    }
}

/// Pieces that mean something to one of the readers.
const PIECES: [&[u8]; 22] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"null",
    b"-1",
    b"1e400",
    b"\xff\xfe",
    b"\0",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!binary ",
    b"\n- ",
    b"\\ud800",
    b"k8s\0",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02",
    b"99999999999999999999",
    b"\"$patch\":\"delete\",",
];

fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(0..=bytes.len());
        let end = (at + rng.usize(0..12)).min(bytes.len());
        match rng.u8(0..6) {
            0 if at < bytes.len() => bytes[at] = rng.u8(..),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.extend_from_within(at..end),
            _ => drop(bytes.splice(at..at, rng.choice(PIECES).unwrap().iter().copied())),
        }
    }
}

/// An answer is good if it is success, or says in Kubernetes' way what the caller did wrong.
#[track_caller]
fn assert_good(answer: &Answer, sent: &dyn Fn() -> String) -> u16 {
    if answer.code < 300 {
        return answer.code;
    }
    let status = answer.json();
    assert!((400..500).contains(&answer.code), "{}: {}\n{status}", answer.code, sent());
    assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(answer.code)), "{}", sent());
    assert_eq!(status["status"], "Failure");
    let text = |name: &str| status[name].as_str().is_some_and(|text| !text.is_empty());
    assert!(text("reason") && text("message"), "{status}");
    assert!(answer.bytes.len() < 5_000_000, "a refusal repeats what is wrong, and no more");
    answer.code
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn damaged_bodies_are_refused_or_taken() {
    let api = Api::new().await;
    let client = api.client(User::admin("a")).await;
    let mut rng = Rng::with_seed(41);
    let objects = objects();
    let (mut taken, mut refused) = (0, 0);
    for round in 0..1200 {
        let (path, object) = &objects[round % objects.len()];
        let (media, mut body) = match round / objects.len() % 3 {
            0 => (JSON, object.to_string().into_bytes()),
            1 => {
                let mut text = String::new();
                block(object, 0, &mut text);
                (YAML, text.into_bytes())
            }
            _ => (PROTOBUF, protobuf::encode(object).unwrap()),
        };
        if round >= objects.len() * 3 {
            damage(&mut rng, &mut body);
        }
        let strictness = rng.choice(["Strict", "Warn", "Ignore"]).unwrap();
        let path = format!("{path}?dryRun=All&fieldValidation={strictness}");
        let answer = client.send(Method::POST, &path, &[("content-type", media)], body.clone().into()).await;
        match assert_good(&answer, &|| format!("{media} {}", show(&body))) {
            201 => taken += 1,
            _ => refused += 1,
        }
        assert!(round >= objects.len() * 3 || answer.code == 201, "undamaged: {}", answer.message());
    }
    assert!(taken > 20 && refused > 200, "both ways are met: {taken} and {refused}");
}

#[tokio::test]
async fn damaged_patches_are_refused_or_applied() {
    let api = Api::new().await;
    let client = api.client(User::admin("a")).await;
    let mut rng = Rng::with_seed(42);
    let objects = objects();
    for (path, object) in &objects {
        api.make(path, object.clone()).await;
    }
    let (mut applied, mut refused) = (0, 0);
    for round in 0..1200 {
        let (path, object) = &objects[round % objects.len()];
        let operations = json!([
            {"op": "test", "path": "/metadata/name", "value": "g"},
            {"op": "add", "path": "/metadata/labels", "value": {"x": "y"}},
            {"op": "copy", "from": "/metadata/labels", "path": "/metadata/annotations"},
        ]);
        let (media, patch) = match round / objects.len() % 4 {
            0 => ("application/json-patch+json", &operations),
            1 => ("application/merge-patch+json", object),
            2 => ("application/strategic-merge-patch+json", object),
            _ => (content::APPLY, object),
        };
        let mut body = patch.to_string().into_bytes();
        damage(&mut rng, &mut body);
        let force = if media == content::APPLY { "&force=true" } else { "" };
        let path = format!("{path}/g?fieldManager=m&dryRun=All{force}");
        let answer = client.send(Method::PATCH, &path, &[("content-type", media)], body.clone().into()).await;
        match assert_good(&answer, &|| format!("{media} {}", show(&body))) {
            200 | 201 => applied += 1,
            _ => refused += 1,
        }
    }
    assert!(applied > 20 && refused > 200, "both ways are met: {applied} and {refused}");
}

#[tokio::test]
async fn damaged_parameters_are_refused_or_understood() {
    let api = Api::new().await;
    let client = api.client(User::admin("a")).await;
    let mut rng = Rng::with_seed(43);
    let map = |name: &str| json!({"metadata": {"name": name, "labels": {"a": name}}});
    for name in ["a", "b", "c"] {
        api.make("/api/v1/namespaces/default/configmaps", map(name)).await;
    }
    let page = api.get("/api/v1/configmaps?limit=1").await.json();
    let token = page["metadata"]["continue"].as_str().unwrap();
    let seeds = [
        ("labelSelector", "a in (b,c),!d,e!=f,g notin (h),i>1,j==k"),
        ("fieldSelector", "metadata.name=a,metadata.namespace!=b"),
        ("limit", "2"),
        ("continue", token),
        ("resourceVersion", "3"),
        ("resourceVersionMatch", "NotOlderThan"),
        ("timeoutSeconds", "1"),
        ("sendInitialEvents", "true"),
        ("allowWatchBookmarks", "true"),
    ];
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..1200 {
        let mut query = String::new();
        for (name, value) in seeds {
            if rng.u8(0..3) > 0 {
                continue;
            }
            let mut value = value.as_bytes().to_vec();
            if rng.bool() {
                damage(&mut rng, &mut value);
            }
            let value: String = value.iter().map(|byte| format!("%{byte:02X}")).collect();
            query.push_str(&format!("&{name}={value}"));
        }
        let path = format!("/api/v1/namespaces/default/configmaps?{query}");
        let answer = client.get(&path, &[]).await;
        // So does kube-apiserver answer a revision that is yet to come.
        if answer.code == 504 && answer.message().contains("Too large resource version") {
            refused += 1;
            continue;
        }
        match assert_good(&answer, &|| path.clone()) {
            200 => taken += 1,
            _ => refused += 1,
        }
    }
    assert!(taken > 50 && refused > 200, "both ways are met: {taken} and {refused}");
}

/// Small bodies that would become large.
#[tokio::test]
async fn bombs_do_not_go_off() {
    let api = Api::new().await;
    let client = api.client(User::admin("a")).await;
    let mut laughs = "a0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n".to_owned();
    for i in 1..12 {
        let of = format!("*a{},", i - 1).repeat(9);
        laughs.push_str(&format!("a{i}: &a{i} [{}]\n", of.trim_end_matches(',')));
    }
    let merges = format!("a: &a {{b: c}}\nx:\n{}", "  <<: *a\n".repeat(50_000));
    let labels: serde_json::Map<String, Value> =
        (0..10_000).map(|i| (format!("l{i}"), json!("x".repeat(63)))).collect();
    let many = json!({"metadata": {"name": "m", "labels": labels}}).to_string();
    let long = json!({"metadata": {"name": "x".repeat(1_000_000)}}).to_string();
    let unknown = format!("{{\"metadata\":{{\"name\":\"u\"}},{}\"z\":1}}", "\"a\":1,".repeat(100_000));
    let nested = format!("{}{}", "{\"data\":".repeat(5000), "}".repeat(5000));
    let strict = "?fieldValidation=Strict";
    for (media, query, body) in [
        (YAML, "", laughs),
        (YAML, "", merges),
        (JSON, "?dryRun=All", many),
        (JSON, "", long),
        (JSON, strict, unknown),
        (JSON, "", nested.clone()),
        (YAML, "", nested),
        (YAML, "", "- ".repeat(100_000)),
        (YAML, "", "? ".repeat(100_000)),
    ] {
        let path = format!("/api/v1/namespaces/default/configmaps{query}");
        let head: String = body.chars().take(80).collect();
        let answer = client.send(Method::POST, &path, &[("content-type", media)], Bytes::from(body)).await;
        let code = assert_good(&answer, &|| head.clone());
        assert!(code >= 400 || query == "?dryRun=All", "{code}: {head}");
    }
    let selector = format!("labelSelector={}", "a,".repeat(15_000));
    let answer = long_query(&client, &selector).await;
    assert_eq!(answer.code, 400, "{}", answer.message());
}

async fn long_query(client: &Client, query: &str) -> Answer {
    client.get(&format!("/api/v1/configmaps?{query}"), &[]).await
}

/// What is said to an HTTP/1 request whose head is this, on a connection that has had another before.
async fn said_to(api: &Api, head: &str) -> String {
    let (mut reader, mut writer) = tokio::io::split(api.server.connect(User::admin("a")));
    writer.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut first = Vec::new();
    while !first.ends_with(b"ok") {
        first.push(reader.read_u8().await.unwrap());
    }
    let writing = async {
        // Who is refused early may find nobody who reads on.
        let _ = writer.write_all(head.as_bytes()).await;
    };
    let mut answer = Vec::new();
    let ((), read) = tokio::join!(writing, reader.read_to_end(&mut answer));
    read.unwrap();
    show(&answer)
}

#[tokio::test]
async fn heads_that_are_too_large_are_told_so() {
    let api = Api::new().await;
    let url =
        |size: usize| format!("GET /api/v1/pods?labelSelector={} HTTP/1.1\r\nhost: a\r\n", "a".repeat(size));
    for (head, code, words) in [
        (
            format!("{}connection: close\r\n\r\n", url(62_000)),
            "414 URI Too Long",
            "the URL has 62027 bytes; the limit is 61440",
        ),
        (format!("{}\r\n", url(70_000)), "414 URI Too Long", "the URL is too long; the limit is 61440 bytes"),
        (format!("{}\r\n", url(2_000_000)), "414 URI Too Long", "the URL is too long"),
        (
            format!("{}{}\r\n", url(10), "name: value\r\n".repeat(98)),
            "431 Request Header Fields Too Large",
            "the headers are too large; the limits are 122880 bytes and 97 lines",
        ),
        (
            format!("{}name: {}\r\n\r\n", url(10), "v".repeat(300_000)),
            "431 Request Header Fields Too Large",
            "the headers are too large",
        ),
    ] {
        let answer = said_to(&api, &head).await;
        let rest = answer.strip_prefix(&format!("HTTP/1.1 {code}\r\n"));
        let rest = rest.unwrap_or_else(|| panic!("not {code}: {answer}"));
        let (_, body) = rest.split_once("\r\n\r\n").unwrap();
        let status: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
        assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Failure")));
        assert!(status["message"].as_str().unwrap().starts_with(words), "{status}");
    }
    // On HTTP/2 as well, up to where there is a code at least; and the connection goes on.
    let client = api.client(User::admin("a")).await;
    let path = format!("/api/v1/pods?labelSelector={}", "a".repeat(65_000));
    let answer = client.get(&path, &[]).await;
    assert_eq!((answer.code, answer.json()["kind"].as_str()), (414, Some("Status")));
    assert_eq!(client.get(&path, &[("name", &"v".repeat(1000))]).await.code, 431);
    client.get("/api/v1/pods", &[]).await.expect(200);
}

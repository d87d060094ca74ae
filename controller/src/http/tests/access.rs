//! Who gets in, and how far: TLS, tokens, nodes, their tunnels and logs.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::http::tests::harness::{Api, Client, NOW, pod};
use crate::identity::{Pair, User};

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn tls(api: &Api, address: SocketAddr, certificate: Option<Pair>) -> Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(api.server.registry().pki().authority().der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots);
    let mut config = match certificate {
        Some(pair) => {
            config.with_client_auth_cert(pair.chain().unwrap(), pair.private_key().unwrap()).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("kubernetes.default.svc").unwrap();
    Client::over(tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap())
        .await
}

async fn with_token(client: &Client, token: &str, path: &str) -> u16 {
    client.get(path, &[("authorization", &format!("Bearer {token}"))]).await.code
}

#[tokio::test]
async fn nobody_gets_in_without_a_credential() {
    let api = Api::new().await;
    let address = api.listen().await;
    let client = tls(&api, address, None).await;
    for path in ["/api", "/apis", "/api/v1/pods", "/metrics", "/openapi/v3", "/nothing"] {
        let answer = client.get(path, &[]).await;
        assert_eq!((answer.code, answer.message().as_str()), (401, "Unauthorized"), "{path}");
        assert_eq!(with_token(&client, "wrong", path).await, 401);
    }
    for path in ["/livez", "/readyz", "/healthz", "/version"] {
        assert_eq!(client.get(path, &[]).await.code, 200, "{path}");
    }
    let kubeconfig = api.directory.path().join("kubeconfig");
    api.server.registry().pki().write_kubeconfig(&kubeconfig, &format!("https://{address}")).unwrap();
    let text = std::fs::read_to_string(kubeconfig).unwrap();
    let token = text.lines().find_map(|line| line.trim().strip_prefix("token: ")).unwrap();
    assert_eq!(with_token(&client, token, "/api/v1/pods").await, 200);
    let certificate =
        api.server.registry().pki().authority().issue_client(&User::admin("alice"), NOW).unwrap();
    let client = tls(&api, address, Some(certificate)).await;
    assert_eq!(client.get("/api/v1/pods", &[]).await.code, 200);
}

#[tokio::test]
async fn account_tokens_end_with_what_they_are_bound_to() {
    let api = Api::with_roles().await;
    let address = api.listen().await;
    let client = tls(&api, address, None).await;
    let made = api.make(PODS, pod("p")).await;
    let request = json!({"spec": {"audiences": [], "expirationSeconds": 600, "boundObjectRef": {
        "kind": "Pod", "apiVersion": "v1", "name": "p", "uid": made["metadata"]["uid"],
    }}});
    let accounts = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let answer = api.make(accounts, request).await;
    assert_eq!(answer["status"]["expirationTimestamp"], "2027-01-15T08:10:00Z");
    let token = answer["status"]["token"].as_str().unwrap();
    assert_eq!(with_token(&client, token, "/apis").await, 200);
    let secrets = "/api/v1/namespaces/default/secrets";
    let refused = client.get(secrets, &[("authorization", &format!("Bearer {token}"))]).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message(),
        "secrets is forbidden: User \"system:serviceaccount:default:default\" cannot list resource \"secrets\" in API \
         group \"\" in the namespace \"default\""
    );
    api.call(Method::DELETE, &format!("{PODS}/p"), Value::Null).await.expect(200);
    assert_eq!(with_token(&client, token, "/apis").await, 401);
    let short = json!({"spec": {"audiences": [], "expirationSeconds": 1}});
    assert_eq!(api.call(Method::POST, accounts, short).await.code, 422);
    let other = api.make(accounts, json!({"spec": {"audiences": ["vault"]}})).await;
    assert_eq!(with_token(&client, other["status"]["token"].as_str().unwrap(), "/apis").await, 401);
}

#[tokio::test]
async fn a_secret_holds_a_token_as_long_as_it_is_there() {
    let api = Api::with_roles().await;
    let address = api.listen().await;
    let client = tls(&api, address, None).await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let of = |account: &str| {
        json!({"metadata": {"name": account, "annotations": {"kubernetes.io/service-account.name": account}},
            "type": "kubernetes.io/service-account-token"})
    };
    let made = api.make(secrets, of("default")).await;
    let decode =
        |text: &Value| base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap();
    let token = String::from_utf8(decode(&made["data"]["token"])).unwrap();
    assert_eq!(decode(&made["data"]["namespace"]), b"default");
    assert!(decode(&made["data"]["ca.crt"]).starts_with(b"-----BEGIN CERTIFICATE-----"));
    assert_eq!(with_token(&client, &token, "/apis").await, 200);
    let again = api.merge(&format!("{secrets}/default"), json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(again.expect(200)["data"], made["data"]);
    api.call(Method::DELETE, &format!("{secrets}/default"), Value::Null).await.expect(200);
    assert_eq!(with_token(&client, &token, "/apis").await, 401);
    let nobody = api.make(secrets, of("nobody")).await;
    assert_eq!(nobody.get("data"), None);
}

#[tokio::test]
async fn agents_join_over_tls() {
    let api = Api::new().await;
    let address = api.listen().await;
    let client = tls(&api, address, None).await;
    let agent = std::fs::read_to_string(api.directory.path().join("agent-token")).unwrap();
    let path = "/edgectl.dev/v1/join";
    let join = |token: String, body: Value| {
        let client = client.clone();
        async move {
            let header = format!("Bearer {token}");
            client
                .send(Method::POST, path, &[("authorization", header.as_str())], body.to_string().into())
                .await
        }
    };
    let joined = join(agent.trim().to_owned(), json!({"nodeName": "edge-2"})).await.expect(200);
    assert!(joined["ca"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(with_token(&client, joined["token"].as_str().unwrap(), "/api/v1/nodes").await, 200);
    assert_eq!(join("a.b".into(), json!({"nodeName": "edge-3"})).await.code, 401);
    assert_eq!(join(agent.trim().to_owned(), json!({"nodeName": "No Name"})).await.code, 400);
}

#[tokio::test]
async fn a_node_reaches_what_its_pods_use_and_no_more() {
    let api = Api::new().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    for name in ["used", "other"] {
        api.make(secrets, json!({"metadata": {"name": name}})).await;
    }
    let mut with_secret = pod("p");
    with_secret["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "used"}}]);
    api.make(PODS, with_secret).await;
    api.make(PODS, pod("q")).await;
    for (name, node) in [("p", "n1"), ("q", "n2")] {
        let binding = json!({"target": {"kind": "Node", "name": node}});
        api.call(Method::POST, &format!("{PODS}/{name}/binding"), binding).await.expect(201);
    }
    let node = api.client(User::node("n1")).await;
    let stranger = api.client(User::node("n2")).await;
    let get = |path: &'static str| (Method::GET, path, Value::Null);
    let token = json!({"spec": {"audiences": [], "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}}});
    let own = json!({"metadata": {"name": "n1"}});
    let phase = json!({"status": {"phase": "Running"}});
    for ((method, path, body), ours, theirs) in [
        (get("/api/v1/namespaces/default/secrets/used"), 200, 403),
        (get("/api/v1/namespaces/default/secrets/other"), 403, 403),
        (get("/api/v1/namespaces/default/secrets"), 403, 403),
        (get("/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Dused"), 200, 403),
        (get("/api/v1/namespaces/default/serviceaccounts/default"), 200, 200),
        (get("/api/v1/pods"), 200, 200),
        (get("/apis/discovery.k8s.io/v1/endpointslices"), 200, 200),
        (get("/apis/apps/v1/deployments"), 403, 403),
        ((Method::POST, "/api/v1/namespaces/default/serviceaccounts/default/token", token), 201, 403),
        ((Method::POST, "/api/v1/nodes", own.clone()), 201, 403),
        ((Method::POST, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", own), 201, 403),
        ((Method::PATCH, "/api/v1/namespaces/default/pods/p/status", phase), 200, 403),
        ((Method::PATCH, "/api/v1/namespaces/default/pods/p", json!({})), 403, 403),
        ((Method::DELETE, "/api/v1/namespaces/default/pods/p", json!({"gracePeriodSeconds": 0})), 200, 403),
    ] {
        for (client, expected) in [(&stranger, theirs), (&node, ours)] {
            let media =
                if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
            let bytes = if body.is_null() { Bytes::new() } else { body.to_string().into() };
            let answer = client.send(method.clone(), path, &[("content-type", media)], bytes).await;
            assert_eq!(answer.code, expected, "{method} {path}: {}", String::from_utf8_lossy(&answer.bytes));
        }
    }
}

/// A node that answers every request with its path and query.
async fn echoing_node(api: &Api, node: &str, caller: &str) -> StatusCode {
    let echo = |uri: &Uri| {
        let mut response = Response::new(Full::new(Bytes::from(uri.path_and_query().unwrap().to_string())));
        if uri.query().is_some_and(|query| query.contains("previous")) {
            *response.status_mut() = StatusCode::BAD_REQUEST;
            *response.body_mut() =
                Full::new(Bytes::from_static(b"previous terminated container not found\n"));
        }
        response
    };
    api.tunnel(node, caller, echo).await
}

#[tokio::test]
async fn logs_come_through_the_nodes_tunnel() {
    let api = Api::new().await;
    let mut two = pod("p");
    two["spec"]["containers"] = json!([{"name": "a", "image": "file:a"}, {"name": "b", "image": "file:b"}]);
    api.make(PODS, two).await;
    let path = format!("{PODS}/p/log");
    assert_eq!(
        api.get(&path).await.message(),
        "a container name must be specified for pod p, choose one of: [a b]"
    );
    assert_eq!(api.get(&format!("{path}?container=a")).await.bytes, "", "it runs nowhere yet");
    let binding = json!({"target": {"kind": "Node", "name": "n1"}});
    api.call(Method::POST, &format!("{PODS}/p/binding"), binding).await.expect(201);
    assert_eq!(api.get(&format!("{path}?container=a")).await.code, 503);
    assert_eq!(echoing_node(&api, "n1", "n2").await, StatusCode::FORBIDDEN);
    assert_eq!(echoing_node(&api, "n1", "n1").await, StatusCode::SWITCHING_PROTOCOLS);
    let log = api.get(&format!("{path}?container=b&tailLines=5&follow=true&evil=%0a")).await;
    assert_eq!(log.bytes, "/containerLogs/default/p/b?follow=true&tailLines=5");
    let log = api.get(&format!("{path}?container=b&follow=True&timestamps=1&previous=False")).await;
    assert_eq!(log.bytes, "/containerLogs/default/p/b?follow=true&timestamps=true", "as clients say it");
    assert_eq!(log.headers["content-type"], "text/plain");
    let refused = api.get(&format!("{path}?container=b&previous=true")).await;
    assert_eq!((refused.code, refused.message().as_str()), (400, "previous terminated container not found"));
    assert_eq!(api.get(&format!("{path}?container=b&tailLines=-1")).await.code, 400);
    assert_eq!(api.get(&format!("{path}?container=b&sinceSeconds=0")).await.code, 422);
}

#[tokio::test]
async fn a_log_that_is_followed_ends_with_its_node() {
    let api = Api::new().await;
    api.make(PODS, pod("p")).await;
    let binding = json!({"target": {"kind": "Node", "name": "n1"}});
    api.call(Method::POST, &format!("{PODS}/p/binding"), binding).await.expect(201);
    let death = Arc::new(Notify::new());
    let dying = death.clone();
    let dies = move |_: &Uri| {
        let dying = dying.clone();
        let end = async move {
            dying.notified().await;
            Err(std::io::Error::other("the node is gone"))
        };
        let last = Ok(Frame::data(Bytes::from_static(b"its last line\n")));
        Response::new(StreamBody::new(futures::stream::iter([last]).chain(futures::stream::once(end))))
    };
    assert_eq!(api.tunnel("n1", "n1", dies).await, StatusCode::SWITCHING_PROTOCOLS);
    let client = api.client(User::admin("admin")).await;
    let read = async |follow: &str| {
        let path = format!("{PODS}/p/log?follow={follow}");
        let (_, _, mut body) = client.open(Method::GET, &path, &[], Bytes::new()).await;
        let heard = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(heard, "its last line\n");
        death.notify_one();
        body.collect().await.is_ok()
    };
    assert!(read("true").await && read("True").await, "an end like any other");
    assert!(!read("false").await, "half of a log is not all of it");
}

#[tokio::test]
async fn administrators_reach_what_a_node_serves() {
    let api = Api::new().await;
    let path = "/api/v1/nodes/n1/proxy/metrics?a=b%20c";
    assert_eq!(api.get(path).await.message(), "nodes \"n1\" not found");
    api.make("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    let absent = api.get(path).await;
    assert_eq!(absent.code, 503);
    assert_eq!(absent.message(), "node \"n1\" cannot be reached: the node is not connected");
    assert_eq!(echoing_node(&api, "n1", "n1").await, StatusCode::SWITCHING_PROTOCOLS);
    let answer = api.get(path).await;
    assert_eq!((answer.code, &answer.bytes[..]), (200, &b"/metrics?a=b%20c"[..]));
    let refused = api.get("/api/v1/nodes/n1/proxy/x?previous").await;
    assert_eq!(refused.code, 400, "the node's own answer is passed on");
    assert_eq!(api.client(User::node("n1")).await.get(path, &[]).await.code, 403);
    assert_eq!(api.call(Method::POST, path, json!({})).await.code, 404);
}

#[tokio::test]
async fn pods_and_services_are_reached_through_the_nodes_tunnel() {
    let api = Api::new().await;
    let mut web = pod("p");
    web["spec"]["containers"][0]["ports"] = json!([{"name": "web", "containerPort": 8080}]);
    api.make(PODS, web).await;
    let path = format!("{PODS}/p:web/proxy/a%2Fb?c=d");
    assert!(api.get(&path).await.message().contains("does not have an address"));
    let binding = json!({"target": {"kind": "Node", "name": "n1"}});
    api.call(Method::POST, &format!("{PODS}/p/binding"), binding).await.expect(201);
    api.merge(&format!("{PODS}/p/status"), json!({"status": {"podIP": "10.42.0.5"}})).await.expect(200);
    assert_eq!(api.get(&path).await.code, 503, "the node is not connected");
    assert_eq!(echoing_node(&api, "n1", "n1").await, StatusCode::SWITCHING_PROTOCOLS);
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let answer = api.call(method, &path, json!({"a": 1})).await;
        assert_eq!((answer.code, &answer.bytes[..]), (200, &b"/podProxy/10.42.0.5/8080/a%2Fb?c=d"[..]));
    }
    let bare = api.get(&format!("{PODS}/p/proxy")).await;
    assert_eq!((bare.code, bare.headers["location"].to_str().unwrap()), (301, &*format!("{PODS}/p/proxy/")));
    let services = "/api/v1/namespaces/default/services";
    let ports = json!([{"name": "http", "port": 80, "targetPort": "web"}]);
    api.make(services, json!({"metadata": {"name": "s"}, "spec": {"ports": ports}})).await;
    let through = format!("{services}/s:80/proxy/x");
    assert_eq!(api.get(&through).await.message(), "no endpoints available for service \"s\"");
    let slice = json!({
        "metadata": {"name": "s-1", "labels": {"kubernetes.io/service-name": "s"}}, "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": ["10.42.0.5"], "nodeName": "n1"}],
    });
    api.make("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice).await;
    assert_eq!(api.get(&through).await.bytes, "/podProxy/10.42.0.5/8080/x");
    assert!(
        api.get(&format!("{services}/s:other/proxy/x")).await.message().contains("no service port \"other\"")
    );
    assert_eq!(api.get(&format!("{services}/https:s:80/proxy/x")).await.code, 400);
    assert_eq!(api.client(User::node("n1")).await.get(&path, &[]).await.code, 403);
}

#[tokio::test]
async fn why_a_pod_has_no_node_is_told_to_administrators() {
    let api = Api::new().await;
    api.make("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    let pod = json!({"metadata": {"name": "web"}, "spec": {"schedulingGates": [{"name": "example.com/g"}],
        "containers": [{"name": "c", "image": "file:a.wasm"}]}});
    let made = api.make(PODS, pod).await;
    let gated = "Scheduling is blocked due to non-empty scheduling gates";
    let condition = &made["status"]["conditions"][0];
    assert_eq!((&condition["reason"], &condition["message"]), (&json!("SchedulingGated"), &json!(gated)));
    let path = "/debug/scheduler/why?namespace=default&pod=web";
    assert_eq!(api.get(path).await.expect(200), json!(null));
    let store = api.server.registry().store().clone();
    api.server.reconcilers().answer_why(move |namespace, pod| {
        let said = crate::schedule::why(&store, crate::mirror::Packing::default(), namespace, pod);
        said.map_err(|_| crate::registry::ApiError::not_found(&edge_api::kinds::pod::KIND, pod))
    });
    assert_eq!(api.get(path).await.expect(200)["message"], gated);
    assert_eq!(api.get("/debug/scheduler/why?namespace=default&pod=no").await.code, 404);
    assert_eq!(api.get("/debug/scheduler/why?pod=web").await.code, 400);
    assert_eq!(api.client(User::node("n1")).await.get(path, &[]).await.code, 403);
}

#[tokio::test]
async fn administrators_see_what_the_controllers_do() {
    let api = Api::new().await;
    assert_eq!(api.get("/debug/reconcilers").await.expect(200), json!(null));
    api.server.reconcilers().show(|| json!({"revision": 7}));
    assert_eq!(api.get("/debug/reconcilers").await.expect(200), json!({"revision": 7}));
    assert_eq!(api.client(User::node("n1")).await.get("/debug/reconcilers", &[]).await.code, 403);
}

/// Posts with a body that never ends, again and again.
async fn endless_posts(api: &Api, user: User, count: usize) -> (JoinSet<u16>, AbortOnDropHandle<()>) {
    let stream = TokioIo::new(api.server.connect(user));
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = AbortOnDropHandle::new(tokio::spawn(async move { drop(connection.await) }));
    let mut posts = JoinSet::new();
    for _ in 0..count {
        let mut sender = sender.clone();
        let body = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let request = Request::post("http://api/apis/authentication.k8s.io/v1/selfsubjectreviews");
        posts.spawn(async move {
            sender.ready().await.unwrap();
            let answer = sender.send_request(request.body(body).unwrap()).await;
            answer.map_or(0, |answer| {
                assert_eq!(answer.headers()["retry-after"], "1");
                answer.status().as_u16()
            })
        });
    }
    (posts, connection)
}

#[tokio::test]
async fn a_flood_is_told_to_come_back_and_others_go_on() {
    let api = Api::with_roles().await;
    let flood = User::service_account("default", "flood", "1");
    let (mut posts, connection) = endless_posts(&api, flood.clone(), 400).await;
    for _ in 0..50 {
        assert_eq!(posts.join_next().await.unwrap().unwrap(), 429, "50 are under way and 300 wait");
    }
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let calm = api.client(User::service_account("default", "calm", "2")).await;
    calm.json(Method::POST, path, json!({})).await.expect(201);
    let flood = api.client(flood).await;
    let refused = flood.json(Method::POST, path, json!({})).await;
    assert_eq!((refused.code, &refused.json()["reason"]), (429, &json!("TooManyRequests")));
    assert_eq!(flood.get("/api", &[]).await.code, 200, "reading is another matter");
    drop((posts, connection));
    while flood.json(Method::POST, path, json!({})).await.code != 201 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_audit_log_says_who_did_what_and_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let api = Api::audited(&path).await;
    let address = api.listen().await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"key": "hush-hush"}});
    api.make("/api/v1/namespaces/default/secrets", secret).await;
    let client = tls(&api, address, None).await;
    assert_eq!(with_token(&client, "bearer-hush", "/api/v1/pods").await, 401);
    let admin = api.client(User::admin("admin")).await;
    let headers = [("impersonate-user", "ann"), ("user-agent", "probe/1")];
    assert_eq!(
        admin.get("/apis/apps/v1/namespaces/default/deployments/d/scale?x=y", &headers).await.code,
        403
    );
    assert_eq!(admin.get("/livez", &[]).await.code, 200);
    // Another thread writes it.
    let mut text = String::new();
    while !text.contains("probe/1") {
        tokio::task::yield_now().await;
        text = std::fs::read_to_string(&path).unwrap();
    }
    assert!(!text.contains("hush"), "{text}");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let made = events.iter().find(|event| event["objectRef"]["resource"] == "secrets").unwrap();
    assert_eq!(
        (&made["verb"], &made["user"]["username"], &made["responseStatus"]["code"]),
        (&json!("create"), &json!("admin"), &json!(201))
    );
    assert_eq!(
        made["annotations"],
        json!({"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""})
    );
    let turned = events.iter().find(|event| event["responseStatus"]["code"] == 401).unwrap();
    assert_eq!((&turned["user"], &turned["sourceIPs"]), (&json!({}), &json!(["127.0.0.1"])));
    let acted = events.last().unwrap();
    assert_eq!(acted["impersonatedUser"]["username"], "ann");
    assert_eq!(acted["userAgent"], "probe/1");
    assert_eq!(acted["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert!(turned["annotations"].is_null(), "nobody asked for anything");
    assert_eq!(
        acted["objectRef"],
        json!({"resource": "deployments", "apiGroup": "apps", "apiVersion": "v1", "namespace": "default",
            "name": "d", "subresource": "scale"})
    );
    assert_eq!(acted["requestURI"], "/apis/apps/v1/namespaces/default/deployments/d/scale?x=y");
    assert!(events.iter().all(|event| event["stage"] == "ResponseComplete" && event["level"] == "Metadata"));
}

//! Webhooks: what they are asked, what they may answer, and what comes of silence. The server is a real one over TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::http::tests::admission::{put, warnings};
use crate::http::tests::harness::{Api, config_map};
use crate::identity::Authority;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Answers an AdmissionReview's request, asked at a path.
type Answer = fn(&str, &Value) -> Value;

/// Somebody who is asked.
struct Hooks {
    address: SocketAddr,
    bundle: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Hooks {
    async fn serve(answer: Answer) -> Hooks {
        let authority = Authority::generate().unwrap();
        // TLS goes by the clock of the host.
        let now = edge_api::time::Timestamp::from(std::time::SystemTime::now()).as_seconds();
        let pair = authority.issue_server(&[], &["127.0.0.1".parse().unwrap()], now).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config
            .with_no_client_auth()
            .with_single_cert(pair.chain().unwrap(), pair.private_key().unwrap())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let seen = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), seen.clone());
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(stream).await else { return };
                    let service = service_fn(|request| reply(request, answer, seen.clone()));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(tls), service).await;
                });
            }
        });
        Hooks { address, bundle: STANDARD.encode(&authority.pair().certificates), asked }
    }

    /// A configuration with one webhook at a path, changed as the test needs.
    async fn configure(&self, api: &Api, plural: &str, path: &str, change: impl Fn(&mut Value)) {
        let mut hook = json!({
            "name": format!("{path}.example.com"),
            "clientConfig": {"url": format!("https://{}/{path}", self.address), "caBundle": self.bundle},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail", "timeoutSeconds": 5,
        });
        change(&mut hook);
        let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": path}, "webhooks": [hook]});
        put(api, "admissionregistration.k8s.io", plural, object).await;
    }

    fn paths(&self) -> Vec<String> {
        self.asked.lock().drain(..).map(|(path, _)| path).collect()
    }
}

async fn reply(
    request: Request<hyper::body::Incoming>,
    answer: Answer,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    assert_eq!(request.uri().query(), Some("timeout=5s"));
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&review["apiVersion"], &review["kind"]),
        (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
    );
    let asked = &review["request"];
    seen.lock().push((path.clone(), asked.clone()));
    let mut response = answer(&path, asked);
    if response.get("uid").is_none() {
        response["uid"] = asked["uid"].clone();
    }
    let review =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(Response::new(Full::new(review.to_string().into())))
}

const MUTATING: &str = "mutatingwebhookconfigurations";
const VALIDATING: &str = "validatingwebhookconfigurations";

fn patch(operations: Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())})
}

#[tokio::test]
async fn a_webhook_refuses_in_its_own_words_and_code() {
    let api = Api::new().await;
    let hooks = Hooks::serve(|_, request| match request["object"]["data"]["a"].as_str() {
        Some("plain") => json!({"allowed": false}),
        Some("told") => {
            json!({"allowed": false, "status": {"message": "not today", "code": 403, "reason": "Forbidden"},
            "warnings": ["think again"]})
        }
        Some("reason") => json!({"allowed": false, "status": {"reason": "Because"}}),
        Some("stray") => json!({"uid": "x", "allowed": true}),
        _ => json!({"allowed": true, "warnings": ["careful"]}),
    })
    .await;
    hooks.configure(&api, VALIDATING, "deny", |_| {}).await;
    let send = |value: &'static str| api.call(Method::POST, MAPS, config_map(value, value));
    let denied = "admission webhook \"deny.example.com\" denied the request";
    let plain = send("plain").await;
    assert_eq!((plain.code, plain.message()), (400, format!("{denied} without explanation")));
    assert!(plain.json().get("reason").is_none());
    let told = send("told").await;
    assert_eq!((told.code, told.message()), (403, format!("{denied}: not today")));
    assert_eq!(told.json()["reason"], "Forbidden");
    let reason = send("reason").await;
    assert_eq!((reason.code, reason.message()), (400, format!("{denied}: Because")));
    let stray = send("stray").await;
    assert_eq!(stray.code, 500);
    assert!(
        stray.message().starts_with(
            "Internal error occurred: failed calling webhook \"deny.example.com\": received invalid webhook response: \
             expected response.uid=\""
        ),
        "{}",
        stray.message()
    );
    let fine = send("fine").await;
    assert_eq!(warnings(&fine), ["299 - \"careful\""]);
    fine.expect(201);
    let (_, asked) = hooks.asked.lock().last().cloned().unwrap();
    assert_eq!(asked["operation"], "CREATE");
    assert_eq!(asked["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(asked["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!((&asked["namespace"], &asked["name"]), (&json!("default"), &json!("fine")));
    assert_eq!(asked["userInfo"]["username"], "admin");
    assert_eq!((&asked["oldObject"], &asked["dryRun"]), (&Value::Null, &json!(false)));
}

#[tokio::test]
async fn webhooks_change_objects_and_see_what_others_changed() {
    let api = Api::new().await;
    let hooks = Hooks::serve(|path, request| match path {
        "first" if request["object"]["data"]["second"].is_null() => {
            patch(json!([{"op": "add", "path": "/data/first", "value": "1"}]))
        }
        "first" => patch(json!([{"op": "add", "path": "/data/first", "value": "2"}])),
        "second" => patch(json!([
            {"op": "add", "path": "/data/second", "value": "1"},
            {"op": "add", "path": "/metadata/labels", "value": {"by": "second"}},
        ])),
        _ => patch(json!([{"op": "remove", "path": "/nothing"}])),
    })
    .await;
    hooks.configure(&api, MUTATING, "first", |hook| hook["reinvocationPolicy"] = json!("IfNeeded")).await;
    hooks.configure(&api, MUTATING, "second", |_| {}).await;
    let made = api.make(MAPS, config_map("m", "x")).await;
    assert_eq!(made["data"], json!({"a": "x", "first": "2", "second": "1"}));
    assert_eq!(made["metadata"]["labels"], json!({"by": "second"}));
    assert_eq!(hooks.paths(), ["first", "second", "first"]);
    hooks
        .configure(&api, MUTATING, "third", |hook| {
            hook["objectSelector"] = json!({"matchLabels": {"by": "second"}});
        })
        .await;
    let broken = api.call(Method::POST, MAPS, config_map("n", "x")).await;
    assert_eq!(broken.code, 500, "{}", broken.message());
}

#[tokio::test]
async fn webhooks_are_asked_only_about_what_they_wish() {
    let api = Api::new().await;
    let hooks = Hooks::serve(|_, _| json!({"allowed": true})).await;
    hooks.configure(&api, VALIDATING, "all", |hook| hook["rules"][0]["operations"] = json!(["*"])).await;
    hooks
        .configure(&api, VALIDATING, "elsewhere", |hook| {
            hook["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": "other"}});
        })
        .await;
    hooks
        .configure(&api, VALIDATING, "conditional", |hook| {
            hook["matchConditions"] =
                json!([{"name": "c", "expression": "object.metadata.name.startsWith('x')"}]);
        })
        .await;
    hooks.configure(&api, VALIDATING, "pods", |hook| hook["rules"][0]["resources"] = json!(["pods/*"])).await;
    api.make(MAPS, config_map("m", "1")).await;
    assert_eq!(hooks.paths(), ["all"]);
    api.merge(&format!("{MAPS}/m"), json!({"data": {"a": "2"}})).await.expect(200);
    let (_, asked) = hooks.asked.lock().pop().unwrap();
    assert_eq!((&asked["operation"], &asked["oldObject"]["data"]["a"]), (&json!("UPDATE"), &json!("1")));
    api.call(Method::DELETE, &format!("{MAPS}/m"), Value::Null).await.expect(200);
    let (_, asked) = hooks.asked.lock().pop().unwrap();
    assert_eq!((&asked["operation"], &asked["object"]), (&json!("DELETE"), &Value::Null));
    assert_eq!(asked["oldObject"]["metadata"]["name"], "m");
    api.make(MAPS, config_map("x", "1")).await;
    let mut paths = hooks.paths();
    paths.sort();
    assert_eq!(paths, ["all", "conditional"]);
}

#[tokio::test]
async fn silence_is_an_error_or_nothing_as_the_webhook_says() {
    let api = Api::new().await;
    let hooks = Hooks::serve(|_, _| json!({"allowed": true})).await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let silent = |hook: &mut Value| hook["clientConfig"]["url"] = json!(format!("https://{nobody}/x"));
    hooks
        .configure(&api, VALIDATING, "ignored", |hook| {
            silent(hook);
            hook["failurePolicy"] = json!("Ignore");
        })
        .await;
    api.make(MAPS, config_map("m", "1")).await;
    hooks.configure(&api, VALIDATING, "needed", silent).await;
    let failed = api.call(Method::POST, MAPS, config_map("n", "1")).await;
    assert_eq!(
        (failed.code, failed.message()),
        (
            500,
            format!(
                "Internal error occurred: failed calling webhook \"needed.example.com\": failed to call webhook: Post \
                 \"https://{nobody}/x?timeout=5s\": dial tcp {nobody}: connect: connection refused"
            )
        )
    );
    hooks
        .configure(&api, VALIDATING, "needed", |hook| {
            hook["clientConfig"] = json!({"service": {"name": "hook", "namespace": "default", "path": "/x"}});
        })
        .await;
    let failed = api.call(Method::POST, MAPS, config_map("n", "1")).await;
    assert!(
        failed.message().ends_with("failed to call webhook: service \"hook\" not found"),
        "{}",
        failed.message()
    );
    hooks
        .configure(&api, VALIDATING, "needed", |hook| {
            hook["clientConfig"]["caBundle"] =
                json!(STANDARD.encode(Authority::generate().unwrap().pair().certificates.clone()));
        })
        .await;
    let failed = api.call(Method::POST, MAPS, config_map("n", "1")).await;
    assert!(failed.message().contains("tls: failed to verify certificate: x509"), "{}", failed.message());
    hooks.configure(&api, VALIDATING, "needed", |hook| hook["sideEffects"] = json!("Unknown")).await;
    let dry = api.call(Method::POST, &format!("{MAPS}?dryRun=All"), config_map("n", "1")).await;
    assert_eq!(
        (dry.code, dry.message().as_str()),
        (400, "admission webhook \"needed.example.com\" does not support dry run")
    );
    api.make(MAPS, config_map("n", "1")).await;
}

#[tokio::test]
async fn what_a_webhook_notes_is_in_the_audit_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let api = Api::audited(&path).await;
    let hooks = Hooks::serve(|_, asked| {
        let allowed = asked["name"] != "bad";
        json!({"allowed": allowed, "auditAnnotations": {"checked": if allowed { "yes" } else { "no" }}})
    })
    .await;
    hooks.configure(&api, VALIDATING, "notes", |_| {}).await;
    for (name, code, checked) in [("good", 201, "yes"), ("bad", 400, "no")] {
        let answer = api.call(Method::POST, MAPS, config_map(name, "1")).await;
        assert_eq!(answer.code, code, "{}", answer.message());
        let told = loop {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let is_it = |event: &Value| {
                event["objectRef"]["resource"] == "configmaps" && event["responseStatus"]["code"] == code
            };
            if let Some(event) = events.rfind(is_it) {
                break event["annotations"]["notes.example.com/checked"].clone();
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(told, checked);
    }
}

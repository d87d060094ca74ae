//! A tiny API server in memory, for tests: list, watch, get, create, update, patch, delete, and calls to the node over
//! its tunnel; no rules at all.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use edge_api::kinds;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::client::{ByteStream, Client, Connector, Credentials};

/// A body of what it says.
pub type Body = BoxBody<Bytes, Infallible>;

#[derive(Default)]
struct State {
    revision: u64,
    objects: BTreeMap<String, Value>,
    /// Revision, verb, path, object.
    log: Vec<(u64, &'static str, String, Value)>,
    requests: Vec<(Method, String)>,
    floor: u64,
}

/// The server; clones are the same one.
#[derive(Clone, Default)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    bell: Arc<watch::Sender<u64>>,
    tunnel: Arc<watch::Sender<Option<SendRequest<Body>>>>,
}

impl Fake {
    /// An empty server.
    pub fn new() -> Fake {
        Fake::default()
    }

    /// A connector to it.
    pub fn connector(&self) -> Connector {
        let fake = self.clone();
        Connector::memory(move || {
            let fake = fake.clone();
            Box::pin(async move {
                let (near, far) = tokio::io::duplex(64 << 10);
                tokio::spawn(fake.serve(far));
                Ok(Box::new(near) as ByteStream)
            })
        })
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.connector(), Credentials::Stream, "test")
    }

    /// Stores an object at its path, as if somebody had.
    pub fn put(&self, path: &str, mut object: Value) {
        let mut state = self.state.lock();
        state.revision += 1;
        let revision = state.revision;
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        let new = state.objects.insert(path.to_owned(), object.clone()).is_none();
        state.log.push((revision, if new { "ADDED" } else { "MODIFIED" }, path.to_owned(), object));
        drop(state);
        self.bell.send_replace(revision);
    }

    /// Removes an object.
    pub fn remove(&self, path: &str) {
        let mut state = self.state.lock();
        let Some(mut object) = state.objects.remove(path) else { return };
        state.revision += 1;
        let revision = state.revision;
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        state.log.push((revision, "DELETED", path.to_owned(), object));
        drop(state);
        self.bell.send_replace(revision);
    }

    /// Forgets the past: watches from before get 410.
    pub fn compact(&self) {
        let mut state = self.state.lock();
        state.revision += 1;
        state.floor = state.revision;
        state.log.clear();
        let revision = state.revision;
        drop(state);
        self.bell.send_replace(revision);
    }

    /// An object.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().objects.get(path).cloned()
    }

    /// The objects below a path.
    pub fn below(&self, path: &str) -> Vec<Value> {
        let prefix = format!("{path}/");
        self.state
            .lock()
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// How many requests of a kind there were.
    pub fn requests(&self, method: &Method, part: &str) -> usize {
        self.state
            .lock()
            .requests
            .iter()
            .filter(|(found, path)| found == method && path.contains(part))
            .count()
    }

    /// Waits until `ready` says so of an object.
    pub async fn until(&self, path: &str, ready: impl Fn(Option<&Value>) -> bool) -> Option<Value> {
        let mut bell = self.bell.subscribe();
        let waiting = async {
            loop {
                bell.borrow_and_update();
                let found = self.get(path);
                if ready(found.as_ref()) {
                    return found;
                }
                bell.changed().await.expect("the server lives");
            }
        };
        match tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await {
            Ok(found) => found,
            Err(_) => panic!("{path} did not become what was awaited; it is {:#?}", self.get(path)),
        }
    }

    /// Waits until one of the objects below a path is so.
    pub async fn until_any(&self, path: &str, ready: impl Fn(&Value) -> bool) -> Value {
        let mut bell = self.bell.subscribe();
        let waiting = async {
            loop {
                bell.borrow_and_update();
                if let Some(found) = self.below(path).into_iter().find(&ready) {
                    return found;
                }
                bell.changed().await.expect("the server lives");
            }
        };
        match tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await {
            Ok(found) => found,
            Err(_) => panic!("nothing below {path} became what was awaited; it is {:#?}", self.below(path)),
        }
    }

    /// Calls the node over its tunnel, as soon as there is one.
    pub async fn call(&self, request: Request<Body>) -> Response<Incoming> {
        let mut tunnel = self.tunnel.subscribe();
        let open = tunnel.wait_for(Option::is_some).await.expect("the server lives");
        let mut sender = open.clone().expect("just seen");
        drop(open);
        sender.send_request(request).await.expect("the node answers")
    }

    async fn serve(self, stream: tokio::io::DuplexStream) {
        let service = service_fn(move |request| {
            let fake = self.clone();
            async move { Ok::<_, Infallible>(fake.answer(request).await) }
        });
        let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .await;
    }

    /// Becomes a client on the stream that a node offers.
    fn tunnel(self, request: Request<Incoming>) -> Response<Body> {
        tokio::spawn(async move {
            let Ok(stream) = hyper::upgrade::on(request).await else { return };
            let Ok((sender, connection)) = http2::handshake(TokioExecutor::new(), stream).await else {
                return;
            };
            self.tunnel.send_replace(Some(sender));
            let _ = connection.await;
        });
        let mut response = Response::new(BodyExt::boxed(Full::default()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(http::header::CONNECTION, http::HeaderValue::from_static("Upgrade"));
        headers.insert(http::header::UPGRADE, http::HeaderValue::from_static(super::tunnel::PROTOCOL));
        response
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        if path.ends_with("/tunnel") {
            return self.tunnel(request);
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        self.state.lock().requests.push((method.clone(), format!("{path}?{query}")));
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        match method {
            Method::GET if query.contains("watch=1") => self.watch(&path, &query),
            Method::GET => match self.get(&path) {
                Some(object) => reply(StatusCode::OK, &object),
                None if is_collection(&path) => self.list(&path, &query),
                None => missing(&path),
            },
            Method::POST if path.ends_with("/token") => reply(
                StatusCode::CREATED,
                &json!({"status": {"token": "t0ken", "expirationTimestamp": "2099-01-01T00:00:00Z"}}),
            ),
            Method::POST if path.ends_with("/wanted") => reply(StatusCode::OK, &json!({})),
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap_or_default());
                if self.get(&path).is_some() {
                    return status(StatusCode::CONFLICT, "AlreadyExists");
                }
                let mut object = body;
                object["metadata"]["uid"] = format!("uid-{path}").into();
                self.store(&path, object)
            }
            Method::PUT => self.store(&path, body),
            Method::PATCH => {
                let (path, part) = match path.strip_suffix("/status") {
                    Some(path) => (path.to_owned(), true),
                    None => (path, false),
                };
                let Some(mut object) = self.get(&path) else { return missing(&path) };
                let uid = body["metadata"]["uid"].as_str();
                if uid.is_some_and(|uid| object["metadata"]["uid"] != uid) {
                    return status(StatusCode::CONFLICT, "Conflict");
                }
                let patch = if part { json!({"status": body["status"]}) } else { body };
                let kinds = [("/pods/", &kinds::pod::KIND), ("/nodes/", &kinds::node::KIND)];
                let kind = kinds.iter().find(|(part, _)| path.contains(part));
                // By the rules of a merge patch if the kind is another one.
                let schema = kind.map_or("", |(_, kind)| kind.schema);
                match edge_api::patch::strategic(&mut object, &patch, schema) {
                    Ok(()) => self.store(&path, object),
                    Err(error) => {
                        let body = json!({"kind": "Status", "code": 422, "message": error.to_string()});
                        reply(StatusCode::UNPROCESSABLE_ENTITY, &body)
                    }
                }
            }
            Method::DELETE => {
                self.remove(&path);
                reply(StatusCode::OK, &json!({"kind": "Status", "status": "Success"}))
            }
            _ => status(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    fn store(&self, path: &str, object: Value) -> Response<Body> {
        self.put(path, object);
        reply(StatusCode::OK, &self.get(path).unwrap_or_default())
    }

    fn list(&self, path: &str, query: &str) -> Response<Body> {
        let state = self.state.lock();
        let mut items = Vec::new();
        for (key, object) in &state.objects {
            if matches(key, object, path, query) {
                let mut object = object.clone();
                // As a real server does.
                object.as_object_mut().expect("an object").remove("kind");
                items.push(object);
            }
        }
        let list = json!({"kind": "ThingList", "apiVersion": "v1", "metadata": {"resourceVersion": state.revision.to_string()}, "items": items});
        reply(StatusCode::OK, &list)
    }

    fn watch(self, path: &str, query: &str) -> Response<Body> {
        let from = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="))
            .and_then(|from| from.parse().ok());
        let position: u64 = from.unwrap_or(0);
        if position < self.state.lock().floor {
            return status(StatusCode::GONE, "Expired");
        }
        let bell = self.bell.subscribe();
        let (path, query) = (path.to_owned(), query.to_owned());
        let lines = futures::stream::unfold(
            (self, bell, position, false),
            move |(fake, mut bell, position, over)| {
                let (path, query) = (path.clone(), query.clone());
                async move {
                    if over {
                        return None;
                    }
                    loop {
                        bell.borrow_and_update();
                        let (lines, head, gone) = fake.after(position, &path, &query);
                        if !lines.is_empty() || gone {
                            let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(lines)));
                            return Some((frame, (fake, bell, head, gone)));
                        }
                        bell.changed().await.ok()?;
                    }
                }
            },
        );
        Response::new(BodyExt::boxed(StreamBody::new(lines)))
    }

    fn after(&self, position: u64, path: &str, query: &str) -> (String, u64, bool) {
        let state = self.state.lock();
        if position < state.floor {
            let object = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"});
            return (format!("{}\n", json!({"type": "ERROR", "object": object})), position, true);
        }
        let news = state
            .log
            .iter()
            .filter(|(revision, _, key, object)| *revision > position && matches(key, object, path, query));
        let lines: String = news
            .map(|(_, verb, _, object)| format!("{}\n", json!({"type": verb, "object": object})))
            .collect();
        (lines, state.revision, false)
    }
}

fn is_collection(path: &str) -> bool {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let rest = if parts[0] == "api" { &parts[2..] } else { &parts[3..] };
    matches!(rest, [_] | ["namespaces", _, _])
}

/// Whether an object belongs to a collection, over all namespaces or in one.
fn matches(key: &str, object: &Value, path: &str, query: &str) -> bool {
    let (root, plural) = path.rsplit_once('/').expect("a path");
    let in_one = key.strip_prefix(&format!("{path}/")).is_some_and(|rest| !rest.contains('/'));
    let over_all = key.strip_prefix(&format!("{root}/namespaces/")).is_some_and(|rest| {
        let parts: Vec<&str> = rest.split('/').collect();
        matches!(parts.as_slice(), [_, found, _] if *found == plural)
    });
    let selected = match query.split('&').find_map(|pair| pair.strip_prefix("fieldSelector=")) {
        Some(selector) => match selector.split_once("%3D") {
            Some(("spec.nodeName", node)) => object["spec"]["nodeName"] == node,
            Some(("metadata.name", name)) => object["metadata"]["name"] == name,
            _ => false,
        },
        None => true,
    };
    (in_one || over_all) && selected
}

fn reply(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(BodyExt::boxed(Full::new(Bytes::from(body.to_string()))));
    *response.status_mut() = status;
    response
}

fn missing(path: &str) -> Response<Body> {
    reply(
        StatusCode::NOT_FOUND,
        &json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": format!("{path} not found")}),
    )
}

fn status(code: StatusCode, reason: &str) -> Response<Body> {
    reply(code, &json!({"kind": "Status", "code": code.as_u16(), "reason": reason, "message": reason}))
}

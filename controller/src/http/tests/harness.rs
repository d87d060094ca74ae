//! A server, and callers of it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use edge_api::time::Timestamp;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::ApiServer;
use crate::identity::{Config, Pki, User};
use crate::registry::{self, Registry};
use crate::store::Store;

pub const NOW: i64 = 1_800_000_000;

pub struct Api {
    pub server: Arc<ApiServer>,
    pub directory: TempDir,
}

pub struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {:?}", self.bytes))
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }

    /// The object of an answer that must have this code.
    pub fn expect(&self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", String::from_utf8_lossy(&self.bytes));
        if self.bytes.is_empty() { Value::Null } else { self.json() }
    }
}

impl Api {
    /// A server with the namespaces and accounts of a fresh cluster.
    pub async fn new() -> Api {
        Api::built(Store::in_memory(), |server| server).await
    }

    /// The same over a store.
    pub async fn over(store: Store) -> Api {
        Api::built(store, |server| server).await
    }

    /// The same with an audit log.
    pub async fn audited(path: &std::path::Path) -> Api {
        let audit = crate::http::Audit::open(path).unwrap();
        Api::built(Store::in_memory(), |server| server.with_audit(audit)).await
    }

    async fn built(store: Store, finish: impl FnOnce(ApiServer) -> ApiServer) -> Api {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: directory.path().to_owned(),
            names: vec![],
            addresses: vec![],
            cluster_domain: "cluster.local".into(),
            service_address: [10, 43, 0, 1].into(),
        };
        let pki = Arc::new(Pki::open(&config, NOW).unwrap());
        let config = registry::Config {
            service_range: ([10, 43, 0, 0].into(), 16),
            now: || Timestamp::from_seconds(NOW),
        };
        let server = ApiServer::new(Registry::new(store, pki, config)).unwrap();
        let api = Api { server: Arc::new(finish(server)), directory };
        for namespace in ["default", "kube-node-lease"] {
            api.make("/api/v1/namespaces", json!({"metadata": {"name": namespace}})).await;
        }
        let accounts = "/api/v1/namespaces/default/serviceaccounts";
        api.make(accounts, json!({"metadata": {"name": "default"}})).await;
        api
    }

    /// The same with the default roles.
    pub async fn with_roles() -> Api {
        let api = Api::new().await;
        for namespace in ["kube-system", "kube-public"] {
            api.make("/api/v1/namespaces", json!({"metadata": {"name": namespace}})).await;
        }
        crate::bootstrap::roles::settle(api.server.registry()).await;
        api
    }

    pub async fn client(&self, user: User) -> Client {
        Client::over(self.server.connect(user)).await
    }

    /// Calls as an administrator with a body of JSON; null is none.
    pub async fn call(&self, method: Method, path: &str, body: Value) -> Answer {
        self.client(User::admin("admin")).await.json(method, path, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, Value::Null).await
    }

    /// Creates an object, which must succeed.
    pub async fn make(&self, path: &str, object: Value) -> Value {
        self.call(Method::POST, path, object).await.expect(201)
    }

    pub async fn patch(&self, path: &str, media: &str, patch: Value) -> Answer {
        let client = self.client(User::admin("admin")).await;
        client.send(Method::PATCH, path, &[("content-type", media)], patch.to_string().into()).await
    }

    pub async fn merge(&self, path: &str, patch: Value) -> Answer {
        self.patch(path, "application/merge-patch+json", patch).await
    }

    /// Opens the tunnel of `node` as the node `caller`, on which `answer` answers; the code of the attempt.
    pub async fn tunnel<B>(
        &self,
        node: &str,
        caller: &str,
        answer: impl Fn(&Uri) -> Response<B> + Clone + Send + 'static,
    ) -> StatusCode
    where
        B: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        let stream = self.server.connect(User::node(caller));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let request = Request::post(format!("/edgectl.dev/v1/nodes/{node}/tunnel"))
            .header("connection", "Upgrade")
            .header("upgrade", "edgectl-tunnel")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let code = response.status();
        if code != StatusCode::SWITCHING_PROTOCOLS {
            return code;
        }
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer(request.uri());
                async move { Ok::<_, Infallible>(response) }
            });
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(upgraded, service)
                .await
        });
        while !self.server.tunnels().is_connected(node) {
            tokio::task::yield_now().await;
        }
        code
    }

    /// Serves TLS until the test ends; the answer is the address.
    pub async fn listen(&self) -> SocketAddr {
        let address = self.server.bind_tls(([127, 0, 0, 1], 0).into()).await.unwrap();
        let server = self.server.clone();
        tokio::spawn(async move { server.run().await });
        address
    }
}

/// One connection.
#[derive(Clone)]
pub struct Client(http2::SendRequest<Full<Bytes>>);

impl Client {
    pub async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Client {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Client(sender)
    }

    pub async fn json(&self, method: Method, path: &str, body: Value) -> Answer {
        let bytes = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        self.send(method, path, &[("content-type", "application/json")], bytes).await
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, Bytes::new()).await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        let (code, headers, body) = self.open(method, path, headers, body).await;
        Answer { code: code.as_u16(), headers, bytes: body.collect().await.unwrap().to_bytes() }
    }

    pub async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> (StatusCode, HeaderMap, Incoming) {
        let mut request = Request::builder().method(method).uri(format!("http://api{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut sender = self.0.clone();
        sender.ready().await.unwrap();
        let response = sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, body)
    }

    /// A watch.
    pub async fn watch(&self, path: &str) -> Lines {
        let (code, _, body) = self.open(Method::GET, path, &[], Bytes::new()).await;
        assert_eq!(code, StatusCode::OK);
        Lines::of(body)
    }
}

/// The lines of a watch.
pub struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    pub fn of(body: Incoming) -> Lines {
        Lines { body, buffer: Vec::new() }
    }

    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// The next event as `TYPE name`.
    pub async fn told(&mut self) -> String {
        let event = self.next().await.unwrap();
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
        format!("{} {name}", event["type"].as_str().unwrap())
    }
}

/// A ConfigMap with one entry.
pub fn config_map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": value}})
}

/// A Pod of one container.
pub fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "file:a.wasm"}]}})
}

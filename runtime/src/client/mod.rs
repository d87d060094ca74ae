//! A thin client of a Kubernetes API: requests, lists, watches and the node's tunnel over one kind of byte stream.
//!
//! It exists because a general client library would double the size of the node. It promises: HTTP/2 over
//! whatever [`Connector`] gives (TLS, a Unix socket, memory), a new connection when one breaks, an error that says
//! what the server said. It deliberately knows no kind, caches nothing and retries nothing: who calls knows
//! whether a request may be repeated.

pub mod backoff;
pub mod connect;
pub mod dial;
pub mod error;
#[cfg(test)]
pub mod fake;
pub mod join;
mod pool;
pub mod resource;
pub mod tls;
pub mod tunnel;
pub mod watch;

pub use connect::{ByteStream, Connector, Protocol};
pub use error::ClientError;
pub use resource::Resource;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edge_api::uri::encode_component;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::Value;

use crate::client::pool::{Pool, Reply};
use crate::client::watch::WatchStream;

/// Objects fetched per page of a list.
const PAGE: u32 = 500;
/// How long a server may take to answer with headers.
const ANSWER: Duration = Duration::from_secs(30);
/// The largest answer that is read into memory.
const LARGEST: usize = 256 << 20;

/// How a patch's body is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7386.
    Merge,
    /// Kubernetes' strategic merge: lists with merge keys are merged by them.
    Strategic,
}

impl Patch {
    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Patch::Merge => "application/merge-patch+json",
            Patch::Strategic => "application/strategic-merge-patch+json",
        })
    }
}

/// One page-free list: every object, and the revision to watch from.
#[derive(Debug)]
pub struct List {
    /// The objects, each with `apiVersion` and `kind` filled in.
    pub items: Vec<Value>,
    /// The list's resource version.
    pub revision: String,
}

/// Who the caller is towards the server. On a Unix socket and in memory the stream itself says so.
#[derive(Clone, Default)]
pub enum Credentials {
    /// The stream identifies its peer.
    #[default]
    Stream,
    /// A bearer token.
    Bearer(Arc<str>),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Credentials::Stream => "Stream",
            Credentials::Bearer(_) => "Bearer(…)",
        })
    }
}

/// A handle on an API server; clones share its connections.
#[derive(Clone)]
pub struct Client {
    pool: Arc<Pool>,
}

impl Client {
    /// A client that has not connected yet; `agent` is its User-Agent.
    pub fn new(connector: Connector, credentials: Credentials, agent: &str) -> Client {
        Client { pool: Arc::new(Pool::new(connector, credentials, agent)) }
    }

    /// The connector, for who needs a stream of its own.
    pub fn connector(&self) -> &Connector {
        self.pool.connector()
    }

    pub(crate) fn headers(&self) -> http::HeaderMap {
        self.pool.headers()
    }

    /// Reads one object (or whatever is at `path`).
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.call(Method::GET, path, None, Bytes::new()).await
    }

    /// Creates an object; answers what was stored.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value, ClientError> {
        self.call(Method::POST, path, Some(JSON), encode(object)).await
    }

    /// Replaces an object.
    pub async fn update(&self, path: &str, object: &Value) -> Result<Value, ClientError> {
        self.call(Method::PUT, path, Some(JSON), encode(object)).await
    }

    /// Patches an object or a subresource of it.
    pub async fn patch(&self, path: &str, how: Patch, patch: &Value) -> Result<Value, ClientError> {
        self.call(Method::PATCH, path, Some(how.content_type()), encode(patch)).await
    }

    /// Deletes an object with these `DeleteOptions`.
    pub async fn delete(&self, path: &str, options: &Value) -> Result<Value, ClientError> {
        self.call(Method::DELETE, path, Some(JSON), encode(options)).await
    }

    /// Lists everything that `path` and `query` (already encoded, may be empty) select, page by page.
    pub async fn list(&self, path: &str, query: &str) -> Result<List, ClientError> {
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let mut target = format!("{path}?limit={PAGE}");
            for part in [query, next.as_str()].into_iter().filter(|part| !part.is_empty()) {
                target.push('&');
                target.push_str(part);
            }
            let mut page = self.get(&target).await?;
            let kind = page["kind"]
                .as_str()
                .and_then(|kind| kind.strip_suffix("List"))
                .unwrap_or_default()
                .to_owned();
            let version = page["apiVersion"].as_str().unwrap_or_default().to_owned();
            if let Some(found) = page["items"].as_array_mut() {
                items.reserve(found.len());
                for mut item in found.drain(..) {
                    complete(&mut item, &version, &kind);
                    items.push(item);
                }
            }
            match page["metadata"]["continue"].as_str() {
                Some(token) if !token.is_empty() => next = format!("continue={}", encode_component(token)),
                _ => {
                    let revision =
                        page["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
                    return Ok(List { items, revision });
                }
            }
        }
    }

    /// Watches what `path` and `query` select, from after `revision`, with bookmarks.
    pub async fn watch(&self, path: &str, query: &str, revision: &str) -> Result<WatchStream, ClientError> {
        let mut target =
            format!("{path}?watch=1&allowWatchBookmarks=true&resourceVersion={}", encode_component(revision));
        if !query.is_empty() {
            target.push('&');
            target.push_str(query);
        }
        let reply = self.send(Method::GET, &target, None, Bytes::new()).await?;
        if !reply.status().is_success() {
            return Err(refusal(reply).await);
        }
        Ok(WatchStream::new(reply))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        content: Option<HeaderValue>,
        body: Bytes,
    ) -> Result<Value, ClientError> {
        let reply = self.send(method, path, content, body).await?;
        if !reply.status().is_success() {
            return Err(refusal(reply).await);
        }
        let bytes = collect(reply).await?;
        serde_json::from_slice(&bytes).map_err(ClientError::Decode)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content: Option<HeaderValue>,
        body: Bytes,
    ) -> Result<http::Response<Reply>, ClientError> {
        let mut request = self.pool.request(method, path)?;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, JSON);
        if let Some(content) = content {
            headers.insert(header::CONTENT_TYPE, content);
        }
        let request = request.map(|()| Full::new(body));
        tokio::time::timeout(ANSWER, self.pool.send(request))
            .await
            .map_err(|_| ClientError::Timeout(ANSWER))?
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn encode(value: &Value) -> Bytes {
    serde_json::to_vec(value).expect("a JSON value has only string keys").into()
}

/// Items of a list carry no type of their own on a Kubernetes server; here every object has one.
fn complete(item: &mut Value, version: &str, kind: &str) {
    let Some(object) = item.as_object_mut() else { return };
    if !object.contains_key("kind") && !kind.is_empty() {
        object.insert("kind".into(), kind.into());
        object.insert("apiVersion".into(), version.into());
    }
}

async fn collect(reply: http::Response<Reply>) -> Result<Bytes, ClientError> {
    let body = Limited::new(reply.into_body(), LARGEST);
    let read = tokio::time::timeout(ANSWER * 4, body.collect())
        .await
        .map_err(|_| ClientError::Timeout(ANSWER * 4))?;
    Ok(read.map_err(ClientError::Body)?.to_bytes())
}

async fn refusal(reply: http::Response<Reply>) -> ClientError {
    let code = reply.status();
    match collect(reply).await {
        Ok(bytes) => ClientError::refused(code, &bytes),
        Err(error) => error,
    }
}

/// Whether a status code says that trying again later may help.
pub fn is_transient(code: StatusCode) -> bool {
    code.is_server_error() || code == StatusCode::TOO_MANY_REQUESTS || code == StatusCode::REQUEST_TIMEOUT
}

#[cfg(test)]
mod tests;

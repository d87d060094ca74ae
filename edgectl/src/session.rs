//! One connection to one server: requests in, JSON out.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use edge_api::uri::encode_component;
use futures::{AsyncBufRead, AsyncBufReadExt as _, StreamExt as _};
use http::{Method, Request};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

use crate::cli::Connection;
use crate::discovery::{self, Catalogue, Resource};
use crate::failure::Failure;

/// How often a request is sent to a server that has too much to do.
const TRIES: u32 = 10;
/// And how long it waits at most before each.
const LATER: Duration = Duration::from_secs(30);

/// What replies a request wants.
pub const JSON: &str = "application/json";
/// Replies as the server would show them to a person.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// A client, the namespace of its requests and, once asked for, what the server knows.
pub struct Session {
    client: Client,
    /// The namespace that a request without one means.
    pub namespace: String,
    catalogue: tokio::sync::OnceCell<Catalogue>,
}

impl Session {
    /// Reads the kubeconfig and makes a client. Nothing is sent yet.
    pub async fn open(connection: &Connection) -> Result<Session, Failure> {
        let kubeconfig = kubeconfig(connection)?;
        let options =
            KubeConfigOptions { context: connection.context.clone(), ..KubeConfigOptions::default() };
        let mut config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| {
                Failure::Other(anyhow::Error::new(error).context("error: the kubeconfig cannot be used"))
            })?;
        // A watch or a followed log may be silent for hours.
        config.read_timeout = None;
        config.connect_timeout = Some(Duration::from_secs(10));
        // It would try for minutes what cannot be had now, such as the log of a node that is away.
        config.default_retry = false;
        if let Some(user) = &connection.as_user {
            config.auth_info.impersonate = Some(user.clone());
        }
        if !connection.as_groups.is_empty() {
            config.auth_info.impersonate_groups = Some(connection.as_groups.clone());
        }
        let namespace = connection.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        Ok(Session { client: Client::try_from(config)?, namespace, catalogue: tokio::sync::OnceCell::new() })
    }

    /// What the server knows, asked for once.
    pub async fn catalogue(&self) -> Result<&Catalogue, Failure> {
        let read = || async {
            let mut answers = Vec::new();
            for path in discovery::PATHS {
                answers.push(self.get(path, discovery::ACCEPT).await?);
            }
            Catalogue::of(&answers)
        };
        self.catalogue.get_or_try_init(read).await
    }

    /// The resource that `word` names.
    pub async fn resource(&self, word: &str) -> Result<&Resource, Failure> {
        let found = self.catalogue().await?.find(word);
        found.ok_or_else(|| Failure::say(format!("the server doesn't have a resource type \"{word}\"")))
    }

    /// Gets `path` as JSON.
    pub async fn get(&self, path: &str, accept: &str) -> Result<Value, Failure> {
        let request = request(Method::GET, path, accept, None)?;
        patiently(request, async |request| self.client.request(request).await).await
    }

    /// Sends `body` with `method` and gives the object the server answers with.
    pub async fn send(&self, method: Method, path: &str, kind: &str, body: &Value) -> Result<Value, Failure> {
        let bytes = serde_json::to_vec(body).context("cannot write JSON")?;
        let request = request(method, path, JSON, Some((kind, bytes)))?;
        patiently(request, async |request| self.client.request(request).await).await
    }

    /// The bytes of a reply as they come: a followed log.
    pub async fn stream(&self, path: &str) -> Result<impl AsyncBufRead + Unpin + use<>, Failure> {
        self.opened(path, "*/*").await
    }

    async fn opened(&self, path: &str, accept: &str) -> Result<impl AsyncBufRead + Unpin + use<>, Failure> {
        let request = request(Method::GET, path, accept, None)?;
        let stream = patiently(request, async |request| self.client.request_stream(request).await).await?;
        Ok(Box::pin(stream))
    }

    /// The events of a watch, one JSON document a line, until the server ends it or `each` says so.
    pub async fn watch(
        &self,
        path: &str,
        accept: &str,
        mut each: impl FnMut(Value) -> Result<Flow, Failure>,
    ) -> Result<Flow, Failure> {
        let mut lines = self.opened(path, accept).await?.lines();
        while let Some(line) = lines.next().await {
            let event: Value = serde_json::from_str(&line?)
                .context("error: the server sent a watch event that is no JSON")?;
            if event["type"] == "ERROR" {
                let message = event["object"]["message"].as_str().unwrap_or("the watch failed");
                return Err(Failure::say(message));
            }
            if each(event)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Continue)
    }
}

/// Sends a request, again when the server has too much to do and says when to come back.
async fn patiently<T>(
    request: Request<Vec<u8>>,
    send: impl AsyncFn(Request<Vec<u8>>) -> kube::Result<T>,
) -> Result<T, Failure> {
    let mut tries = 0;
    loop {
        let error = match send(request.clone()).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        tries += 1;
        match later(&error).filter(|_| tries < TRIES) {
            Some(later) => tokio::time::sleep(later).await,
            None => return Err(error.into()),
        }
    }
}

/// When to come back, if that is what the answer is.
fn later(error: &kube::Error) -> Option<Duration> {
    let kube::Error::Api(status) = error else { return None };
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (status.code == 429 && seconds > 0).then(|| Duration::from_secs(seconds.into()).min(LATER))
}

/// Whether a watch goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Continue,
    /// It has shown what was wanted.
    Stop,
}

/// A query string of the pairs that have a value, with its `?`, percent-encoded.
pub fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if let Some(value) = value {
            text.push(if text.is_empty() { '?' } else { '&' });
            text.push_str(name);
            text.push('=');
            text.push_str(&encode_component(value));
        }
    }
    text
}

fn request(
    method: Method,
    path: &str,
    accept: &str,
    body: Option<(&str, Vec<u8>)>,
) -> Result<Request<Vec<u8>>, Failure> {
    let mut builder = Request::builder().method(method).uri(path).header("accept", accept);
    if let Some((kind, _)) = &body {
        builder = builder.header("content-type", *kind);
    }
    let request = builder.body(body.map(|(_, bytes)| bytes).unwrap_or_default());
    Ok(request.with_context(|| format!("error: {path:?} is no path"))?)
}

/// `--kubeconfig`, `$KUBECONFIG`, `~/.kube/config`, then what a local edged has written.
fn kubeconfig(connection: &Connection) -> Result<Kubeconfig, Failure> {
    if let Some(path) = &connection.kubeconfig {
        let read = Kubeconfig::read_from(path).map_err(anyhow::Error::new);
        return Ok(read.with_context(|| format!("error: cannot use {}", path.display()))?);
    }
    let from_env =
        Kubeconfig::from_env().map_err(anyhow::Error::new).context("error: cannot use $KUBECONFIG")?;
    if let Some(kubeconfig) = from_env {
        return Ok(kubeconfig);
    }
    let places = default_places();
    for path in &places {
        if path.is_file() {
            let read = Kubeconfig::read_from(path).map_err(anyhow::Error::new);
            return Ok(read.with_context(|| format!("error: cannot use {}", path.display()))?);
        }
    }
    let places: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
    Err(Failure::say(format!(
        "no kubeconfig: set --kubeconfig or $KUBECONFIG (looked for {})",
        places.join(", ")
    )))
}

fn default_places() -> Vec<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from);
    let mut places = Vec::new();
    places.extend(folder("HOME").map(|home| home.join(".kube/config")));
    places.extend(folder("XDG_STATE_HOME").map(|state| state.join("edged/kubeconfig")));
    places.extend(folder("HOME").map(|home| home.join(".local/state/edged/kubeconfig")));
    places.push(PathBuf::from("/var/lib/edged/kubeconfig"));
    places
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use crate::session::{later, query};

    #[test]
    fn only_a_server_with_too_much_to_do_is_asked_again() {
        let answer = |code: u16, after: u32| {
            let status = json!({"code": code, "details": {"retryAfterSeconds": after}});
            later(&kube::Error::Api(serde_json::from_value(status).expect("a Status")))
        };
        assert_eq!(answer(429, 2), Some(Duration::from_secs(2)));
        assert_eq!(answer(429, 0), None, "an eviction that a budget forbids");
        assert_eq!(answer(503, 2), None, "a node that is away");
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(
            query(&[("a", None), ("b", Some("x=1,y in (2)")), ("c", Some("d"))]),
            "?b=x%3D1%2Cy%20in%20%282%29&c=d"
        );
        assert_eq!(query(&[("a", None)]), "");
    }
}

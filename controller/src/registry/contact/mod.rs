//! Somebody outside whom an object names by a `clientConfig`, at a URL or behind a Service: an admission or conversion
//! webhook, or another API server.
//!
//! Finds the way and posts a question; what question and answer mean is the caller's business.

mod service;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_api::meta::{number, text};
use serde_json::Value;

pub(crate) use service::destination;

use crate::outward::{self, Destination, Trust};
use crate::registry::Registry;

/// Somebody to ask.
#[derive(Clone, Debug)]
pub(crate) struct Contact {
    place: Place,
    /// Whom to believe, PEM; empty is whom the host believes.
    authority: Vec<u8>,
    /// How long he has.
    patience: Duration,
}

/// Where somebody is.
#[derive(Clone, Debug)]
enum Place {
    /// At a URL.
    Url(String),
    /// Behind a Service.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The path to ask.
        path: String,
        /// The port of the Service.
        port: i64,
    },
}

impl Contact {
    /// Whom a `clientConfig` names.
    pub(crate) fn of(client: &Value, patience: Duration) -> Contact {
        let service = &client["service"];
        let place = if service.is_null() {
            Place::Url(text(client, &["url"]).to_owned())
        } else {
            let path = text(service, &["path"]);
            Place::Service {
                namespace: text(service, &["namespace"]).to_owned(),
                name: text(service, &["name"]).to_owned(),
                path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
                port: number(service, &["port"]).unwrap_or(443),
            }
        };
        let authority = STANDARD.decode(text(client, &["caBundle"])).unwrap_or_default();
        Contact { place, authority, patience }
    }

    /// Posts a question and waits for the answer. The error says in Kubernetes' words why there is none.
    pub(crate) async fn post(&self, registry: &Registry, question: &Value) -> Result<Value, String> {
        let mut to = match &self.place {
            Place::Url(url) => Destination::of_url(url).map_err(|error| error.to_string())?,
            Place::Service { namespace, name, path, port } => {
                destination(registry, (namespace, name), *port, path.clone())?
            }
        };
        to.path.push_str(if to.path.contains('?') { "&" } else { "?" });
        to.path.push_str(&format!("timeout={}s", self.patience.as_secs()));
        let place = format!("https://{}:{}{}", to.host, to.port, to.path);
        let failed = |why: &dyn std::fmt::Display| format!("Post {place:?}: {why}");
        let bytes = serde_json::to_vec(question).map_err(|error| failed(&error))?;
        let trust = if self.authority.is_empty() { Trust::HOST } else { Trust::authority(&self.authority) };
        let answer = outward::post(&to, trust, bytes.into(), self.patience).await;
        let answer = answer.map_err(|error| failed(&error))?;
        if !answer.code.is_success() {
            let text = String::from_utf8_lossy(&answer.body).chars().take(256).collect::<String>();
            let text = if text.trim().is_empty() { "unknown".to_owned() } else { text.trim().to_owned() };
            return Err(match answer.code.as_u16() {
                404 => "the server could not find the requested resource".to_owned(),
                _ => format!("an error on the server ({text:?}) has prevented the request from succeeding"),
            });
        }
        serde_json::from_slice(&answer.body).map_err(|error| error.to_string())
    }
}

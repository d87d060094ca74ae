//! Getting from a configuration to a client.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::client::backoff::Backoff;
use crate::client::join::{AgentToken, JoinError, join};
use crate::client::tls::{Tls, Trust};
use crate::client::{Client, Connector, Credentials};
use crate::node::Server;

/// How the node calls itself.
const AGENT: &str = concat!("edged/", env!("CARGO_PKG_VERSION"));

/// What a joined node keeps.
#[derive(Serialize, Deserialize)]
struct Kept {
    url: String,
    name: String,
    ca: String,
    token: String,
}

/// A client for the server, joining it if that has not been done. A node that has joined starts without it.
pub async fn client(server: &Server, name: &str, data_dir: &Path) -> Result<Client, JoinError> {
    match server {
        Server::Local(connector) => Ok(Client::new(connector.clone(), Credentials::Stream, AGENT)),
        Server::Kubernetes { url, ca, token } => {
            let tls = Tls::new(url, &Trust::Pem(ca.clone()))?;
            Ok(Client::new(Connector::Tls(tls), Credentials::Bearer(token.as_str().into()), AGENT))
        }
        Server::Join { url, token } => {
            let path = data_dir.join("joined.json");
            let token = AgentToken::parse(token)?;
            let kept = match read(&path).filter(|kept| kept.url == *url && kept.name == name) {
                Some(kept) => kept,
                None => patiently(url, &token, name, &path).await?,
            };
            let tls = Tls::new(url, &Trust::Pem(kept.ca.into_bytes()))?;
            Ok(Client::new(Connector::Tls(tls), Credentials::Bearer(kept.token.as_str().into()), AGENT))
        }
    }
}

/// A server may start after its nodes; one that refuses will not change its mind.
async fn patiently(url: &str, token: &AgentToken, name: &str, path: &Path) -> Result<Kept, JoinError> {
    let mut backoff = Backoff::new(std::time::Duration::from_millis(200), std::time::Duration::from_secs(5));
    loop {
        match join(url, token, name).await {
            Ok(joined) => {
                let kept =
                    Kept { url: url.to_owned(), name: name.to_owned(), ca: joined.ca, token: joined.token };
                if let Err(error) = write(path, &kept) {
                    tracing::warn!(path = %path.display(), %error, "the node's token cannot be kept");
                }
                return Ok(kept);
            }
            Err(JoinError::Refused(error)) if error.is_transient() => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::info!(url, %error, cause, "the server cannot be joined yet");
                backoff.wait().await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn read(path: &Path) -> Option<Kept> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn write(path: &Path, kept: &Kept) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut file = fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(&serde_json::to_vec(kept)?)?;
    fs::rename(part, path)
}

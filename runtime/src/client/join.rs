//! Becoming a node of a server: the agent token is exchanged for the node's own.

use std::sync::Arc;

use serde_json::json;

use crate::client::tls::{Tls, TlsError, Trust};
use crate::client::{Client, ClientError, Connector, Credentials};

/// The path that exchanges an agent token for a node's token.
pub const PATH: &str = "/edgectl.dev/v1/join";

/// `<SHA-256 of the server's CA>.<secret>`.
#[derive(Clone)]
pub struct AgentToken {
    digest: [u8; 32],
    whole: Arc<str>,
}

impl std::fmt::Debug for AgentToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AgentToken(…)")
    }
}

/// What a node is after joining.
#[derive(Debug)]
pub struct Joined {
    /// The node's own bearer token.
    pub credentials: Credentials,
    /// The token itself, for the node's data directory.
    pub token: String,
    /// The server's CA, PEM.
    pub ca: String,
}

/// Joining failed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Not a token.
    #[error("the agent token is not of the form <64 hexadecimal digits>.<secret>")]
    Token,
    /// The server's URL or TLS.
    #[error("the server cannot be used")]
    Tls(#[from] TlsError),
    /// The server refused or could not be reached.
    #[error("the server did not accept this node")]
    Refused(#[source] ClientError),
    /// The answer lacks something.
    #[error("the server's answer lacks {0:?}")]
    Answer(&'static str),
}

impl AgentToken {
    /// Reads a token as the server writes it.
    pub fn parse(text: &str) -> Result<AgentToken, JoinError> {
        let text = text.trim();
        let (digest, secret) = text.split_once('.').ok_or(JoinError::Token)?;
        let digest = unhex(digest).ok_or(JoinError::Token)?;
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(JoinError::Token);
        }
        Ok(AgentToken { digest, whole: text.into() })
    }
}

/// Joins the server at `url` as node `name`.
pub async fn join(url: &str, token: &AgentToken, name: &str) -> Result<Joined, JoinError> {
    let tls = Tls::new(url, &Trust::Digest(token.digest))?;
    let client = Client::new(Connector::Tls(tls), Credentials::Bearer(token.whole.clone()), "edged");
    let answer = client.create(PATH, &json!({"nodeName": name})).await.map_err(JoinError::Refused)?;
    let text =
        |field: &'static str| answer[field].as_str().map(str::to_owned).ok_or(JoinError::Answer(field));
    let (token, ca) = (text("token")?, text("ca")?);
    Ok(Joined { credentials: Credentials::Bearer(token.as_str().into()), token, ca })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut out = [0; 32];
    for (index, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let digest = "ab".repeat(32);
        assert!(AgentToken::parse(&format!("{digest}.secret\n")).is_ok());
        for bad in ["", "x.y", &digest, &format!("{digest}."), &format!("{}.s", "zz".repeat(32))] {
            assert!(AgentToken::parse(bad).is_err(), "{bad}");
        }
    }
}

//! What can go wrong between the node and its API server.

use std::io;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection could be made.
    #[error("cannot reach the API server")]
    Connect(#[source] io::Error),
    /// The connection broke while the request was under way; whether it took effect is unknown.
    #[error("the connection to the API server broke")]
    Http(#[source] hyper::Error),
    /// The answer's body could not be read.
    #[error("the API server's answer ended early")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not JSON.
    #[error("the API server's answer is not JSON")]
    Decode(#[source] serde_json::Error),
    /// The server took too long.
    #[error("the API server did not answer within {0:?}")]
    Timeout(Duration),
    /// The request cannot be written down.
    #[error("not a valid request target")]
    Target(#[source] http::Error),
    /// The server refused; `reason` and `message` are its own.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        code: StatusCode,
        /// Kubernetes' machine-readable reason, may be empty.
        reason: String,
        /// The server's words.
        message: String,
    },
}

impl ClientError {
    /// Reads a `Status` body, or makes do with what there is.
    pub(crate) fn refused(code: StatusCode, body: &[u8]) -> ClientError {
        let status: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        ClientError::of_status(code, &status, body)
    }

    /// The error a `Status` object describes; `body` is what to show if it describes none.
    pub(crate) fn of_status(code: StatusCode, status: &Value, body: &[u8]) -> ClientError {
        let code = status["code"]
            .as_u64()
            .and_then(|code| StatusCode::from_u16(code.try_into().ok()?).ok())
            .unwrap_or(code);
        let reason = status["reason"].as_str().unwrap_or_default().to_owned();
        let message = match status["message"].as_str() {
            Some(message) => message.to_owned(),
            None if body.is_empty() => format!("the API server answered {code}"),
            None => String::from_utf8_lossy(&body[..body.len().min(300)]).trim().to_owned(),
        };
        ClientError::Refused { code, reason, message }
    }

    fn code(&self) -> Option<StatusCode> {
        match self {
            ClientError::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The object is not there.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(StatusCode::NOT_FOUND)
    }

    /// A precondition failed, or the object exists already.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(StatusCode::CONFLICT)
    }

    /// The revision asked for is gone: list again.
    pub fn is_gone(&self) -> bool {
        self.code() == Some(StatusCode::GONE)
    }

    /// The server does not know or trust the caller.
    pub fn is_unauthorized(&self) -> bool {
        self.code() == Some(StatusCode::UNAUTHORIZED)
    }

    /// Trying again may help: the server was not reached, or says so itself.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Refused { code, .. } => crate::client::is_transient(*code),
            ClientError::Target(_) | ClientError::Decode(_) => false,
            ClientError::Connect(error) => !is_distrust(error),
            _ => true,
        }
    }
}

/// Whether the server was reached and is not the one that was meant.
fn is_distrust(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}

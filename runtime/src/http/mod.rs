//! The vocabulary in which the node's parts hand HTTP to each other.
//!
//! The proxy, the Pod network and the sandbox all pass requests around in one process. They
//! agree here on one body type and one handler trait, so that a request from the proxy to a
//! `wasi:http` instance is a call. This module opens no socket and knows no Kubernetes.

mod body;
mod in_flight;

pub use body::{Body, BodyError};
pub use in_flight::{Gauge, InFlight};

use futures::future::BoxFuture;
use std::sync::Arc;

/// A request with the node's body type.
pub type Request = http::Request<Body>;

/// A response with the node's body type.
pub type Response = http::Response<Body>;

/// A handler many parties may hold.
pub type SharedHandler = Arc<dyn Handler>;

/// Something that answers HTTP requests inside this process: a `wasi:http` container.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. The URI may be absolute or in origin form; `Host` is set either way
    /// by whoever calls. Dropping the future abandons the request.
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, HandlerError>>;
}

/// Why a handler gave no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandlerError {
    /// The handler takes no request now (it starts, stops or is at its limit). The request was
    /// not executed and comes back, so that it may be sent elsewhere.
    #[error("handler takes no requests: {reason}")]
    Refused {
        /// Why, for logs.
        reason: &'static str,
        /// The request as it was given, untouched.
        request: Box<Request>,
    },
    /// The request ran longer than allowed.
    #[error("handler timed out")]
    Timeout,
    /// The guest trapped, exited or returned an error.
    #[error("handler failed: {0}")]
    Failed(String),
}

impl HandlerError {
    /// A refusal that returns the request to the caller.
    pub fn refused(reason: &'static str, request: Request) -> Self {
        HandlerError::Refused { reason, request: Box::new(request) }
    }
}

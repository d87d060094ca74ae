//! The API over HTTP: TLS, a Unix socket, and streams in memory.
//!
//! Promises that every answer is what a Kubernetes client expects: paths, verbs, content types, `Status` errors (made
//! only here), streams. Decides nothing about objects: that is [`crate::registry`]. A concern is a file.

mod body;
mod status;

mod form;
mod query;
mod route;

mod audit;
mod fairness;
mod head;
mod impersonate;

mod content;
mod reply;
mod stream;

mod custom_metrics;
mod discovery;
mod health;
mod issuer;
mod metrics;
mod openapi;
mod reconcilers;
mod zpages;

mod join;
mod logs;
mod wanted;

mod handshake;
mod spdy;
mod websocket;

mod duplex;
mod spdy_channels;

mod exec;
mod port_forward;

mod aggregate;
mod figures;
mod node_proxy;

mod objects;
mod pod_proxy;

mod seldom;
mod wire;

mod connection;
mod server;

#[cfg(test)]
mod tests;

pub use audit::Audit;
pub use health::Checks;
pub use metrics::Metrics;
pub use reconcilers::Reconcilers;
pub use server::{ApiServer, Connector, ListenError};
pub use zpages::Zpages;

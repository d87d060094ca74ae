//! The node's door: Ingress, NodePorts and hostPorts.
//!
//! A listener accepts, the [`crate::table`] says where it leads, the Pod network carries it
//! there; a local `wasi:http` instance is a call. A request that nobody took is offered to the
//! next endpoint, one that was sent is never sent again. One for a Service that is
//! scaled to zero waits there, unread. This module knows no names and no API.

mod config;
mod forward;
mod http;
mod ingress;
mod ports;
mod server;
mod splice;
mod tls;
mod udp;

pub use config::{Config, Limits};
pub use server::{BindError, Proxy};

#[cfg(test)]
mod tests;

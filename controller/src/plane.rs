//! The control plane as one value: what it is made of, in which order it starts and how it ends.
//!
//! [`ControlPlane::build`] opens the store, loads or makes the keys and binds every listener, so that whatever can be
//! wrong with a configuration is wrong before anything runs. [`ControlPlane::run`] serves until told to stop;
//! dropping the value ends every task it owns. It reads no environment and parses no flags.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use edge_api::kinds;
use edge_api::time::Timestamp;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::bootstrap;
use crate::controllers::{Controllers, Outside};
use crate::http::{ApiServer, Audit, ListenError};
use crate::identity::{IdentityError, Pki, User};
use crate::keeper;
use crate::mirror::{Packing, ROOT_CA, Settings};
use crate::reconcile::Status;
use crate::registry::{ApiError, Registry, Target};
use crate::requests::Requests;
use crate::schedule::{self, NoSuchPod};
use crate::store::{Key, OpenError, ReadError, Store, StoreTask};

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
    /// Where the audit log is written, if it is kept.
    pub audit_log: Option<PathBuf>,
    /// Which nodes the scheduler fills first.
    pub packing: Packing,
    /// Called first on each of the few threads that make what is kept, the store's and the controllers': they may take
    /// their memory from elsewhere than the threads of requests do, so that what a request needs for a moment lies
    /// close together, however much is kept. For that, what passes between the two goes back when it has been read: a
    /// thread that drops what another one made gets that place for what it makes next.
    pub keeper: fn(),
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
            audit_log: None,
            packing: Packing::default(),
            keeper: || {},
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
    #[error("{} cannot be used", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A range of addresses is none.
    #[error("{text:?} is no range of IPv4 addresses such as 10.43.0.0/16")]
    Range {
        /// As configured.
        text: String,
    },
    /// The store could not be opened.
    #[error("the store cannot be opened")]
    Store(#[source] OpenError),
    /// The keys could not be read or made.
    #[error("the cluster's keys cannot be used")]
    Identity(#[source] IdentityError),
    /// A listener could not be bound.
    #[error("the API cannot be served")]
    Listen(#[source] ListenError),
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
    node_name: String,
    settings: Settings,
    keeper: fn(),
    // Dropped in this order: whoever writes goes before what is written to.
    controllers: Option<Controllers>,
    server: ApiServer,
    registry: Registry,
    store: StoreTask,
}

/// The present, as the whole control plane sees it.
fn now() -> Timestamp {
    SystemTime::now().into()
}

impl ControlPlane {
    /// Opens the store, loads or makes the keys, binds the listeners, writes kubeconfig and agent token.
    pub async fn build(config: Config) -> Result<ControlPlane, BuildError> {
        make_private_dir(&config.data_dir)?;
        let service_range = parse_range(&config.service_range)?;
        parse_range(&config.pod_range)?;
        let service_address = Ipv4Addr::from(u32::from(service_range.0) + 1);
        let (store, task) = open_store(config.data_dir.join("store"), config.keeper).await?;
        let pki = open_pki(&config, service_address)?;
        let settings = Settings {
            pod_range: config.pod_range.clone(),
            authority: pki.authority_pem().to_owned(),
            front_proxy_authority: pki.front_proxy_authority_pem().to_owned(),
            service_address: service_address.to_string(),
            packing: config.packing,
            ..Settings::default()
        };
        let registry = Registry::new(store, Arc::new(pki), crate::registry::Config { service_range, now });
        let mut server = ApiServer::new(registry.clone()).map_err(BuildError::Listen)?;
        if let Some(path) = &config.audit_log {
            let opened = Audit::open(path);
            server =
                server.with_audit(opened.map_err(|source| BuildError::File { path: path.clone(), source })?);
        }
        let api = server.bind_tls(config.api_address).await.map_err(BuildError::Listen)?;
        if let Some(path) = &config.unix_socket {
            bind_unix(&server, path, &config.node_name)?;
        }
        let url = format!("https://{}", reachable(api));
        registry.pki().write_kubeconfig(&config.kubeconfig, &url).map_err(BuildError::Identity)?;
        server.zpages().show(flags(&config, api));
        let begun = registry.store().clone();
        server.checks().ready_when("bootstrap", move || has_begun(&begun));
        let bound = Bound {
            api,
            unix_socket: config.unix_socket,
            kubeconfig: config.kubeconfig,
            agent_token: config.data_dir.join("agent-token"),
        };
        let settings = Settings { api_address: Some(api), ..settings };
        Ok(ControlPlane {
            bound,
            node_name: config.node_name,
            settings,
            keeper: config.keeper,
            controllers: None,
            server,
            registry,
            store: task,
        })
    }

    /// Where it is to be found.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// The objects of the cluster.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What the controllers are doing, as data; nothing before [`ControlPlane::run`].
    pub fn status(&self) -> Option<Arc<Mutex<Status>>> {
        self.controllers.as_ref().map(Controllers::status)
    }

    /// What opens in-memory connections to the API server, spoken as `caller`: HTTP/1.1 or HTTP/2, no TLS. It outlives
    /// the control plane; its streams then end at once.
    pub fn connector(
        &self,
        caller: Caller,
    ) -> impl Fn() -> tokio::io::DuplexStream + Send + Sync + use<> + 'static {
        let connector = self.server.connector(match caller {
            Caller::Node => User::node(&self.node_name),
            Caller::Administrator => User::admin("kubernetes-admin"),
        });
        move || connector.connect()
    }

    /// Waits until the API answers and the namespaces, accounts and the Service of a fresh cluster exist. Needs
    /// [`ControlPlane::run`] to be polled meanwhile.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let store = self.registry.store().clone();
        async move {
            if wait_for_beginning(&store).await.is_err() {
                // The store has failed; `run` says so.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Serves until a component stops, which is always a fault. Cancel it, then [`ControlPlane::drain`].
    pub async fn run(&mut self) -> Result<(), RunError> {
        let outside = Outside {
            usage: self.server.usage().clone(),
            custom_metrics: self.server.custom_metrics().clone(),
            wanted: self.server.wanted().clone(),
            aggregation: self.server.aggregation().clone(),
            requests: Requests::new(self.server.tunnels().clone()),
        };
        let start = || Controllers::start(&self.registry, outside, self.settings.clone(), now, self.keeper);
        let controllers = self.controllers.get_or_insert_with(start);
        let status = controllers.status();
        self.server.reconcilers().show(move || serde_json::to_value(&*status.lock()).unwrap_or_default());
        let (store, packing) = (self.registry.store().clone(), self.settings.packing);
        self.server.reconcilers().answer_why(move |namespace, pod| {
            schedule::why(&store, packing, namespace, pod).map_err(|error| match error {
                NoSuchPod::Missing => ApiError::not_found(&kinds::pod::KIND, pod),
                NoSuchPod::Store(_) => ApiError::internal(error.to_string()),
            })
        });
        let component = tokio::select! {
            () = self.server.run() => "the API server",
            () = controllers.stopped() => "a controller",
            () = self.store.stopped() => "the store",
            never = settle_roles(&self.registry) => match never {},
        };
        Err(RunError::Stopped { component })
    }

    /// Ends in two phases: takes no new connection and lets requests and plans under way finish until `deadline`;
    /// then cuts what is left and closes the store, which writes what is volatile.
    pub async fn drain(self, deadline: Duration) {
        let plans = async {
            if let Some(controllers) = self.controllers {
                controllers.drain(deadline).await;
            }
        };
        tokio::join!(plans, self.server.drain(deadline));
        drop(self.server);
        self.store.close().await;
    }
}

/// The settings in force, by the names of their flags.
fn flags(config: &Config, api: SocketAddr) -> Vec<(&'static str, String)> {
    let path = |path: &Path| path.display().to_string();
    let mut flags = vec![
        ("api-address", api.to_string()),
        ("cluster-domain", config.cluster_domain.clone()),
        ("data-dir", path(&config.data_dir)),
        ("kubeconfig", path(&config.kubeconfig)),
        ("node-name", config.node_name.clone()),
        ("pod-range", config.pod_range.clone()),
        ("service-range", config.service_range.clone()),
    ];
    flags.extend(config.audit_log.as_deref().map(|log| ("audit-log", path(log))));
    flags
}

/// Looks after the default roles, and then never ends.
async fn settle_roles(registry: &Registry) -> Infallible {
    bootstrap::roles::settle(registry).await;
    std::future::pending().await
}

/// Kinds of which some writes may be lost in a power cut; which ones, each kind says itself.
fn may_be_volatile(key: &str) -> bool {
    static PREFIXES: LazyLock<[String; 4]> = LazyLock::new(|| {
        [&kinds::event::KIND, &kinds::lease::KIND, &kinds::node::KIND, &kinds::pod::KIND]
            .map(|kind| format!("{}/", kind.key_prefix()))
    });
    PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

fn make_private_dir(path: &Path) -> Result<(), BuildError> {
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| BuildError::File { path: path.to_owned(), source })
}

/// Reads all objects, on a thread that may block, and that ends with it: its memory is that of what is kept.
async fn open_store(directory: PathBuf, keeper: fn()) -> Result<(Store, StoreTask), BuildError> {
    let config = crate::store::Config { keeper, ..crate::store::Config::new(directory, may_be_volatile) };
    let (answer, opened) = oneshot::channel();
    let open = move || {
        // Nobody waits any more if the start was broken off.
        let _ = answer.send(Store::open(config));
    };
    keeper::start("opening", keeper, open);
    opened.await.expect("opening a store answers and does not panic").map_err(BuildError::Store)
}

fn open_pki(config: &Config, service_address: Ipv4Addr) -> Result<Pki, BuildError> {
    let ip = config.api_address.ip();
    let own = !ip.is_loopback() && !ip.is_unspecified();
    let identity = crate::identity::Config {
        data_dir: config.data_dir.clone(),
        names: vec![config.node_name.clone()],
        addresses: own.then_some(ip).into_iter().collect(),
        cluster_domain: config.cluster_domain.clone(),
        service_address: IpAddr::V4(service_address),
    };
    Pki::open(&identity, now().as_seconds()).map_err(BuildError::Identity)
}

/// The socket belongs to whom its directory belongs to.
fn bind_unix(server: &ApiServer, path: &Path, node: &str) -> Result<(), BuildError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let owner = std::fs::metadata(directory)
        .map_err(|source| BuildError::File { path: directory.to_owned(), source })?
        .uid();
    server.bind_unix(path, User::node(node), owner).map_err(BuildError::Listen)
}

/// The address by which this host reaches a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (std::net::Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

fn parse_range(text: &str) -> Result<(Ipv4Addr, u8), BuildError> {
    let parsed = text.split_once('/').and_then(|(network, length)| {
        Some((network.parse().ok()?, length.parse().ok().filter(|length| (8..=30).contains(length))?))
    });
    parsed.ok_or_else(|| BuildError::Range { text: text.to_owned() })
}

/// Whether a cluster has what every cluster has from the beginning.
fn has_begun(store: &Store) -> bool {
    let has = |resource: &str, namespace: &str, name: &str| {
        store.get(&Key::of("core", resource, namespace, name)).is_some()
    };
    let administrators = Target::one(&kinds::cluster_role_binding::KIND, "", "cluster-admin").key();
    store.get(&administrators).is_some()
        && has("services", "default", "kubernetes")
        && bootstrap::NAMESPACES.iter().all(|namespace| {
            has("namespaces", "", namespace)
                && has("serviceaccounts", namespace, "default")
                && has("configmaps", namespace, ROOT_CA)
        })
}

async fn wait_for_beginning(store: &Store) -> Result<(), ReadError> {
    let mut cursor = store.watch("/", store.head())?;
    while !has_begun(store) {
        match cursor.next().await {
            Err(ReadError::Compacted { .. }) => cursor = store.watch("/", store.head())?,
            other => drop(other?),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn config(directory: &Path) -> Config {
        Config { api_address: ([127, 0, 0, 1], 0).into(), ..Config::new(directory.to_owned()) }
    }

    #[tokio::test]
    async fn it_starts_becomes_ready_drains_and_starts_again() {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let mut plane = ControlPlane::build(config(directory.path())).await.unwrap();
            assert_ne!(plane.bound().api.port(), 0);
            assert!(plane.bound().kubeconfig.exists() && plane.bound().agent_token.exists());
            let ready = plane.ready();
            tokio::select! {
                () = ready => {}
                ended = plane.run() => panic!("{ended:?}"),
                () = tokio::time::sleep(Duration::from_secs(20)) => panic!("not ready after 20 s"),
            }
            plane.drain(Duration::from_secs(5)).await;
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_configuration_is_said_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let wrong = Config { service_range: "10.43.0.0".to_owned(), ..config(directory.path()) };
        let error = ControlPlane::build(wrong).await.err().unwrap();
        assert_eq!(error.to_string(), "\"10.43.0.0\" is no range of IPv4 addresses such as 10.43.0.0/16");
    }
}

//! The node as one value: what it is made of, in which order it starts and how it ends.
//!
//! [`Node::build`] binds every listener and opens every directory, so that what can be wrong with a configuration
//! is wrong before anything runs. [`Node::run`] serves until told to stop; dropping the value ends every task and
//! guest. It needs no server to run the Pods it knows, and works against any Kubernetes API.

mod config;
mod eviction;
mod exec;
mod forward;
mod janitor;
mod join;
mod metrics;
mod pod_proxy;
mod rates;
mod reclaim;
mod routes;
mod serve;
mod shutdown;
mod summary;
mod terminal;
mod tunables;

pub use config::{Config, Server};
pub use shutdown::Periods;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use edge_api::kinds::endpoint_slice::EndpointSlice;
use edge_api::kinds::pod::{Pod, Resources};
use edge_api::kinds::service::Service;
use edge_api::quantity::Quantity;
use edge_api::uri::encode_component;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::join::JoinError;
use crate::client::{Client, Resource, tunnel};
use crate::code::{CodeCache, CodeError};
use crate::dns;
use crate::image::{self, ImageStore};
use crate::log::{Limits, Logs};
use crate::net::Network;
use crate::node::routes::Router;
use crate::proxy::{self, Proxy};
use crate::report::{self, Events, Registrar, Registration, Statuses};
use crate::sandbox::{self, CompileLimits, Compiler, Engine, EngineConfig, EngineError};
use crate::supervisor::Supervisor;
use crate::supervisor::address::AddressPool;
use crate::supervisor::allocation::Allocation;
use crate::supervisor::exec::Residents;
use crate::supervisor::host::Host;
use crate::supervisor::roster::Roster;
use crate::sync::watcher::Target;
use crate::sync::{Change, Mirror, Named, Scope};
use crate::table::{Range, Tables};
use crate::volume::Volumes;

/// The part that is let finish at the end.
const PROXY: &str = "proxy";
/// Changes of Pods that wait for the supervisor.
const CHANGES: usize = 256;

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
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// DNS cannot be served where it should be.
    #[error("DNS cannot be served")]
    Dns(#[from] dns::BindError),
    /// The Ingress cannot be served where it should be.
    #[error("the Ingress cannot be served")]
    Proxy(#[from] proxy::BindError),
    /// The server cannot be used.
    #[error("the API server cannot be used")]
    Join(#[from] JoinError),
    /// The sandbox.
    #[error("the sandbox cannot be set up")]
    Engine(#[from] EngineError),
    /// The cache of compiled code.
    #[error("the cache of compiled code cannot be used")]
    Code(#[from] CodeError),
    /// The image store.
    #[error("the image store cannot be used")]
    Images(#[from] image::OpenError),
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

type Part = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A node whose listeners are bound. Dropping it ends everything it owns.
pub struct Node {
    bound: Bound,
    host: Arc<Host>,
    registered: watch::Receiver<bool>,
    pods: Arc<Mirror<Pod>>,
    residents: Arc<Residents>,
    periods: Periods,
    /// What has not been started yet.
    parts: Vec<(&'static str, Part)>,
    tasks: JoinSet<&'static str>,
    drain: CancellationToken,
}

impl Node {
    /// Binds the listeners, opens the directories, starts the sandbox and, where the server is elsewhere, joins it.
    pub async fn build(config: Config) -> Result<Node, BuildError> {
        private(&config.data_dir)?;
        let tables = Arc::new(Tables::default());
        let network = Network::new(network_config(&config), tables.clone());
        let server = dns::Server::bind(config.dns_address, network.resolver().clone()).await?;
        let door = proxy::Config {
            http: config.http_address,
            https: Some(config.https_address),
            node_ports: config.node_port_address,
            ..proxy::Config::default()
        };
        let door = Proxy::bind(door, network.clone()).await?;
        let (http, https) = (door.http_addr(), door.https_addr().unwrap_or(config.https_address));
        let bound = Bound { dns: server.local_addr(), http, https };
        let drain = CancellationToken::new();
        let client = join::client(&config.server, &config.name, &config.data_dir).await?;
        let machine = sandbox::Machine::probe();
        let engine = engine(&config, &machine)?;
        let mut parts: Vec<(&'static str, Part)> = Vec::new();
        parts.push(("DNS", Box::pin(server.run())));
        parts.push((PROXY, Box::pin(door.run(drain.clone()))));

        let reported = report::Machine {
            cpus: machine.cpus,
            memory: machine.memory,
            pods: config.most_pods.map_or_else(|| machine.pods(), u64::from),
            data_dir: config.data_dir.clone(),
        };
        let registrar = Registrar::new(
            client.clone(),
            Registration {
                name: config.name.clone(),
                address: config.address,
                labels: config.labels.clone(),
                machine: reported.clone(),
                heartbeat: config.heartbeat,
                volumes: std::path::absolute(config.data_dir.join("volumes"))
                    .map_err(|source| directory(&config.data_dir, source))?,
            },
        );
        let (registered, range) = (registrar.registered(), registrar.range());

        let (events, recording) = Events::new(client.clone(), &config.name);
        parts.push(("events", Box::pin(recording)));
        let statuses = Statuses::new(client.clone());
        parts.push(("statuses", Box::pin(statuses.clone().run())));

        let copies = config.data_dir.join("copies");
        private(&copies)?;
        let objects = copies.join("objects");
        let named =
            Named::open(client.clone(), objects.clone()).map_err(|source| directory(&objects, source))?;
        let (router, senders) = Router::new(&config.name);
        let mut follow = Follow { client: &client, copies: &copies, parts: &mut parts };
        let services = follow.everywhere(Resource::SERVICES, Scope::Whole, senders.services);
        let slices = follow.everywhere(Resource::ENDPOINT_SLICES, Scope::Whole, senders.slices);
        follow.everywhere(Resource::INGRESSES, Scope::WithoutStatus, senders.ingresses);
        follow.everywhere(Resource::NODES, Scope::WithoutStatus, senders.nodes);
        follow.everywhere(Resource::AUTOSCALERS, Scope::WithoutStatus, senders.autoscalers);
        let telling = report::tell_wanted(client.clone(), config.name.clone(), network.lobby().clone());
        parts.push(("waiting requests", Box::pin(telling)));

        let host = Arc::new(host(
            &config, &client, engine, &reported, network, named, services, slices, statuses, events,
        )?);
        parts.push(("registration", Box::pin(registrar.run(host.closing.subscribe()))));
        parts.push(("routes", Box::pin(router.run(host.clone(), tables))));
        parts.push((
            "address range",
            Box::pin(learn_range(host.clone(), config.data_dir.join("pod-range"), config.pod_range, range)),
        ));

        let pods: Arc<Mirror<Pod>> = Arc::default();
        let (changes, reader) = mpsc::channel::<Change<Pod>>(CHANGES);
        let query = format!("fieldSelector={}", encode_component(&format!("spec.nodeName={}", config.name)));
        let target = Target { path: Resource::PODS.all(), query };
        let path = copies.join("pods.jsonl");
        parts.push((
            "pods",
            Box::pin(pods.follow(
                client.clone(),
                target,
                &path,
                Scope::WithoutStatus,
                vec![changes, senders.pods],
            )),
        ));
        let supervisor = Supervisor::new(host.clone());
        let (used, residents) = (supervisor.used(), supervisor.residents());
        parts.push(("supervisor", Box::pin(supervisor.run(reader))));
        let evicting =
            eviction::run(host.clone(), pods.clone(), residents.clone(), used.clone(), reported.clone());
        parts.push(("eviction", Box::pin(evicting)));
        parts.push(("volumes", Box::pin(reclaim::run(host.clone()))));
        parts.push(("images", Box::pin(janitor::run(host.clone(), used, reported, config.image_disk_share))));
        let answer = serve::answer(config.name.clone(), host.clone(), pods.clone(), residents.clone());
        parts.push(("tunnel", Box::pin(tunnel::keep(client, config.name.clone(), answer))));
        let periods = config.shutdown;
        Ok(Node { bound, host, registered, pods, residents, periods, parts, tasks: JoinSet::new(), drain })
    }

    /// Where it is to be found.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Modules compiled since the process began.
    pub fn compilations(&self) -> u64 {
        self.host.code.compilations()
    }

    /// Waits until the Node is registered and serving. Needs [`Node::run`] to be polled meanwhile.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut registered = self.registered.clone();
        async move {
            if registered.wait_for(|registered| *registered).await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Serves until a component stops, which is always a fault. Cancel it, then [`Node::drain`].
    pub async fn run(&mut self) -> Result<(), RunError> {
        for (component, part) in self.parts.drain(..) {
            self.tasks.spawn(async move {
                part.await;
                component
            });
        }
        match self.tasks.join_next().await {
            Some(Ok(component)) => Err(RunError::Stopped { component }),
            Some(Err(error)) => {
                tracing::error!(%error, "a part of the node broke");
                Err(RunError::Stopped { component: "a part of the node" })
            }
            None => Err(RunError::Stopped { component: "the node" }),
        }
    }

    /// Ends in two phases: takes no new connection and lets requests under way finish until `deadline`; then stops
    /// every guest. Pods keep their state for the next start, unless there is a time in which they are ended for good
    /// before all that.
    pub async fn drain(mut self, deadline: Duration) {
        if !self.periods.total.is_zero() {
            shutdown::run(&self.host, &self.pods.all(), &self.residents, self.periods).await;
        }
        // What was found out but not told yet is told, if the server still listens.
        let _ =
            tokio::time::timeout(deadline.min(Duration::from_secs(1)), self.host.statuses.flushed()).await;
        self.drain.cancel();
        let proxy_ended = async {
            while let Some(ended) = self.tasks.join_next().await
                && ended.ok() != Some(PROXY)
            {}
        };
        let _ = tokio::time::timeout(deadline, proxy_ended).await;
        self.tasks.shutdown().await;
    }
}

/// Sets mirrors up.
struct Follow<'a> {
    client: &'a Client,
    copies: &'a Path,
    parts: &'a mut Vec<(&'static str, Part)>,
}

impl Follow<'_> {
    /// A mirror of all objects of a kind.
    fn everywhere<T: DeserializeOwned + Send + Sync + 'static>(
        &mut self,
        resource: Resource,
        scope: Scope,
        reader: mpsc::Sender<Change<T>>,
    ) -> Arc<Mirror<T>> {
        let mirror: Arc<Mirror<T>> = Arc::default();
        let target = Target { path: resource.all(), query: String::new() };
        let path = self.copies.join(format!("{}.jsonl", resource.plural));
        let following = mirror.follow(self.client.clone(), target, &path, scope, vec![reader]);
        self.parts.push((resource.plural, Box::pin(following)));
        mirror
    }
}

fn directory(path: &Path, source: io::Error) -> BuildError {
    BuildError::Directory { path: path.to_owned(), source }
}

/// Makes a directory that only we can look into.
fn private(path: &Path) -> Result<(), BuildError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .map_err(|source| directory(path, source))
}

fn engine(config: &Config, machine: &sandbox::Machine) -> Result<Engine, BuildError> {
    let path = config.data_dir.join("tunables.json");
    let tunables = tunables::load(&path, machine).map_err(|source| directory(&path, source))?;
    let mut settings = EngineConfig::new(machine, tunables);
    settings.p3 = config.wasi_p3;
    Ok(Engine::new(settings)?)
}

fn network_config(config: &Config) -> crate::net::Config {
    let usual = crate::net::Config::default();
    let with = |own: Range, usual: Vec<Range>| -> Vec<Range> {
        std::iter::once(own).chain(usual.into_iter().filter(|range| range.base().is_ipv6())).collect()
    };
    let pod_ranges = with(config.pod_range, usual.pod_ranges);
    let service_ranges = with(config.service_range, usual.service_ranges);
    crate::net::Config {
        api_server: config.api_address,
        control_addresses: [Some(config.dns_address), config.api_address].into_iter().flatten().collect(),
        gateway: config.pod_range.nth(1).unwrap_or(usual.gateway),
        names: dns::Config {
            domain: config.cluster_domain.clone(),
            pod_ranges: pod_ranges.clone(),
            service_ranges: service_ranges.clone(),
            ..dns::Config::default()
        },
        pod_ranges,
        service_ranges,
        ..crate::net::Config::default()
    }
}

#[allow(clippy::too_many_arguments, reason = "the one place where the parts meet")]
fn host(
    config: &Config,
    client: &Client,
    engine: Engine,
    machine: &report::Machine,
    network: Network,
    named: Named,
    services: Arc<Mirror<Service>>,
    slices: Arc<Mirror<EndpointSlice>>,
    statuses: Statuses,
    events: Events,
) -> Result<Host, BuildError> {
    let at = |name: &str| config.data_dir.join(name);
    let compiler = if config.in_process_compiler {
        Compiler::InProcess
    } else {
        Compiler::Child {
            program: config.compiler.clone(),
            args: vec!["__compile".into()],
            limits: CompileLimits::default(),
        }
    };
    let images = ImageStore::open(image::Config {
        directory: at("images"),
        image_dir: config.image_dir.clone(),
        image_roots: config.image_roots.clone(),
        insecure_registries: config.insecure_registries.clone(),
        registry_ca: config.registry_ca.clone(),
    })?;
    let volumes = Volumes::open(at("pods"), at("volumes"), config.host_path_roots.clone())
        .map_err(|source| directory(&at("pods"), source))?;
    let limits = Limits { bytes: config.log_bytes, files: config.log_files };
    let logs = Logs::open(at("logs"), limits).map_err(|source| directory(&at("logs"), source))?;
    Ok(Host {
        node: config.name.clone(),
        address: config.address,
        allocation: Allocation::new(&allocatable(machine)),
        allocatable: allocatable(machine),
        client: client.clone(),
        engine,
        code: CodeCache::open(&at("code"), compiler)?,
        images: Arc::new(images),
        toolbox: config.toolbox.clone(),
        volumes,
        logs: Arc::new(logs),
        network,
        named,
        services,
        slices,
        statuses,
        events,
        addresses: parking_lot::Mutex::new(AddressPool::default()),
        has_range: watch::Sender::new(false),
        closing: watch::Sender::new(false),
        roster: Roster::default(),
        epoch: Instant::now(),
    })
}

fn allocatable(machine: &report::Machine) -> Resources {
    let amounts = machine.allocatable();
    let fields = amounts.as_object().into_iter().flatten();
    fields
        .filter_map(|(name, amount)| Some((name.clone(), Quantity::parse(amount.as_str()?).ok()?)))
        .collect()
}

/// Hands the node's range to the address pool: the one from last time until the server says otherwise.
async fn learn_range(host: Arc<Host>, path: PathBuf, all: Range, mut range: watch::Receiver<Option<String>>) {
    if let Ok(kept) = fs::read_to_string(&path) {
        let known = host.addresses.lock().set_range(kept.trim());
        host.has_range.send_replace(known);
    }
    loop {
        let found = range.borrow_and_update().clone();
        if let Some(found) = found {
            if !found.parse().is_ok_and(|found| all.overlaps(found)) {
                tracing::error!(range = found, pod_range = %all, "the node's podCIDR lies outside its --pod-range");
            }
            let known = host.addresses.lock().set_range(&found);
            if known {
                host.has_range.send_replace(true);
                if fs::read_to_string(&path).ok().as_deref() != Some(&found)
                    && let Err(error) = fs::write(&path, &found)
                {
                    tracing::warn!(path = %path.display(), %error, "the node's Pod range cannot be kept");
                }
            } else {
                tracing::error!(range = found, "the node's podCIDR is no IPv4 range");
            }
        }
        if range.changed().await.is_err() {
            // The registration ended, and with it the node.
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
mod tests;

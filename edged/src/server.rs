//! `edged server`: the control plane, and the node in one of its two shapes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use edge_controller::{Caller, ControlPlane, Packing};
use edge_runtime::client::{ByteStream, Connector};
use edge_runtime::node::Node;

use crate::agent::{self, Upstream};
use crate::config::{Host, SchedulerScoring, Settings};
use crate::manifests;
use crate::ready::{NodePorts, Ready};
use crate::rest::rest;
use crate::shutdown::StopSignals;
use crate::split::Child;

/// How long the control plane may take to let requests under way finish.
const DRAIN: Duration = Duration::from_secs(5);

/// How much longer a node process may take than its node.
const SLACK: Duration = Duration::from_secs(3);

/// Where the node's part of the data directory lies.
const NODE_DIR: &str = "node";

/// The node, as far as this process has one.
enum Beside {
    Nothing,
    Here(Box<Node>),
    Child(Box<Child>),
}

/// Runs until told to stop.
///
/// # Errors
/// When something cannot be bound or opened, or a part stops by itself.
pub async fn serve(settings: &Settings, host: &Host, started: Instant) -> Result<()> {
    let mut stop = StopSignals::catch()?;
    let node_dir = settings.data_dir.join(NODE_DIR);
    let splits = !settings.no_node && settings.splits(host);
    let mut config = edge_controller::Config::new(settings.data_dir.clone());
    config.api_address = settings.api_address;
    config.pod_range = settings.pod_range.to_string();
    config.service_range = settings.service_range.to_string();
    config.cluster_domain.clone_from(&settings.cluster_domain);
    config.kubeconfig = settings.kubeconfig.clone();
    config.node_name = settings.node_name.clone();
    config.audit_log = settings.audit_log.clone();
    config.packing = match settings.scheduler_scoring {
        SchedulerScoring::MostAllocated => Packing::MostAllocated,
        SchedulerScoring::LeastAllocated => Packing::LeastAllocated,
    };
    config.keeper = edge_runtime::sandbox::allocate_apart;
    if splits {
        let uid = host.is_root.then_some(settings.agent_uid);
        config.unix_socket = Some(Child::prepare(&settings.data_dir, &node_dir, uid)?);
    }
    let mut plane = ControlPlane::build(config).await.context("the control plane cannot start")?;
    let api = plane.bound().api;

    let mut beside = if settings.no_node {
        Beside::Nothing
    } else if let Some(socket) = plane.bound().unix_socket.clone() {
        Beside::Child(Box::new(Child::start(settings, host, &node_dir, &socket, api)?))
    } else {
        let upstream = Upstream::local(in_process(&plane, Caller::Node), api);
        Beside::Here(Box::new(
            agent::build(settings, node_dir, upstream).await.context("the node cannot start")?,
        ))
    };

    let kubeconfig = plane.bound().kubeconfig.clone();
    let (plane_ready, node_ready) = (plane.ready(), beside.ready());
    let applier = settings
        .manifests
        .clone()
        .map(|folder| manifests::Applier::new(folder, in_process(&plane, Caller::Administrator)));
    let announce = async {
        plane_ready.await;
        let node = node_ready.await;
        Ready { api: Some(api), node, kubeconfig: Some(&kubeconfig) }
            .announce(started, host.notify_socket.as_deref());
        let apply = async {
            match applier {
                Some(applier) => applier.run().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = apply => ended,
            never = rest() => match never {},
        }
    };
    let outcome = tokio::select! {
        () = stop.next() => Ok(()),
        ended = plane.run() => ended.map_err(anyhow::Error::new),
        ended = beside.run() => ended,
        ended = announce => ended,
    };
    beside.drain(Duration::from_secs(settings.shutdown_grace_period.into())).await;
    plane.drain(DRAIN).await;
    outcome
}

/// Streams to the API server of this process, spoken as `caller`.
fn in_process(plane: &ControlPlane, caller: Caller) -> Connector {
    let connect = plane.connector(caller);
    Connector::memory(move || {
        let stream = connect();
        Box::pin(async move { Ok(Box::new(stream) as ByteStream) })
    })
}

impl Beside {
    /// Waits until the node serves and gives its ports.
    fn ready(&mut self) -> impl Future<Output = Option<NodePorts>> + use<> {
        enum Waiting<F> {
            Nothing,
            Here(F, NodePorts),
            Child(tokio::sync::watch::Receiver<Option<NodePorts>>),
        }
        let waiting = match self {
            Beside::Nothing => Waiting::Nothing,
            Beside::Here(node) => Waiting::Here(node.ready(), agent::ports(node)),
            Beside::Child(child) => Waiting::Child(child.ports()),
        };
        async move {
            match waiting {
                Waiting::Nothing => None,
                Waiting::Here(ready, ports) => {
                    ready.await;
                    Some(ports)
                }
                Waiting::Child(mut ports) => match ports.wait_for(Option::is_some).await {
                    Ok(found) => *found,
                    // The child's keeper is gone; its own error ends the process.
                    Err(_) => std::future::pending().await,
                },
            }
        }
    }

    async fn run(&mut self) -> Result<()> {
        match self {
            Beside::Nothing => std::future::pending().await,
            Beside::Here(node) => node.run().await.map_err(anyhow::Error::new),
            Beside::Child(child) => child.keep().await,
        }
    }

    /// `more` is how long the node may take beforehand to end Pods.
    async fn drain(self, more: Duration) {
        match self {
            Beside::Nothing => {}
            Beside::Here(node) => node.drain(agent::DRAIN).await,
            Beside::Child(child) => child.stop(agent::DRAIN + SLACK + more).await,
        }
    }
}

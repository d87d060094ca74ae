//! A node: of a server elsewhere, of the server that started this process, or in its process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use edge_runtime::client::Connector;
use edge_runtime::node::{Config, Node, Periods, Server};

use crate::config::{AgentCommand, Host, Settings};
use crate::ready::{NodePorts, Ready};
use crate::rest::rest;
use crate::shutdown::StopSignals;

/// How long a node may take to let requests under way finish.
pub const DRAIN: Duration = Duration::from_secs(8);

/// The server a node belongs to.
pub struct Upstream {
    server: Server,
    /// Where the Service `kubernetes` is dialled.
    kubernetes: Option<SocketAddr>,
}

impl Upstream {
    /// Reads `--server` and the token.
    ///
    /// # Errors
    /// When the URL is of no known form, or a token is needed and not given.
    pub fn of(command: &AgentCommand) -> Result<Upstream> {
        if let Some(path) = command.server.strip_prefix("unix:") {
            let server = Server::Local(Connector::Unix(PathBuf::from(path)));
            return Ok(Upstream { server, kubernetes: command.kubernetes_address });
        }
        if !command.server.starts_with("https://") {
            bail!("--server {:?}: must be https://HOST:PORT or unix:PATH", command.server);
        }
        let token = match (&command.token, &command.token_file) {
            (Some(token), _) => token.clone(),
            (None, Some(file)) => {
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
            }
            (None, None) => {
                bail!("a token is needed: --token-file FILE, a copy of the server's <data-dir>/agent-token")
            }
        };
        let server = Server::Join { url: command.server.clone(), token: token.trim().to_owned() };
        let address = command.server.trim_start_matches("https://").trim_end_matches('/').parse().ok();
        Ok(Upstream { server, kubernetes: command.kubernetes_address.or(address) })
    }

    /// The server in this process, reached through `connector`.
    pub fn local(connector: Connector, api: SocketAddr) -> Upstream {
        Upstream { server: Server::Local(connector), kubernetes: Some(api) }
    }
}

/// Builds the node that `settings` describe, with its state in `data_dir`.
///
/// # Errors
/// When a listener cannot be bound, a directory not used, the server not joined.
pub async fn build(settings: &Settings, data_dir: PathBuf, upstream: Upstream) -> Result<Node> {
    let mut config = Config::new(&settings.node_name, data_dir, upstream.server);
    config.dns_address = settings.dns_address;
    config.http_address = settings.http_address;
    config.https_address = settings.https_address;
    config.node_port_address = settings.node_port_address;
    config.pod_range = settings.pod_range;
    config.service_range = settings.service_range;
    config.cluster_domain.clone_from(&settings.cluster_domain);
    config.most_pods = settings.max_pods;
    config.api_address = upstream.kubernetes;
    config.image_dir = settings.image_dir.clone();
    config.toolbox.clone_from(&settings.toolbox);
    config.host_path_roots = settings.host_path_dirs.clone();
    config.insecure_registries = settings.insecure_registries.clone();
    config.image_disk_share = f64::from(settings.image_gc_threshold) / 100.0;
    config.wasi_p3 = settings.wasi_p3;
    config.shutdown = Periods {
        total: Duration::from_secs(settings.shutdown_grace_period.into()),
        critical: Duration::from_secs(settings.shutdown_grace_period_critical_pods.into()),
    };
    Ok(Node::build(config).await?)
}

/// Where a built node serves.
pub fn ports(node: &Node) -> NodePorts {
    let bound = node.bound();
    NodePorts { dns: bound.dns, http: bound.http, https: bound.https }
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// When it cannot be built, or a part of it stops by itself.
pub async fn serve(settings: &Settings, host: &Host, upstream: Upstream, started: Instant) -> Result<()> {
    let mut stop = StopSignals::catch()?;
    let mut node = build(settings, settings.data_dir.clone(), upstream).await?;
    let serving = ports(&node);
    let ready = node.ready();
    let announce = async {
        ready.await;
        Ready { node: Some(serving), ..Ready::default() }.announce(started, host.notify_socket.as_deref());
        rest().await
    };
    let outcome = tokio::select! {
        () = stop.next() => Ok(()),
        ended = node.run() => ended.map_err(anyhow::Error::new),
        never = announce => match never {},
    };
    node.drain(DRAIN).await;
    outcome
}

//! What a node is to be. The binary composes it from flags and file; nothing below reads the environment.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::client::Connector;
use crate::node::shutdown::Periods;
use crate::table::Range;

/// How the node reaches its API server.
#[derive(Clone, Debug)]
pub enum Server {
    /// A stream that identifies the node by itself: in this process, or over a Unix socket.
    Local(Connector),
    /// A server elsewhere, joined with an agent token; the node's own token is kept in its data directory.
    Join {
        /// `https://host:port`.
        url: String,
        /// `<SHA-256 of the server's CA>.<secret>`.
        token: String,
    },
    /// Any Kubernetes API server.
    Kubernetes {
        /// `https://host:port`.
        url: String,
        /// The authorities to trust, PEM.
        ca: Vec<u8>,
        /// A bearer token of a node.
        token: String,
    },
}

/// The configuration of a node; [`Config::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Node's name; a DNS-1123 subdomain.
    pub name: String,
    /// Everything the node keeps; made if absent, mode 0700.
    pub data_dir: PathBuf,
    /// How the API server is reached.
    pub server: Server,
    /// The address under which other hosts know this one.
    pub address: IpAddr,
    /// Where DNS is served, UDP and TCP; port 0 takes one that is free for both.
    pub dns_address: SocketAddr,
    /// Where the Ingress serves HTTP.
    pub http_address: SocketAddr,
    /// Where the Ingress serves HTTPS.
    pub https_address: SocketAddr,
    /// Which address of the host NodePorts listen on, and hostPorts without a `hostIP`.
    pub node_port_address: IpAddr,
    /// The address at which the guests' `kubernetes` Service is dialled on the host, if the guests may reach it.
    pub api_address: Option<SocketAddr>,
    /// Under which relative `file:` and `oci-layout:` images are found; they never leave it.
    pub image_dir: PathBuf,
    /// Under which absolute `file:` and `oci-layout:` images may be, too.
    pub image_roots: Vec<PathBuf>,
    /// The image whose commands (`tar`, `cat`, `ls` …) containers are looked into with.
    pub toolbox: String,
    /// Under which `hostPath` volumes may be.
    pub host_path_roots: Vec<PathBuf>,
    /// Registries (`host:port`) that are spoken to without TLS; those on the loopback always may.
    pub insecure_registries: Vec<String>,
    /// Registries' additional authorities, PEM.
    pub registry_ca: Option<Vec<u8>>,
    /// The domain under which Services have names.
    pub cluster_domain: String,
    /// The addresses of the cluster's Pods.
    pub pod_range: Range,
    /// The virtual addresses of Services.
    pub service_range: Range,
    /// Whether WASI 0.3 is offered.
    pub wasi_p3: bool,
    /// The program that compiles when started with `__compile`.
    pub compiler: PathBuf,
    /// Compile in this process instead, for tests.
    pub in_process_compiler: bool,
    /// Part of the disk (0–1) above which unused images and compiled code go, oldest first.
    pub image_disk_share: f64,
    /// Bytes after which a container's log is rotated.
    pub log_bytes: u64,
    /// How many log files a container has at most, the current one included.
    pub log_files: u32,
    /// At most this many Pods; when none, as many as the machine allows.
    pub most_pods: Option<u32>,
    /// How often the Lease is renewed.
    pub heartbeat: Duration,
    /// Labels of the Node beside the usual ones.
    pub labels: Vec<(String, String)>,
    /// How long Pods are given when the host goes down; none, and they go on when the node is back.
    pub shutdown: Periods,
}

impl Config {
    /// The defaults for a node called `name` with its state under `data_dir`.
    pub fn new(name: &str, data_dir: PathBuf, server: Server) -> Config {
        let range = |base: [u8; 4]| Range::new(base.into(), 16).expect("16 bits are a prefix");
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Config {
            name: name.to_owned(),
            data_dir,
            server,
            address: IpAddr::from([127, 0, 0, 1]),
            dns_address: loopback(1053),
            http_address: loopback(8080),
            https_address: loopback(8443),
            node_port_address: IpAddr::from([0, 0, 0, 0]),
            api_address: None,
            image_dir: PathBuf::from("."),
            image_roots: Vec::new(),
            toolbox: "file:guests/dist/toolbox.wasm".to_owned(),
            host_path_roots: Vec::new(),
            insecure_registries: Vec::new(),
            registry_ca: None,
            cluster_domain: "cluster.local".to_owned(),
            pod_range: range([10, 42, 0, 0]),
            service_range: range([10, 43, 0, 0]),
            wasi_p3: false,
            compiler: PathBuf::from("/proc/self/exe"),
            in_process_compiler: false,
            image_disk_share: 0.85,
            log_bytes: 10 << 20,
            log_files: 5,
            most_pods: None,
            heartbeat: Duration::from_secs(10),
            labels: Vec::new(),
            shutdown: Periods::default(),
        }
    }
}

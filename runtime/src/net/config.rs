//! What the network of a node is told.

use crate::dns::{self, PodNames};
use crate::table::Range;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// What the network of a node needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the Service `kubernetes` leads: the API server as this host dials it.
    pub api_server: Option<SocketAddr>,
    /// Certificates (PEM) that guests' `https` requests trust beside the host's: the cluster's CA.
    pub trusted: Vec<u8>,
    /// Listening addresses of this host that guests may not dial even by an outside address.
    pub control_addresses: Vec<SocketAddr>,
    /// Addresses of Pods. One that no table entry knows never becomes a kernel socket.
    pub pod_ranges: Vec<Range>,
    /// Addresses of Services, likewise.
    pub service_ranges: Vec<Range>,
    /// As whom the node itself talks to Pods: the first address of its range.
    pub gateway: IpAddr,
    /// How names resolve.
    pub names: dns::Config,
    /// Quotas of each Pod.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        let range = |text: &str| text.parse().expect("a valid range stands in the source");
        Config {
            api_server: None,
            trusted: Vec::new(),
            control_addresses: Vec::new(),
            pod_ranges: vec![range("10.42.0.0/16"), range("fd42::/48")],
            service_ranges: vec![range("10.43.0.0/16"), range("fd43::/112")],
            gateway: Ipv4Addr::new(10, 42, 0, 1).into(),
            names: dns::Config::default(),
            limits: Limits::default(),
        }
    }
}

/// Quotas of each Pod, and of what waits for Pods. Beyond them a call fails; nothing queues without bound.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open sockets: bound, listening, connected, accepted.
    pub sockets: usize,
    /// The longest accept queue.
    pub backlog: u32,
    /// Datagrams waiting in one UDP socket; their bytes are bounded too.
    pub datagrams: usize,
    /// Bytes buffered in each direction of an in-memory stream.
    pub stream_buffer: usize,
    /// How long a connect may take.
    pub connect_timeout: Duration,
    /// Requests that may wait for one Service that is scaled to zero.
    pub waiting: usize,
    /// How long they may.
    pub hold: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            sockets: 4096,
            backlog: 1024,
            datagrams: 256,
            stream_buffer: 64 * 1024,
            connect_timeout: Duration::from_secs(10),
            waiting: 1024,
            hold: Duration::from_secs(60),
        }
    }
}

/// Who a Pod is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodIdentity {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its UID.
    pub uid: Arc<str>,
}

/// How a Pod is attached, where it differs from the usual.
#[derive(Debug, Clone, Default)]
pub struct Attachment {
    /// How it resolves names; none means `dnsPolicy: ClusterFirst` without more.
    pub names: Option<PodNames>,
    /// `hostNetwork: true`: its sockets are the host's.
    pub host_network: bool,
}

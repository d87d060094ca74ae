//! What the proxy of a node is told.

use crate::table::Certificate;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Listening addresses and limits of the proxy.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where Ingress is served over HTTP.
    pub http: SocketAddr,
    /// Where Ingress is served over TLS, if anywhere.
    pub https: Option<SocketAddr>,
    /// What TLS clients get that ask for a name no Ingress has a certificate for.
    pub certificate: Option<Arc<Certificate>>,
    /// Which address of the host NodePorts listen on, and hostPorts without a `hostIP`.
    pub node_ports: IpAddr,
    /// Limits of what clients may take.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            http: (Ipv4Addr::LOCALHOST, 8080).into(),
            https: Some((Ipv4Addr::LOCALHOST, 8443).into()),
            certificate: None,
            node_ports: Ipv4Addr::UNSPECIFIED.into(),
            limits: Limits::default(),
        }
    }
}

/// Limits of what clients may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once over all listeners; more wait in the kernel's queue.
    pub connections: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Fields of a request's head.
    pub head_fields: usize,
    /// How long a head may take to arrive, and a kept connection may be silent.
    pub head_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a backend may take to begin its response.
    pub response_timeout: Duration,
    /// How long a request waits for a Service that has no endpoint at the moment.
    pub patience: Duration,
    /// Clients of one UDP port at once.
    pub udp_clients: usize,
    /// How long a UDP client is remembered without traffic.
    pub udp_silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 10_000,
            head_bytes: 64 * 1024,
            head_fields: 100,
            head_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(60),
            patience: Duration::from_secs(5),
            udp_clients: 1024,
            udp_silence: Duration::from_secs(60),
        }
    }
}

//! What the node knows about names, addresses and routes, as one immutable value.
//!
//! A [`Table`] answers every question of the Pod network, the DNS server and the proxy without a
//! lock. [`TableBuilder`] makes it from synced objects; [`Tables`] holds the current one and is
//! swapped whole. This module opens no socket, reads no clock and knows no API.

mod build;
mod build_ingress;
mod build_service;
mod build_wakers;
mod range;
mod route;
mod service;
mod shared_map;
mod tally;

pub use build::TableBuilder;
pub use range::{Range, RangeError};
pub use route::{Backend, PathType, Routes};
pub use service::{Endpoints, Form, Member, Origin, PortReference, Protocol, Service, ServicePort, dashed};
pub use tally::Tally;

use arc_swap::ArcSwap;
use shared_map::SharedMap;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::watch;

/// Namespace and name of an Ingress.
pub type IngressName = (String, String);

/// Everything that routes, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Table {
    pub(crate) generation: u64,
    pub(crate) services: SharedMap<Arc<str>, Arc<Service>>,
    pub(crate) virtual_ports: SharedMap<(IpAddr, u16, Protocol), Arc<ServicePort>>,
    pub(crate) cluster_ips: SharedMap<IpAddr, Arc<Service>>,
    pub(crate) member_names: SharedMap<IpAddr, Vec<Arc<str>>>,
    pub(crate) namespaces: SharedMap<Arc<str>, usize>,
    pub(crate) pods: SharedMap<IpAddr, Arc<PodAddress>>,
    pub(crate) node_ports: SharedMap<(Protocol, u16), Arc<ServicePort>>,
    pub(crate) host_ports: SharedMap<HostPort, SocketAddr>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) ingress_tallies: Arc<[(IngressName, Tally)]>,
    pub(crate) certificates: Arc<HashMap<Box<str>, Arc<Certificate>>>,
    pub(crate) node_ranges: Arc<[(Range, Arc<str>)]>,
    pub(crate) listeners: u64,
}

/// A Pod by its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodAddress {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The node it is bound to.
    pub node: Arc<str>,
    /// Whether that is this node.
    pub local: bool,
}

/// A port of the host that belongs to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// `hostIP`; none means all addresses.
    pub ip: Option<IpAddr>,
    /// `hostPort`.
    pub port: u16,
    /// `protocol`.
    pub protocol: Protocol,
}

/// A certificate chain and key of an Ingress's TLS Secret, PEM. The key is never printed.
pub struct Certificate {
    /// `tls.crt`
    pub chain: Vec<u8>,
    /// `tls.key`
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

impl Table {
    /// Rises with every published change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A Service by `<name>.<namespace>`.
    pub fn service(&self, key: &str) -> Option<&Arc<Service>> {
        self.services.get(key)
    }

    /// Every Service, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter().map(|(_, service)| service)
    }

    /// Whether any Service lives in the namespace.
    pub fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.get(namespace).is_some()
    }

    /// The Service port behind a cluster IP and port.
    pub fn virtual_port(&self, to: SocketAddr, protocol: Protocol) -> Option<&Arc<ServicePort>> {
        self.virtual_ports.get(&(to.ip(), to.port(), protocol))
    }

    /// The Service that has this cluster IP.
    pub fn service_at(&self, ip: IpAddr) -> Option<&Arc<Service>> {
        self.cluster_ips.get(&ip)
    }

    /// The names (`<label>.<service>.<namespace>`) of headless Services' endpoints with this
    /// address.
    pub fn member_names(&self, ip: IpAddr) -> &[Arc<str>] {
        self.member_names.get(&ip).map_or(&[], Vec::as_slice)
    }

    /// The Pod that has this address.
    pub fn pod_at(&self, ip: IpAddr) -> Option<&Arc<PodAddress>> {
        self.pods.get(&ip)
    }

    /// The node whose range of Pod addresses holds this one.
    pub fn node_of(&self, ip: IpAddr) -> Option<&Arc<str>> {
        self.node_ranges.iter().find(|(range, _)| range.contains(ip)).map(|(_, node)| node)
    }

    /// The Ingress routes.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// How many requests came through each Ingress of ours.
    pub fn ingress_tallies(&self) -> impl Iterator<Item = (&IngressName, &Tally)> {
        self.ingress_tallies.iter().map(|(name, tally)| (name, tally))
    }

    /// The Service port an Ingress backend means, if both exist.
    pub fn backend(&self, backend: &Backend) -> Option<&Arc<ServicePort>> {
        self.service(&backend.service)?.port(&backend.port)
    }

    /// The Service port of a NodePort.
    pub fn node_port(&self, protocol: Protocol, port: u16) -> Option<&Arc<ServicePort>> {
        self.node_ports.get(&(protocol, port))
    }

    /// Every NodePort.
    pub fn node_ports(&self) -> impl Iterator<Item = (Protocol, u16)> + '_ {
        self.node_ports.iter().map(|(key, _)| *key)
    }

    /// Where a hostPort of a local Pod leads.
    pub fn host_port(&self, port: &HostPort) -> Option<SocketAddr> {
        self.host_ports.get(port).copied()
    }

    /// Every hostPort of local Pods.
    pub fn host_ports(&self) -> impl Iterator<Item = HostPort> + '_ {
        self.host_ports.iter().map(|(key, _)| *key)
    }

    /// Changes when the set of NodePorts or hostPorts may have changed.
    pub fn listeners_generation(&self) -> u64 {
        self.listeners
    }

    /// The certificate for a TLS server name: the exact host, else `*.` over its parent.
    pub fn certificate(&self, host: &str) -> Option<&Arc<Certificate>> {
        let exact = self.certificates.get(host);
        exact.or_else(|| {
            let (_, parent) = host.split_once('.')?;
            self.certificates.get(format!("*.{parent}").as_str())
        })
    }
}

/// The current [`Table`] and a bell that rings when it changes.
#[derive(Debug)]
pub struct Tables {
    current: ArcSwap<Table>,
    generation: watch::Sender<u64>,
}

impl Default for Tables {
    fn default() -> Self {
        Tables { current: ArcSwap::default(), generation: watch::Sender::new(0) }
    }
}

impl Tables {
    /// The table of this moment, for one decision. Do not hold it across an await.
    pub fn load(&self) -> arc_swap::Guard<Arc<Table>> {
        self.current.load()
    }

    /// [`Tables::load`] for longer use.
    pub fn load_full(&self) -> Arc<Table> {
        self.current.load_full()
    }

    /// Replaces the table.
    pub fn publish(&self, table: Table) {
        let generation = table.generation();
        self.current.store(Arc::new(table));
        self.generation.send_replace(generation);
    }

    /// The generation, to wait for the next one.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }
}

#[cfg(test)]
mod tests;

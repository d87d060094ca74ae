//! From synced objects to a [`Table`], a change costing what it touches.

use crate::table::build_ingress::{self, SecretKey};
use crate::table::build_service::{self, Slice, Standing};
use crate::table::build_wakers::{self, Waker};
use crate::table::{Certificate, HostPort, PodAddress, Protocol, Range, Service, ServicePort, Table, Tally};
use base64::Engine;
use edge_api::kinds::endpoint_slice::EndpointSlice;
use edge_api::kinds::horizontal_pod_autoscaler::HorizontalPodAutoscaler;
use edge_api::kinds::ingress::Ingress;
use edge_api::kinds::node::Node;
use edge_api::kinds::pod::Pod;
use edge_api::kinds::secret::Secret;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Collects objects and makes tables of them. Nothing is computed before [`TableBuilder::build`],
/// so that a burst of changes costs one table.
pub struct TableBuilder {
    node: Arc<str>,
    ingress_class: String,
    table: Table,
    services: HashMap<Arc<str>, edge_api::kinds::service::Service>,
    slices: HashMap<Arc<str>, BTreeMap<String, Slice>>,
    slice_owners: HashMap<(String, String), Arc<str>>,
    pods: HashMap<(String, String), PodEntry>,
    ingresses: BTreeMap<(String, String), Ingress>,
    certificates: HashMap<SecretKey, Arc<Certificate>>,
    nodes: BTreeMap<String, Vec<Range>>,
    turns: HashMap<(Arc<str>, u16, Protocol), Arc<AtomicUsize>>,
    tallies: HashMap<Arc<str>, Tally>,
    wakers: BTreeMap<(String, String), Waker>,
    woken: HashMap<Arc<str>, Arc<[Arc<str>]>>,
    dirty_services: HashSet<Arc<str>>,
    dirty_wakers: bool,
    dirty_routes: bool,
    dirty_nodes: bool,
    dirty: bool,
}

/// What a Pod put into the table, to take it out again.
#[derive(Default, PartialEq)]
struct PodEntry {
    address: Option<PodAddress>,
    ips: Vec<IpAddr>,
    host_ports: Vec<(HostPort, SocketAddr)>,
}

impl TableBuilder {
    /// A builder for the table of this node. Ingresses without a class, or with this one, are
    /// served.
    pub fn new(node: &str, ingress_class: &str) -> Self {
        TableBuilder {
            node: node.into(),
            ingress_class: ingress_class.to_owned(),
            table: Table::default(),
            services: HashMap::new(),
            slices: HashMap::new(),
            slice_owners: HashMap::new(),
            pods: HashMap::new(),
            ingresses: BTreeMap::new(),
            certificates: HashMap::new(),
            nodes: BTreeMap::new(),
            turns: HashMap::new(),
            tallies: HashMap::new(),
            wakers: BTreeMap::new(),
            woken: HashMap::new(),
            dirty_services: HashSet::new(),
            dirty_wakers: false,
            dirty_routes: false,
            dirty_nodes: false,
            dirty: false,
        }
    }

    /// Takes over a new or changed Service.
    pub fn apply_service(&mut self, service: &edge_api::kinds::service::Service) {
        let key = service_key(&service.metadata.namespace, &service.metadata.name);
        self.services.insert(key.clone(), service.clone());
        self.dirty_services.insert(key);
    }

    /// Forgets a Service.
    pub fn delete_service(&mut self, namespace: &str, name: &str) {
        let key = service_key(namespace, name);
        self.services.remove(&key);
        self.dirty_services.insert(key);
    }

    /// Takes over a new or changed EndpointSlice.
    pub fn apply_endpoint_slice(&mut self, slice: &EndpointSlice) {
        let meta = &slice.metadata;
        self.delete_endpoint_slice(&meta.namespace, &meta.name);
        let Some(service) = meta.labels.get(SERVICE_NAME) else { return };
        let key = service_key(&meta.namespace, service);
        self.slice_owners.insert((meta.namespace.clone(), meta.name.clone()), key.clone());
        let read = Slice::read(slice, &self.node);
        self.slices.entry(key.clone()).or_default().insert(meta.name.clone(), read);
        self.dirty_services.insert(key);
    }

    /// Forgets an EndpointSlice.
    pub fn delete_endpoint_slice(&mut self, namespace: &str, name: &str) {
        let Some(key) = self.slice_owners.remove(&(namespace.to_owned(), name.to_owned())) else {
            return;
        };
        if let Some(slices) = self.slices.get_mut(&key) {
            slices.remove(name);
            if slices.is_empty() {
                self.slices.remove(&key);
            }
        }
        self.dirty_services.insert(key);
    }

    /// Takes over a new or changed Pod, of this node or another.
    pub fn apply_pod(&mut self, pod: &Pod) {
        let key = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
        let entry = self.pod_entry(pod);
        if self.pods.get(&key) == Some(&entry) {
            return;
        }
        self.remove_pod(&key);
        for ip in &entry.ips {
            if let Some(address) = &entry.address {
                self.table.pods.insert(*ip, Arc::new(address.clone()));
            }
        }
        for (port, target) in &entry.host_ports {
            self.table.host_ports.insert(*port, *target);
            self.table.listeners += 1;
        }
        self.pods.insert(key, entry);
        self.dirty = true;
    }

    /// Forgets a Pod.
    pub fn delete_pod(&mut self, namespace: &str, name: &str) {
        self.remove_pod(&(namespace.to_owned(), name.to_owned()));
    }

    fn remove_pod(&mut self, key: &(String, String)) {
        let Some(old) = self.pods.remove(key) else { return };
        let table = &mut self.table;
        for ip in &old.ips {
            if table.pods.get(ip).map(|pod| &**pod) == old.address.as_ref() {
                table.pods.remove(ip);
            }
        }
        for (port, target) in &old.host_ports {
            if table.host_ports.get(port) == Some(target) {
                table.host_ports.remove(port);
                table.listeners += 1;
            }
        }
        self.dirty = true;
    }

    /// A Pod that has ended holds no address; one with the host's network has the host's.
    fn pod_entry(&self, pod: &Pod) -> PodEntry {
        let ended = matches!(pod.status.phase.as_str(), "Succeeded" | "Failed");
        if ended || pod.spec.host_network {
            return PodEntry::default();
        }
        let all = pod.status.pod_ips.iter().map(|ip| ip.ip.as_str());
        let mut ips: Vec<IpAddr> = all.filter_map(|ip| ip.parse().ok()).collect();
        if ips.is_empty() {
            ips.extend(pod.status.pod_ip.parse::<IpAddr>().ok());
        }
        let local = *pod.spec.node_name == *self.node;
        let address = PodAddress {
            namespace: pod.metadata.namespace.as_str().into(),
            name: pod.metadata.name.as_str().into(),
            node: pod.spec.node_name.as_str().into(),
            local,
        };
        let host_ports = match ips.first() {
            Some(ip) if local => host_ports(pod, *ip),
            _ => Vec::new(),
        };
        PodEntry { address: Some(address), ips, host_ports }
    }

    /// Takes over a new or changed Ingress.
    pub fn apply_ingress(&mut self, ingress: &Ingress) {
        let key = (ingress.metadata.namespace.clone(), ingress.metadata.name.clone());
        self.dirty_wakers |= self.wakers.values().any(|waker| waker.is_by(&key));
        self.ingresses.insert(key, ingress.clone());
        self.dirty_routes = true;
    }

    /// Forgets an Ingress.
    pub fn delete_ingress(&mut self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.dirty_wakers |= self.wakers.values().any(|waker| waker.is_by(&key));
        self.dirty_routes |= self.ingresses.remove(&key).is_some();
    }

    /// Takes over a new or changed HorizontalPodAutoscaler. Most changes concern nobody here.
    pub fn apply_autoscaler(&mut self, scaler: &HorizontalPodAutoscaler) {
        let key = (scaler.metadata.namespace.clone(), scaler.metadata.name.clone());
        let waker = Waker::of(scaler);
        if self.wakers.get(&key) != waker.as_ref() {
            match waker {
                Some(waker) => self.wakers.insert(key, waker),
                None => self.wakers.remove(&key),
            };
            self.dirty_wakers = true;
        }
    }

    /// Forgets a HorizontalPodAutoscaler.
    pub fn delete_autoscaler(&mut self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.dirty_wakers |= self.wakers.remove(&key).is_some();
    }

    /// Takes over a Secret of type `kubernetes.io/tls`; others are passed over.
    pub fn apply_secret(&mut self, secret: &Secret) {
        let key = (secret.metadata.namespace.clone(), secret.metadata.name.clone());
        let bytes = |field: &str| {
            let text = secret.data.get(field)?;
            base64::engine::general_purpose::STANDARD.decode(text).ok()
        };
        let certificate = match (secret.type_.as_str(), bytes("tls.crt"), bytes("tls.key")) {
            ("kubernetes.io/tls", Some(chain), Some(key)) => Certificate { chain, key },
            _ => return self.forget_certificate(&key),
        };
        self.certificates.insert(key, Arc::new(certificate));
        self.dirty_routes = true;
    }

    /// Forgets a Secret.
    pub fn delete_secret(&mut self, namespace: &str, name: &str) {
        self.forget_certificate(&(namespace.to_owned(), name.to_owned()));
    }

    fn forget_certificate(&mut self, key: &SecretKey) {
        self.dirty_routes |= self.certificates.remove(key).is_some();
    }

    /// Takes over a new or changed Node.
    pub fn apply_node(&mut self, node: &Node) {
        let all = node.spec.pod_cidrs.iter().chain([&node.spec.pod_cidr]);
        let ranges: Vec<Range> = all.filter_map(|range| range.parse().ok()).collect();
        if self.nodes.get(&node.metadata.name) != Some(&ranges) {
            self.nodes.insert(node.metadata.name.clone(), ranges);
            self.dirty_nodes = true;
        }
    }

    /// Forgets a Node.
    pub fn delete_node(&mut self, name: &str) {
        self.dirty_nodes |= self.nodes.remove(name).is_some();
    }

    /// Whether a build would bring anything new.
    pub fn is_dirty(&self) -> bool {
        let dirty = self.dirty || self.dirty_nodes || self.dirty_routes || self.dirty_wakers;
        dirty || !self.dirty_services.is_empty()
    }

    /// The table of everything applied so far.
    pub fn build(&mut self) -> Table {
        if std::mem::take(&mut self.dirty_wakers) {
            self.replace_wakers();
        }
        for key in std::mem::take(&mut self.dirty_services) {
            self.replace_service(&key);
        }
        if std::mem::take(&mut self.dirty_routes) {
            let class = &self.ingress_class;
            let known = &self.table.ingress_tallies;
            let (routes, certificates, tallies) =
                build_ingress::routes(self.ingresses.values(), class, &self.certificates, known);
            self.table.routes = Arc::new(routes);
            self.table.certificates = Arc::new(certificates);
            self.table.ingress_tallies = tallies.into();
        }
        if std::mem::take(&mut self.dirty_nodes) {
            self.table.node_ranges = self.node_ranges();
        }
        self.dirty = false;
        self.table.generation += 1;
        self.table.clone()
    }

    fn node_ranges(&self) -> Arc<[(Range, Arc<str>)]> {
        let pairs = self.nodes.iter().flat_map(|(name, ranges)| {
            let name: Arc<str> = name.as_str().into();
            ranges.iter().map(move |range| (*range, name.clone()))
        });
        pairs.collect()
    }

    /// Finds the Services anew that wake somebody; those of which that has changed are made anew.
    fn replace_wakers(&mut self) {
        let woken = build_wakers::by_service(&self.wakers, &self.ingresses);
        let before = std::mem::replace(&mut self.woken, woken);
        let keys = before.keys().chain(self.woken.keys());
        let changed = keys.filter(|key| before.get(*key) != self.woken.get(*key));
        self.dirty_services.extend(changed.cloned());
    }

    fn replace_service(&mut self, key: &Arc<str>) {
        let new = self.services.get(key).map(|service| {
            let slices = self.slices.get(key).into_iter().flat_map(BTreeMap::values);
            let turns = &mut self.turns;
            let turn = |number, protocol| {
                let start = || Arc::new(AtomicUsize::new(fastrand::usize(0..1 << 16)));
                turns.entry((key.clone(), number, protocol)).or_insert_with(start).clone()
            };
            let standing = Standing {
                tally: self.tallies.entry(key.clone()).or_default().clone(),
                wakers: self.woken.get(key).cloned().unwrap_or_default(),
            };
            Arc::new(build_service::service(key, service, slices, standing, turn))
        });
        let old = self.table.services.get(key).cloned();
        if let Some(old) = &old {
            self.take_out(old);
        }
        match new {
            Some(new) => self.put_in(new),
            None => {
                self.turns.retain(|(service, _, _), _| service != key);
                self.tallies.remove(key);
            }
        }
        let ports = |service: &Service| -> BTreeSet<(Protocol, u16)> {
            service.ports.iter().filter_map(|port| Some((port.protocol, port.node_port?))).collect()
        };
        let before = old.map(|old| ports(&old)).unwrap_or_default();
        let after = self.table.services.get(key).map(|new| ports(new)).unwrap_or_default();
        if before != after {
            self.table.listeners += 1;
        }
    }

    fn take_out(&mut self, service: &Service) {
        let table = &mut self.table;
        table.services.remove(&*service.key);
        for ip in service.cluster_ips() {
            // Another Service may have got the address in the meantime.
            if table.cluster_ips.get(ip).is_some_and(|holder| holder.key == service.key) {
                table.cluster_ips.remove(ip);
            }
            for port in &service.ports {
                let key = (*ip, port.number, port.protocol);
                if table.virtual_ports.get(&key).is_some_and(|holder| holder.service == service.key) {
                    table.virtual_ports.remove(&key);
                }
            }
        }
        for port in &service.ports {
            let Some(node_port) = port.node_port else { continue };
            let key = (port.protocol, node_port);
            if table.node_ports.get(&key).is_some_and(|holder| holder.service == service.key) {
                table.node_ports.remove(&key);
            }
        }
        for (ip, name) in member_names(service) {
            let mut names = table.member_names.remove(&ip).unwrap_or_default();
            names.retain(|known| *known != name);
            if !names.is_empty() {
                table.member_names.insert(ip, names);
            }
        }
        let namespace = service.namespace();
        match table.namespaces.get(namespace).copied() {
            Some(count) if count > 1 => {
                table.namespaces.insert(namespace.into(), count - 1);
            }
            _ => {
                table.namespaces.remove(namespace);
            }
        }
    }

    fn put_in(&mut self, service: Arc<Service>) {
        let table = &mut self.table;
        for ip in service.cluster_ips() {
            table.cluster_ips.insert(*ip, service.clone());
            for port in &service.ports {
                let port: &Arc<ServicePort> = port;
                table.virtual_ports.insert((*ip, port.number, port.protocol), port.clone());
            }
        }
        for port in &service.ports {
            if let Some(node_port) = port.node_port {
                table.node_ports.insert((port.protocol, node_port), port.clone());
            }
        }
        for (ip, name) in member_names(&service) {
            let mut names = table.member_names.remove(&ip).unwrap_or_default();
            names.push(name);
            table.member_names.insert(ip, names);
        }
        let count = table.namespaces.get(service.namespace()).copied().unwrap_or(0);
        table.namespaces.insert(service.namespace().into(), count + 1);
        table.services.insert(service.key.clone(), service);
    }
}

impl std::fmt::Debug for TableBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableBuilder")
            .field("node", &self.node)
            .field("services", &self.services.len())
            .field("pods", &self.pods.len())
            .finish_non_exhaustive()
    }
}

fn service_key(namespace: &str, name: &str) -> Arc<str> {
    format!("{name}.{namespace}").into()
}

/// The reverse names that a headless Service gives its endpoints.
fn member_names(service: &Service) -> Vec<(IpAddr, Arc<str>)> {
    if service.form != crate::table::Form::Headless {
        return Vec::new();
    }
    let name = |label: Arc<str>| format!("{label}.{}", service.key).into();
    service.members.iter().map(|member| (member.ip, name(member.label()))).collect()
}

fn host_ports(pod: &Pod, ip: IpAddr) -> Vec<(HostPort, SocketAddr)> {
    let containers = pod.spec.init_containers.iter().chain(&pod.spec.containers);
    let ports = containers.flat_map(|container| &container.ports);
    let read = |port: &edge_api::kinds::pod::ContainerPort| {
        let number = u16::try_from(port.host_port).ok().filter(|number| *number > 0)?;
        let target = u16::try_from(port.container_port).ok()?;
        let any = port.host_ip.parse::<IpAddr>().ok().filter(|ip| !ip.is_unspecified());
        let protocol = Protocol::from_kubernetes(&port.protocol)?;
        Some((HostPort { ip: any, port: number, protocol }, SocketAddr::new(ip, target)))
    };
    ports.filter_map(read).collect()
}

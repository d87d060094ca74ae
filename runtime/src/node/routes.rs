//! From the mirrors to the table: every change is handed to the builder, and a burst of them makes one table.

use std::collections::HashMap;
use std::sync::Arc;

use edge_api::kinds::endpoint_slice::EndpointSlice;
use edge_api::kinds::horizontal_pod_autoscaler::HorizontalPodAutoscaler;
use edge_api::kinds::ingress::Ingress;
use edge_api::kinds::node::Node;
use edge_api::kinds::pod::Pod;
use edge_api::kinds::secret::Secret;
use edge_api::kinds::service::Service;
use tokio::sync::{Notify, mpsc};

use crate::supervisor::host::Host;
use crate::sync::{Change, Hold, Key};
use crate::table::{TableBuilder, Tables};
use crate::volume::objects::{Lookup, Source};

/// Changes of one kind that wait.
const WAITING: usize = 256;
/// The class of Ingresses that are ours; those without a class are, too.
const INGRESS_CLASS: &str = "edgectl";

/// Where the mirrors send their changes.
pub struct Senders {
    /// Services.
    pub services: mpsc::Sender<Change<Service>>,
    /// Their endpoints.
    pub slices: mpsc::Sender<Change<EndpointSlice>>,
    /// Ingresses.
    pub ingresses: mpsc::Sender<Change<Ingress>>,
    /// Pods of this node.
    pub pods: mpsc::Sender<Change<Pod>>,
    /// All nodes.
    pub nodes: mpsc::Sender<Change<Node>>,
    /// Autoscalers, some of which are woken by requests.
    pub autoscalers: mpsc::Sender<Change<HorizontalPodAutoscaler>>,
}

/// Builds and publishes tables.
pub struct Router {
    builder: TableBuilder,
    services: mpsc::Receiver<Change<Service>>,
    slices: mpsc::Receiver<Change<EndpointSlice>>,
    ingresses: mpsc::Receiver<Change<Ingress>>,
    pods: mpsc::Receiver<Change<Pod>>,
    nodes: mpsc::Receiver<Change<Node>>,
    autoscalers: mpsc::Receiver<Change<HorizontalPodAutoscaler>>,
    /// The certificates that Ingresses name, by Ingress.
    certificates: HashMap<Key, Vec<(String, Hold)>>,
    bell: Arc<Notify>,
}

impl Router {
    /// A router for this node, and where its news come in.
    pub fn new(node: &str) -> (Router, Senders) {
        let (services_in, services) = mpsc::channel(WAITING);
        let (slices_in, slices) = mpsc::channel(WAITING);
        let (ingresses_in, ingresses) = mpsc::channel(WAITING);
        let (pods_in, pods) = mpsc::channel(WAITING);
        let (nodes_in, nodes) = mpsc::channel(WAITING);
        let (autoscalers_in, autoscalers) = mpsc::channel(WAITING);
        let router = Router {
            builder: TableBuilder::new(node, INGRESS_CLASS),
            services,
            slices,
            ingresses,
            pods,
            nodes,
            autoscalers,
            certificates: HashMap::new(),
            bell: Arc::new(Notify::new()),
        };
        let senders = Senders {
            services: services_in,
            slices: slices_in,
            ingresses: ingresses_in,
            pods: pods_in,
            nodes: nodes_in,
            autoscalers: autoscalers_in,
        };
        (router, senders)
    }

    /// Publishes a table whenever something has changed, until the mirrors end.
    pub async fn run(mut self, host: Arc<Host>, tables: Arc<Tables>) {
        loop {
            tokio::select! {
                Some(change) = self.services.recv() => self.service(change),
                Some(change) = self.slices.recv() => self.slice(change),
                Some(change) = self.ingresses.recv() => self.ingress(change, &host),
                Some(change) = self.pods.recv() => self.pod(change),
                Some(change) = self.nodes.recv() => self.node(change),
                Some(change) = self.autoscalers.recv() => self.autoscaler(change),
                () = self.bell.notified() => self.refresh_certificates(),
                else => return,
            }
            self.take_waiting(&host);
            if self.builder.is_dirty() {
                tables.publish(self.builder.build());
            }
        }
    }

    /// What waits already comes into the same table.
    fn take_waiting(&mut self, host: &Host) {
        while let Ok(change) = self.services.try_recv() {
            self.service(change);
        }
        while let Ok(change) = self.slices.try_recv() {
            self.slice(change);
        }
        while let Ok(change) = self.ingresses.try_recv() {
            self.ingress(change, host);
        }
        while let Ok(change) = self.pods.try_recv() {
            self.pod(change);
        }
        while let Ok(change) = self.nodes.try_recv() {
            self.node(change);
        }
        while let Ok(change) = self.autoscalers.try_recv() {
            self.autoscaler(change);
        }
    }

    fn service(&mut self, change: Change<Service>) {
        match change {
            Change::Apply(_, service) => self.builder.apply_service(&service),
            Change::Delete(key, _) => self.builder.delete_service(&key.namespace, &key.name),
            Change::Synced => {}
        }
    }

    fn slice(&mut self, change: Change<EndpointSlice>) {
        match change {
            Change::Apply(_, slice) => self.builder.apply_endpoint_slice(&slice),
            Change::Delete(key, _) => self.builder.delete_endpoint_slice(&key.namespace, &key.name),
            Change::Synced => {}
        }
    }

    fn pod(&mut self, change: Change<Pod>) {
        match change {
            Change::Apply(_, pod) => self.builder.apply_pod(&pod),
            Change::Delete(key, _) => self.builder.delete_pod(&key.namespace, &key.name),
            Change::Synced => {}
        }
    }

    fn node(&mut self, change: Change<Node>) {
        match change {
            Change::Apply(_, node) => self.builder.apply_node(&node),
            Change::Delete(key, _) => self.builder.delete_node(&key.name),
            Change::Synced => {}
        }
    }

    fn autoscaler(&mut self, change: Change<HorizontalPodAutoscaler>) {
        match change {
            Change::Apply(_, scaler) => self.builder.apply_autoscaler(&scaler),
            Change::Delete(key, _) => self.builder.delete_autoscaler(&key.namespace, &key.name),
            Change::Synced => {}
        }
    }

    fn ingress(&mut self, change: Change<Ingress>, host: &Host) {
        match change {
            Change::Apply(key, ingress) => {
                let names = ingress
                    .spec
                    .tls
                    .iter()
                    .map(|tls| tls.secret_name.clone())
                    .filter(|name| !name.is_empty());
                let hold = |name: String| {
                    let hold = host.named.hold(Source::Secret, &key.namespace, &name, &self.bell);
                    (name, hold)
                };
                let held: Vec<_> = names.map(hold).collect();
                self.builder.apply_ingress(&ingress);
                self.certificates.insert(key, held);
                self.refresh_certificates();
            }
            Change::Delete(key, _) => {
                self.builder.delete_ingress(&key.namespace, &key.name);
                self.certificates.remove(&key);
            }
            Change::Synced => {}
        }
    }

    fn refresh_certificates(&mut self) {
        for (key, held) in &self.certificates {
            for (name, hold) in held {
                match hold.lookup() {
                    Lookup::Present(entries) => {
                        self.builder.apply_secret(&certificate(&key.namespace, name, &entries))
                    }
                    Lookup::Absent => self.builder.delete_secret(&key.namespace, name),
                    Lookup::Unknown => {}
                }
            }
        }
    }
}

/// The Secret that an Ingress names, as the builder reads it.
fn certificate(namespace: &str, name: &str, entries: &crate::volume::Entries) -> Secret {
    use base64::Engine as _;
    let encode = |bytes: &Vec<u8>| base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut secret = Secret { type_: "kubernetes.io/tls".to_owned(), ..Secret::default() };
    namespace.clone_into(&mut secret.metadata.namespace);
    name.clone_into(&mut secret.metadata.name);
    secret.data = entries.iter().map(|(key, bytes)| (key.clone(), encode(bytes))).collect();
    secret
}

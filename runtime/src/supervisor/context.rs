//! What the tasks of one Pod share.

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use edge_api::kinds::pod::{Container, Pod};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::image::{Credential, Image, credentials};
use crate::log::Audience;
use crate::net::{HttpServing, PodNet};
use crate::report::{PodName, Subject};
use crate::sandbox::{Feed, Running};
use crate::supervisor::env;
use crate::supervisor::host::Host;
use crate::supervisor::machine::Event;
use crate::sync::Hold;
use crate::volume::facts::Facts;
use crate::volume::objects::{Lookup, Source};
use crate::volume::payload;

/// What comes into a worker.
#[derive(Debug)]
pub enum Mail {
    /// For the machine.
    Event(Event),
    /// The API may have forgotten the status.
    Report(Arc<Pod>),
}

/// A running container.
pub struct Active {
    /// The sandbox's handle.
    pub running: Running,
    /// Its place in the Pod's network, if it serves HTTP.
    pub serving: Mutex<Option<HttpServing>>,
    /// Its input, if it has one.
    pub feed: Option<Feed>,
    /// Who listens to it.
    pub audience: Audience,
    /// Its `preStop` has begun.
    pub let_go: AtomicBool,
    /// Directories that a handler opens anew for each instance.
    #[allow(dead_code, reason = "held for its drop")]
    pub holds: Vec<std::os::fd::OwnedFd>,
}

/// One Pod's share of the node.
pub struct Context {
    /// The node.
    pub host: Arc<Host>,
    /// Which Pod.
    pub name: PodName,
    /// The Pod as last seen.
    pub pod: ArcSwap<Pod>,
    /// Its address, once it has one.
    pub ip: OnceLock<IpAddr>,
    /// Its network, once it has one.
    pub net: OnceLock<PodNet>,
    /// The objects it names.
    pub holds: Vec<Hold>,
    /// Rings when one of them changes.
    pub bell: Arc<Notify>,
    /// Images by container.
    pub images: Mutex<Vec<Option<Image>>>,
    /// Running containers.
    pub active: Mutex<Vec<Option<Arc<Active>>>>,
    mail: mpsc::UnboundedSender<Mail>,
}

impl Context {
    /// Begins to follow what the Pod names.
    pub fn new(host: Arc<Host>, pod: Arc<Pod>, mail: mpsc::UnboundedSender<Mail>) -> Context {
        let meta = &pod.metadata;
        let name =
            PodName { namespace: meta.namespace.clone(), name: meta.name.clone(), uid: meta.uid.clone() };
        let bell = Arc::new(Notify::new());
        let mut names: Vec<(Source, &str)> = Vec::new();
        names.extend(pod.spec.volumes.iter().flat_map(payload::names));
        names.extend(pod.spec.all_containers().flat_map(env::names));
        names.extend(pod.spec.image_pull_secrets.iter().map(|secret| (Source::Secret, secret.name.as_str())));
        names.sort_unstable();
        names.dedup();
        let hold = |(source, name): &(Source, &str)| host.named.hold(*source, &meta.namespace, name, &bell);
        let holds = names.iter().map(hold).collect();
        let count = pod.spec.all_containers().count();
        Context {
            holds,
            bell,
            name,
            ip: OnceLock::new(),
            net: OnceLock::new(),
            images: Mutex::new(vec![None; count]),
            active: Mutex::new((0..count).map(|_| None).collect()),
            pod: ArcSwap::new(pod),
            host,
            mail,
        }
    }

    /// Tells the worker.
    pub fn send(&self, event: Event) {
        // A worker that is gone needs no news.
        let _ = self.mail.send(Mail::Event(event));
    }

    /// Records an Event on the Pod, or on one of its containers.
    pub fn tell(&self, container: Option<&Container>, warning: bool, reason: &'static str, message: &str) {
        let field = container.map(|container| self.field(&container.name)).unwrap_or_default();
        let subject = Subject {
            kind: "Pod",
            namespace: self.name.namespace.clone(),
            name: self.name.name.clone(),
            uid: self.name.uid.clone(),
            field,
        };
        self.host.events.tell(subject, warning, reason, message);
    }

    fn field(&self, name: &str) -> String {
        let pod = self.pod.load();
        let init = pod.spec.init_containers.iter().any(|container| container.name == name);
        format!("spec.{}{{{name}}}", if init { "initContainers" } else { "containers" })
    }

    /// What is known of an object that the Pod names.
    pub fn lookup(&self, source: Source, name: &str) -> Lookup {
        self.holds.iter().find(|hold| hold.is(source, name)).map_or(Lookup::Unknown, Hold::lookup)
    }

    /// What the Pod may know about itself.
    pub fn facts<'a>(&'a self, pod: &'a Pod) -> Facts<'a> {
        let ip = self.ip.get().copied();
        Facts { pod, ip, host_ip: self.host.address, allocatable: &self.host.allocatable }
    }

    /// The credentials of the Pod's `imagePullSecrets`.
    pub fn credentials(&self) -> Vec<Credential> {
        let pod = self.pod.load();
        let mut found = Vec::new();
        for secret in &pod.spec.image_pull_secrets {
            let Lookup::Present(entries) = self.lookup(Source::Secret, &secret.name) else { continue };
            for key in [".dockerconfigjson", ".dockercfg"] {
                found
                    .extend(entries.get(key).map(|document| credentials::read(document)).unwrap_or_default());
            }
        }
        found
    }
}

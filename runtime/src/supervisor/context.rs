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
use crate::supervisor::env::Variables;
use crate::supervisor::host::Host;
use crate::supervisor::life::Role;
use crate::supervisor::machine::Event;
use crate::supervisor::{crew, env};
use crate::sync::Hold;
use crate::volume::Claims;
use crate::volume::facts::Facts;
use crate::volume::objects::{Lookup, Source};
use crate::volume::payload;

/// What comes into a worker.
#[derive(Debug)]
pub enum Mail {
    /// For the machine. In a box: the queue keeps room for 32, and mostly nothing comes.
    Event(Box<Event>),
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
    /// Its variables, which stay what they were when it started.
    pub variables: Variables,
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
    holds: Mutex<Vec<Hold>>,
    /// Rings when one of them changes.
    pub bell: Arc<Notify>,
    /// What its claims are bound to.
    pub claims: Mutex<Claims>,
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
        let context = Context {
            holds: Mutex::default(),
            claims: Mutex::new(host.volumes.kept_claims(&meta.uid)),
            bell,
            name,
            ip: OnceLock::new(),
            net: OnceLock::new(),
            images: Mutex::default(),
            active: Mutex::default(),
            pod: ArcSwap::new(pod.clone()),
            host,
            mail,
        };
        context.see(pod);
        context
    }

    /// Takes the Pod as it is now: it may name more, and have more containers, than before.
    pub fn see(&self, pod: Arc<Pod>) {
        let mut names: Vec<(Source, &str)> = Vec::new();
        names.extend(pod.spec.volumes.iter().flat_map(payload::names));
        let crew: Vec<_> = crew::of(&pod).map(|(container, _)| container).collect();
        names.extend(crew.iter().flat_map(|container| env::names(container)));
        names.extend(pod.spec.image_pull_secrets.iter().map(|secret| (Source::Secret, secret.name.as_str())));
        names.sort_unstable();
        names.dedup();
        let mut holds = self.holds.lock();
        for (source, name) in names {
            if !holds.iter().any(|hold| hold.is(source, name)) {
                holds.push(self.host.named.hold(source, &self.name.namespace, name, &self.bell));
            }
        }
        drop(holds);
        self.images.lock().resize(crew.len(), None);
        self.active.lock().resize_with(crew.len(), || None);
        drop(crew);
        self.pod.store(pod);
    }

    /// Tells the worker.
    pub fn send(&self, event: Event) {
        // A worker that is gone needs no news.
        let _ = self.mail.send(Mail::Event(Box::new(event)));
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
        let list = match crew::of(&pod).find(|(container, _)| container.name == name) {
            Some((_, Role::Init | Role::Sidecar)) => "initContainers",
            Some((_, Role::Ephemeral)) => "ephemeralContainers",
            _ => "containers",
        };
        format!("spec.{list}{{{name}}}")
    }

    /// What is known of an object that the Pod names.
    pub fn lookup(&self, source: Source, name: &str) -> Lookup {
        self.holds.lock().iter().find(|hold| hold.is(source, name)).map_or(Lookup::Unknown, Hold::lookup)
    }

    /// One of the objects that the Pod names and of which nothing is known yet.
    pub fn unknown(&self) -> Option<String> {
        let holds = self.holds.lock();
        holds.iter().find(|hold| hold.lookup() == Lookup::Unknown).map(|hold| format!("{hold:?}"))
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

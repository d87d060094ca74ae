//! Desired Pods against running sandboxes.
//!
//! [`Supervisor`] gives every Pod that is bound to this node a worker, which feeds a pure [`machine`] with what
//! happens and carries out its effects. All rules are in the machine; the other files know how, not when. No Pod
//! waits for another.

pub mod address;
pub mod allocation;
mod ask;
mod claims;
mod context;
mod crew;
mod drain;
pub mod env;
pub mod exec;
mod hook;
pub mod host;
pub mod life;
pub mod machine;
mod message;
mod prepare;
mod probe;
pub mod roster;
mod run;
pub mod status;
mod waiting;
mod worker;

pub use run::CORE_DUMP;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use edge_api::kinds::pod::Pod;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::image::Digest;
use crate::log::pod_directory;
use crate::supervisor::context::Mail;
use crate::supervisor::exec::Residents;
use crate::supervisor::host::Host;
use crate::supervisor::machine::Event;
use crate::supervisor::worker::Worker;
use crate::sync::{Change, Key};

/// How long the server may take to say which Pods there are before the node's own copy counts.
const PATIENCE: Duration = Duration::from_secs(2);

/// The Pods of a node.
pub struct Supervisor {
    host: Arc<Host>,
    pods: HashMap<Key, Entry>,
    workers: JoinSet<()>,
    used: Arc<UsedImages>,
    residents: Arc<Residents>,
}

/// The images that Pods of this node name.
#[derive(Default)]
pub struct UsedImages(Mutex<HashMap<String, Vec<String>>>);

impl UsedImages {
    /// The names of all images in use.
    pub fn names(&self) -> HashSet<String> {
        self.0.lock().values().flatten().cloned().collect()
    }
}

struct Entry {
    uid: String,
    mail: mpsc::UnboundedSender<Mail>,
    pod: Arc<Pod>,
}

impl Supervisor {
    /// No Pods yet.
    pub fn new(host: Arc<Host>) -> Supervisor {
        Supervisor {
            host,
            pods: HashMap::new(),
            workers: JoinSet::new(),
            used: Arc::default(),
            residents: Arc::default(),
        }
    }

    /// What is in use, for the garbage collection of images.
    pub fn used(&self) -> Arc<UsedImages> {
        self.used.clone()
    }

    /// Who lives here, for those who look in.
    pub fn residents(&self) -> Arc<Residents> {
        self.residents.clone()
    }

    /// Follows the changes until they end.
    pub async fn run(mut self, mut changes: mpsc::Receiver<Change<Pod>>) {
        self.begin(&mut changes).await;
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Some(change) => self.take(change),
                    None => return,
                },
                Some(ended) = self.workers.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "a Pod's task broke");
                    }
                }
            }
        }
    }

    /// Gives the server a moment to correct the copy from disk, so that no Pod starts only to end.
    async fn begin(&mut self, changes: &mut mpsc::Receiver<Change<Pod>>) {
        let mut known: HashMap<Key, Arc<Pod>> = HashMap::new();
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(patience);
        loop {
            tokio::select! {
                () = &mut patience => break,
                change = changes.recv() => match change {
                    Some(Change::Apply(key, pod)) => drop(known.insert(key, pod)),
                    Some(Change::Delete(key, _)) => drop(known.remove(&key)),
                    Some(Change::Synced) => {
                        self.sweep(known.values().map(AsRef::as_ref));
                        break;
                    }
                    None => return,
                },
            }
        }
        for (key, pod) in known {
            self.apply(key, pod);
        }
    }

    fn take(&mut self, change: Change<Pod>) {
        match change {
            Change::Apply(key, pod) => self.apply(key, pod),
            Change::Delete(key, _) => self.remove(&key),
            Change::Synced => {
                for entry in self.pods.values() {
                    let _ = entry.mail.send(Mail::Report(entry.pod.clone()));
                }
            }
        }
    }

    fn apply(&mut self, key: Key, pod: Arc<Pod>) {
        match self.pods.get_mut(&key) {
            Some(entry) if entry.uid == pod.metadata.uid => {
                if entry.pod.spec.ephemeral_containers != pod.spec.ephemeral_containers {
                    self.used.0.lock().insert(entry.uid.clone(), images(&pod));
                }
                entry.pod = pod.clone();
                let _ = entry.mail.send(Mail::Event(Box::new(Event::Changed(pod))));
            }
            Some(_) => {
                // A namesake: the Pod that was meant before is gone.
                self.remove(&key);
                self.add(key, pod);
            }
            None => self.add(key, pod),
        }
    }

    fn add(&mut self, key: Key, pod: Arc<Pod>) {
        if *self.host.closing.borrow() {
            // It begins when the node is back.
            return;
        }
        let (mail, inbox) = mpsc::unbounded_channel();
        let uid = pod.metadata.uid.clone();
        self.used.0.lock().insert(uid.clone(), images(&pod));
        let worker = Worker::new(self.host.clone(), pod.clone(), inbox, mail.clone());
        self.residents.enter(worker.context());
        self.pods.insert(key, Entry { uid, mail, pod });
        self.workers.spawn(worker.run());
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.pods.remove(key) {
            self.used.0.lock().remove(&entry.uid);
            let _ = entry.mail.send(Mail::Event(Box::new(Event::Removed)));
        }
    }

    /// Removes what Pods that are no more have left on this node.
    fn sweep<'a>(&self, pods: impl Iterator<Item = &'a Pod>) {
        let (mut uids, mut logs) = (HashSet::new(), HashSet::new());
        for pod in pods {
            let meta = &pod.metadata;
            logs.insert(pod_directory(&meta.namespace, &meta.name, &meta.uid));
            uids.insert(meta.uid.clone());
        }
        for uid in self.host.volumes.pods().unwrap_or_default() {
            if !uids.contains(&uid) {
                let _ = self.host.volumes.remove(&uid);
            }
        }
        for pod in self.host.logs.pods().unwrap_or_default() {
            if !logs.contains(&pod) {
                self.host.logs.remove(&pod);
            }
        }
    }
}

/// The modules that names lead to.
pub fn modules(host: &Host, names: &HashSet<String>) -> HashSet<Digest> {
    names.iter().filter_map(|name| host.images.kept(name)).map(|image| image.digest).collect()
}

/// The images that a Pod uses.
fn images(pod: &Pod) -> Vec<String> {
    crew::of(pod).map(|(container, _)| container.image.clone()).collect()
}

//! The objects of one kind, typed, by a watcher's words.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::client::Client;
use crate::sync::journal::Journal;
use crate::sync::watcher::{Event, Target, Watcher};

/// An object's place in its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Empty for objects of the cluster.
    pub namespace: String,
    /// Unique in the namespace.
    pub name: String,
}

/// What a reader of changes is told.
#[derive(Debug)]
pub enum Change<T> {
    /// An object is new or changed.
    Apply(Key, Arc<T>),
    /// An object is gone.
    Delete(Key, Arc<T>),
    /// Everything that the server had was told.
    Synced,
}

impl<T> Clone for Change<T> {
    fn clone(&self) -> Change<T> {
        match self {
            Change::Apply(key, object) => Change::Apply(key.clone(), object.clone()),
            Change::Delete(key, object) => Change::Delete(key.clone(), object.clone()),
            Change::Synced => Change::Synced,
        }
    }
}

/// What of an object is worth writing to disk when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    Whole,
    /// All but the status, of which the phase and the conditions that Pods wait for count: what the node writes
    /// itself it knows.
    WithoutStatus,
}

/// The objects of one kind.
pub struct Mirror<T> {
    objects: RwLock<BTreeMap<Key, Arc<T>>>,
    generation: watch::Sender<u64>,
    synced: watch::Sender<bool>,
}

impl<T> Default for Mirror<T> {
    fn default() -> Mirror<T> {
        Mirror {
            objects: RwLock::default(),
            generation: watch::Sender::new(0),
            synced: watch::Sender::new(false),
        }
    }
}

impl<T> Mirror<T> {
    /// One object.
    pub fn get(&self, key: &Key) -> Option<Arc<T>> {
        self.objects.read().get(key).cloned()
    }

    /// All objects, in the order of their keys.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.objects.read().values().cloned().collect()
    }

    /// Whether one of the objects is such.
    pub fn any(&self, such: impl Fn(&T) -> bool) -> bool {
        self.objects.read().values().any(|object| such(object))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.objects.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.read().is_empty()
    }

    /// Rings when anything has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Waits until everything that the server has is here.
    pub async fn synced(&self) {
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    fn ring(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Mirror<T> {
    /// Begins with the copy in `path` and returns what keeps the mirror up to date while it is polled. The readers are
    /// told everything, the copy included.
    pub fn follow(
        self: &Arc<Self>,
        client: Client,
        target: Target,
        path: &Path,
        scope: Scope,
        readers: Vec<mpsc::Sender<Change<T>>>,
    ) -> impl Future<Output = ()> + Send + use<T> {
        let (journal, kept) = Journal::open(path.to_owned());
        let mut follower = Follower {
            mirror: self.clone(),
            journal,
            written: BTreeMap::new(),
            scope,
            readers,
            listing: None,
            bodies: BTreeMap::new(),
        };
        for (key, object) in &kept {
            follower.written.insert(key.clone(), fingerprint(object, scope));
        }
        async move {
            for (key, object) in kept {
                follower.apply(key, object, false).await;
            }
            follower.mirror.ring();
            let mut watcher = Watcher::new(client, target);
            loop {
                follower.take(watcher.next().await).await;
            }
        }
    }
}

struct Follower<T> {
    mirror: Arc<Mirror<T>>,
    journal: Journal,
    /// What is on disk, by its fingerprint.
    written: BTreeMap<Key, u64>,
    scope: Scope,
    readers: Vec<mpsc::Sender<Change<T>>>,
    /// The keys of the list that is arriving.
    listing: Option<BTreeSet<Key>>,
    /// Objects of the list that are to be written.
    bodies: BTreeMap<Key, Option<Value>>,
}

impl<T: DeserializeOwned + Send + Sync + 'static> Follower<T> {
    async fn take(&mut self, event: Event) {
        match event {
            Event::Init => self.listing = Some(BTreeSet::new()),
            Event::InitApply(object) => {
                let key = key_of(&object);
                if let Some(listing) = &mut self.listing {
                    listing.insert(key.clone());
                }
                self.apply(key, object, true).await;
            }
            Event::InitDone => {
                let listed = self.listing.take().unwrap_or_default();
                let gone: Vec<Key> =
                    self.mirror.objects.read().keys().filter(|key| !listed.contains(key)).cloned().collect();
                for key in gone {
                    self.delete(&key).await;
                }
                self.flush();
                self.mirror.ring();
                self.mirror.synced.send_replace(true);
                self.tell(Change::Synced).await;
            }
            Event::Apply(object) => {
                self.apply(key_of(&object), object, true).await;
                self.flush();
                self.mirror.ring();
            }
            Event::Delete(object) => {
                self.delete(&key_of(&object)).await;
                self.flush();
                self.mirror.ring();
            }
        }
    }

    async fn apply(&mut self, key: Key, object: Value, write: bool) {
        if write {
            let print = fingerprint(&object, self.scope);
            if self.written.insert(key.clone(), print) != Some(print) {
                self.bodies.insert(key.clone(), Some(object.clone()));
            }
        }
        match serde_json::from_value::<T>(object) {
            Ok(typed) => {
                let typed = Arc::new(typed);
                self.mirror.objects.write().insert(key.clone(), typed.clone());
                self.tell(Change::Apply(key, typed)).await;
            }
            Err(error) => {
                tracing::warn!(namespace = key.namespace, name = key.name, %error, "an object is not readable")
            }
        }
    }

    async fn delete(&mut self, key: &Key) {
        if self.written.remove(key).is_some() {
            self.bodies.insert(key.clone(), None);
        }
        let old = self.mirror.objects.write().remove(key);
        if let Some(old) = old {
            self.tell(Change::Delete(key.clone(), old)).await;
        }
    }

    async fn tell(&self, change: Change<T>) {
        for reader in &self.readers {
            // A reader that is gone needs no news.
            let _ = reader.send(change.clone()).await;
        }
    }

    fn flush(&mut self) {
        let bodies = std::mem::take(&mut self.bodies);
        let live = self.written.len();
        if self.journal.append(bodies.iter().map(|(key, object)| (key, object.as_ref())), live) {
            self.compact();
        }
    }

    /// Reads the journal back rather than keeping every object as JSON in memory.
    fn compact(&mut self) {
        let objects = self.journal.reread();
        self.journal.rewrite(objects.iter());
    }
}

fn key_of(object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    Key { namespace: text("namespace"), name: text("name") }
}

/// The states of the conditions that are an object's readiness gates.
fn awaited<'a>(object: &'a Value, status: &'a Value) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
    let list = |value: &'a Value| value.as_array().map(Vec::as_slice).unwrap_or_default();
    let gates = list(&object["spec"]["readinessGates"]);
    gates.iter().filter_map(|gate| gate["conditionType"].as_str()).map(move |gate| {
        let found = list(&status["conditions"]).iter().find(|condition| condition["type"] == gate);
        (gate, found.and_then(|condition| condition["status"].as_str()))
    })
}

/// Equal for objects whose difference is not worth a write.
fn fingerprint(object: &Value, scope: Scope) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (field, value) in object.as_object().into_iter().flatten() {
        match field.as_str() {
            "metadata" => {
                let kept = value.as_object().into_iter().flatten();
                for (field, value) in
                    kept.filter(|(field, _)| !matches!(field.as_str(), "resourceVersion" | "managedFields"))
                {
                    (field, value.to_string()).hash(&mut hasher);
                }
            }
            "status" if scope == Scope::WithoutStatus => {
                value["phase"].as_str().hash(&mut hasher);
                awaited(object, value).for_each(|condition| condition.hash(&mut hasher));
            }
            _ => (field, value.to_string()).hash(&mut hasher),
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Thing {
        spec: u32,
    }

    fn object(name: &str, revision: u32, spec: u32) -> Value {
        json!({"metadata": {"name": name, "resourceVersion": revision.to_string()}, "spec": spec, "status": {"x": revision}})
    }

    fn follower(path: &Path) -> (Follower<Thing>, mpsc::Receiver<Change<Thing>>) {
        let (changes, reader) = mpsc::channel(100);
        let (journal, _) = Journal::open(path.to_owned());
        let follower = Follower {
            mirror: Arc::default(),
            journal,
            written: BTreeMap::new(),
            scope: Scope::WithoutStatus,
            readers: vec![changes],
            listing: None,
            bodies: BTreeMap::new(),
        };
        (follower, reader)
    }

    fn told(reader: &mut mpsc::Receiver<Change<Thing>>) -> Vec<String> {
        std::iter::from_fn(|| reader.try_recv().ok())
            .map(|change| match change {
                Change::Apply(key, thing) => format!("{}={}", key.name, thing.spec),
                Change::Delete(key, _) => format!("-{}", key.name),
                Change::Synced => "synced".to_owned(),
            })
            .collect()
    }

    #[tokio::test]
    async fn lists_replace_and_changes_apply() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("things.jsonl");
        let (mut follower, mut reader) = follower(&path);
        for event in [
            Event::Init,
            Event::InitApply(object("a", 1, 1)),
            Event::InitApply(object("b", 2, 1)),
            Event::InitDone,
            Event::Apply(object("a", 3, 2)),
            Event::Delete(object("b", 4, 1)),
            Event::Apply(object("c", 5, 1)),
        ] {
            follower.take(event).await;
        }
        assert_eq!(told(&mut reader), ["a=1", "b=1", "synced", "a=2", "-b", "c=1"]);
        let names =
            |objects: &BTreeMap<Key, Value>| objects.keys().map(|key| key.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&Journal::open(path.clone()).1), ["a", "c"]);
        for event in [Event::Init, Event::InitApply(object("c", 6, 1)), Event::InitDone] {
            follower.take(event).await;
        }
        assert_eq!(told(&mut reader), ["c=1", "-a", "synced"]);
        assert_eq!(names(&Journal::open(path.clone()).1), ["c"]);
        let length = std::fs::metadata(&path).expect("there").len();
        follower.take(Event::Apply(object("c", 7, 1))).await;
        assert_eq!(std::fs::metadata(&path).expect("there").len(), length, "a status alone is not written");
    }

    #[tokio::test]
    async fn the_journal_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("things.jsonl");
        let (mut follower, mut reader) = follower(&path);
        for spec in 0..1000 {
            follower.take(Event::Apply(object("a", spec, spec))).await;
            told(&mut reader);
        }
        assert!(std::fs::metadata(&path).expect("there").len() < 20_000);
        assert_eq!(Journal::open(path).1.values().next().expect("one")["spec"], 999);
    }
}

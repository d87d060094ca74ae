//! Who belongs to whom: every object by its uid, its dependents, and what lives in each namespace.
//!
//! Since every kind is seen at the same revision, an owner that is not here does not exist.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use edge_api::kind::Kind;

use crate::mirror::object::Meta;

/// An object in the graph.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its kind.
    pub kind: &'static Kind,
    /// When it was last written.
    pub revision: u64,
    /// Its metadata.
    pub meta: Arc<Meta>,
}

/// Of uids, which have no order here: in a tree each of its levels would be a few texts to fetch from somewhere else in
/// memory. It has no seed, since uids are the server's own, so that equal histories give equal orders.
type Hasher = BuildHasherDefault<DefaultHasher>;

/// All objects by identity and ownership.
#[derive(Debug, Default)]
pub struct Graph {
    /// By the store's keys: a deletion says no more than that.
    entries: HashMap<Arc<str>, Entry>,
    /// The key of each uid.
    keys: HashMap<Arc<str>, Arc<str>, Hasher>,
    dependents: HashMap<Box<str>, BTreeSet<Arc<str>>>,
    namespaces: HashMap<Arc<str>, HashSet<Arc<str>, Hasher>>,
    custom: HashMap<(&'static str, &'static str), BTreeSet<Arc<str>>>,
}

impl Graph {
    /// The object with a uid.
    pub fn get(&self, uid: &str) -> Option<&Entry> {
        self.entries.get(self.keys.get(uid)?)
    }

    /// The object with a key of the store.
    pub fn at(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The objects that name `uid` as an owner.
    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = &Entry> {
        self.dependents.get(uid).into_iter().flatten().filter_map(|uid| self.get(uid))
    }

    /// The objects in a namespace.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Entry> {
        self.namespaces.get(namespace).into_iter().flatten().filter_map(|uid| self.get(uid))
    }

    /// The custom resources of a group and resource.
    pub fn of_custom(&self, group: &str, plural: &str) -> Vec<&Entry> {
        let uids = self.custom.get(&(group, plural)).into_iter().flatten();
        uids.filter_map(|uid| self.get(uid)).collect()
    }

    /// Every uid.
    pub fn uids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.keys.keys()
    }

    /// Every key of the store.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.entries.keys()
    }

    /// Puts an object in.
    pub fn put(&mut self, key: &Arc<str>, entry: Entry) {
        // Mostly an object is where it was: then all places that know its uid stay as they are.
        if let Some(old) = self.entries.get_mut(key)
            && old.meta.uid == entry.meta.uid
            && old.meta.owner_references == entry.meta.owner_references
        {
            *old = entry;
            return;
        }
        self.remove(key);
        let (kind, meta) = (entry.kind, entry.meta.clone());
        self.entries.insert(key.clone(), entry);
        self.keys.insert(meta.uid.clone(), key.clone());
        for owner in meta.owner_references.iter() {
            self.dependents.entry(owner.uid.as_str().into()).or_default().insert(meta.uid.clone());
        }
        if !meta.namespace.is_empty() {
            self.namespaces.entry(meta.namespace.clone()).or_default().insert(meta.uid.clone());
        }
        if kind.custom.is_some() {
            self.custom.entry((kind.group, kind.plural)).or_default().insert(meta.uid.clone());
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &str) {
        let Some(Entry { kind, meta, .. }) = self.entries.remove(key) else { return };
        let uid = &*meta.uid;
        self.keys.remove(uid);
        for owner in meta.owner_references.iter() {
            if let Some(set) = self.dependents.get_mut(owner.uid.as_str()) {
                set.remove(uid);
                if set.is_empty() {
                    self.dependents.remove(owner.uid.as_str());
                }
            }
        }
        if let Some(set) = self.custom.get_mut(&(kind.group, kind.plural)) {
            set.remove(uid);
            if set.is_empty() {
                self.custom.remove(&(kind.group, kind.plural));
            }
        }
        if let Some(set) = self.namespaces.get_mut(&meta.namespace) {
            set.remove(uid);
            if set.is_empty() {
                self.namespaces.remove(&meta.namespace);
            }
        }
    }
}

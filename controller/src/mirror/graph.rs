//! Who belongs to whom: every object by its uid, its dependents, and what lives in each namespace.
//!
//! Since every kind is seen at the same revision, an owner that is not here does not exist.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::ops::Bound;
use std::sync::Arc;

use edge_api::kind::Kind;
use indexmap::IndexMap;

use crate::mirror::object::Meta;
use crate::sorted::{Sorted, end_of};

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
    /// By the store's keys: a deletion says no more than that, and what is of a resource, and there in a namespace,
    /// stands together.
    entries: Sorted<Arc<str>, Entry>,
    /// The key of each uid.
    keys: IndexMap<Arc<str>, Arc<str>, Hasher>,
    dependents: HashMap<Box<str>, BTreeSet<Arc<str>>>,
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

    /// The object with a key of the store, and where it is until another one comes or goes.
    pub fn find(&self, key: &str) -> Option<(usize, &Entry)> {
        self.entries.find(key)
    }

    /// The objects that name `uid` as an owner.
    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = &Entry> {
        self.dependents.get(uid).into_iter().flatten().filter_map(|uid| self.get(uid))
    }

    /// The objects in a namespace, by their keys; for no namespace, those that have none.
    pub fn in_namespace(&self, namespace: &str) -> Vec<&Entry> {
        let (mut found, mut after) = (Vec::new(), String::new());
        // From one resource to the next.
        while let Some((_, first)) =
            self.entries.range::<str>((Bound::Excluded(&after), Bound::Unbounded)).next()
        {
            found.extend(self.below(&first.kind.key(namespace, "")));
            after = end_of(&format!("{}/", first.kind.key_prefix()));
        }
        found
    }

    /// The custom resources of a group and resource, by their keys. A definition may have the name of a resource that is
    /// not its own, and never gets it: the objects of that one are not meant.
    pub fn of_custom(&self, group: &str, plural: &str) -> Vec<&Entry> {
        self.below(&format!("/{group}/{plural}/")).filter(|entry| entry.kind.custom.is_some()).collect()
    }

    /// The objects whose keys begin so.
    fn below(&self, prefix: &str) -> impl Iterator<Item = &Entry> + use<'_> {
        let range = self.entries.range::<str>((Bound::Included(prefix), Bound::Excluded(&end_of(prefix))));
        range.map(|(_, entry)| entry)
    }

    /// Every uid.
    pub fn uids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.keys.keys()
    }

    /// Every key of the store, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// Puts an object in, at the place where its key was found if it was.
    pub fn put(&mut self, key: &Arc<str>, entry: Entry, place: Option<usize>) {
        if let Some(old) = place.and_then(|place| self.entries.at_mut(place)) {
            // Mostly an object is where it was: then all places that know its uid stay as they are.
            if old.meta.uid == entry.meta.uid && old.meta.owner_references == entry.meta.owner_references {
                *old = entry;
                return;
            }
            self.remove(key);
        }
        let meta = entry.meta.clone();
        self.entries.insert(key.clone(), entry);
        self.keys.insert(meta.uid.clone(), key.clone());
        for owner in meta.owner_references.iter() {
            self.dependents.entry(owner.uid.as_str().into()).or_default().insert(meta.uid.clone());
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &str) {
        let Some(Entry { meta, .. }) = self.entries.remove(key) else { return };
        let uid = &*meta.uid;
        self.keys.swap_remove(uid);
        for owner in meta.owner_references.iter() {
            if let Some(set) = self.dependents.get_mut(owner.uid.as_str()) {
                set.remove(uid);
                if set.is_empty() {
                    self.dependents.remove(owner.uid.as_str());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use crate::mirror::World;

    #[test]
    fn what_is_in_a_namespace_is_found_in_every_resource() {
        let mut world = World::default();
        let mut put = |revision, key: &str, kind: &str, version: &str| {
            let name = key.rsplit('/').next();
            let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "uid": key}});
            world.apply(key, revision, Some(&Bytes::from(object.to_string())));
        };
        for (revision, namespace) in (1..).zip(["a", "ab", "b", "a-"]) {
            put(revision, &format!("/core/pods/{namespace}/p"), "Pod", "v1");
            put(revision, &format!("/core/configmaps/{namespace}/c"), "ConfigMap", "v1");
            put(revision, &format!("/apps/deployments/{namespace}/d"), "Deployment", "apps/v1");
        }
        put(5, "/core/nodes//a", "Node", "v1");
        let found = |world: &World, namespace| {
            let entries = world.graph.in_namespace(namespace);
            entries.iter().map(|entry| entry.meta.uid.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(found(&world, "a"), ["/apps/deployments/a/d", "/core/configmaps/a/c", "/core/pods/a/p"]);
        world.apply("/core/configmaps/a/c", 6, None);
        assert_eq!(found(&world, "a"), ["/apps/deployments/a/d", "/core/pods/a/p"]);
        assert_eq!(found(&world, "c"), Vec::<String>::new());
    }
}

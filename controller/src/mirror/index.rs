//! All objects of one kind: by name, by the uid of their managing owner, by node and by label.
//!
//! Every index is kept as objects come and go; nothing here scans but [`Mirror::all`] and [`Mirror::in_namespace`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::mirror::object::{Name, Object, Shape};
use crate::mirror::selector::Selector;

type Names = BTreeSet<Arc<str>>;
type Objects<T> = BTreeMap<Arc<str>, Arc<Object<T>>>;

/// The objects of one kind. One writer, any number of readers.
#[derive(Debug)]
pub struct Mirror<T> {
    namespaces: BTreeMap<Arc<str>, Objects<T>>,
    owners: HashMap<Arc<str>, BTreeSet<Name>>,
    nodes: HashMap<Box<str>, BTreeSet<Name>>,
    labels: HashMap<Arc<str>, HashMap<(String, String), Names>>,
    length: usize,
}

impl<T> Default for Mirror<T> {
    fn default() -> Self {
        Mirror {
            namespaces: BTreeMap::new(),
            owners: HashMap::new(),
            nodes: HashMap::new(),
            labels: HashMap::new(),
            length: 0,
        }
    }
}

impl<T: Shape> Mirror<T> {
    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Object<T>>> {
        self.namespaces.get(namespace)?.get(name)
    }

    /// One object, by its key.
    pub fn at(&self, key: &Name) -> Option<&Arc<Object<T>>> {
        self.get(&key.namespace, &key.name)
    }

    /// Every object, by namespace and name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Object<T>>> {
        self.namespaces.values().flat_map(BTreeMap::values)
    }

    /// The objects of a namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<Object<T>>> {
        self.namespaces.get(namespace).into_iter().flat_map(BTreeMap::values)
    }

    /// The objects managed by the owner with this uid, by name.
    pub fn owned_by(&self, uid: &str) -> impl Iterator<Item = &Arc<Object<T>>> {
        self.owners.get(uid).into_iter().flatten().filter_map(|key| self.at(key))
    }

    /// The objects bound to a node.
    pub fn on_node(&self, node: &str) -> impl Iterator<Item = &Arc<Object<T>>> {
        self.nodes.get(node).into_iter().flatten().filter_map(|key| self.at(key))
    }

    /// The objects of a namespace that a selector matches, by name. With an index on labels and a selector that
    /// requires a value, costs what matches that value.
    pub fn selected(&self, namespace: &str, selector: &Selector) -> Vec<&Arc<Object<T>>> {
        if selector.is_nothing() {
            return Vec::new();
        }
        let matches = |object: &&Arc<Object<T>>| selector.matches(&object.meta.labels);
        if !T::LABELLED || selector.required().next().is_none() {
            return self.in_namespace(namespace).filter(matches).collect();
        }
        let Some(labels) = self.labels.get(namespace) else { return Vec::new() };
        let mut fewest: Option<&Names> = None;
        for (key, value) in selector.required() {
            let Some(names) = labels.get(&(key.to_owned(), value.to_owned())) else { return Vec::new() };
            if fewest.is_none_or(|few| names.len() < few.len()) {
                fewest = Some(names);
            }
        }
        let names = fewest.into_iter().flatten();
        names.filter_map(|name| self.get(namespace, name)).filter(matches).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Puts an object in, and answers the one it replaces.
    pub fn put(&mut self, object: Arc<Object<T>>) -> Option<Arc<Object<T>>> {
        let before = self.remove(&object.meta.namespace, &object.meta.name);
        self.index(&object);
        let namespace = self.namespaces.entry(object.meta.namespace.clone()).or_default();
        namespace.insert(object.meta.name.clone(), object);
        self.length += 1;
        before
    }

    /// Takes an object out.
    pub fn remove(&mut self, namespace: &str, name: &str) -> Option<Arc<Object<T>>> {
        let objects = self.namespaces.get_mut(namespace)?;
        let object = objects.remove(name)?;
        if objects.is_empty() {
            self.namespaces.remove(namespace);
        }
        self.length -= 1;
        self.unindex(&object);
        Some(object)
    }

    fn index(&mut self, object: &Object<T>) {
        if let Some(owner) = object.meta.controller() {
            self.owners.entry(owner.uid.as_str().into()).or_default().insert(object.key());
        }
        if let Some(node) = object.body.node() {
            self.nodes.entry(node.into()).or_default().insert(object.key());
        }
        if T::LABELLED {
            let labels = self.labels.entry(object.meta.namespace.clone()).or_default();
            for (key, value) in &object.meta.labels {
                labels.entry((key.clone(), value.clone())).or_default().insert(object.meta.name.clone());
            }
        }
    }

    fn unindex(&mut self, object: &Object<T>) {
        let key = object.key();
        if let Some(owner) = object.meta.controller() {
            take(&mut self.owners, owner.uid.as_str(), &key);
        }
        if let Some(node) = object.body.node() {
            take(&mut self.nodes, node, &key);
        }
        if T::LABELLED
            && let Some(labels) = self.labels.get_mut(&object.meta.namespace)
        {
            for (label, value) in &object.meta.labels {
                take(labels, &(label.clone(), value.clone()), &object.meta.name);
            }
            if labels.is_empty() {
                self.labels.remove(&object.meta.namespace);
            }
        }
    }
}

/// Removes a member of a set in a map of sets, and the set when it is empty.
fn take<K, Q, M>(map: &mut HashMap<K, BTreeSet<M>>, key: &Q, member: &M)
where
    K: std::borrow::Borrow<Q> + std::hash::Hash + Eq,
    Q: std::hash::Hash + Eq + ?Sized,
    M: Ord,
{
    if let Some(set) = map.get_mut(key) {
        set.remove(member);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

//! All objects of one kind: by name, by the uid of their managing owner, by node and by label.
//!
//! Every index is kept as objects come and go; nothing here scans but [`Mirror::all`] and [`Mirror::in_namespace`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::mirror::object::{Name, Object, Shape};
use crate::mirror::selector::Selector;
use crate::sorted::Sorted;

type Names = BTreeSet<Arc<str>>;
type Objects<T> = Sorted<Arc<str>, Arc<Object<T>>>;

/// The objects of one kind. One writer, any number of readers.
#[derive(Debug)]
pub struct Mirror<T> {
    namespaces: BTreeMap<Arc<str>, Objects<T>>,
    /// By the uid of the manager; with the objects, since managers look at all of theirs again and again.
    owners: HashMap<Arc<str>, BTreeMap<Name, Arc<Object<T>>>>,
    nodes: HashMap<Box<str>, BTreeSet<Name>>,
    labels: HashMap<Arc<str>, HashMap<(String, String), Names>>,
    /// Those that nobody manages, of kinds with an index on labels: few, where there are many.
    orphans: HashMap<Arc<str>, Names>,
    length: usize,
}

impl<T> Default for Mirror<T> {
    fn default() -> Self {
        Mirror {
            namespaces: BTreeMap::new(),
            owners: HashMap::new(),
            nodes: HashMap::new(),
            labels: HashMap::new(),
            orphans: HashMap::new(),
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

    /// One object, and where it is among those of its namespace until another one comes or goes.
    pub fn find(&self, namespace: &str, name: &str) -> Option<(usize, &Arc<Object<T>>)> {
        self.namespaces.get(namespace)?.find(name)
    }

    /// Every object, by namespace and name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Object<T>>> {
        self.namespaces.values().flat_map(Sorted::values)
    }

    /// The objects of a namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<Object<T>>> {
        self.namespaces.get(namespace).into_iter().flat_map(Sorted::values)
    }

    /// The objects managed by the owner with this uid, by name.
    pub fn owned_by(&self, uid: &str) -> impl Iterator<Item = &Arc<Object<T>>> {
        self.owners.get(uid).into_iter().flat_map(BTreeMap::values)
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

    /// The objects of a namespace that a selector matches and nobody manages, by name.
    pub fn orphans(&self, namespace: &str, selector: &Selector) -> Vec<&Arc<Object<T>>> {
        if !T::LABELLED {
            let mut all = self.selected(namespace, selector);
            all.retain(|object| object.meta.controller().is_none());
            return all;
        }
        if selector.is_nothing() {
            return Vec::new();
        }
        let names = self.orphans.get(namespace).into_iter().flatten();
        let orphans = names.filter_map(|name| self.get(namespace, name));
        orphans.filter(|object| selector.matches(&object.meta.labels)).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Puts an object in, at the place where its name was found if it was, and answers the one it replaces.
    pub fn put(&mut self, object: Arc<Object<T>>, place: Option<usize>) -> Option<Arc<Object<T>>> {
        let namespace = self.namespaces.entry(object.meta.namespace.clone()).or_default();
        let before = match place.and_then(|place| namespace.at_mut(place)) {
            Some(there) => Some(std::mem::replace(there, object.clone())),
            None => namespace.insert(object.meta.name.clone(), object.clone()),
        };
        if let Some(before) = &before {
            self.unindex(before, Some(&object));
        } else {
            self.length += 1;
        }
        self.index(&object, before.as_deref());
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
        self.unindex(&object, None);
        Some(object)
    }

    /// Puts an object where it is looked for, and is not yet because of what it was `before`.
    fn index(&mut self, object: &Arc<Object<T>>, before: Option<&Object<T>>) {
        if let Some(owner) = object.meta.controller() {
            let own = self.owners.entry(owner.uid.as_str().into()).or_default();
            own.insert(object.key(), object.clone());
        }
        if let Some(node) = object.body.node()
            && before.is_none_or(|before| before.body.node() != Some(node))
        {
            self.nodes.entry(node.into()).or_default().insert(object.key());
        }
        if T::LABELLED
            && object.meta.controller().is_none()
            && before.is_none_or(|before| before.meta.controller().is_some())
        {
            let orphans = self.orphans.entry(object.meta.namespace.clone()).or_default();
            orphans.insert(object.meta.name.clone());
        }
        if T::LABELLED && !before.is_some_and(|before| has_labels_of(before, object)) {
            let labels = self.labels.entry(object.meta.namespace.clone()).or_default();
            for (key, value) in &*object.meta.labels {
                labels.entry((key.clone(), value.clone())).or_default().insert(object.meta.name.clone());
            }
        }
    }

    /// Takes an object from where it is looked for, if it is not there as what comes `after`, too.
    fn unindex(&mut self, object: &Object<T>, after: Option<&Object<T>>) {
        let key = object.key();
        if let Some(owner) = object.meta.controller()
            && !after.is_some_and(|after| after.meta.controlled_by(&owner.uid))
            && let Some(own) = self.owners.get_mut(owner.uid.as_str())
        {
            own.remove(&key);
            if own.is_empty() {
                self.owners.remove(owner.uid.as_str());
            }
        }
        if let Some(node) = object.body.node()
            && after.is_none_or(|after| after.body.node() != Some(node))
        {
            take(&mut self.nodes, node, &key);
        }
        if T::LABELLED
            && object.meta.controller().is_none()
            && after.is_none_or(|after| after.meta.controller().is_some())
        {
            take(&mut self.orphans, &*object.meta.namespace, &object.meta.name);
        }
        if T::LABELLED
            && !after.is_some_and(|after| has_labels_of(object, after))
            && let Some(labels) = self.labels.get_mut(&object.meta.namespace)
        {
            for (label, value) in &*object.meta.labels {
                take(labels, &(label.clone(), value.clone()), &object.meta.name);
            }
            if labels.is_empty() {
                self.labels.remove(&object.meta.namespace);
            }
        }
    }
}

fn has_labels_of<T>(one: &Object<T>, other: &Object<T>) -> bool {
    Arc::ptr_eq(&one.meta.labels, &other.meta.labels)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::mirror::World;

    #[test]
    fn what_is_alike_is_kept_once() {
        let mut world = World::default();
        let mut put = |revision: u64, name: &str, app: &str, phase: &str| {
            let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true});
            let toleration = json!({"key": "lost", "operator": "Exists"});
            let pod = json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": {"app": app}, "ownerReferences": [owner]},
                "spec": {"tolerations": [toleration]}, "status": {"phase": phase}});
            world.apply(format!("/core/pods/shop/{name}"), revision, Some(&Bytes::from(pod.to_string())));
            world.pods.get("shop", name).unwrap().clone()
        };
        let first = put(1, "a", "web", "Pending");
        let second = put(2, "b", "web", "Pending");
        let changed = put(3, "a", "web", "Running");
        for other in [&second, &changed] {
            assert!(Arc::ptr_eq(&first.meta.labels, &other.meta.labels));
            assert!(Arc::ptr_eq(&first.meta.owner_references, &other.meta.owner_references));
            assert!(Arc::ptr_eq(&first.body.tolerations, &other.body.tolerations));
        }
        assert!(Arc::ptr_eq(&first.meta.uid, &changed.meta.uid));
        let relabelled = put(4, "a", "shop", "Running");
        assert_eq!(relabelled.meta.labels["app"], "shop");
        let selected = |app: &str| {
            let selector = Selector::of_pairs([("app".to_owned(), app.to_owned())].into());
            let found = world.pods.selected("shop", &selector);
            found.into_iter().map(|pod| pod.meta.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!((selected("web"), selected("shop")), (vec!["b".to_owned()], vec!["a".to_owned()]));
        assert_eq!(world.pods.owned_by("u").count(), 2);
        assert_eq!(world.pods.len(), 2);
    }

    #[test]
    fn orphans_are_those_that_nobody_manages_now() {
        let mut world = World::default();
        let mut put = |revision: u64, name: &str, app: &str, owners: serde_json::Value| {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
                "name": name, "namespace": "shop", "uid": name, "labels": {"app": app}, "ownerReferences": owners}});
            world.apply(format!("/core/pods/shop/{name}"), revision, Some(&Bytes::from(pod.to_string())));
            let selector = Selector::of_pairs([("app".to_owned(), "web".to_owned())].into());
            let found = world.pods.orphans("shop", &selector);
            found.into_iter().map(|pod| pod.meta.name.to_string()).collect::<Vec<_>>()
        };
        let managed = |controller: bool| json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": controller}]);
        assert_eq!(put(1, "a", "web", json!([])), ["a"]);
        assert_eq!(put(2, "b", "web", managed(true)), ["a"]);
        assert_eq!(put(3, "c", "web", managed(false)), ["a", "c"], "an owner is no manager");
        assert_eq!(put(4, "d", "other", json!([])), ["a", "c"]);
        assert_eq!(put(5, "a", "web", managed(true)), ["c"], "adopted");
        assert_eq!(put(6, "b", "web", json!([])), ["b", "c"], "released");
    }
}

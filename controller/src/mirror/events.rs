//! Events, by when they were last seen.
//!
//! They are the most numerous of all objects, and nobody here reads them: of each there is only its time and its key,
//! which is the store's own text.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use edge_api::time::Timestamp;

use crate::mirror::object::Name;

/// See the module.
#[derive(Debug, Default)]
pub struct Events {
    by_time: BTreeSet<(Timestamp, Arc<str>)>,
    times: HashMap<Arc<str>, Timestamp>,
}

impl Events {
    /// All of them, the one that was not seen for the longest time first.
    pub fn oldest(&self) -> impl Iterator<Item = (Timestamp, Name)> {
        self.by_time.iter().map(|(time, key)| (*time, Name::at_end_of(key)))
    }

    /// Those of a namespace, in the same order.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = Name> {
        self.oldest().map(|(_, name)| name).filter(move |name| *name.namespace == *namespace)
    }

    /// An Event was seen.
    pub fn put(&mut self, key: &Arc<str>, time: Timestamp) {
        if let Some(before) = self.times.insert(key.clone(), time) {
            self.by_time.remove(&(before, key.clone()));
        }
        self.by_time.insert((time, key.clone()));
    }

    /// An Event is gone.
    pub fn remove(&mut self, key: &str) {
        if let Some((key, time)) = self.times.remove_entry(key) {
            self.by_time.remove(&(time, key));
        }
    }
}

//! Events, by when they were last seen.
//!
//! They are the most numerous of all objects, and nobody here reads them: of each there is only its time and its key,
//! which is the store's own text.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use edge_api::kinds;
use edge_api::time::Timestamp;

use crate::mirror::object::Name;

/// See the module.
#[derive(Debug, Default)]
pub struct Events {
    by_time: BTreeSet<(Timestamp, Arc<str>)>,
    times: HashMap<Arc<str>, Timestamp>,
}

impl Events {
    /// All of them with their keys, the one that was not seen for the longest time first.
    pub fn oldest(&self) -> impl Iterator<Item = (Timestamp, &str)> {
        self.by_time.iter().map(|(time, key)| (*time, &**key))
    }

    /// Those of a namespace, in the same order.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = Name> {
        let begin = kinds::event::KIND.key(namespace, "");
        let keys = self.oldest().map(|(_, key)| key);
        keys.filter(move |key| key.starts_with(&begin)).map(Name::at_end_of)
    }

    /// An Event was seen.
    pub fn put(&mut self, key: &Arc<str>, time: Timestamp) {
        // The key of the first time is the store's; that of a later change is the request's.
        let own = self.remove(key).unwrap_or_else(|| key.clone());
        self.by_time.insert((time, own.clone()));
        self.times.insert(own, time);
    }

    /// An Event is gone; answers the key it was kept by.
    pub fn remove(&mut self, key: &str) -> Option<Arc<str>> {
        let (key, time) = self.times.remove_entry(key)?;
        self.by_time.remove(&(time, key.clone()));
        Some(key)
    }
}

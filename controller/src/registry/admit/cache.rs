//! Objects that govern admission, read once for each of their revisions.
//!
//! Asking costs a look into the store; where there is no such object that is all.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use crate::store::{Key, RangeOptions, Revision, Store};

/// One object as it was read.
struct Entry<T> {
    key: Key,
    revision: Revision,
    value: Arc<T>,
}

/// What the objects below a prefix mean.
pub(super) struct Cache<T> {
    prefix: &'static str,
    read: fn(&Value) -> T,
    entries: Mutex<Vec<Entry<T>>>,
}

impl<T> Cache<T> {
    /// Nothing read yet.
    pub(super) fn new(prefix: &'static str, read: fn(&Value) -> T) -> Cache<T> {
        Cache { prefix, read, entries: Mutex::default() }
    }

    /// Whether there is no such object.
    pub(super) fn is_empty(&self, store: &Store) -> bool {
        store.is_empty(self.prefix)
    }

    /// What the objects mean now, by name.
    pub(super) fn current(&self, store: &Store) -> Vec<Arc<T>> {
        let page = store.range(self.prefix, &RangeOptions::default());
        let items = page.map(|page| page.items).unwrap_or_default();
        let mut entries = self.entries.lock();
        let same = entries.len() == items.len()
            && entries
                .iter()
                .zip(&items)
                .all(|(entry, (key, stored))| entry.revision == stored.revision && entry.key == *key);
        if !same {
            let mut old = std::mem::take(&mut *entries);
            for (key, stored) in items {
                let known = old.iter().position(|e| e.key == key && e.revision == stored.revision);
                let value = match known {
                    Some(at) => old.swap_remove(at).value,
                    None => {
                        let object = serde_json::from_slice(&stored.value).unwrap_or_default();
                        Arc::new((self.read)(&object))
                    }
                };
                entries.push(Entry { key, revision: stored.revision, value });
            }
        }
        entries.iter().map(|entry| entry.value.clone()).collect()
    }
}

//! A hash map that clones in constant time, so that each table costs what changed and no more.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

const SHARDS: usize = 128;

/// A map in [`SHARDS`] parts; a clone shares them all, a change copies the one it touches.
#[derive(Debug, Clone)]
pub(crate) struct SharedMap<K, V> {
    hasher: RandomState,
    shards: Vec<Arc<HashMap<K, V, RandomState>>>,
    length: usize,
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        SharedMap { hasher: RandomState::new(), shards: Vec::new(), length: 0 }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> SharedMap<K, V> {
    fn shard_of<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        self.hasher.hash_one(key) as usize % SHARDS
    }

    fn shard_mut<Q: Hash + ?Sized>(&mut self, key: &Q) -> &mut HashMap<K, V, RandomState> {
        if self.shards.is_empty() {
            let empty = Arc::new(HashMap::with_hasher(self.hasher.clone()));
            self.shards = vec![empty; SHARDS];
        }
        let index = self.shard_of(key);
        Arc::make_mut(&mut self.shards[index])
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if self.length == 0 {
            return None;
        }
        self.shards[self.shard_of(key)].get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let old = self.shard_mut(&key).insert(key, value);
        self.length += usize::from(old.is_none());
        old
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.get(key)?;
        self.length -= 1;
        self.shard_mut(key).remove(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_like_a_hash_map_and_clones_stay_as_they_were() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut map = SharedMap::default();
        let mut model = HashMap::new();
        for step in 0..5_000u32 {
            let key = random.u32(0..300);
            let before = (map.clone(), map.len());
            if random.bool() {
                assert_eq!(map.insert(key, step), model.insert(key, step));
            } else {
                assert_eq!(map.remove(&key), model.remove(&key));
            }
            assert_eq!(map.len(), model.len());
            assert_eq!(before.0.iter().count(), before.1);
        }
        assert!(map.iter().all(|(k, v)| model.get(k) == Some(v)));
        assert!(model.iter().all(|(k, v)| map.get(k) == Some(v)));
    }
}

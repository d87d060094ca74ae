//! A map in the order of its keys, in which what is there is found without going down that order.
//!
//! Among a hundred thousand objects a tree of their names is seventeen texts deep, each somewhere else in memory, and
//! its nodes lie between everything that requests need for a moment. Here most changes, which are of what is there
//! already, and most reads are one step; the entries are one block. Only who is new or gone costs a walk.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::Hash;
use std::ops::Bound;

use indexmap::IndexMap;

/// How many entries are not worth giving room back for.
const FEW: usize = 1024;

/// See the module.
#[derive(Debug)]
pub struct Sorted<K, V> {
    entries: IndexMap<K, V>,
    /// Where each entry is.
    order: BTreeMap<K, usize>,
}

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Sorted { entries: IndexMap::new(), order: BTreeMap::new() }
    }
}

impl<K: Hash + Ord + Clone, V> Sorted<K, V> {
    /// The entry of a key.
    pub fn get<Q: Hash + Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key)
    }

    /// The entry of a key, and where it is until another one comes or goes.
    pub fn find<Q: Hash + Ord + ?Sized>(&self, key: &Q) -> Option<(usize, &V)>
    where
        K: Borrow<Q>,
    {
        self.entries.get_full(key).map(|(place, _, value)| (place, value))
    }

    /// What was found at a place, to be changed.
    pub fn at_mut(&mut self, place: usize) -> Option<&mut V> {
        self.entries.get_index_mut(place).map(|(_, value)| value)
    }

    /// The entry of a key, and the key as it came in.
    pub fn get_key_value<Q: Hash + Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.entries.get_key_value(key)
    }

    /// Whether a key has an entry.
    pub fn contains_key<Q: Hash + Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.entries.contains_key(key)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Puts an entry in; answers the one in whose place it is.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(there) = self.entries.get_mut(&key) {
            return Some(std::mem::replace(there, value));
        }
        let (place, _) = self.entries.insert_full(key.clone(), value);
        self.order.insert(key, place);
        None
    }

    /// Takes an entry out.
    pub fn remove<Q: Hash + Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (place, _, value) = self.entries.swap_remove_full(key)?;
        self.order.remove(key);
        // The last one is in its place now.
        if let Some((moved, _)) = self.entries.get_index(place)
            && let Some(moved) = self.order.get_mut(moved.borrow())
        {
            *moved = place;
        }
        if self.entries.capacity() > FEW && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        Some(value)
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order.values().filter_map(|place| self.entries.get_index(*place))
    }

    /// All entries without their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The entries between two keys.
    pub fn range<'a, Q: Ord + ?Sized>(
        &'a self,
        bounds: (Bound<&Q>, Bound<&Q>),
    ) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V, Q>
    where
        K: Borrow<Q>,
    {
        self.order.range::<Q, _>(bounds).filter_map(|(_, place)| self.entries.get_index(*place))
    }
}

/// Where the keys that begin so end: none of them is beyond this.
pub fn end_of(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_map_in_order() {
        for seed in 0..50 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut sorted, mut model) = (Sorted::<String, u32>::default(), BTreeMap::new());
            // More come than go, and then more go than come.
            for step in 0..6000 {
                let (key, value) = (rng.u32(..4000).to_string(), rng.u32(..));
                if rng.u32(..10) < if step < 3000 { 2 } else { 8 } {
                    assert_eq!(sorted.remove(&*key), model.remove(&key));
                } else {
                    assert_eq!(sorted.insert(key.clone(), value), model.insert(key, value));
                }
            }
            assert!(sorted.iter().eq(model.iter()), "seed {seed}");
            assert!(sorted.values().eq(model.values()));
            assert_eq!((sorted.len(), sorted.is_empty()), (model.len(), model.is_empty()));
            let bounds = (Bound::Excluded("1"), Bound::Included("7"));
            assert!(sorted.range::<str>(bounds).eq(model.range::<str, _>(bounds)), "seed {seed}");
            assert!(model.keys().all(|key| sorted.get(&**key) == model.get(key) && sorted.contains_key(key)));
        }
    }

    #[test]
    fn what_was_needed_for_many_is_given_back() {
        let mut sorted = Sorted::<u32, u32>::default();
        for key in 0..100_000 {
            sorted.insert(key, key);
        }
        for key in 0..99_000 {
            sorted.remove(&key);
        }
        assert!(sorted.entries.capacity() < 8_000, "{}", sorted.entries.capacity());
        assert!(sorted.values().copied().eq(99_000..100_000));
    }
}

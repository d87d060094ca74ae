//! An ordered map whose copies share what they have in common, and which knows a sum of every branch.
//!
//! A copy costs nothing, a change of a copy costs its path; so a plan can try out on a copy of what the mirrors keep
//! what the cluster would be like. The sum lets a search pass a branch by without looking into it. The shape depends
//! on the keys alone (a treap, its priorities are hashes), so equal contents are equal in cost as well.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What is known of all values of a branch together.
pub trait Sum<V>: Clone {
    /// What is known of one value.
    fn of(value: &V) -> Self;
    /// Takes in what is known of others.
    fn with(&mut self, others: &Self);
}

impl<V> Sum<V> for () {
    fn of(_: &V) {}
    fn with(&mut self, (): &()) {}
}

/// The map; `S` is what it knows of its branches.
#[derive(Debug)]
pub struct Tree<K, V, S = ()>(Option<Arc<Branch<K, V, S>>>);

/// An entry with the entries before and after it.
#[derive(Clone, Debug)]
pub struct Branch<K, V, S> {
    /// The entry's key.
    pub key: K,
    /// The entry.
    pub value: V,
    /// What is known of this entry and those below.
    pub sum: S,
    /// How many they are.
    pub size: usize,
    /// The entries before.
    pub left: Tree<K, V, S>,
    /// The entries after.
    pub right: Tree<K, V, S>,
    priority: u64,
}

impl<K, V, S> Clone for Tree<K, V, S> {
    fn clone(&self) -> Self {
        Tree(self.0.clone())
    }
}

impl<K, V, S> Default for Tree<K, V, S> {
    fn default() -> Self {
        Tree(None)
    }
}

impl<K, V, S> Tree<K, V, S> {
    /// The entry at the top; none of an empty map.
    pub fn top(&self) -> Option<&Branch<K, V, S>> {
        self.0.as_deref()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.top().map_or(0, |branch| branch.size)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The entry with the smallest key.
    pub fn first(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    /// All entries in order.
    pub fn iter(&self) -> Iter<'_, K, V, S> {
        let mut iter = Iter { path: Vec::new(), backwards: false };
        iter.descend(self);
        iter
    }

    /// All entries, the last one first.
    pub fn backwards(&self) -> Iter<'_, K, V, S> {
        let mut iter = Iter { path: Vec::new(), backwards: true };
        iter.descend(self);
        iter
    }
}

/// Entries one after the other.
pub struct Iter<'a, K, V, S> {
    path: Vec<&'a Branch<K, V, S>>,
    backwards: bool,
}

impl<'a, K, V, S> Iter<'a, K, V, S> {
    fn descend(&mut self, mut tree: &'a Tree<K, V, S>) {
        while let Some(branch) = tree.top() {
            self.path.push(branch);
            tree = if self.backwards { &branch.right } else { &branch.left };
        }
    }
}

impl<'a, K, V, S> Iterator for Iter<'a, K, V, S> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let branch = self.path.pop()?;
        self.descend(if self.backwards { &branch.left } else { &branch.right });
        Some((&branch.key, &branch.value))
    }
}

impl<K: Ord + Hash + Clone, V: Clone, S: Sum<V>> Tree<K, V, S> {
    /// The entry of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let mut tree = self;
        loop {
            let branch = tree.top()?;
            tree = match key.cmp(branch.key.borrow()) {
                Ordering::Less => &branch.left,
                Ordering::Greater => &branch.right,
                Ordering::Equal => return Some(&branch.value),
            };
        }
    }

    /// Puts an entry in, in the place of the one with the same key.
    pub fn insert(&mut self, key: K, value: V) {
        let (before, _, after) = std::mem::take(self).split(&key);
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let one = Tree::branch(key, value, hasher.finish(), Tree(None), Tree(None));
        *self = before.join(one).join(after);
    }

    /// Takes an entry out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (before, found, after) = std::mem::take(self).split(key);
        *self = before.join(after);
        found
    }

    fn branch(key: K, value: V, priority: u64, left: Self, right: Self) -> Self {
        let mut sum = S::of(&value);
        let mut size = 1;
        for side in [&left, &right].into_iter().filter_map(Tree::top) {
            sum.with(&side.sum);
            size += side.size;
        }
        Tree(Some(Arc::new(Branch { key, value, sum, size, left, right, priority })))
    }

    fn split<Q: Ord + ?Sized>(self, key: &Q) -> (Self, Option<V>, Self)
    where
        K: Borrow<Q>,
    {
        let Some(branch) = self.0 else { return (Tree(None), None, Tree(None)) };
        let Branch { key: own, value, left, right, priority, .. } = Arc::unwrap_or_clone(branch);
        match key.cmp(own.borrow()) {
            Ordering::Equal => (left, Some(value), right),
            Ordering::Less => {
                let (before, found, rest) = left.split(key);
                (before, found, Tree::branch(own, value, priority, rest, right))
            }
            Ordering::Greater => {
                let (rest, found, after) = right.split(key);
                (Tree::branch(own, value, priority, left, rest), found, after)
            }
        }
    }

    /// Both together; everything here is before everything there.
    fn join(self, after: Self) -> Self {
        let (one, two) = match (self.0, after.0) {
            (None, rest) | (rest, None) => return Tree(rest),
            (Some(one), Some(two)) => (one, two),
        };
        if one.priority >= two.priority {
            let Branch { key, value, left, right, priority, .. } = Arc::unwrap_or_clone(one);
            Tree::branch(key, value, priority, left, right.join(Tree(Some(two))))
        } else {
            let Branch { key, value, left, right, priority, .. } = Arc::unwrap_or_clone(two);
            Tree::branch(key, value, priority, Tree(Some(one)).join(left), right)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Most(i32);

    impl Sum<i32> for Most {
        fn of(value: &i32) -> Most {
            Most(*value)
        }
        fn with(&mut self, others: &Most) {
            self.0 = self.0.max(others.0);
        }
    }

    #[test]
    fn it_is_a_map_and_copies_keep_what_they_had() {
        for seed in 0..50 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut tree, mut model) = (Tree::<u32, i32, Most>::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for _ in 0..300 {
                let (key, value) = (rng.u32(..60), rng.i32(..1000));
                if rng.u32(..3) == 0 {
                    assert_eq!(tree.remove(&key), model.remove(&key));
                } else {
                    tree.insert(key, value);
                    model.insert(key, value);
                }
                if rng.u32(..20) == 0 {
                    copies.push((tree.clone(), model.clone()));
                }
            }
            copies.push((tree, model));
            for (tree, model) in copies {
                assert!(tree.iter().eq(model.iter()), "seed {seed}");
                assert!(tree.backwards().eq(model.iter().rev()), "seed {seed}");
                assert_eq!(tree.len(), model.len());
                assert_eq!(tree.first(), model.first_key_value());
                assert!((0..60).all(|key| tree.get(&key) == model.get(&key)));
                assert_eq!(tree.top().map(|top| top.sum.0), model.values().max().copied());
            }
        }
    }
}

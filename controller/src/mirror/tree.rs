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
        self.end(|branch| &branch.left)
    }

    /// The entry with the largest key.
    pub fn last(&self) -> Option<(&K, &V)> {
        self.end(|branch| &branch.right)
    }

    fn end(&self, next: fn(&Branch<K, V, S>) -> &Self) -> Option<(&K, &V)> {
        let mut branch = self.top()?;
        while let Some(further) = next(branch).top() {
            branch = further;
        }
        Some((&branch.key, &branch.value))
    }

    /// All entries in order.
    pub fn iter(&self) -> Iter<'_, K, V, S> {
        let mut iter = Iter { path: Vec::new() };
        iter.descend(self);
        iter
    }
}

/// Entries one after the other.
pub struct Iter<'a, K, V, S> {
    path: Vec<&'a Branch<K, V, S>>,
}

impl<'a, K, V, S> Iter<'a, K, V, S> {
    fn descend(&mut self, mut tree: &'a Tree<K, V, S>) {
        while let Some(branch) = tree.top() {
            self.path.push(branch);
            tree = &branch.left;
        }
    }
}

impl<'a, K, V, S> Iterator for Iter<'a, K, V, S> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let branch = self.path.pop()?;
        self.descend(&branch.right);
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
        let priority = priority(&key);
        self.put(key, value, priority);
    }

    /// Puts an entry in, in the place of the one with another key. Costs half as much as to remove and to insert if
    /// both hash alike and no entry is between them.
    pub fn replace(&mut self, old: &K, key: K, value: V) {
        if self.fits(old, &key) {
            self.exchange(old, key, value);
        } else {
            self.remove(old);
            self.insert(key, value);
        }
    }

    /// Whether a key may be where another one is.
    fn fits(&self, old: &K, key: &K) -> bool {
        let (mut tree, mut before, mut after) = (self, None, None);
        while let Some(branch) = tree.top() {
            match old.cmp(&branch.key) {
                Ordering::Less => (tree, after) = (&branch.left, Some(&branch.key)),
                Ordering::Greater => (tree, before) = (&branch.right, Some(&branch.key)),
                Ordering::Equal => {
                    let before = branch.left.last().map(|(key, _)| key).or(before);
                    let after = branch.right.first().map(|(key, _)| key).or(after);
                    return branch.priority == priority(key)
                        && before.is_none_or(|before| before < key)
                        && after.is_none_or(|after| key < after);
                }
            }
        }
        false
    }

    fn exchange(&mut self, old: &K, key: K, value: V) {
        let Some(branch) = &mut self.0 else { return };
        let branch = Arc::make_mut(branch);
        match old.cmp(&branch.key) {
            Ordering::Less => branch.left.exchange(old, key, value),
            Ordering::Greater => branch.right.exchange(old, key, value),
            Ordering::Equal => (branch.key, branch.value) = (key, value),
        }
        branch.add_up();
    }

    /// Takes an entry out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let branch = self.0.as_mut()?;
        let order = key.cmp(branch.key.borrow());
        if order == Ordering::Equal {
            let Branch { value, left, right, .. } = self.0.take().map(Arc::unwrap_or_clone)?;
            *self = left.join(right);
            return Some(value);
        }
        let branch = Arc::make_mut(branch);
        let found = match order {
            Ordering::Less => branch.left.remove(key),
            _ => branch.right.remove(key),
        }?;
        branch.add_up();
        Some(found)
    }

    fn put(&mut self, key: K, value: V, priority: u64) {
        match &mut self.0 {
            // The same key has the same priority, so it is found before one that is lower.
            Some(branch) if branch.priority >= priority => {
                let branch = Arc::make_mut(branch);
                match key.cmp(&branch.key) {
                    Ordering::Less => branch.left.put(key, value, priority),
                    Ordering::Greater => branch.right.put(key, value, priority),
                    Ordering::Equal => branch.value = value,
                }
                branch.add_up();
            }
            _ => {
                let (left, right) = std::mem::take(self).split(&key);
                let sum = S::of(&value);
                let mut branch = Branch { key, value, sum, size: 1, left, right, priority };
                branch.add_up();
                self.0 = Some(Arc::new(branch));
            }
        }
    }

    /// What is before a key and what is after it, which is not in here.
    fn split(self, key: &K) -> (Self, Self) {
        let Some(mut top) = self.0 else { return (Tree(None), Tree(None)) };
        let branch = Arc::make_mut(&mut top);
        if *key < branch.key {
            let (before, after) = std::mem::take(&mut branch.left).split(key);
            branch.left = after;
            branch.add_up();
            (before, Tree(Some(top)))
        } else {
            let (before, after) = std::mem::take(&mut branch.right).split(key);
            branch.right = before;
            branch.add_up();
            (Tree(Some(top)), after)
        }
    }

    /// Both together; everything here is before everything there.
    fn join(self, after: Self) -> Self {
        let (mut one, mut two) = match (self.0, after.0) {
            (None, rest) | (rest, None) => return Tree(rest),
            (Some(one), Some(two)) => (one, two),
        };
        if one.priority >= two.priority {
            let branch = Arc::make_mut(&mut one);
            branch.right = std::mem::take(&mut branch.right).join(Tree(Some(two)));
            branch.add_up();
            Tree(Some(one))
        } else {
            let branch = Arc::make_mut(&mut two);
            branch.left = Tree(Some(one)).join(std::mem::take(&mut branch.left));
            branch.add_up();
            Tree(Some(two))
        }
    }
}

impl<K: Ord + Clone, V: Clone> Tree<K, V> {
    /// The entry of a key, to be changed; no branch adds it up.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let mut tree = self;
        loop {
            let branch = Arc::make_mut(tree.0.as_mut()?);
            tree = match key.cmp(branch.key.borrow()) {
                Ordering::Less => &mut branch.left,
                Ordering::Greater => &mut branch.right,
                Ordering::Equal => return Some(&mut branch.value),
            };
        }
    }
}

fn priority<K: Hash>(key: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl<K, V, S: Sum<V>> Branch<K, V, S> {
    fn add_up(&mut self) {
        (self.sum, self.size) = (S::of(&self.value), 1);
        for side in [&self.left, &self.right].into_iter().filter_map(Tree::top) {
            self.sum.with(&side.sum);
            self.size += side.size;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;
    use std::fmt::Debug;

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

    /// The keys, each with those below it and how many they are.
    fn shape<K: Debug>(tree: &Tree<K, i32, Most>) -> Option<String> {
        let top = tree.top()?;
        let (left, right) = (shape(&top.left), shape(&top.right));
        Some(format!("{:?}:{}:{:?}({left:?} {right:?})", top.key, top.size, top.sum))
    }

    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Ranked(i32, u32);

    impl Hash for Ranked {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.1.hash(state);
        }
    }

    #[test]
    fn an_entry_stays_in_its_place_as_long_as_it_can() {
        for seed in 0..50 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut model: BTreeMap<Ranked, i32> = (0..60).map(|name| (Ranked(0, name), 0)).collect();
            let build = |model: &BTreeMap<Ranked, i32>| {
                let mut tree = Tree::<Ranked, i32, Most>::default();
                model.iter().for_each(|(key, value)| tree.insert(key.clone(), *value));
                tree
            };
            let mut tree = build(&model);
            let (mut stayed, mut copies) = (0, Vec::new());
            for step in 0..300 {
                let Ranked(rank, name) = model.keys().nth(rng.usize(..60)).unwrap().clone();
                let (old, new) = (Ranked(rank, name), Ranked(rank + rng.i32(-3..=3), name));
                stayed += i32::from(tree.fits(&old, &new));
                tree.replace(&old, new.clone(), step);
                model.remove(&old);
                model.insert(new, step);
                if rng.u32(..20) == 0 {
                    copies.push((tree.clone(), model.clone()));
                }
            }
            assert!(stayed > 20, "seed {seed}: {stayed}");
            copies.push((tree, model));
            for (tree, model) in copies {
                assert!(tree.iter().eq(model.iter()), "seed {seed}");
                assert_eq!(shape(&tree), shape(&build(&model)), "seed {seed}: the keys alone give the shape");
            }
        }
    }

    #[test]
    fn what_no_branch_adds_up_is_changed_where_it_is() {
        let mut tree = Tree::<u32, i32>::default();
        (0..60).for_each(|key| tree.insert(key, 0));
        let copy = tree.clone();
        *tree.get_mut(&7).unwrap() = 1;
        assert_eq!((tree.get(&7), copy.get(&7)), (Some(&1), Some(&0)));
        assert_eq!(tree.get_mut(&60), None);
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
                let mut anew = Tree::<u32, i32, Most>::default();
                model.iter().rev().for_each(|(key, value)| anew.insert(*key, *value));
                assert_eq!(shape(&tree), shape(&anew), "seed {seed}: the keys alone give the shape");
                assert!(tree.iter().eq(model.iter()), "seed {seed}");
                assert_eq!(tree.len(), model.len());
                assert_eq!(tree.first(), model.first_key_value());
                assert_eq!(tree.last(), model.last_key_value());
                assert!((0..60).all(|key| tree.get(&key) == model.get(&key)));
                assert_eq!(tree.top().map(|top| top.sum.0), model.values().max().copied());
            }
        }
    }
}

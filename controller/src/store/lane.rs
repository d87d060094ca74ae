//! The objects and the recent changes of one resource, `/<group>/<resource>/`.
//!
//! A lane is the unit of locking and of waking, so that a watch of one resource neither waits for
//! nor scans the changes of another. Objects live here as they are stored; nothing is copied for
//! a reader, and no lock is held for longer than one chunk of a walk.
//!
//! A change may be in a lane a moment before the head reaches it. Readers therefore always read
//! *at* a revision: an object changed later is shown as it was before its first later change.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::store::record::{Change, Key, Revision, Stored};

/// How many objects a walk visits under one lock.
const CHUNK: usize = 4096;

/// The name of the lane a key or a prefix lies in; none when it does not name a whole resource.
pub(crate) fn lane_of(text: &str) -> Option<&str> {
    let mut slashes = text.match_indices('/').map(|(at, _)| at);
    (slashes.next() == Some(0)).then_some(())?;
    slashes.nth(1).map(|end| &text[..=end])
}

/// For keys of a prefix, what they were before their first change in `(from, upto]`.
#[derive(Debug)]
pub(crate) struct Earlier {
    /// The versions, none for keys that did not exist.
    pub versions: BTreeMap<Key, Option<Stored>>,
    /// Up to where they are complete.
    pub upto: Revision,
}

/// Where a walk of a lane stands after one chunk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Walked {
    /// Everything was visited.
    All,
    /// Keys after this one are left.
    UpTo(Key),
    /// The lane no longer remembers all changes after the revision, only those after this one.
    Forgotten(Revision),
    /// Changes up to this revision, which is later, are gone for good.
    Lost(Revision),
}

/// What a lane answers to a cursor.
#[derive(Debug)]
pub(crate) enum Tail {
    /// The changes, in order.
    Changes(Vec<Arc<Change>>),
    /// Older changes than the lane remembers are needed: those up to this revision.
    Forgotten(Revision),
    /// Changes up to this revision, beyond the cursor's position, are gone for good.
    Lost(Revision),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lane {
    name: Arc<str>,
    state: RwLock<State>,
    moved: watch::Sender<Revision>,
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<Key, Stored>,
    tail: VecDeque<Arc<Change>>,
    /// The newest revision that left the tail.
    evicted: Revision,
    /// The newest revision that is in no log.
    lost: Revision,
}

impl Lane {
    /// An empty lane that remembers nothing up to `evicted`.
    pub(crate) fn new(name: Arc<str>, evicted: Revision, lost: Revision) -> Lane {
        let state = State { objects: BTreeMap::new(), tail: VecDeque::new(), evicted, lost };
        Lane { name, state: RwLock::new(state), moved: watch::Sender::new(Revision::ZERO) }
    }

    /// The prefix of its keys.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Takes in an object that was stored before.
    pub(crate) fn load(&self, key: Key, stored: Stored) {
        self.state.write().objects.insert(key, stored);
    }

    /// Takes in changes.
    pub(crate) fn apply(&self, changes: &[&Arc<Change>]) {
        let mut state = self.state.write();
        for change in changes {
            match &change.after {
                Some(value) => {
                    let stored = Stored { revision: change.revision, value: value.clone() };
                    state.objects.insert(change.key.clone(), stored);
                }
                None => {
                    state.objects.remove(change.key.as_str());
                }
            }
            state.tail.push_back(Arc::clone(change));
        }
    }

    /// Drops the oldest change of the tail.
    pub(crate) fn evict(&self) {
        let mut state = self.state.write();
        if let Some(change) = state.tail.pop_front() {
            state.evicted = change.revision;
        }
    }

    /// Notes that changes up to a revision are in no log.
    pub(crate) fn lose(&self, revision: Revision) {
        let mut state = self.state.write();
        state.lost = state.lost.max(revision);
    }

    /// Wakes the cursors.
    pub(crate) fn wake(&self, head: Revision) {
        self.moved.send_replace(head);
    }

    /// A bell that rings when the lane has changed.
    pub(crate) fn bell(&self) -> watch::Receiver<Revision> {
        self.moved.subscribe()
    }

    /// The object of a key, whatever its revision.
    pub(crate) fn newest(&self, key: &str) -> Option<Stored> {
        self.state.read().objects.get(key).cloned()
    }

    /// The object of a key at the head, which `head` tells once the lane stands still.
    pub(crate) fn get(&self, key: &str, head: impl Fn() -> Revision) -> Option<Stored> {
        let state = self.state.read();
        let head = head();
        state
            .first_change(key, head)
            .map_or_else(|| state.objects.get(key).cloned(), |change| change.before.clone())
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.state.read().objects.len()
    }

    /// Visits the objects of a prefix at a revision, in order, after a key: one chunk of them.
    /// `earlier` tells of changes the lane may no longer remember.
    pub(crate) fn walk(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Revision,
        earlier: &Earlier,
        visit: &mut dyn FnMut(&Key, &Stored),
    ) -> Walked {
        let state = self.state.read();
        if state.evicted > earlier.upto {
            let lost = state.lost > at;
            return if lost { Walked::Lost(state.lost) } else { Walked::Forgotten(state.evicted) };
        }
        state.walk(prefix, after, at, earlier, visit)
    }

    /// The changes of a prefix in `(after, upto]`, at most `limit`.
    pub(crate) fn tail(&self, prefix: &str, after: Revision, upto: Revision, limit: usize) -> Tail {
        let state = self.state.read();
        if state.evicted > after {
            let lost = state.lost > after;
            return if lost { Tail::Lost(state.lost) } else { Tail::Forgotten(state.evicted) };
        }
        let changes = state.since(after).take_while(|change| change.revision <= upto);
        let mine = changes.filter(|change| change.key.as_str().starts_with(prefix));
        Tail::Changes(mine.take(limit).cloned().collect())
    }
}

impl State {
    fn since(&self, after: Revision) -> impl Iterator<Item = &Arc<Change>> {
        let start = self.tail.partition_point(|change| change.revision <= after);
        self.tail.range(start..)
    }

    fn first_change(&self, key: &str, after: Revision) -> Option<&Arc<Change>> {
        self.tail.back().filter(|newest| newest.revision > after)?;
        self.since(after).find(|change| change.key.as_str() == key)
    }

    fn walk(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Revision,
        earlier: &Earlier,
        visit: &mut dyn FnMut(&Key, &Stored),
    ) -> Walked {
        let from = match after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        let wanted = |key: &str| key.starts_with(prefix) && after.is_none_or(|after| key > after);
        let mut recent: BTreeMap<&Key, Option<&Stored>> = BTreeMap::new();
        for change in self.since(at.max(earlier.upto)).filter(|change| wanted(change.key.as_str())) {
            recent.entry(&change.key).or_insert(change.before.as_ref());
        }
        let range = (from, Bound::Unbounded);
        let mut old =
            earlier.versions.range::<str, _>(range).take_while(|(key, _)| wanted(key.as_str())).peekable();
        let mut recent = recent.into_iter().peekable();
        let mut now =
            self.objects.range::<str, _>(range).take_while(|(key, _)| wanted(key.as_str())).peekable();
        let mut visited = 0;
        loop {
            let next = [now.peek().map(|e| e.0), recent.peek().map(|e| e.0), old.peek().map(|e| e.0)];
            let Some(key) = next.into_iter().flatten().min() else { return Walked::All };
            // The oldest knowledge wins: it tells of the first change.
            let newest = now.next_if(|entry| entry.0 == key).map(|entry| Some(entry.1));
            let middle = recent.next_if(|entry| entry.0 == key).map(|entry| entry.1);
            let oldest = old.next_if(|entry| entry.0 == key).map(|entry| entry.1.as_ref());
            if let Some(stored) = oldest.or(middle).or(newest).flatten() {
                visit(key, stored);
            }
            visited += 1;
            if visited == CHUNK {
                return Walked::UpTo(key.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_named_by_a_whole_resource() {
        assert_eq!(lane_of("/core/pods/default/a"), Some("/core/pods/"));
        assert_eq!(lane_of("/core/nodes//a"), Some("/core/nodes/"));
        assert_eq!(lane_of("/core/pods/"), Some("/core/pods/"));
        assert_eq!(lane_of("/core/pods"), None);
        assert_eq!(lane_of("/core/"), None);
        assert_eq!(lane_of(""), None);
        assert_eq!(lane_of("core/pods/default/a"), None);
    }
}

//! The objects and the recent changes of one resource, `/<group>/<resource>/`.
//!
//! A lane is the unit of locking and of waking, so that a watch of one resource neither waits for
//! nor scans the changes of another. Objects live here as they are stored; nothing is copied for
//! a reader, and no lock is held for longer than one chunk of a walk.
//!
//! A change may be in a lane a moment before the head reaches it. Readers therefore always read
//! *at* a revision: an object changed later is shown as it was before its first later change.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::sorted::{Sorted, end_of};
use crate::store::ears::{Ears, Word};
use crate::store::record::{Change, Key, Revision, Stored};
use crate::store::retention::weight;

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

/// Why a lane cannot answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// Changes up to this revision are needed and only the engine's log has them.
    Forgotten(Revision),
    /// Changes up to this revision are needed and gone for good.
    Lost(Revision),
}

/// The keys of a prefix after a key.
#[derive(Debug)]
pub(crate) struct Part {
    from: Bound<String>,
    end: String,
}

impl Part {
    /// The keys of a prefix, those after a key when there is one.
    pub(crate) fn new(prefix: &str, after: Option<&str>) -> Part {
        let end = end_of(prefix);
        let from = match after {
            Some(after) if after >= end.as_str() => Bound::Included(end.clone()),
            Some(after) if after >= prefix => Bound::Excluded(after.to_owned()),
            _ => Bound::Included(prefix.to_owned()),
        };
        Part { from, end }
    }

    fn bounds(&self) -> (Bound<&str>, Bound<&str>) {
        (self.from.as_ref().map(String::as_str), Bound::Excluded(&self.end))
    }

    fn contains(&self, key: &Key) -> bool {
        RangeBounds::<str>::contains(&self.bounds(), key.as_str())
    }
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
    objects: Sorted<Key, Stored>,
    tail: VecDeque<Arc<Change>>,
    /// The newest revision that left the tail.
    evicted: Revision,
    /// The newest revision that is in no log.
    lost: Revision,
    ears: Ears,
    /// The bytes of changes that have left the tail and that the ears may still have.
    remembered: u64,
}

/// How many of these bytes there may be: looking through all ears for each change would be dear.
const REMEMBERED: u64 = 64 << 10;

impl Lane {
    /// An empty lane that remembers nothing up to `evicted`.
    pub(crate) fn new(name: Arc<str>, evicted: Revision, lost: Revision) -> Lane {
        let state = State {
            objects: Sorted::default(),
            tail: VecDeque::new(),
            evicted,
            lost,
            ears: Ears::default(),
            remembered: 0,
        };
        Lane { name, state: RwLock::new(state), moved: watch::Sender::new(Revision::ZERO) }
    }

    /// The newest change that readers were told of.
    pub(crate) fn moved(&self) -> Revision {
        *self.moved.borrow()
    }

    /// The prefix of its keys.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Takes in an object that was stored before.
    pub(crate) fn load(&self, key: Key, stored: Stored) {
        self.state.write().objects.insert(key, stored);
    }

    /// Takes in changes. Answers the words in them that somebody waits for.
    pub(crate) fn apply(&self, changes: &[&Arc<Change>]) -> Vec<Word> {
        let mut heard = Vec::new();
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
            state.ears.hear(change, &mut heard);
            state.tail.push_back(Arc::clone(change));
        }
        heard.sort_unstable();
        heard.dedup();
        heard
    }

    /// Drops the oldest change of the tail.
    pub(crate) fn evict(&self) {
        let mut state = self.state.write();
        let Some(change) = state.tail.pop_front() else { return };
        let state = &mut *state;
        state.evicted = change.revision;
        state.remembered += weight(&change);
        if state.remembered > REMEMBERED {
            state.remembered = 0;
            state.ears.forget(state.evicted);
        }
    }

    /// Notes that changes up to a revision are in no log.
    pub(crate) fn lose(&self, revision: Revision) {
        let mut state = self.state.write();
        state.lost = state.lost.max(revision);
    }

    /// Wakes the cursors, and of those that wait for a word the ones whose word was heard.
    pub(crate) fn wake(&self, head: Revision, heard: &[Word]) {
        self.moved.send_replace(head);
        if !heard.is_empty() {
            let state = self.state.read();
            heard.iter().for_each(|word| state.ears.ring(word, head));
        }
    }

    /// Wakes all of them.
    pub(crate) fn wake_all(&self, head: Revision) {
        self.moved.send_replace(head);
        self.state.read().ears.ring_all(head);
    }

    /// A bell that rings when a change holds this word, until [`deafen`](Lane::deafen).
    pub(crate) fn listen(&self, word: &Word) -> watch::Receiver<Revision> {
        let mut state = self.state.write();
        let newest = state.tail.back().map_or(state.evicted, |change| change.revision);
        state.ears.open(word, newest)
    }

    /// Nobody listens any more whom [`listen`](Lane::listen) gave a bell.
    pub(crate) fn deafen(&self, word: &Word) {
        self.state.write().ears.close(word);
    }

    /// The changes of a prefix in `(after, upto]` that hold a word, at most `limit`. If that is not known: up to where
    /// there was none.
    pub(crate) fn heard(
        &self,
        word: &Word,
        prefix: &str,
        after: Revision,
        upto: Revision,
        limit: usize,
    ) -> Result<Vec<Arc<Change>>, Revision> {
        let state = self.state.read();
        let changes = state.ears.heard(word, after)?;
        Ok(chosen(changes, prefix, upto, limit))
    }

    /// A bell that rings when the lane has changed.
    pub(crate) fn bell(&self) -> watch::Receiver<Revision> {
        self.moved.subscribe()
    }

    /// The object of a key, whatever its revision, and the key as it is kept with it.
    pub(crate) fn newest(&self, key: &str) -> Option<(Key, Stored)> {
        let state = self.state.read();
        let (key, stored) = state.objects.get_key_value(key)?;
        Some((key.clone(), stored.clone()))
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

    /// Visits the objects of a part at a revision, in order, at most `limit` of them. Answers the
    /// last one's key when it stopped at the limit. `earlier` tells of changes after the revision
    /// that the lane may no longer remember.
    pub(crate) fn walk(
        &self,
        part: &Part,
        at: Revision,
        earlier: &Earlier,
        limit: usize,
        visit: &mut dyn FnMut(&Key, &Stored),
    ) -> Result<Option<Key>, Gap> {
        let state = self.state.read();
        state.complete(at, earlier.upto)?;
        Ok(state.walk(part, earlier, limit, visit))
    }

    /// How many objects of a part there were at a revision.
    pub(crate) fn count(&self, part: &Part, at: Revision, earlier: &Earlier) -> Result<usize, Gap> {
        let state = self.state.read();
        state.complete(at, earlier.upto)?;
        let changed = state.changed(part, earlier);
        let still_there = changed.keys().filter(|key| state.objects.contains_key(key.as_str())).count();
        let were_there = changed.values().flatten().count();
        Ok(state.objects.range(part.bounds()).count() - still_there + were_there)
    }

    /// The changes of a prefix in `(after, upto]`, at most `limit`.
    pub(crate) fn tail(
        &self,
        prefix: &str,
        after: Revision,
        upto: Revision,
        limit: usize,
    ) -> Result<Vec<Arc<Change>>, Gap> {
        let state = self.state.read();
        state.complete(after, after)?;
        Ok(chosen(state.since(after), prefix, upto, limit))
    }
}

/// Those of a prefix up to a revision, at most `limit`.
fn chosen<'a>(
    changes: impl Iterator<Item = &'a Arc<Change>>,
    prefix: &str,
    upto: Revision,
    limit: usize,
) -> Vec<Arc<Change>> {
    let changes = changes.take_while(|change| change.revision <= upto);
    changes.filter(|change| change.key.as_str().starts_with(prefix)).take(limit).cloned().collect()
}

impl State {
    /// Whether the tail holds all changes after `known`, and none after `at` is lost.
    fn complete(&self, at: Revision, known: Revision) -> Result<(), Gap> {
        match self.evicted > known {
            true if self.lost > at => Err(Gap::Lost(self.lost)),
            true => Err(Gap::Forgotten(self.evicted)),
            false => Ok(()),
        }
    }

    /// The changes after a revision. Who follows has all but the newest, and the many before them may not have been
    /// touched for long: so the first one is looked for from the end, in steps that double, and then between the last two.
    fn since(&self, after: Revision) -> impl Iterator<Item = &Arc<Change>> {
        let is_known = |place: usize| self.tail[place].revision <= after;
        let (mut low, mut high, mut step) = (0, self.tail.len(), 1);
        while high > low {
            let place = high.saturating_sub(step);
            if is_known(place) {
                low = place + 1;
                break;
            }
            (high, step) = (place, step * 2);
        }
        while low < high {
            let middle = usize::midpoint(low, high);
            if is_known(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.tail.range(low..)
    }

    fn first_change(&self, key: &str, after: Revision) -> Option<&Arc<Change>> {
        self.tail.back().filter(|newest| newest.revision > after)?;
        self.since(after).find(|change| change.key.as_str() == key)
    }

    fn walk(
        &self,
        part: &Part,
        earlier: &Earlier,
        limit: usize,
        visit: &mut dyn FnMut(&Key, &Stored),
    ) -> Option<Key> {
        let mut now = self.objects.range(part.bounds()).peekable();
        let mut changed = self.changed(part, earlier).into_iter().peekable();
        let mut visited = 0;
        loop {
            let next = changed.peek().map(|(key, _)| *key);
            let key = now.peek().map(|(key, _)| *key).into_iter().chain(next).min()?;
            let newest = now.next_if(|(at, _)| *at == key).map(|(_, stored)| stored);
            let version = match next == Some(key) {
                true => changed.next().and_then(|(_, version)| version),
                false => newest,
            };
            if let Some(stored) = version {
                visit(key, stored);
                visited += 1;
                if visited == limit {
                    return Some(key.clone());
                }
            }
        }
    }

    /// The keys of a part that changed, as they were before. The oldest knowledge wins, since it
    /// tells of the first change.
    fn changed<'a>(&'a self, part: &Part, earlier: &'a Earlier) -> BTreeMap<&'a Key, Option<&'a Stored>> {
        let old =
            earlier.versions.range::<str, _>(part.bounds()).map(|(key, version)| (key, version.as_ref()));
        let mut changed: BTreeMap<_, _> = old.collect();
        for change in self.since(earlier.upto).filter(|change| part.contains(&change.key)) {
            changed.entry(&change.key).or_insert(change.before.as_ref());
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_ends_where_its_prefix_ends() {
        let map: BTreeMap<Key, ()> = ["/a/r/x/1", "/a/r/x/2", "/a/r/y/1"].map(|key| (key.into(), ())).into();
        let count = |prefix, after| map.range::<str, _>(Part::new(prefix, after).bounds()).count();
        assert_eq!(count("/a/r/x/", None), 2);
        assert_eq!(count("/a/r/x/", Some("/a/r/x/1")), 1);
        assert_eq!(count("/a/r/x/", Some("/a/r/x/2")), 0);
        assert_eq!(count("/a/r/x/", Some("/b")), 0, "a key far beyond is no panic");
        assert_eq!(count("/a/r/x/", Some("/a")), 2);
        assert_eq!(count("", None), 3);
    }

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

//! The memory every reader reads: all objects and the newest changes, by lane.
//!
//! One writer publishes, any number of readers read without waiting for a disk. The head is the
//! one word of truth: what lies beyond it is not visible, whatever the lanes already hold. Older
//! history than the lanes remember comes from the engine's log, and only then.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::store::ears::Word;
use crate::store::engine::{Loaded, Log, Outcome};
use crate::store::error::ReadError;
use crate::store::lane::{Earlier, Gap, Lane, Part, lane_of};
use crate::store::record::{Change, Key, Page, RangeOptions, Revision, Stored};

/// How many objects a reader takes under one lock.
const CHUNK: usize = 4096;

/// How many at first who may soon have found what he looks for.
const FIRST_CHUNK: usize = 8;

/// See the module.
pub(crate) struct View {
    head: AtomicU64,
    floor: AtomicU64,
    commits: AtomicU64,
    closed: AtomicBool,
    lanes: RwLock<BTreeMap<Arc<str>, Arc<Lane>>>,
    moved: watch::Sender<Revision>,
    log: Arc<dyn Log>,
    volatile: fn(&str) -> bool,
    loaded: Revision,
    volatile_floor: Revision,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("head", &self.head()).field("floor", &self.floor()).finish()
    }
}

impl View {
    /// The memory of what an engine has loaded.
    pub(crate) fn new(loaded: Loaded, log: Arc<dyn Log>, volatile: fn(&str) -> bool) -> View {
        let view = View {
            head: AtomicU64::new(loaded.head.0),
            floor: AtomicU64::new(loaded.floor.0),
            commits: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            lanes: RwLock::default(),
            moved: watch::Sender::new(loaded.head),
            log,
            volatile,
            loaded: loaded.head,
            volatile_floor: loaded.volatile_floor,
        };
        for (key, stored) in loaded.objects {
            view.lane(lane_of(key.as_str()).unwrap_or_default()).load(key, stored);
        }
        view
    }

    /// The newest visible revision.
    pub(crate) fn head(&self) -> Revision {
        Revision(self.head.load(Ordering::Acquire))
    }

    /// The oldest revision that can be read.
    pub(crate) fn floor(&self) -> Revision {
        Revision(self.floor.load(Ordering::Acquire))
    }

    /// How many times the engine wrote to its disk.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Notes how many times the engine wrote to its disk.
    pub(crate) fn set_commits(&self, commits: u64) {
        self.commits.store(commits, Ordering::Relaxed);
    }

    /// Whether nothing will change any more.
    pub(crate) fn closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends all cursors once they have seen everything.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let head = self.head();
        self.lanes.read().values().for_each(|lane| lane.wake_all(head));
        self.moved.send_replace(head);
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.lanes.read().values().map(|lane| lane.len()).sum()
    }

    /// A bell that rings when the head has moved.
    pub(crate) fn bell(&self) -> watch::Receiver<Revision> {
        self.moved.subscribe()
    }

    /// The log behind the lanes.
    pub(crate) fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// The lane of a name, made when missing.
    pub(crate) fn lane(&self, name: &str) -> Arc<Lane> {
        if let Some(lane) = self.lanes.read().get(name) {
            return lane.clone();
        }
        let lost = if (self.volatile)(name) { self.volatile_floor } else { Revision::ZERO };
        let new = || Arc::new(Lane::new(name.into(), self.loaded, lost));
        self.lanes.write().entry(name.into()).or_insert_with(new).clone()
    }

    /// The lanes that hold the keys of a prefix, in the order of their keys.
    pub(crate) fn lanes(&self, prefix: &str) -> Vec<Arc<Lane>> {
        if let Some(name) = lane_of(prefix) {
            return vec![self.lane(name)];
        }
        let lanes = self.lanes.read();
        let mine = lanes.values().filter(|lane| lane.name().starts_with(prefix));
        mine.cloned().collect()
    }

    /// The object of a key as the writer sees it, and the key as it is kept with it.
    pub(crate) fn newest(&self, key: &Key) -> Option<(Key, Stored)> {
        let name = lane_of(key.as_str()).unwrap_or_default();
        let lane = self.lanes.read().get(name).cloned()?;
        lane.newest(key.as_str())
    }

    /// The object of a key at the head.
    pub(crate) fn get(&self, key: &Key) -> Option<Stored> {
        let name = lane_of(key.as_str()).unwrap_or_default();
        let lane = self.lanes.read().get(name).cloned()?;
        lane.get(key.as_str(), || self.head())
    }

    /// The objects of a prefix at one revision.
    pub(crate) fn range(&self, prefix: &str, options: &RangeOptions) -> Result<Page, ReadError> {
        let head = self.head();
        let at = options.at.unwrap_or(head);
        if at > head {
            return Err(ReadError::Future { asked: at, head });
        }
        let mut page = Page { items: Vec::new(), revision: at, more: false, remaining: 0 };
        for lane in self.lanes(prefix) {
            let mut walk = Walk::new(self, &lane, prefix, at, options.after.clone());
            let room = options.limit.unwrap_or(usize::MAX) - page.items.len();
            if walk.collect(room, &mut page.items)? == Left::Some {
                page.remaining += walk.count()?;
            }
        }
        page.more = page.remaining > 0;
        Ok(page)
    }

    /// Whether one of a prefix's objects at the head is what is looked for.
    pub(crate) fn any(
        &self,
        prefix: &str,
        wanted: &mut dyn FnMut(&Stored) -> bool,
    ) -> Result<bool, ReadError> {
        let at = self.head();
        for lane in self.lanes(prefix) {
            if Walk::new(self, &lane, prefix, at, None).any(wanted)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A walk over one lane at one revision: a chunk at a time, so that no lock is held for long.
struct Walk<'a> {
    view: &'a View,
    lane: &'a Lane,
    prefix: &'a str,
    at: Revision,
    after: Option<Key>,
    earlier: Earlier,
}

#[derive(PartialEq, Eq)]
enum Left {
    Some,
    Nothing,
}

impl<'a> Walk<'a> {
    fn new(view: &'a View, lane: &'a Lane, prefix: &'a str, at: Revision, after: Option<Key>) -> Walk<'a> {
        let prefix = if lane.name().len() > prefix.len() { lane.name() } else { prefix };
        let earlier = Earlier { versions: BTreeMap::new(), upto: at };
        Walk { view, lane, prefix, at, after, earlier }
    }

    /// Whether one of the objects is what is looked for. What is found is often found soon: small chunks come first.
    fn any(&mut self, wanted: &mut dyn FnMut(&Stored) -> bool) -> Result<bool, ReadError> {
        let (mut limit, mut found) = (FIRST_CHUNK, false);
        loop {
            let mut visit = |_: &Key, stored: &Stored| found = found || wanted(stored);
            match self.lane.walk(&self.part(), self.at, &self.earlier, limit, &mut visit) {
                Ok(_) if found => return Ok(true),
                Ok(None) => return Ok(false),
                Ok(last) => self.after = last,
                Err(gap) => self.fill(gap)?,
            }
            limit = CHUNK.min(limit * 4);
        }
    }

    /// Collects at most `room` objects.
    fn collect(&mut self, room: usize, items: &mut Vec<(Key, Stored)>) -> Result<Left, ReadError> {
        let end = items.len().saturating_add(room);
        while items.len() < end {
            let limit = CHUNK.min(end - items.len());
            let mut visit = |key: &Key, stored: &Stored| items.push((key.clone(), stored.clone()));
            match self.lane.walk(&self.part(), self.at, &self.earlier, limit, &mut visit) {
                Ok(None) => return Ok(Left::Nothing),
                Ok(last) => self.after = last,
                Err(gap) => self.fill(gap)?,
            }
        }
        Ok(Left::Some)
    }

    /// Counts what is left.
    fn count(&mut self) -> Result<u64, ReadError> {
        loop {
            match self.lane.count(&self.part(), self.at, &self.earlier) {
                Ok(count) => return Ok(count as u64),
                Err(gap) => self.fill(gap)?,
            }
        }
    }

    fn part(&self) -> Part {
        Part::new(self.prefix, self.after.as_ref().map(Key::as_str))
    }

    /// Completes what is known of earlier versions from the engine's log.
    fn fill(&mut self, gap: Gap) -> Result<(), ReadError> {
        let upto = match gap {
            Gap::Forgotten(upto) => upto,
            Gap::Lost(floor) => return Err(ReadError::Compacted { asked: self.at, floor }),
        };
        let Earlier { versions, upto: known } = &mut self.earlier;
        self.view.log.visit(self.prefix, *known, upto, &mut |change| {
            versions.entry(change.key).or_insert(change.before);
            ControlFlow::Continue(())
        })?;
        *known = upto;
        Ok(())
    }
}

/// Publishes changes. There is one, owned by the writer.
#[derive(Debug)]
pub(crate) struct Publisher {
    view: Arc<View>,
    /// What each change in a tail weighs, oldest first.
    tail: VecDeque<(Arc<Lane>, usize)>,
    bytes: usize,
    limit: usize,
}

impl Publisher {
    /// A publisher that lets the tails hold so many bytes together.
    pub(crate) fn new(view: Arc<View>, limit: usize) -> Publisher {
        Publisher { view, tail: VecDeque::new(), bytes: 0, limit }
    }

    /// The memory published to.
    pub(crate) fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Makes the outcome of a batch visible, all of it at once, and wakes whom it concerns.
    pub(crate) fn publish(&mut self, outcome: &Outcome) {
        let touched = self.apply(&outcome.changes);
        for change in &outcome.forgotten {
            self.lane_of(change).lose(change.revision);
        }
        self.view.floor.fetch_max(outcome.floor.0, Ordering::AcqRel);
        let Some(newest) = outcome.changes.last() else { return };
        self.view.head.store(newest.revision.0, Ordering::Release);
        self.evict();
        touched.iter().for_each(|(lane, heard)| lane.wake(newest.revision, heard));
        self.view.moved.send_replace(newest.revision);
    }

    /// Hands changes to their lanes. Answers those, and the words that somebody waits for there.
    fn apply(&mut self, changes: &[Arc<Change>]) -> Vec<(Arc<Lane>, Vec<Word>)> {
        let mut by_lane: BTreeMap<&str, Vec<&Arc<Change>>> = BTreeMap::new();
        for change in changes {
            by_lane.entry(lane_of(change.key.as_str()).unwrap_or_default()).or_default().push(change);
        }
        let lanes: BTreeMap<&str, Arc<Lane>> =
            by_lane.keys().map(|name| (*name, self.view.lane(name))).collect();
        for change in changes {
            let lane = &lanes[lane_of(change.key.as_str()).unwrap_or_default()];
            let weight = held(change);
            self.tail.push_back((lane.clone(), weight));
            self.bytes += weight;
        }
        let hear = |(lane, changes): (Arc<Lane>, Vec<_>)| {
            let heard = lane.apply(&changes);
            (lane, heard)
        };
        lanes.into_values().zip(by_lane.into_values()).map(hear).collect()
    }

    fn evict(&mut self) {
        while self.bytes > self.limit {
            let Some((lane, weight)) = self.tail.pop_front() else { break };
            self.bytes -= weight;
            lane.evict();
        }
    }

    fn lane_of(&self, change: &Change) -> Arc<Lane> {
        self.view.lane(lane_of(change.key.as_str()).unwrap_or_default())
    }
}

/// The memory that a change in a tail keeps alive: the bytes before it, and itself. The bytes
/// after it are the object's own, or those before the next change.
pub(crate) fn held(change: &Change) -> usize {
    let before = change.before.as_ref().map_or(0, |stored| stored.value.len());
    before + if change.after.is_none() { change.key.as_str().len() } else { 0 } + 192
}

//! The engine on a disk: the only module that names redb.
//!
//! A batch with a durable write is one record of the journal, acknowledged after its sync; the tables
//! follow many records at a time, on a thread of their own: a transaction of thousands of pages takes
//! a slow disk seconds, and no write waits for it as long as the journal has room. Volatile writes
//! wait, within bounds, for the next record that happens anyway, or for the end.
//!
//! Revisions above `meta.ceiling` are never handed out, and the ceiling is raised in the same
//! transaction, or an earlier one, than the revision it allows. At a clean end the ceiling comes
//! down to the head; a store opened with the two apart was killed, may have handed out anything up
//! to the ceiling, and goes on above it.

mod format;
mod history;
mod migrate;

mod disk;

mod journal;

#[cfg(test)]
pub(crate) mod crash_disk;
#[cfg(test)]
pub(crate) mod older;

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use parking_lot::RwLock;

use crate::store::Config;
use crate::store::decide::decide;
use crate::store::engine::{Current, Engine, EngineError, Loaded, Log, Outcome};
use crate::store::error::{OpenError, ReadError};
use crate::store::record::{Change, Key, Revision, Stored, Verb, Write};
use crate::store::redb::disk::{Batch, Disk, engine_error};
use crate::store::redb::format::Meta;
use crate::store::redb::journal::{Entry, Journal, record_size};
use crate::store::retention::{Retention, weight};

pub(crate) use crate::store::redb::disk::Place;

/// How far the ceiling is raised above the head.
const RAISE: u64 = 1_000_000;

/// The most bytes of volatile changes that wait for a transaction.
const PENDING: u64 = 4 << 20;

/// See the module.
pub(crate) struct RedbEngine {
    disk: Arc<Disk>,
    journal: Journal,
    volatile: fn(&str) -> bool,
    retention: Retention,
    /// As in the tables.
    meta: Meta,
    /// With what is unsaved.
    head: Revision,
    unsaved: Unsaved,
    /// The tables following the journal.
    following: Option<Following>,
    /// Whether they could not, so that both sections of the journal are in use.
    behind: bool,
    /// A transaction whose fate is unknown.
    doubt: Option<Attempt>,
    commits: u64,
}

/// Changes in the order of revisions, shared with the readers of the log.
type Recent = Arc<RwLock<VecDeque<Arc<Change>>>>;

/// Changes that are not in the tables yet.
#[derive(Default)]
struct Unsaved {
    /// First those that the journal has, then the volatile ones that nothing has.
    recent: Recent,
    /// How many the journal has.
    journaled: usize,
    /// The bytes of all.
    bytes: u64,
    /// The bytes of those that nothing has.
    pending: u64,
    /// The last dropped change of each key, of those that nothing has.
    forgotten: BTreeMap<Key, Arc<Change>>,
    /// The newest dropped revision.
    floor: Revision,
}

struct Attempt {
    meta: Meta,
    changes: Vec<Arc<Change>>,
    /// How many of the unsaved changes are in it.
    saves: Saves,
}

#[derive(Clone, Copy)]
enum Saves {
    All,
    First(usize),
}

/// A transaction that brings the first of the unsaved changes into the tables.
struct Following {
    thread: JoinHandle<(Result<(), EngineError>, Meta)>,
    count: usize,
    bytes: u64,
}

impl RedbEngine {
    /// Opens a place, bringing it into the present format and cleaning up after an unclean stop.
    pub(crate) fn open(
        place: Place,
        config: &Config,
    ) -> Result<(RedbEngine, Loaded, Arc<dyn Log>), OpenError> {
        let (place, volatile) = (Arc::new(place), config.volatile_prefix);
        let disk = Arc::new(Disk::open(place.clone())?);
        let (mut meta, mut objects) = disk.load()?;
        let failed = |source| OpenError::Io { path: place.journal_path(), source };
        let journal = Journal::open(place.clone(), config.journal_bytes as u64).map_err(failed)?;
        let entries = journal.read(meta.head).map_err(failed)?;
        if !entries.is_empty() {
            objects = replay(&disk, &mut meta, objects, entries)?;
        }
        if meta.head != meta.ceiling {
            meta = go_on_above(&disk, meta)?;
        }
        for (key, stored) in &mut objects {
            if stored.revision < meta.restamp && volatile(key.as_str()) {
                stored.revision = meta.restamp;
            }
        }
        let loaded =
            Loaded { objects, head: meta.head, floor: meta.floor, volatile_floor: meta.volatile_floor };
        let unsaved = Unsaved::default();
        let log = RedbLog { disk: disk.clone(), recent: unsaved.recent.clone() };
        let engine = RedbEngine {
            disk,
            journal,
            volatile,
            retention: Retention::new(config.retain, Instant::now(), meta.head),
            head: meta.head,
            meta,
            unsaved,
            following: None,
            behind: false,
            doubt: None,
            commits: 0,
        };
        Ok((engine, loaded, Arc::new(log)))
    }

    /// Makes changes durable: in the journal, or, when that cannot be used, in the tables.
    fn keep(&mut self, changes: &[Arc<Change>]) -> Result<(), EngineError> {
        self.tend();
        let newest = changes.last().map_or(self.head, |change| change.revision);
        let usable = newest <= self.meta.ceiling && self.unsaved.forgotten.is_empty();
        if !(usable && self.make_room(changes)) {
            return self.commit(changes, End::No).map(drop);
        }
        self.commits += 1;
        let recent = self.unsaved.recent.read();
        let mut batch = recent.iter().skip(self.unsaved.journaled).chain(changes).map(AsRef::as_ref);
        let appended = self.journal.append(&mut batch);
        drop(batch);
        drop(recent);
        if let Err(error) = appended {
            tracing::warn!(%error, revision = newest.0, "the store's disk refused a record");
            // If that fails, too, the next write tries it again.
            let _ = self.journal.mend();
            return Err(engine_error(&redb::Error::Io(error)));
        }
        self.unsaved.journaled(changes);
        self.head = newest;
        Ok(())
    }

    /// Makes room in the journal for these changes and those that nothing has; false if there cannot be enough.
    fn make_room(&mut self, changes: &[Arc<Change>]) -> bool {
        let record = {
            let recent = self.unsaved.recent.read();
            record_size(recent.iter().skip(self.unsaved.journaled).chain(changes).map(AsRef::as_ref))
        };
        let followed = self.following.as_ref().map_or(0, |following| following.bytes);
        // What is only in the journal is kept in memory, too, with what was before it.
        let light = self.unsaved.bytes - followed <= 2 * self.journal.limit();
        if light && self.journal.fits(record) {
            return true;
        }
        self.journal.fits_anew(record) && self.settle() && self.follow()
    }

    /// Lets the tables follow what the journal has, and goes on in its other section; false if that is not possible.
    fn follow(&mut self) -> bool {
        let changes: Vec<Arc<Change>> =
            self.unsaved.recent.read().iter().take(self.unsaved.journaled).cloned().collect();
        let Some(head) = changes.last().map(|change| change.revision) else { return false };
        let bytes = changes.iter().map(|change| weight(change)).sum();
        let mut meta = self.meta.clone();
        meta.head = head;
        meta.ceiling = meta.raised(head);
        let due = self.retention.due(Instant::now(), head, meta.log_bytes + bytes);
        let (disk, retain, count) = (self.disk.clone(), self.retention.bytes(), changes.len());
        let work = move || {
            let forgotten = BTreeMap::new();
            let batch = Batch { forgotten: &forgotten, unsaved: &changes, changes: &[], due, retain };
            (disk.commit(&batch, &mut meta), meta)
        };
        // Without a thread it is done at once.
        let Ok(thread) = thread::Builder::new().name("tables".to_owned()).spawn(work) else { return false };
        self.following = Some(Following { thread, count, bytes });
        self.commits += 1;
        self.journal.turn();
        true
    }

    /// Waits until the tables have followed; false if they could not.
    fn settle(&mut self) -> bool {
        let Some(Following { thread, count, .. }) = self.following.take() else { return !self.behind };
        let (result, meta) = thread.join().expect("a transaction that panics is an error");
        let saves = Saves::First(count);
        match result {
            Ok(()) => self.kept(meta, saves),
            Err(error) => {
                tracing::warn!(%error, revision = meta.head.0, "the store's disk refused a transaction");
                self.behind = true;
                self.doubt = Some(Attempt { meta, changes: Vec::new(), saves });
                if let Err(error) = self.resolve() {
                    tracing::warn!(%error, "the store's tables cannot be opened again");
                }
            }
        }
        !self.behind
    }

    /// Writes everything that is unsaved, and these changes, into the tables.
    fn commit(&mut self, changes: &[Arc<Change>], end: End) -> Result<Revision, EngineError> {
        self.settle();
        if self.doubt.is_some() {
            return Err(EngineError::Failed("the store's tables cannot be opened".to_owned()));
        }
        let now = Instant::now();
        let head = changes.last().map_or(self.head, |change| change.revision);
        let mut meta = self.meta.clone();
        meta.head = head;
        meta.volatile_floor = meta.volatile_floor.max(self.unsaved.floor);
        meta.ceiling = match end {
            End::Of => head,
            End::No => meta.raised(head),
        };
        let bytes = meta.log_bytes + self.unsaved.bytes + changes.iter().map(|c| weight(c)).sum::<u64>();
        let unsaved: Vec<Arc<Change>> = self.unsaved.recent.read().iter().cloned().collect();
        let batch = Batch {
            forgotten: &self.unsaved.forgotten,
            unsaved: &unsaved,
            changes,
            due: self.retention.due(now, head, bytes),
            retain: self.retention.bytes(),
        };
        self.commits += 1;
        match self.disk.commit(&batch, &mut meta) {
            Ok(()) => {
                self.kept(meta, Saves::All);
                Ok(head)
            }
            Err(error) => {
                tracing::warn!(%error, revision = head.0, "the store's disk refused a transaction");
                self.doubt = Some(Attempt { meta, changes: changes.to_vec(), saves: Saves::All });
                match self.resolve() {
                    Ok(kept) if !changes.is_empty() && kept.len() == changes.len() => Ok(head),
                    _ => Err(error),
                }
            }
        }
    }

    /// Finds out what became of a transaction in doubt; answers its changes if they were kept.
    fn resolve(&mut self) -> Result<Vec<Arc<Change>>, EngineError> {
        let Some(attempt) = &self.doubt else { return Ok(Vec::new()) };
        let found = self.disk.reopen()?;
        let kept = found == attempt.meta;
        match self.doubt.take() {
            Some(attempt) if kept => {
                self.kept(attempt.meta, attempt.saves);
                Ok(attempt.changes)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Takes note that the tables have followed.
    fn kept(&mut self, meta: Meta, saves: Saves) {
        match saves {
            Saves::All => {
                self.head = meta.head;
                self.unsaved.clear();
                self.journal.restart();
            }
            Saves::First(count) => self.unsaved.saved(count),
        }
        self.behind = false;
        self.meta = meta;
    }
}

enum End {
    Of,
    No,
}

impl Engine for RedbEngine {
    fn write(&mut self, current: Current<'_>, batch: &[Write]) -> Result<Outcome, EngineError> {
        let decided = decide(current, self.head, batch, |key| (self.volatile)(key.as_str()));
        let mut outcome = Outcome { answers: decided.answers, floor: self.meta.floor, ..Outcome::default() };
        let Some(newest) = decided.changes.last() else { return Ok(outcome) };
        if decided.durable || newest.revision > self.meta.ceiling {
            self.keep(&decided.changes)?;
            outcome.floor = self.meta.floor;
        } else {
            self.head = newest.revision;
            outcome.forgotten = self.unsaved.add(&decided.changes);
        }
        outcome.changes = decided.changes;
        Ok(outcome)
    }

    fn recover(&mut self) -> Result<Vec<Arc<Change>>, EngineError> {
        self.journal.mend().map_err(|error| engine_error(&redb::Error::Io(error)))?;
        let resolved = self.resolve();
        match &self.doubt {
            // No answer waits for tables that only follow: until they can be opened there is the journal.
            Some(Attempt { saves: Saves::First(_), .. }) => Ok(Vec::new()),
            _ => resolved,
        }
    }

    fn tend(&mut self) -> bool {
        match &self.following {
            Some(following) if following.thread.is_finished() => {
                self.settle();
                false
            }
            following => following.is_some(),
        }
    }

    fn close(&mut self) -> Result<(), EngineError> {
        self.settle();
        self.recover()?;
        if self.meta.ceiling != self.head || !self.unsaved.is_empty() {
            self.commit(&[], End::Of)?;
        }
        self.disk.close();
        self.journal.close();
        Ok(())
    }

    fn commits(&self) -> u64 {
        self.commits
    }
}

impl Unsaved {
    fn is_empty(&self) -> bool {
        self.recent.read().is_empty() && self.forgotten.is_empty()
    }

    /// The tables have everything.
    fn clear(&mut self) {
        self.recent.write().clear();
        *self = Unsaved { recent: self.recent.clone(), ..Unsaved::default() };
    }

    /// The tables have the first of them.
    fn saved(&mut self, count: usize) {
        let mut recent = self.recent.write();
        self.bytes -= recent.drain(..count).map(|change| weight(&change)).sum::<u64>();
        self.journaled -= count;
    }

    /// The journal has everything, and these changes.
    fn journaled(&mut self, changes: &[Arc<Change>]) {
        let mut recent = self.recent.write();
        recent.extend(changes.iter().cloned());
        self.bytes += changes.iter().map(|change| weight(change)).sum::<u64>();
        self.journaled = recent.len();
        self.pending = 0;
    }

    /// Takes in changes that nothing has; answers those dropped to stay within bounds.
    fn add(&mut self, changes: &[Arc<Change>]) -> Vec<Arc<Change>> {
        let mut recent = self.recent.write();
        for change in changes {
            self.pending += weight(change);
            self.bytes += weight(change);
            recent.push_back(change.clone());
        }
        let mut dropped = Vec::new();
        while self.pending > PENDING {
            let Some(change) = recent.remove(self.journaled) else { break };
            self.pending -= weight(&change);
            self.bytes -= weight(&change);
            self.floor = change.revision;
            self.forgotten.insert(change.key.clone(), change.clone());
            dropped.push(change);
        }
        dropped
    }
}

impl Meta {
    /// The ceiling for this head.
    fn raised(&self, head: Revision) -> Revision {
        if head.0 + RAISE / 2 > self.ceiling.0 { Revision(head.0 + RAISE) } else { self.ceiling }
    }
}

/// The history of the tables, and what they do not have yet.
struct RedbLog {
    disk: Arc<Disk>,
    recent: Recent,
}

impl Log for RedbLog {
    fn visit(
        &self,
        prefix: &str,
        after: Revision,
        upto: Revision,
        visit: &mut dyn FnMut(Change) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        // First the newest: what goes into the tables meanwhile is not read twice, nor missed.
        let recent: Vec<Arc<Change>> = {
            let recent = self.recent.read();
            let start = recent.partition_point(|change| change.revision <= after);
            recent.range(start..).take_while(|change| change.revision <= upto).cloned().collect()
        };
        let older = recent.first().map_or(upto, |first| upto.min(Revision(first.revision.0 - 1)));
        let mut stopped = false;
        self.disk.visit(prefix, after, older, &mut |change| {
            let flow = visit(change);
            stopped = flow.is_break();
            flow
        })?;
        let mine = recent.iter().filter(|change| change.key.as_str().starts_with(prefix));
        for change in mine.take_while(|_| !stopped) {
            if visit(Change::clone(change)).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Brings what only the journal has into the tables; answers the objects then.
fn replay(
    disk: &Disk,
    meta: &mut Meta,
    objects: Vec<(Key, Stored)>,
    entries: Vec<Entry>,
) -> Result<Vec<(Key, Stored)>, OpenError> {
    let mut objects: BTreeMap<Key, Stored> = objects.into_iter().collect();
    let mut changes = Vec::with_capacity(entries.len());
    for Entry { revision, key, after } in entries {
        let before = match &after {
            Some(value) => objects.insert(key.clone(), Stored { revision, value: value.clone() }),
            None => objects.remove(&key),
        };
        let verb = match (&before, &after) {
            (_, None) => Verb::Delete,
            (None, Some(_)) => Verb::Create,
            (Some(_), Some(_)) => Verb::Update,
        };
        meta.head = revision;
        changes.push(Arc::new(Change { revision, key, verb, after, before }));
    }
    tracing::info!(changes = changes.len(), revision = meta.head.0, "the journal was brought into the store");
    let forgotten = BTreeMap::new();
    let batch = Batch { forgotten: &forgotten, unsaved: &[], changes: &changes, due: None, retain: 0 };
    disk.replay(&batch, meta)?;
    Ok(objects.into_iter().collect())
}

/// After an unclean stop: nothing below the ceiling can be trusted to be unused, and volatile
/// objects may be older than what was seen of them.
fn go_on_above(disk: &Disk, mut meta: Meta) -> Result<Meta, OpenError> {
    let head = meta.ceiling.next();
    tracing::info!(from = meta.head.0, revision = head.0, "the store was not closed; revisions go on above");
    meta.head = head;
    meta.ceiling = head;
    meta.restamp = head;
    meta.volatile_floor = head;
    disk.rewrite(&meta)?;
    Ok(meta)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::PathBuf;

    use bytes::Bytes;

    use super::*;
    use crate::store::record::{Durability, Op};
    use crate::store::redb::crash_disk::CrashDisk;

    #[test]
    fn what_the_tables_have_is_not_kept_until_the_next_write() {
        let config = Config { journal_bytes: 40_000, ..Config::new(PathBuf::new(), |_| false) };
        let (mut engine, ..) = RedbEngine::open(CrashDisk::default().place(), &config).unwrap();
        let mut written = 0;
        while engine.following.is_none() {
            let key = Key::from(format!("/a/r//{written}").as_str());
            let op = Op::Put(Bytes::from(vec![b'x'; 1000]));
            let write = Write { key, op, when: Vec::new(), durability: Durability::Durable };
            engine.write(&|_| None, &[write]).unwrap();
            written += 1;
        }
        assert!(written > 10);
        while engine.tend() {
            thread::yield_now();
        }
        assert_eq!(engine.unsaved.recent.read().len(), 1, "the one for which there was no room");
    }
}

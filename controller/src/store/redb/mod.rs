//! The engine on a disk: the only module that names redb.
//!
//! A batch with a durable write is one transaction, acknowledged after its sync. Volatile writes
//! wait, within bounds, for the next transaction that happens anyway, or for the end.
//!
//! Revisions above `meta.ceiling` are never handed out, and the ceiling is raised in the same
//! transaction, or an earlier one, than the revision it allows. At a clean end the ceiling comes
//! down to the head; a store opened with the two apart was killed, may have handed out anything up
//! to the ceiling, and goes on above it.

mod disk;
mod format;
mod migrate;

#[cfg(test)]
pub(crate) mod crash_disk;
#[cfg(test)]
pub(crate) mod older;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::store::decide::decide;
use crate::store::engine::{Current, Engine, EngineError, Loaded, Log, Outcome};
use crate::store::error::OpenError;
use crate::store::record::{Change, Key, Revision, Stored, Write};
use crate::store::redb::disk::{Batch, Disk, Repair};
use crate::store::redb::format::Meta;
use crate::store::retention::{Retain, Retention, weight};

pub(crate) use crate::store::redb::disk::Place;

/// How far the ceiling is raised above the head.
const RAISE: u64 = 1_000_000;

/// Every so many transactions one is made quick to repair.
const QUICK_EVERY: u32 = 64;

/// A transaction after a pause of this length is likely to be followed by another one: it is made
/// quick to repair at once, so that no further one is needed for that.
const PAUSE: Duration = Duration::from_millis(200);

/// The most bytes of volatile changes that wait for a transaction.
const PENDING: u64 = 4 << 20;

/// See the module.
pub(crate) struct RedbEngine {
    disk: Arc<Disk>,
    volatile: fn(&str) -> bool,
    retention: Retention,
    /// As on the disk.
    meta: Meta,
    /// With what is pending.
    head: Revision,
    pending: Pending,
    /// A transaction whose fate is unknown.
    doubt: Option<Attempt>,
    quick: QuickRepair,
    commits: u64,
}

/// Volatile changes that are on no disk yet.
#[derive(Default)]
struct Pending {
    changes: VecDeque<Arc<Change>>,
    bytes: u64,
    /// The newest version of keys whose changes were dropped from `changes`.
    forgotten: BTreeMap<Key, Option<Stored>>,
    /// The newest dropped revision.
    floor: Revision,
}

struct Attempt {
    meta: Meta,
    changes: Vec<Arc<Change>>,
}

/// When a transaction is worth making quick to repair.
struct QuickRepair {
    since: u32,
    last: Option<Instant>,
}

impl RedbEngine {
    /// Opens a place, bringing it into the present format and cleaning up after an unclean stop.
    pub(crate) fn open(
        place: Place,
        volatile: fn(&str) -> bool,
        retain: Retain,
    ) -> Result<(RedbEngine, Loaded, Arc<dyn Log>), OpenError> {
        let disk = Arc::new(Disk::open(place)?);
        let (mut meta, mut objects) = disk.load()?;
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
        let engine = RedbEngine {
            disk: disk.clone(),
            volatile,
            retention: Retention::new(retain, Instant::now(), meta.head),
            head: meta.head,
            meta,
            pending: Pending::default(),
            doubt: None,
            quick: QuickRepair { since: 0, last: None },
            commits: 0,
        };
        Ok((engine, loaded, disk))
    }

    fn commit(&mut self, changes: &[Arc<Change>], repair: Repair, end: End) -> Result<Revision, EngineError> {
        let now = Instant::now();
        let head = changes.last().map_or(self.head, |change| change.revision);
        let mut meta = self.meta.clone();
        meta.head = head;
        meta.volatile_floor = meta.volatile_floor.max(self.pending.floor);
        meta.ceiling = match end {
            End::Of => head,
            End::No if head.0 + RAISE / 2 > meta.ceiling.0 => Revision(head.0 + RAISE),
            End::No => meta.ceiling,
        };
        let bytes = meta.log_bytes + self.pending.bytes + changes.iter().map(|c| weight(c)).sum::<u64>();
        let batch = Batch {
            forgotten: &self.pending.forgotten,
            pending: self.pending.changes.make_contiguous(),
            changes,
            due: self.retention.due(now, head, bytes),
            retain: self.retention.bytes(),
            repair,
        };
        self.commits += 1;
        match self.disk.commit(&batch, &mut meta) {
            Ok(()) => {
                self.kept(meta);
                self.quick.noted(repair, now);
                Ok(head)
            }
            Err(error) => {
                tracing::warn!(%error, revision = head.0, "the store's disk refused a transaction");
                self.doubt = Some(Attempt { meta, changes: changes.to_vec() });
                match self.recover() {
                    Ok(kept) if !changes.is_empty() && kept.len() == changes.len() => Ok(head),
                    _ => Err(error),
                }
            }
        }
    }

    fn kept(&mut self, meta: Meta) {
        self.head = meta.head;
        self.meta = meta;
        self.pending = Pending::default();
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
            let repair = self.quick.choose(Instant::now());
            self.commit(&decided.changes, repair, End::No)?;
            outcome.floor = self.meta.floor;
        } else {
            self.head = newest.revision;
            outcome.forgotten = self.pending.add(&decided.changes);
        }
        outcome.changes = decided.changes;
        Ok(outcome)
    }

    fn recover(&mut self) -> Result<Vec<Arc<Change>>, EngineError> {
        let Some(attempt) = &self.doubt else { return Ok(Vec::new()) };
        let found = self.disk.reopen()?;
        let attempt = match found == attempt.meta {
            true => self.doubt.take().expect("looked at above"),
            false => {
                self.doubt = None;
                return Ok(Vec::new());
            }
        };
        self.kept(attempt.meta);
        Ok(attempt.changes)
    }

    fn unsettled(&self) -> bool {
        self.quick.since > 0
    }

    fn settle(&mut self) -> Result<(), EngineError> {
        self.commit(&[], Repair::Quick, End::No).map(drop)
    }

    fn close(&mut self) -> Result<(), EngineError> {
        self.recover()?;
        if self.meta.ceiling != self.head || !self.pending.is_empty() {
            self.commit(&[], Repair::Quick, End::Of)?;
        }
        self.disk.close();
        Ok(())
    }

    fn commits(&self) -> u64 {
        self.commits
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.forgotten.is_empty()
    }

    /// Takes in changes; answers those dropped to stay within bounds.
    fn add(&mut self, changes: &[Arc<Change>]) -> Vec<Arc<Change>> {
        for change in changes {
            self.bytes += weight(change);
            self.changes.push_back(change.clone());
        }
        let mut dropped = Vec::new();
        while self.bytes > PENDING {
            let Some(change) = self.changes.pop_front() else { break };
            self.bytes -= weight(&change);
            self.floor = change.revision;
            let stored = change.after.clone().map(|value| Stored { revision: change.revision, value });
            self.forgotten.insert(change.key.clone(), stored);
            dropped.push(change);
        }
        dropped
    }
}

impl QuickRepair {
    fn choose(&self, now: Instant) -> Repair {
        let paused = self.last.is_none_or(|last| now.saturating_duration_since(last) > PAUSE);
        if paused || self.since + 1 >= QUICK_EVERY { Repair::Quick } else { Repair::Slow }
    }

    fn noted(&mut self, repair: Repair, now: Instant) {
        self.last = Some(now);
        self.since = if repair == Repair::Quick { 0 } else { self.since + 1 };
    }
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

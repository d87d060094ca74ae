//! The engine that forgets: for a store that lives no longer than its process.
//!
//! It has no ceiling and postpones nothing, since it has nothing to lose; it keeps its log within
//! the same bounds as a disk would.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;

use crate::store::decide::decide;
use crate::store::engine::{Current, Engine, EngineError, Loaded, Log, Outcome};
use crate::store::error::ReadError;
use crate::store::record::{Change, Key, Revision, Stored, Write};
use crate::store::retention::{Retain, Retention, weight};

/// See the module.
#[derive(Debug)]
pub(crate) struct MemoryEngine {
    head: Revision,
    retention: Retention,
    history: Arc<RwLock<History>>,
}

#[derive(Debug, Default)]
struct History {
    floor: Revision,
    bytes: u64,
    changes: VecDeque<Arc<Change>>,
}

impl MemoryEngine {
    /// An engine that holds these objects and no history.
    pub(crate) fn new(retain: Retain, objects: Vec<(Key, Stored)>) -> (MemoryEngine, Loaded, Arc<dyn Log>) {
        let head = objects.iter().map(|(_, stored)| stored.revision).max().unwrap_or_default();
        let history = Arc::new(RwLock::new(History { floor: head, ..History::default() }));
        let loaded = Loaded { objects, head, floor: head, volatile_floor: head };
        let retention = Retention::new(retain, Instant::now(), head);
        let engine = MemoryEngine { head, retention, history: history.clone() };
        (engine, loaded, Arc::new(MemoryLog(history)))
    }

    fn keep(&mut self, changes: &[Arc<Change>]) -> Revision {
        let mut history = self.history.write();
        for change in changes {
            history.bytes += weight(change);
            history.changes.push_back(change.clone());
        }
        if let Some(due) = self.retention.due(Instant::now(), self.head, history.bytes) {
            history.trim(due, self.retention.bytes());
        }
        history.floor
    }
}

impl History {
    fn trim(&mut self, due: Revision, bytes: u64) {
        while let Some(oldest) = self.changes.front() {
            let left = self.bytes - weight(oldest);
            if oldest.revision > due || left < bytes {
                break;
            }
            self.bytes = left;
            self.floor = oldest.revision;
            self.changes.pop_front();
        }
    }
}

impl Engine for MemoryEngine {
    fn write(&mut self, current: Current<'_>, batch: &[Write]) -> Result<Outcome, EngineError> {
        let decided = decide(current, self.head, batch, |_| true);
        self.head = decided.changes.last().map_or(self.head, |change| change.revision);
        let floor = self.keep(&decided.changes);
        Ok(Outcome { answers: decided.answers, changes: decided.changes, floor, forgotten: Vec::new() })
    }

    fn recover(&mut self) -> Result<Vec<Arc<Change>>, EngineError> {
        Ok(Vec::new())
    }

    fn close(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn commits(&self) -> u64 {
        0
    }
}

struct MemoryLog(Arc<RwLock<History>>);

impl Log for MemoryLog {
    fn visit(
        &self,
        prefix: &str,
        after: Revision,
        upto: Revision,
        visit: &mut dyn FnMut(Change) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let history = self.0.read();
        if after < history.floor {
            return Err(ReadError::Compacted { asked: after, floor: history.floor });
        }
        let start = history.changes.partition_point(|change| change.revision <= after);
        for change in history.changes.range(start..) {
            if change.revision > upto {
                break;
            }
            if change.key.as_str().starts_with(prefix) && visit(Change::clone(change)).is_break() {
                break;
            }
        }
        Ok(())
    }
}

//! Watching: a cursor over the history of a prefix, pulled at its owner's pace.
//!
//! A cursor holds no changes and nobody holds a cursor: one that is slow, or gone, costs nothing
//! but itself. It reads the lanes' tails; when it has fallen behind them it reads the engine's
//! log, on a blocking thread, until it has caught up; behind the log's floor it ends.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::store::error::ReadError;
use crate::store::lane::{Gap, lane_of};
use crate::store::record::{Change, Revision};
use crate::store::view::View;

/// The most changes handed out at once.
const BATCH: usize = 1024;

/// The most cursors that read the engine's log at the same time.
static READERS: Semaphore = Semaphore::const_new(4);

/// A reader of the history of a prefix, at its own pace.
#[derive(Debug)]
pub struct Cursor {
    view: Arc<View>,
    prefix: Arc<str>,
    position: Revision,
    bell: watch::Receiver<Revision>,
}

impl Cursor {
    /// A cursor over the changes of a prefix after a revision.
    pub(crate) fn new(view: Arc<View>, prefix: &str, after: Revision) -> Result<Cursor, ReadError> {
        let head = view.head();
        if after > head {
            return Err(ReadError::Future { asked: after, head });
        }
        let bell = match lane_of(prefix) {
            Some(name) => view.lane(name).bell(),
            None => view.bell(),
        };
        let cursor = Cursor { view, prefix: prefix.into(), position: after, bell };
        if let Seen::Behind(_) = cursor.look(1, &|_| true)?
            && after < cursor.view.floor()
        {
            return Err(ReadError::Compacted { asked: after, floor: cursor.view.floor() });
        }
        Ok(cursor)
    }

    /// The next changes, at least one, in order. Waits when there are none. Cancel safe.
    ///
    /// Fails with [`ReadError::Compacted`] when the history after the cursor's position is gone,
    /// with [`ReadError::Closed`] when the store was closed and everything has been handed out.
    pub async fn next(&mut self) -> Result<Vec<Arc<Change>>, ReadError> {
        self.next_of(|_| true).await
    }

    /// The same of those changes that are `wanted`; the others are passed by. Asked under the lock of a resource: it has
    /// to be quick.
    pub async fn next_of(&mut self, wanted: impl Fn(&Change) -> bool) -> Result<Vec<Arc<Change>>, ReadError> {
        loop {
            let closed = self.view.closed();
            self.bell.borrow_and_update();
            let changes = match self.look(BATCH, &wanted)? {
                Seen::Behind(upto) => {
                    let mut changes = self.read_log(upto).await?;
                    changes.retain(|change| wanted(change));
                    changes
                }
                Seen::Changes(changes, position) => {
                    self.position = position;
                    if changes.is_empty() && closed {
                        return Err(ReadError::Closed);
                    }
                    if changes.is_empty() {
                        self.bell.changed().await.map_err(|_| ReadError::Closed)?;
                    }
                    changes
                }
            };
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    /// Every change of the prefix up to this revision has been handed out.
    pub fn position(&self) -> Revision {
        self.position
    }

    /// Moves the position to the head when no change of the prefix lies between; answers the
    /// position, fit for a bookmark.
    pub fn catch_up(&mut self) -> Revision {
        if let Ok(Seen::Changes(changes, position)) = self.look(1, &|_| true)
            && changes.is_empty()
        {
            self.position = position;
        }
        self.position
    }

    /// What the lanes' tails tell, and the position after it.
    fn look(&self, limit: usize, wanted: &dyn Fn(&Change) -> bool) -> Result<Seen, ReadError> {
        let head = self.view.head();
        let mut found = Vec::new();
        let mut behind = None;
        for lane in self.view.lanes(&self.prefix) {
            match lane.tail(&self.prefix, self.position, head, limit, wanted) {
                Ok(changes) => found.push(changes),
                Err(Gap::Forgotten(upto)) => behind = behind.max(Some(upto.min(head))),
                Err(Gap::Lost(floor)) => return Err(ReadError::Compacted { asked: self.position, floor }),
            }
        }
        if let Some(upto) = behind {
            return Ok(Seen::Behind(upto));
        }
        let mut changes = match found.len() {
            1 => found.remove(0),
            _ => {
                let mut all: Vec<_> = found.into_iter().flatten().collect();
                all.sort_by_key(|change| change.revision);
                all
            }
        };
        // Each lane gave its oldest; so the oldest of all are complete up to the last of them.
        changes.truncate(limit);
        let position = match changes.last() {
            Some(newest) if changes.len() == limit => newest.revision,
            _ => head,
        };
        Ok(Seen::Changes(changes, position))
    }

    /// The next changes up to a revision, from the engine's log.
    async fn read_log(&mut self, upto: Revision) -> Result<Vec<Arc<Change>>, ReadError> {
        let _permit = READERS.acquire().await.map_err(|_| ReadError::Closed)?;
        let (log, prefix, after) = (self.view.log().clone(), self.prefix.clone(), self.position);
        let read = move || {
            let mut changes = Vec::new();
            log.visit(&prefix, after, upto, &mut |change| {
                changes.push(Arc::new(change));
                if changes.len() == BATCH { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            Ok(changes)
        };
        let changes: Vec<Arc<Change>> = tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| ReadError::Engine(error.to_string()))??;
        self.position = match changes.last() {
            Some(newest) if changes.len() == BATCH => newest.revision,
            _ => upto,
        };
        Ok(changes)
    }
}

enum Seen {
    /// Changes, and the position once they are handed out.
    Changes(Vec<Arc<Change>>, Revision),
    /// The log has to be read up to this revision first.
    Behind(Revision),
}

//! Watching: a cursor over the history of a prefix, pulled at its owner's pace.
//!
//! A cursor holds no changes and nobody holds a cursor: one that is slow, or gone, costs nothing
//! but itself. It reads the lanes' tails; when it has fallen behind them it reads the engine's
//! log, on a blocking thread, until it has caught up; behind the log's floor it ends.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::store::ears::{Word, holds};
use crate::store::error::ReadError;
use crate::store::lane::{Gap, Lane, lane_of};
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
    ear: Option<Ear>,
}

/// A word that a cursor waits for, in the one lane it reads.
#[derive(Debug)]
struct Ear {
    lane: Arc<Lane>,
    word: Word,
    bell: watch::Receiver<Revision>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.lane.deafen(&self.word);
    }
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
        let cursor = Cursor { view, prefix: prefix.into(), position: after, bell, ear: None };
        if let Seen::Behind { .. } = cursor.look(1)?
            && after < cursor.view.floor()
        {
            return Err(ReadError::Compacted { asked: after, floor: cursor.view.floor() });
        }
        Ok(cursor)
    }

    /// The same cursor, which from now on mostly passes by what does not hold a word. One of more than a resource stays
    /// as it is.
    pub(crate) fn listening(mut self, word: &str) -> Cursor {
        if let Some(name) = lane_of(&self.prefix) {
            let (lane, word) = (self.view.lane(name), Word::from(word.as_bytes()));
            let bell = lane.listen(&word);
            self.ear = Some(Ear { lane, word, bell });
        }
        self
    }

    /// The next changes, at least one, in order. Waits when there are none. Cancel safe.
    ///
    /// Fails with [`ReadError::Compacted`] when the history after the cursor's position is gone,
    /// with [`ReadError::Closed`] when the store was closed and everything has been handed out.
    pub async fn next(&mut self) -> Result<Vec<Arc<Change>>, ReadError> {
        loop {
            let closed = self.view.closed();
            self.bell.borrow_and_update();
            if let Some(ear) = &mut self.ear {
                ear.bell.borrow_and_update();
            }
            match self.look(BATCH)? {
                Seen::Behind { after, upto } => {
                    self.position = after;
                    let mut changes = self.read_log(upto).await?;
                    if let Some(ear) = &self.ear {
                        changes.retain(|change| holds(change, &ear.word));
                    }
                    if !changes.is_empty() {
                        return Ok(changes);
                    }
                }
                Seen::Changes { changes, position, heard } => {
                    self.position = position;
                    if !changes.is_empty() {
                        return Ok(changes);
                    }
                    if closed {
                        return Err(ReadError::Closed);
                    }
                    let bell = match &mut self.ear {
                        Some(ear) if heard => &mut ear.bell,
                        _ => &mut self.bell,
                    };
                    bell.changed().await.map_err(|_| ReadError::Closed)?;
                }
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
        if let Ok(Seen::Changes { changes, position, .. }) = self.look(1)
            && changes.is_empty()
        {
            self.position = position;
        }
        self.position
    }

    /// What is known in memory, and the position after it.
    fn look(&self, limit: usize) -> Result<Seen, ReadError> {
        let head = self.view.head();
        let mut after = self.position;
        if let Some(ear) = &self.ear {
            match ear.lane.heard(&ear.word, &self.prefix, after, head, limit) {
                Ok(changes) => return Ok(Seen::upto(head, limit, changes, true)),
                // Who was not woken for long has not missed what did not concern him.
                Err(quiet) => after = quiet,
            }
        }
        let mut found = Vec::new();
        let mut behind = None;
        for lane in self.view.lanes(&self.prefix) {
            match lane.tail(&self.prefix, after, head, limit) {
                Ok(changes) => found.push(changes),
                Err(Gap::Forgotten(upto)) => behind = behind.max(Some(upto.min(head))),
                Err(Gap::Lost(floor)) => return Err(ReadError::Compacted { asked: after, floor }),
            }
        }
        if let Some(upto) = behind {
            return Ok(Seen::Behind { after, upto });
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
        Ok(Seen::upto(head, limit, changes, false))
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
    /// Changes, the position once they are handed out, and whether they are those of the cursor's word.
    Changes { changes: Vec<Arc<Change>>, position: Revision, heard: bool },
    /// The log has to be read between these revisions first.
    Behind { after: Revision, upto: Revision },
}

impl Seen {
    /// At most `limit` changes up to the head: if there were no more, the cursor is there.
    fn upto(head: Revision, limit: usize, changes: Vec<Arc<Change>>, heard: bool) -> Seen {
        let position = match changes.last() {
            Some(newest) if changes.len() == limit => newest.revision,
            _ => head,
        };
        Seen::Changes { changes, position, heard }
    }
}

//! The seam below the store: who decides a write and keeps it.
//!
//! Two sides stand behind it: [`crate::store::redb`], on a disk, and [`crate::store::memory`],
//! which forgets. Log, revision ceiling and the postponing of volatile writes are a side's own
//! business; the memory everyone reads from ([`crate::store::view`]) is not, so no side answers a
//! read of the present.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::store::error::{ReadError, WriteError};
use crate::store::record::{Change, Key, Revision, Stored, Write};

/// What a side held when it was opened.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Every object.
    pub objects: Vec<(Key, Stored)>,
    /// The newest revision.
    pub head: Revision,
    /// History after this revision is complete.
    pub floor: Revision,
    /// History of volatile keys is complete only after this revision.
    pub volatile_floor: Revision,
}

/// What became of a batch of writes.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// One answer for each write, in their order.
    pub answers: Vec<Result<Revision, WriteError>>,
    /// What changed, in the order of revisions.
    pub changes: Vec<Arc<Change>>,
    /// History after this revision is complete.
    pub floor: Revision,
    /// Volatile changes that the side dropped from the history it keeps, to stay within bounds.
    pub forgotten: Vec<Arc<Change>>,
}

/// Why a side could not keep a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EngineError {
    /// There is no room.
    #[error("no space left on the disk")]
    Full,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl From<EngineError> for WriteError {
    fn from(error: EngineError) -> WriteError {
        match error {
            EngineError::Full => WriteError::Full,
            EngineError::Failed(text) => WriteError::Engine(text),
        }
    }
}

/// The object a key has now, and the key as it is kept with it.
pub(crate) type Current<'a> = &'a dyn Fn(&Key) -> Option<(Key, Stored)>;

/// One side of the seam. Owned by the store's one writer thread.
pub(crate) trait Engine: Send {
    /// Decides the writes in their order, each seeing those before it, and keeps what they change.
    /// After an error none of them happened, or [`recover`](Engine::recover) tells.
    fn write(&mut self, current: Current<'_>, batch: &[Write]) -> Result<Outcome, EngineError>;

    /// Makes the side usable again after an error. Answers the changes of the failed batch when
    /// they turn out to have been kept.
    fn recover(&mut self) -> Result<Vec<Arc<Change>>, EngineError>;

    /// Takes note of what has ended beside the writes; answers whether anything still goes on. Asked when there is
    /// nothing to write.
    fn tend(&mut self) -> bool {
        false
    }

    /// Keeps everything and lets go of the disk.
    fn close(&mut self) -> Result<(), EngineError>;

    /// How many times the side wrote to its disk.
    fn commits(&self) -> u64;
}

/// The history a side keeps, for readers of any thread.
pub(crate) trait Log: Send + Sync {
    /// Shows the changes of a prefix in `(after, upto]`, in order, until told to stop.
    fn visit(
        &self,
        prefix: &str,
        after: Revision,
        upto: Revision,
        visit: &mut dyn FnMut(Change) -> ControlFlow<()>,
    ) -> Result<(), ReadError>;
}

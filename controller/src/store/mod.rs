//! Objects, their history, and watching it: bytes, keys, revisions and preconditions.

mod error;
mod record;

use std::path::PathBuf;
use std::sync::Arc;

pub use crate::store::error::{OpenError, ReadError, WriteError};
pub use crate::store::record::{
    Change, Condition, Durability, Key, Op, Page, RangeOptions, Revision, Stored, Verb, Write,
};

/// How a store is kept.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory of the store, made with mode 0700 when missing.
    pub directory: PathBuf,
    /// Whether keys of a prefix `/<group>/<resource>/` may be written [`Durability::Volatile`].
    pub volatile_prefix: fn(&str) -> bool,
}

/// The store. Cheap to clone; reads answer from memory.
#[derive(Clone, Debug)]
pub struct Store {
    prefix: Arc<str>,
}

/// Owns the store's writer thread. Dropping it writes what is volatile and ends the thread.
#[derive(Debug)]
pub struct StoreTask {}

impl StoreTask {
    /// Writes what is volatile, closes the store and waits for its thread.
    pub async fn close(self) {}

    /// Resolves when the writer thread has ended, which without `close` is a failure.
    pub async fn stopped(&mut self) {}
}

impl Store {
    /// Opens the store of a directory, making an empty one when there is none.
    pub fn open(config: Config) -> Result<(Store, StoreTask), OpenError> {
        Err(OpenError::Locked { path: config.directory })
    }

    /// A store that lives as long as its clones, without a disk.
    pub fn in_memory() -> Store {
        Store { prefix: Arc::from("") }
    }

    /// Makes a change when its conditions hold, and answers its revision.
    ///
    /// Dropping the future does not take the write back.
    pub async fn write(&self, _write: Write) -> Result<Revision, WriteError> {
        Err(WriteError::Closed)
    }

    /// The object of a key.
    pub fn get(&self, _key: &Key) -> Option<Stored> {
        None
    }

    /// The objects of a prefix at one revision.
    pub fn range(&self, _prefix: &str, _options: &RangeOptions) -> Result<Page, ReadError> {
        Err(ReadError::Closed)
    }

    /// The newest revision.
    pub fn head(&self) -> Revision {
        Revision::ZERO
    }

    /// A cursor over the changes of a prefix after a revision.
    pub fn watch(&self, _prefix: &str, after: Revision) -> Result<Cursor, ReadError> {
        Ok(Cursor { position: after })
    }
}

/// A reader of the history of a prefix, at its own pace.
#[derive(Debug)]
pub struct Cursor {
    position: Revision,
}

impl Cursor {
    /// The next changes, at least one, in order. Waits when there are none. Cancel safe.
    pub async fn next(&mut self) -> Result<Vec<Arc<Change>>, ReadError> {
        Err(ReadError::Closed)
    }

    /// Every change of the prefix up to this revision has been handed out.
    pub fn position(&self) -> Revision {
        self.position
    }

    /// Moves the position to the head when no change of the prefix lies between; answers the
    /// position, fit for a bookmark.
    pub fn catch_up(&mut self) -> Revision {
        self.position
    }
}

//! What can go wrong with the store, told to those who opened it, wrote to it or read from it.

use std::io;
use std::path::PathBuf;

use crate::store::record::{Key, Revision};

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its directory or file could not be made, read or protected.
    #[error("{}: cannot be used as the store", path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{}: in use by another process; one data directory serves one edged", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a later version.
    #[error("{}: written by a newer edged (format {found}; this one reads up to {supported})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format this version reads.
        supported: u64,
    },
    /// It is damaged: truncated, overwritten or not a store at all. It is left as it is.
    #[error("{}: damaged or not a store ({detail}); it was left untouched: restore it from a copy, or move it away to begin with an empty cluster", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// There was no room to open it.
    #[error("{}: no space left on the disk", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
}

/// Why a write did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A condition did not hold.
    #[error("{key}: {}", describe(found))]
    Conflict {
        /// The key of the condition.
        key: Key,
        /// The revision of its object, none when there is no object.
        found: Option<Revision>,
    },
    /// The disk is full. Nothing was lost; the write may be tried again when there is room.
    #[error("no space left on the disk of the store")]
    Full,
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// The disk failed. Whether the write happened is known once the store reads it again.
    #[error("the store's disk failed: {0}")]
    Engine(String),
}

/// Why a read has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The history asked for is no longer kept: list again.
    #[error("the required revision {asked} has been compacted; the oldest kept is {floor}")]
    Compacted {
        /// The revision that was asked for.
        asked: Revision,
        /// The oldest revision that can be asked for.
        floor: Revision,
    },
    /// The revision has not been reached.
    #[error("revision {asked} is in the future; the current one is {head}")]
    Future {
        /// The revision that was asked for.
        asked: Revision,
        /// The newest revision.
        head: Revision,
    },
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// The disk failed.
    #[error("the store's disk failed: {0}")]
    Engine(String),
}

fn describe(found: &Option<Revision>) -> String {
    match found {
        Some(revision) => format!("the object has been changed, it is at revision {revision}"),
        None => "there is no such object".to_owned(),
    }
}

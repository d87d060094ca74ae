//! Objects, their history, and watching it: bytes, keys, revisions and preconditions.
//!
//! The promises: a durable write is on disk before it is acknowledged; a revision that left the
//! process is never used again, crashes included; a list shows one revision, the whole of it and
//! nothing else; a watch hands out every change once, in order, or fails with
//! [`ReadError::Compacted`]; reads and watches of the present touch no disk; an idle store writes
//! nothing.
//!
//! What it deliberately does not do: know kinds, JSON or HTTP, expire anything, or decide what may
//! be volatile beyond asking its configuration.
//!
//! Reading order: `record` (the words), `engine` (the seam below) with its two sides `redb` and
//! `memory`, `ears`, `lane` and `view` (the memory everyone reads), `watch`, `writer` (the one thread that
//! changes anything).

mod record;

mod error;

mod engine;

mod decide;

mod retention;

mod memory;

mod redb;

mod ears;

mod lane;

mod view;

mod watch;

mod writer;

#[cfg(test)]
mod hand;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::sync::{Semaphore, oneshot};

use crate::keeper;
use crate::store::engine::{Engine, Loaded, Log};
use crate::store::lane::lane_of;
use crate::store::memory::MemoryEngine;
use crate::store::redb::{Place, RedbEngine};
use crate::store::view::{Publisher, View};
use crate::store::writer::{Message, Request};

#[cfg(test)]
pub(crate) use crate::store::hand::Hand;

pub use crate::store::error::{OpenError, ReadError, WriteError};
pub use crate::store::record::{
    Change, Condition, Durability, Key, Op, Page, RangeOptions, Revision, Stored, Verb, Write,
};
pub use crate::store::retention::Retain;
pub use crate::store::watch::Cursor;

/// The most bytes of writes that wait for the writer, in units of [`ROOM_UNIT`].
const ROOM: usize = 32 << 10;

/// What a permit of the queue stands for, in bytes.
const ROOM_UNIT: usize = 1 << 10;

/// How a store is kept.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory of the store, its own; made when missing. Mode 0700, its file 0600.
    pub directory: PathBuf,
    /// Whether keys of a prefix `/<group>/<resource>/` may be written [`Durability::Volatile`].
    /// Also asked with whole keys.
    pub volatile_prefix: fn(&str) -> bool,
    /// The most bytes of recent changes kept in memory.
    pub tail_bytes: usize,
    /// The most bytes that are only in the journal before the tables follow.
    pub journal_bytes: usize,
    /// How much history is kept on disk.
    pub retain: Retain,
    /// Called first on the thread that makes what the store keeps in memory; see [`Config::keeper`](crate::Config).
    pub keeper: fn(),
}

impl Config {
    /// The usual sizes, in a directory.
    pub fn new(directory: PathBuf, volatile_prefix: fn(&str) -> bool) -> Config {
        let (tail_bytes, journal_bytes) = (8 << 20, 4 << 20);
        let retain = Retain::default();
        Config { directory, volatile_prefix, tail_bytes, journal_bytes, retain, keeper: || {} }
    }
}

/// How a store is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The newest revision.
    pub head: Revision,
    /// The oldest revision that could be read at the newest write; history may have been dropped since.
    pub floor: Revision,
    /// How many objects there are.
    pub objects: usize,
    /// How many batches were written to the disk since the start.
    pub commits: u64,
}

/// The store. Cheap to clone; reads answer from memory.
#[derive(Clone, Debug)]
pub struct Store {
    view: Arc<View>,
    messages: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
}

/// Owns the store's writer thread. Dropping it writes what is volatile and ends the thread, which
/// blocks for as long as a transaction or two take.
#[derive(Debug)]
pub struct StoreTask {
    messages: mpsc::Sender<Message>,
    thread: Option<JoinHandle<()>>,
    ended: oneshot::Receiver<()>,
}

impl StoreTask {
    /// Writes what is volatile, closes the store and waits for its thread.
    pub async fn close(mut self) {
        self.end();
        self.stopped().await;
    }

    /// Resolves when the writer thread has ended, which without `close` is a failure.
    pub async fn stopped(&mut self) {
        // The thread holds the other end and never sends: an error is its end.
        let _ = (&mut self.ended).await;
    }

    fn end(&self) {
        // It may have ended already.
        let _ = self.messages.send(Message::Close);
    }
}

impl Drop for StoreTask {
    fn drop(&mut self) {
        self.end();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

impl Store {
    /// Opens the store of a directory, making an empty one when there is none. Blocks while it
    /// reads all objects.
    pub fn open(config: Config) -> Result<(Store, StoreTask), OpenError> {
        let place = Place::Directory(config.directory.clone());
        Store::open_place(place, &config)
    }

    fn open_place(place: Place, config: &Config) -> Result<(Store, StoreTask), OpenError> {
        let (engine, loaded, log) = RedbEngine::open(place, config)?;
        tracing::info!(objects = loaded.objects.len(), revision = loaded.head.0, "the store is open");
        let (store, thread, ended) = Store::start(Box::new(engine), loaded, log, config);
        let task = StoreTask { messages: store.messages.clone(), thread: Some(thread), ended };
        Ok((store, task))
    }

    /// A store that lives as long as its clones, without a disk. Every key may be volatile.
    pub fn in_memory() -> Store {
        Store::in_memory_of(&Config::new(PathBuf::new(), |_| true))
    }

    fn in_memory_of(config: &Config) -> Store {
        let (engine, loaded, log) = MemoryEngine::new(config.retain, Vec::new());
        // Its thread ends with the last clone.
        let (store, _, _) = Store::start(Box::new(engine), loaded, log, config);
        store
    }

    /// A store in memory that soon forgets, for readers that are to meet the end of its history.
    #[cfg(test)]
    pub(crate) fn forgetful() -> Store {
        let retain = Retain { age: std::time::Duration::ZERO, bytes: 60_000 };
        Store::in_memory_of(&Config { tail_bytes: 15_000, retain, ..Config::new(PathBuf::new(), |_| false) })
    }

    /// A store in memory of these objects, without a thread: whoever holds the hand takes the writes that wait, one by
    /// one, or loses them. For the simulation, in which everything happens in an order of its own.
    #[cfg(test)]
    pub(crate) fn by_hand<T: Clone>(objects: Vec<(Key, Stored)>) -> (Store, Hand<T>) {
        let (engine, loaded, log) = MemoryEngine::new(Retain::default(), objects);
        let view = Arc::new(View::new(loaded, log, |_| true));
        // A tail that forgets nothing: a cursor never has to wait for a thread that reads the log.
        let publisher = Publisher::new(view.clone(), usize::MAX);
        let (messages, inbox) = mpsc::channel();
        let store = Store { view, messages, room: Arc::new(Semaphore::new(ROOM)) };
        (store, Hand::new(Box::new(engine), publisher, inbox))
    }

    fn start(
        engine: Box<dyn Engine>,
        loaded: Loaded,
        log: Arc<dyn Log>,
        config: &Config,
    ) -> (Store, JoinHandle<()>, oneshot::Receiver<()>) {
        let view = Arc::new(View::new(loaded, log, config.volatile_prefix));
        let publisher = Publisher::new(view.clone(), config.tail_bytes);
        let (messages, inbox) = mpsc::channel();
        let (ending, ended) = oneshot::channel();
        let run = move || {
            let _ending: oneshot::Sender<()> = ending;
            writer::run(engine, publisher, &inbox);
        };
        let thread = keeper::start("store", config.keeper, run);
        (Store { view, messages, room: Arc::new(Semaphore::new(ROOM)) }, thread, ended)
    }

    /// Makes a change when its conditions hold, and answers its revision. Deleting a key without
    /// an object is a conflict.
    ///
    /// Dropping the future does not take the write back.
    pub async fn write(&self, write: Write) -> Result<Revision, WriteError> {
        if lane_of(write.key.as_str()).is_none() {
            return Err(WriteError::Engine(format!("{} is not a key", write.key)));
        }
        let units = 1 + (writer::size(&write) / ROOM_UNIT).min(ROOM / 2);
        let units = u32::try_from(units).expect("at most half of the room");
        let room = self.room.clone().acquire_many_owned(units).await.map_err(|_| WriteError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let request = Request { write, answer, room };
        self.messages.send(Message::Write(request)).map_err(|_| WriteError::Closed)?;
        answered.await.map_or(Err(WriteError::Closed), |(result, _)| result)
    }

    /// The object of a key.
    pub fn get(&self, key: &Key) -> Option<Stored> {
        self.view.get(key)
    }

    /// The objects of a prefix at one revision, in the order of their keys.
    ///
    /// Answers from memory, except for a revision so old that the recent changes in memory do not
    /// reach it: then it reads the log from the disk, on the caller's thread.
    pub fn range(&self, prefix: &str, options: &RangeOptions) -> Result<Page, ReadError> {
        self.view.range(prefix, options)
    }

    /// Whether one of a prefix's objects, as they are now, is what is looked for; looks no further than to the first.
    /// Copies nothing, and holds the lock of a resource while it looks: `wanted` has to be quick.
    pub fn any(&self, prefix: &str, wanted: &mut dyn FnMut(&Stored) -> bool) -> Result<bool, ReadError> {
        self.view.any(prefix, wanted)
    }

    /// Whether a resource, named by what its keys begin with, has no object; quick, for who asks at every write. Between
    /// a change and its becoming visible, the answer is already the later one.
    pub fn is_empty(&self, prefix: &str) -> bool {
        self.view.lanes(prefix).iter().all(|lane| lane.len() == 0)
    }

    /// The revision of the newest change of a resource, named by what its keys begin with; zero if there was none since
    /// the start. Whoever was told of a change finds it here.
    pub fn moved(&self, prefix: &str) -> Revision {
        self.view.lane(prefix).moved()
    }

    /// The newest revision.
    pub fn head(&self) -> Revision {
        self.view.head()
    }

    /// A cursor over the changes of a prefix after a revision.
    pub fn watch(&self, prefix: &str, after: Revision) -> Result<Cursor, ReadError> {
        Cursor::new(self.view.clone(), prefix, after)
    }

    /// The same for those changes in whose bytes, before or after, `word` stands between two quotes. Others may come
    /// along; but mostly they wake nobody. Made for the many who each watch one resource for a few objects.
    pub fn watch_for(&self, word: &str, prefix: &str, after: Revision) -> Result<Cursor, ReadError> {
        Ok(self.watch(prefix, after)?.listening(word))
    }

    /// How the store is doing.
    pub fn status(&self) -> Status {
        Status {
            head: self.view.head(),
            floor: self.view.floor(),
            objects: self.view.len(),
            commits: self.view.commits(),
        }
    }
}

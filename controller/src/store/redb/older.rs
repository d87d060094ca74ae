//! Files of other formats, for tests.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadableDatabase};

use crate::store::record::{Change, Key, Revision, Verb};
use crate::store::redb::disk::Place;
use crate::store::redb::format::{FORMAT_KEY, META, OBJECTS};
use crate::store::redb::journal::Journal;
use crate::store::redb::migrate::{LOG_1, LOG_2};

/// Lets a file claim another format.
pub(crate) fn pretend_format(path: &Path, format: u64) {
    let transaction = Database::open(path).unwrap().begin_write().unwrap();
    transaction.open_table(META).unwrap().insert(FORMAT_KEY, format).unwrap();
    transaction.commit().unwrap();
}

/// The format a file claims.
pub(crate) fn format_of(path: &Path) -> u64 {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_read().unwrap();
    transaction.open_table(META).unwrap().get(FORMAT_KEY).unwrap().unwrap().value()
}

/// Writes a store of format 1 with this head and these objects, each with its row in the log.
pub(crate) fn write_format_1(path: &Path, head: u64, objects: &[(&str, u64, &str)]) {
    let transaction = Database::create(path).unwrap().begin_write().unwrap();
    {
        let mut table = transaction.open_table(OBJECTS).unwrap();
        let mut log = transaction.open_table(LOG_1).unwrap();
        for (key, revision, value) in objects {
            table.insert(key, (*revision, value.as_bytes())).unwrap();
            log.insert(revision, (*key, 0, Some(value.as_bytes()))).unwrap();
        }
        let mut meta = transaction.open_table(META).unwrap();
        meta.insert(FORMAT_KEY, 1).unwrap();
        meta.insert("head", head).unwrap();
        meta.insert("ceiling", head + 1_000_000).unwrap();
    }
    transaction.commit().unwrap();
}

/// Writes a store of format 4 that was killed: an object was made, changed, and changed again, which only the journal has.
pub(crate) fn write_format_4(directory: &Path, key: &str, [first, second, third]: [&str; 3]) {
    let place = Place::Directory(directory.to_owned());
    let transaction = Database::create(directory.join("store.redb")).unwrap().begin_write().unwrap();
    {
        transaction.open_table(OBJECTS).unwrap().insert(key, (2, second.as_bytes())).unwrap();
        let mut log = transaction.open_table(LOG_2).unwrap();
        log.insert(1, (key, 0, Some(first.as_bytes()), None)).unwrap();
        log.insert(2, (key, 1, Some(second.as_bytes()), Some((1, first.as_bytes())))).unwrap();
        let mut meta = transaction.open_table(META).unwrap();
        for (name, number) in [(FORMAT_KEY, 4), ("head", 2), ("ceiling", 1_000_000), ("log-bytes", 100)] {
            meta.insert(name, number).unwrap();
        }
    }
    transaction.commit().unwrap();
    let (after, before) = (Some(Bytes::copy_from_slice(third.as_bytes())), None);
    let change = Change { revision: Revision(3), key: Key::from(key), verb: Verb::Update, after, before };
    Journal::open(Arc::new(place), 1 << 20).unwrap().append([&change].into_iter()).unwrap();
}

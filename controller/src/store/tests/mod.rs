//! Tests of the store as a whole: against a model, against its own log, on disks that fail.

#![allow(clippy::unwrap_used)]

mod crash;
mod disk;
mod model;
mod watching;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::store::redb::crash_disk::{CrashDisk, Trouble};
use crate::store::*;

/// Keys below `/v/` may be volatile.
fn volatile(key: &str) -> bool {
    key.starts_with("/v/")
}

/// A configuration whose memory and history are small, so that their ends are met.
fn small(directory: PathBuf) -> Config {
    Config {
        tail_bytes: 3000,
        journal_bytes: 4000,
        retain: Retain { age: Duration::ZERO, bytes: 20_000 },
        ..Config::new(directory, volatile)
    }
}

fn put(key: &str, value: impl Into<Bytes>) -> Write {
    let op = Op::Put(value.into());
    Write { key: key.into(), op, when: Vec::new(), durability: Durability::Durable }
}

fn put_volatile(key: &str, value: impl Into<Bytes>) -> Write {
    Write { durability: Durability::Volatile, ..put(key, value) }
}

fn in_memory(config: &Config) -> Store {
    Store::in_memory_of(config)
}

fn on(disk: &CrashDisk, config: &Config) -> Result<(Store, StoreTask), OpenError> {
    Store::open_place(disk.place(), config)
}

//! Which reference led to which module, one small file each.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::SystemTime;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::image::digest::Digest;
use crate::image::manifest::RunConfig;

/// What is remembered about a reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The reference in its full form.
    pub reference: String,
    /// The name with the digest it led to.
    pub id: String,
    /// The module.
    pub module: Digest,
    /// What the module is called.
    pub name: String,
    /// What the image says about running it.
    pub run: RunConfig,
    /// Of a file: how to see that it is still the same.
    pub stamp: Option<[i64; 5]>,
}

/// All records, in memory and on disk.
pub struct Records {
    directory: PathBuf,
    known: Mutex<BTreeMap<String, (SystemTime, Record)>>,
}

impl Records {
    /// Opens (or makes) the directory; damaged records are forgotten.
    pub fn open(directory: PathBuf) -> io::Result<Records> {
        fs::create_dir_all(&directory)?;
        let mut known = BTreeMap::new();
        for entry in fs::read_dir(&directory)?.flatten() {
            let read =
                fs::read(entry.path()).ok().and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            match read {
                Some(record) => {
                    let used =
                        entry.metadata().and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                    known.insert(record.reference.clone(), (used, record));
                }
                None => drop(fs::remove_file(entry.path())),
            }
        }
        Ok(Records { directory, known: Mutex::new(known) })
    }

    /// The record of a reference, now used.
    pub fn get(&self, reference: &str) -> Option<Record> {
        let mut known = self.known.lock();
        let (used, record) = known.get_mut(reference)?;
        *used = SystemTime::now();
        Some(record.clone())
    }

    /// Remembers; writes only what is new.
    pub fn put(&self, record: &Record) -> io::Result<()> {
        let mut known = self.known.lock();
        if known.get(&record.reference).is_none_or(|(_, old)| old != record) {
            let path = self.path(&record.reference);
            let part = path.with_extension("part");
            fs::write(&part, serde_json::to_vec(record)?)?;
            fs::rename(part, path)?;
        }
        known.insert(record.reference.clone(), (SystemTime::now(), record.clone()));
        Ok(())
    }

    /// Forgets a reference.
    pub fn remove(&self, reference: &str) {
        self.known.lock().remove(reference);
        let _ = fs::remove_file(self.path(reference));
    }

    /// Whether any reference still leads to this module.
    pub fn needs(&self, module: &Digest) -> bool {
        self.known.lock().values().any(|(_, record)| record.module == *module)
    }

    /// All records, the one unused for longest first.
    pub fn oldest_first(&self) -> Vec<Record> {
        let mut all: Vec<_> = self.known.lock().values().cloned().collect();
        all.sort_by_key(|(used, _)| *used);
        all.into_iter().map(|(_, record)| record).collect()
    }

    fn path(&self, reference: &str) -> PathBuf {
        self.directory.join(format!("{}.json", Digest::of(reference.as_bytes()).hex()))
    }
}

/// What changes when a file does.
pub fn stamp(metadata: &fs::Metadata) -> [i64; 5] {
    let number = |value: u64| i64::from_ne_bytes(value.to_ne_bytes());
    [
        number(metadata.dev()),
        number(metadata.ino()),
        number(metadata.len()),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ]
}

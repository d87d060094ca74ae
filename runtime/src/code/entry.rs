//! The directory of entries and its index in memory.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::code::digest::Digest;

/// Letters of the engine's fingerprint in a name.
const ENGINE_LETTERS: usize = 16;
const EXTENSION: &str = "cwasm";
const DRAFT_EXTENSION: &str = "part";
/// A use is recorded this often at most, so that running Pods does not write to the disk.
const USE_INTERVAL: Duration = Duration::from_secs(24 * 3_600);

/// Names one module for one engine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key(String);

impl Key {
    /// The key of a module for the engine with this fingerprint.
    pub(super) fn new(module: &Digest, fingerprint: &str) -> Key {
        let engine = fingerprint.get(..ENGINE_LETTERS).unwrap_or(fingerprint);
        Key(format!("{module}-{engine}"))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone)]
struct Entry {
    digest: Digest,
    size: u64,
    used: SystemTime,
}

/// The directory. Nobody else writes to it while it is open.
pub(super) struct Directory {
    path: PathBuf,
    index: Mutex<HashMap<Key, Entry>>,
}

impl Directory {
    /// Makes the directory if it is missing, reads its index, removes drafts.
    pub(super) fn open(path: &Path) -> io::Result<Directory> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let mut index = HashMap::new();
        for file in fs::read_dir(path)? {
            let file = file?;
            let name = file.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(DRAFT_EXTENSION) {
                fs::remove_file(file.path())?;
            } else if let Some((key, digest)) = parse(name) {
                let meta = file.metadata()?;
                let used = meta.modified()?;
                index.insert(key, Entry { digest, size: meta.len(), used });
            }
        }
        Ok(Directory { path: path.to_path_buf(), index: Mutex::new(index) })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of all entries.
    pub(super) fn size(&self) -> u64 {
        self.index.lock().values().map(|entry| entry.size).sum()
    }

    /// The entry's file and the digest it must have.
    pub(super) fn find(&self, key: &Key) -> Option<(File, Digest)> {
        let digest = self.index.lock().get(key)?.digest.clone();
        let file = File::open(self.entry_path(key, &digest)).ok()?;
        Some((file, digest))
    }

    /// Records that an entry was used now.
    pub(super) fn used(&self, key: &Key) {
        let now = SystemTime::now();
        let mut index = self.index.lock();
        let Some(entry) = index.get_mut(key) else { return };
        if now.duration_since(entry.used).is_ok_and(|since| since < USE_INTERVAL) {
            return;
        }
        entry.used = now;
        let path = self.entry_path(key, &entry.digest);
        // Only the order of removal suffers if the time cannot be set.
        let _ = File::open(path).and_then(|file| file.set_modified(now));
    }

    /// Removes an entry; returns the bytes freed.
    pub(super) fn remove(&self, key: &Key) -> u64 {
        let Some(entry) = self.index.lock().remove(key) else { return 0 };
        match fs::remove_file(self.entry_path(key, &entry.digest)) {
            Ok(()) => entry.size,
            Err(_) => 0,
        }
    }

    /// All entries, the one used longest ago first.
    pub(super) fn oldest_first(&self) -> Vec<Key> {
        let index = self.index.lock();
        let mut entries: Vec<(SystemTime, Key)> =
            index.iter().map(|(key, entry)| (entry.used, key.clone())).collect();
        entries.sort();
        entries.into_iter().map(|(_, key)| key).collect()
    }

    /// A new entry's file, removed again unless it is kept.
    pub(super) fn draft(&self, key: &Key) -> io::Result<Draft<'_>> {
        let path = self.path.join(format!("{key}.{DRAFT_EXTENSION}"));
        let file =
            OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(&path)?;
        Ok(Draft { directory: self, key: key.clone(), path, file })
    }

    fn entry_path(&self, key: &Key, digest: &Digest) -> PathBuf {
        self.path.join(format!("{key}.{digest}.{EXTENSION}"))
    }
}

fn parse(name: &str) -> Option<(Key, Digest)> {
    let name = name.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let (key, digest) = name.split_once('.')?;
    Digest::parse(key.split_once('-')?.0)?;
    Some((Key(key.into()), Digest::parse(digest)?))
}

/// An entry being written.
pub(super) struct Draft<'a> {
    directory: &'a Directory,
    key: Key,
    path: PathBuf,
    file: File,
}

impl Draft<'_> {
    /// Its file, for reading and writing; all handles share one position.
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Makes it an entry.
    pub(super) fn keep(self, digest: &Digest) -> io::Result<()> {
        let size = self.file.metadata()?.len();
        fs::rename(&self.path, self.directory.entry_path(&self.key, digest))?;
        let entry = Entry { digest: digest.clone(), size, used: SystemTime::now() };
        self.directory.index.lock().insert(self.key.clone(), entry);
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // After `keep` the file has another name, and there is nothing here to remove.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    fn digest(letter: char) -> Digest {
        Digest::parse(&letter.to_string().repeat(64)).unwrap()
    }

    #[test]
    fn entries_survive_and_drafts_do_not() {
        let temp = tempfile::tempdir().unwrap();
        let key = Key::new(&digest('a'), "0123456789abcdef0123");
        {
            let directory = Directory::open(temp.path()).unwrap();
            let draft = directory.draft(&key).unwrap();
            draft.file().unwrap().write_all(b"code").unwrap();
            draft.keep(&digest('b')).unwrap();
            std::mem::forget(directory.draft(&Key::new(&digest('c'), "x")).unwrap());
            drop(directory.draft(&Key::new(&digest('d'), "x")).unwrap());
        }
        let directory = Directory::open(temp.path()).unwrap();
        assert_eq!(directory.size(), 4);
        assert_eq!(directory.find(&key).unwrap().1, digest('b'));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
        assert_eq!(directory.remove(&key), 4);
        assert!(directory.find(&key).is_none());
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn foreign_names_are_left_alone() {
        for name in ["readme.txt", "a-b.c.cwasm", ".cwasm", "x.part.cwasm"] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}

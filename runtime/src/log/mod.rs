//! Container logs: what guests write, as files in the format of Kubernetes' container runtimes, and reading it back.
//!
//! Each run of a container has a file, rotated by size; the current and the previous run are kept. Writing never
//! holds a guest up for longer than the disk takes, and a disk that takes nothing loses lines, not guests. Readers
//! follow by a bell, not by polling. This module knows no API and no Pods beyond a directory's name.

mod line;

mod audience;
mod read;
mod write;

pub use audience::Audience;
pub use line::Stream;
pub use read::{LogReader, ReadError, ReadOptions};
pub use write::LogWriter;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// How much log a container may keep.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes after which a file is rotated.
    pub bytes: u64,
    /// Files of one run at most, the current one included.
    pub files: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 10 << 20, files: 5 }
    }
}

/// Which container's log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogKey {
    /// `<namespace>_<name>_<uid>`, the Pod's directory.
    pub pod: String,
    /// The container's name.
    pub container: String,
}

impl LogKey {
    /// The key of a container of a Pod.
    pub fn new(namespace: &str, name: &str, uid: &str, container: &str) -> LogKey {
        LogKey { pod: pod_directory(namespace, name, uid), container: container.to_owned() }
    }
}

/// What a Pod's log directory is called.
pub fn pod_directory(namespace: &str, name: &str, uid: &str) -> String {
    format!("{namespace}_{name}_{uid}")
}

/// How far a run's log has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    run: u32,
    /// Number of the current file; rises with each rotation.
    file: u64,
    /// Rises with each write.
    writes: u64,
    /// Nothing more will come.
    closed: bool,
}

/// The logs of a node.
#[derive(Debug)]
pub struct Logs {
    directory: PathBuf,
    limits: Limits,
    open: Mutex<BTreeMap<LogKey, Arc<watch::Sender<Progress>>>>,
}

impl Logs {
    /// Opens (or makes) the directory.
    pub fn open(directory: PathBuf, limits: Limits) -> io::Result<Logs> {
        fs::create_dir_all(&directory)?;
        Ok(Logs { directory, limits, open: Mutex::default() })
    }

    /// Begins (or, after a restart of the node, continues) the log of a container's run; older runs than the
    /// previous one are removed.
    pub fn writer(&self, key: &LogKey, run: u32) -> io::Result<LogWriter> {
        let directory = self.container(key);
        fs::create_dir_all(&directory)?;
        for (old, _, path) in files(&directory)? {
            if old + 1 < run {
                let _ = fs::remove_file(path);
            }
        }
        let file =
            files(&directory)?.iter().filter(|(found, _, _)| *found == run).filter_map(|found| found.1).max();
        let progress = Progress { run, file: file.map_or(0, |file| file + 1), writes: 0, closed: false };
        let bell = {
            let mut open = self.open.lock();
            let bell = open.entry(key.clone()).or_insert_with(|| Arc::new(watch::Sender::new(progress)));
            bell.send_replace(progress);
            bell.clone()
        };
        LogWriter::begin(directory, self.limits, bell)
    }

    /// Where a container's last core dump lies, beside its log and as long as that.
    pub fn core_dump(&self, key: &LogKey) -> PathBuf {
        self.container(key).join("core")
    }

    /// Reads a container's log from the point that the options name.
    pub async fn read(&self, key: &LogKey, options: ReadOptions) -> Result<LogReader, ReadError> {
        let directory = self.container(key);
        let bell = self.open.lock().get(key).cloned();
        LogReader::open(directory, bell, options).await
    }

    /// The last lines of a run, at most `bytes` long: the last words of a container that failed.
    pub fn last_words(&self, key: &LogKey, run: u32, lines: usize, bytes: usize) -> String {
        read::last_words(&self.container(key).join(current(run)), lines, bytes)
    }

    /// Removes all logs of a Pod; `pod` is [`pod_directory`].
    pub fn remove(&self, pod: &str) {
        let first = LogKey { pod: pod.to_owned(), container: String::new() };
        let mut open = self.open.lock();
        let mine = open.range(first..).take_while(|(key, _)| key.pod == pod).map(|(key, _)| key.clone());
        for key in mine.collect::<Vec<_>>() {
            open.remove(&key);
        }
        drop(open);
        let _ = fs::remove_dir_all(self.directory.join(pod));
    }

    /// The Pods that have logs.
    pub fn pods(&self) -> io::Result<Vec<String>> {
        Ok(fs::read_dir(&self.directory)?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect())
    }

    fn container(&self, key: &LogKey) -> PathBuf {
        self.directory.join(&key.pod).join(&key.container)
    }
}

/// The file that a run writes now.
fn current(run: u32) -> String {
    format!("{run}.log")
}

/// What a run's file is called after rotation.
fn rotated(run: u32, file: u64) -> String {
    format!("{run}.log.{file}")
}

/// A log file: run, number if rotated, path.
type LogFile = (u32, Option<u64>, PathBuf);

/// A container's log files in the order they were written.
fn files(directory: &Path) -> io::Result<Vec<LogFile>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)?.flatten() {
        let name = entry.file_name();
        let Some((run, rest)) = name.to_str().and_then(|name| name.split_once(".log")) else { continue };
        let Ok(run) = run.parse() else { continue };
        let file = match rest.strip_prefix('.') {
            Some(number) => match number.parse() {
                Ok(number) => Some(number),
                Err(_) => continue,
            },
            None => None,
        };
        found.push((run, file, entry.path()));
    }
    found.sort_by_key(|(run, file, _)| (*run, file.unwrap_or(u64::MAX)));
    Ok(found)
}

#[cfg(test)]
mod tests;

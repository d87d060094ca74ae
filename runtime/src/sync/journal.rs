//! The last good copy of a kind on disk: an append-only file of lines, rewritten when most of it is old.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sync::mirror::Key;

/// Lines that a journal may have before it is worth rewriting.
const SMALL: usize = 64;

/// One line.
#[derive(Serialize, Deserialize)]
struct Line {
    key: Key,
    /// The object; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<Value>,
}

/// A kind's copy. A journal that cannot be written says so once and is then no more.
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    lines: usize,
    healthy: bool,
}

impl Journal {
    /// Opens the copy and reads it; a damaged last line is forgotten.
    pub fn open(path: PathBuf) -> (Journal, BTreeMap<Key, Value>) {
        let mut objects = BTreeMap::new();
        let mut lines = 0;
        if let Ok(file) = File::open(&path) {
            for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
                let Ok(line) = serde_json::from_slice::<Line>(&line) else { continue };
                lines += 1;
                match line.object {
                    Some(object) => drop(objects.insert(line.key, object)),
                    None => drop(objects.remove(&line.key)),
                }
            }
        }
        (Journal { path, file: None, lines, healthy: true }, objects)
    }

    /// Appends changes; `live` is how many objects there are.
    pub fn append<'a>(
        &mut self,
        changes: impl Iterator<Item = (&'a Key, Option<&'a Value>)>,
        live: usize,
    ) -> bool {
        let mut bytes = Vec::new();
        for (key, object) in changes {
            let line = Line { key: key.clone(), object: object.cloned() };
            bytes.extend(serde_json::to_vec(&line).expect("a JSON value has only string keys"));
            bytes.push(b'\n');
            self.lines += 1;
        }
        if bytes.is_empty() {
            return false;
        }
        let written = self.opened().and_then(|file| file.write_all(&bytes));
        self.note(written);
        self.lines > SMALL && self.lines > 2 * live
    }

    /// What is on disk.
    pub fn reread(&self) -> BTreeMap<Key, Value> {
        Journal::open(self.path.clone()).1
    }

    /// Replaces everything.
    pub fn rewrite<'a>(&mut self, objects: impl Iterator<Item = (&'a Key, &'a Value)>) {
        let written = self.try_rewrite(objects);
        self.note(written);
    }

    fn try_rewrite<'a>(&mut self, objects: impl Iterator<Item = (&'a Key, &'a Value)>) -> io::Result<()> {
        self.file = None;
        let part = self.path.with_extension("part");
        let mut out = BufWriter::new(open(&part, true)?);
        self.lines = 0;
        for (key, object) in objects {
            let line = Line { key: key.clone(), object: Some(object.clone()) };
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
            self.lines += 1;
        }
        out.flush()?;
        fs::rename(part, &self.path)
    }

    /// A line broken by a crash must not swallow the next one.
    fn opened(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let mut file = open(&self.path, false)?;
            if file.metadata()?.len() > 0 {
                file.write_all(b"\n")?;
            }
            self.file = Some(file);
        }
        self.file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = &result
            && self.healthy
        {
            tracing::warn!(path = %self.path.display(), %error, "the node's copy cannot be kept");
        }
        self.healthy = result.is_ok();
    }
}

fn open(path: &std::path::Path, fresh: bool) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).append(!fresh).truncate(fresh).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_appended_is_read_back_even_after_a_crash() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pods.jsonl");
        let key = |name: &str| Key { namespace: "ns".into(), name: name.into() };
        let (mut journal, found) = Journal::open(path.clone());
        assert!(found.is_empty());
        journal.append(
            [(&key("a"), Some(&json!({"v": 1}))), (&key("b"), Some(&json!({"v": 2})))].into_iter(),
            2,
        );
        journal.append([(&key("a"), Some(&json!({"v": 3}))), (&key("b"), None)].into_iter(), 1);
        let mut file = OpenOptions::new().append(true).open(&path).expect("there");
        file.write_all(b"{\"key\":{\"namespa").expect("written");
        let (mut journal, found) = Journal::open(path.clone());
        assert_eq!(found, BTreeMap::from([(key("a"), json!({"v": 3}))]));
        journal.append([(&key("c"), Some(&json!({"v": 4})))].into_iter(), 2);
        assert_eq!(Journal::open(path.clone()).1.len(), 2);
        journal.rewrite([(&key("c"), &json!({"v": 4}))].into_iter());
        assert_eq!(Journal::open(path).1, BTreeMap::from([(key("c"), json!({"v": 4}))]));
    }
}

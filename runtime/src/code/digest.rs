//! SHA-256 of files, and the memory of those already computed.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;

use parking_lot::Mutex;
use ring::digest::{Context, SHA256};

/// Files remembered; beyond it everything is forgotten, which costs reading them again.
const MOST_REMEMBERED: usize = 4_096;

/// A SHA-256 in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Digest(String);

impl Digest {
    /// The digest in `text`, if it has the form of one.
    pub(super) fn parse(text: &str) -> Option<Digest> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(hex)).then(|| Digest(text.into()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The digest of the whole file, which comes back at its beginning.
pub(super) async fn compute(file: File) -> io::Result<(Digest, File)> {
    tokio::task::spawn_blocking(move || read(file)).await.map_err(io::Error::other)?
}

fn read(mut file: File) -> io::Result<(Digest, File)> {
    file.rewind()?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        context.update(&buffer[..count]);
    }
    file.rewind()?;
    let digest = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((Digest(digest), file))
}

/// What a file was when it was read. A file that changes gets another time.
#[derive(PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Digests of files that have not changed since.
#[derive(Default)]
pub(super) struct Digests {
    known: Mutex<HashMap<Identity, Digest>>,
}

impl Digests {
    /// The digest of the whole file, which comes back at its beginning.
    pub(super) async fn of(&self, file: File) -> io::Result<(Digest, File)> {
        let meta = file.metadata()?;
        let identity = Identity {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        };
        if let Some(digest) = self.known.lock().get(&identity) {
            return Ok((digest.clone(), file));
        }
        let (digest, file) = compute(file).await?;
        let mut known = self.known.lock();
        if known.len() >= MOST_REMEMBERED {
            known.clear();
        }
        known.insert(identity, digest.clone());
        Ok((digest, file))
    }
}

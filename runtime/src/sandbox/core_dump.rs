//! Core dumps: what a guest had in its memories when it trapped, for containers that ask for it.
//!
//! One file for each container, that of the last trap, in the form that WebAssembly's tools read. A container that has
//! more in its memories than [`MOST`] gets none, and a server that traps with every request one in a while. Where no
//! container asks, a trap costs the list of its store's instances and nothing is written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use wasmtime::{Store, Trap, WasmCoreDump};

use crate::sandbox::container::Container;

/// The most bytes in memories that are dumped.
const MOST: u64 = 256 << 20;
/// How long after one dump there is no other.
const CALM: Duration = Duration::from_secs(60);

/// Where a container's dump goes, and when it got one.
pub(super) struct CoreDumps {
    path: PathBuf,
    last: Mutex<Option<Instant>>,
}

impl CoreDumps {
    /// A container that has left none in this run.
    pub(super) fn new(path: PathBuf) -> CoreDumps {
        CoreDumps { path, last: Mutex::default() }
    }

    /// Whether it is time for one; if so there is none for a while.
    fn is_due(&self) -> bool {
        let mut last = self.last.lock();
        let due = last.is_none_or(|last| last.elapsed() >= CALM);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

/// Keeps what the guest of this store had in its memories, if it trapped and its container wants that.
pub(super) async fn keep<T: 'static>(container: &Container, store: &mut Store<T>, error: &wasmtime::Error) {
    let Some(dumps) = &container.core_dumps else { return };
    if !error.is::<Trap>() {
        return;
    }
    let Some(dump) = error.downcast_ref::<WasmCoreDump>() else { return };
    let used = container.memory.used();
    if used > MOST {
        tracing::warn!(container = container.spec.name, used, "too much memory for a core dump");
        return;
    }
    if !dumps.is_due() {
        return;
    }
    let bytes = dump.serialize(store, &container.spec.name);
    let path = dumps.path.clone();
    let written = tokio::task::spawn_blocking(move || write(&path, &bytes)).await;
    match written {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(container = container.spec.name, %error, "a core dump cannot be kept");
        }
        Err(error) => tracing::error!(%error, "writing a core dump broke"),
    }
}

/// Replaces the file in one step; nobody else may read what was in the memory.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(bytes)?;
    fs::rename(part, path)
}

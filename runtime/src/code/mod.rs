//! Compiled code on disk: compiled once per module, engine and tunables, by a child process.
//!
//! An entry is one file named `<SHA-256 of the module>-<engine>.<SHA-256 of the file>.cwasm`;
//! its digest is checked before it is mapped, and an entry that fails the check is compiled
//! again. Knows no images: a module is a file. Knows no wasmtime: what can be loaded is the
//! [`Engine`]'s business.

mod digest;
mod entry;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::code::digest::{Digest, Digests};
use crate::code::entry::{Directory, Key};
use crate::sandbox::{Code, CompileError, Compiler, Engine, LoadError, WeakCode};

/// The cache. Clones are the same cache.
#[derive(Clone)]
pub struct CodeCache(Arc<Inner>);

struct Inner {
    directory: Directory,
    compiler: Compiler,
    digests: Digests,
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    turn: Semaphore,
    compilations: AtomicU64,
}

/// What is known of one entry; its lock is held while it is made, loaded or removed.
#[derive(Default)]
struct Slot {
    code: tokio::sync::Mutex<Option<WeakCode>>,
}

/// Why a module could not be made ready to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// The module's file cannot be read.
    #[error("cannot read module {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The cache's directory cannot be used, for example because the disk is full.
    #[error("cannot use the directory of compiled code {path}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not WebAssembly, or does not compile.
    #[error("cannot compile module")]
    Compile(#[source] CompileError),
    /// It compiles but cannot run here.
    #[error("cannot run module")]
    Load(#[source] LoadError),
}

impl CodeCache {
    /// Opens or makes the directory (mode 0700) and removes what a crash left half-written.
    pub fn open(directory: &Path, compiler: Compiler) -> Result<CodeCache, CodeError> {
        let opened = Directory::open(directory)
            .map_err(|source| CodeError::Directory { path: directory.to_path_buf(), source })?;
        Ok(CodeCache(Arc::new(Inner {
            directory: opened,
            compiler,
            digests: Digests::default(),
            slots: Mutex::default(),
            turn: Semaphore::new(1),
            compilations: AtomicU64::new(0),
        })))
    }

    /// The module in `path`, compiled if the cache has no good entry for it. Any number of
    /// callers share one compilation, and different modules are compiled one after the other.
    pub async fn load(&self, engine: &Engine, path: &Path) -> Result<Code, CodeError> {
        let inner = &self.0;
        let (digest, module) = inner.digest(path).await?;
        let key = Key::new(&digest, &engine.fingerprint());
        let slot = Arc::clone(inner.slots.lock().entry(key.clone()).or_default());
        let mut known = slot.code.lock().await;
        if let Some(code) = known.as_ref().and_then(WeakCode::upgrade) {
            return Ok(code);
        }
        let code = match inner.stored(engine, &key).await? {
            Some(code) => code,
            None => inner.compile(engine, &key, module).await?,
        };
        *known = Some(code.downgrade());
        Ok(code)
    }

    /// Compilations since the process began.
    pub fn compilations(&self) -> u64 {
        self.0.compilations.load(Ordering::Relaxed)
    }

    /// Bytes on disk.
    pub fn size(&self) -> u64 {
        self.0.directory.size()
    }

    /// Removes entries that no loaded code uses, oldest use first, until at most `budget` bytes
    /// are left. Returns the bytes freed. Blocks on the file system.
    pub fn collect(&self, budget: u64) -> u64 {
        let mut freed = 0;
        for key in self.0.directory.oldest_first() {
            if self.size() <= budget {
                break;
            }
            let slot = self.0.slots.lock().get(&key).cloned();
            // Somebody is about to use it.
            let Ok(known) = slot.as_deref().map(|slot| slot.code.try_lock()).transpose() else {
                continue;
            };
            let loaded = known.as_ref().and_then(|known| known.as_ref()?.upgrade()).is_some();
            if !loaded {
                freed += self.0.directory.remove(&key);
            }
        }
        freed
    }
}

impl Inner {
    async fn digest(&self, path: &Path) -> Result<(Digest, File), CodeError> {
        let fail = |source| CodeError::Read { path: path.to_path_buf(), source };
        let file = tokio::fs::File::open(path).await.map_err(fail)?.into_std().await;
        self.digests.of(file).await.map_err(fail)
    }

    /// The code of a good entry, if there is one.
    async fn stored(&self, engine: &Engine, key: &Key) -> Result<Option<Code>, CodeError> {
        let Some((file, digest)) = self.directory.find(key) else { return Ok(None) };
        let checked = digest::compute(file).await;
        let file = match checked {
            Ok((found, file)) if found == digest => file,
            Ok(_) => return Ok(self.reject(key, "its digest differs")),
            Err(error) => return Ok(self.reject(key, &error.to_string())),
        };
        match load(engine, file).await {
            Ok(code) => {
                self.directory.used(key);
                Ok(Some(code))
            }
            Err(LoadError::Unusable(reason)) => Ok(self.reject(key, &reason)),
            Err(error) => Err(CodeError::Load(error)),
        }
    }

    fn reject(&self, key: &Key, reason: &str) -> Option<Code> {
        tracing::warn!(entry = %key, error = reason, "compiled code is damaged, compiling again");
        self.directory.remove(key);
        None
    }

    async fn compile(&self, engine: &Engine, key: &Key, module: File) -> Result<Code, CodeError> {
        let _turn = self.turn.acquire().await;
        self.compilations.fetch_add(1, Ordering::Relaxed);
        let fail = |source| CodeError::Directory { path: self.directory.path().into(), source };
        let draft = self.directory.draft(key).map_err(fail)?;
        let output = draft.file().map_err(fail)?;
        self.compiler.compile(engine.tunables(), module, output).await.map_err(CodeError::Compile)?;
        let (digest, file) = digest::compute(draft.file().map_err(fail)?).await.map_err(fail)?;
        let code = load(engine, file).await;
        // What cannot run here is kept too: the next attempt fails without compiling.
        if !matches!(code, Err(LoadError::Unusable(_))) {
            draft.keep(&digest).map_err(fail)?;
        }
        code.map_err(CodeError::Load)
    }
}

async fn load(engine: &Engine, file: File) -> Result<Code, LoadError> {
    let engine = engine.clone();
    let work = tokio::task::spawn_blocking(move || engine.load(file));
    work.await.unwrap_or_else(|error| Err(LoadError::Unusable(error.to_string())))
}

//! Compiled code on disk: compiled once per module, engine and tunables, by a child process.
//!
//! Knows no images: a module is a file. Knows no wasmtime: what can be loaded is the
//! [`Engine`](crate::sandbox::Engine)'s business.

use std::path::{Path, PathBuf};

use crate::sandbox::{Code, Compiler, Engine, LoadError};

/// The cache. Share it behind an `Arc`.
pub struct CodeCache {
    directory: PathBuf,
    compiler: Compiler,
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
        source: std::io::Error,
    },
    /// The cache's directory cannot be used, for example because the disk is full.
    #[error("cannot write compiled code to {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not WebAssembly, or does not compile.
    #[error("cannot compile module")]
    Compile(#[source] crate::sandbox::CompileError),
    /// It compiles but cannot run here.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl CodeCache {
    /// Opens or makes the directory (mode 0700).
    pub fn open(directory: &Path, compiler: Compiler) -> Result<CodeCache, CodeError> {
        Ok(CodeCache { directory: directory.to_path_buf(), compiler })
    }

    /// The module in `path`, compiled if the cache has no good entry for it; any number of
    /// callers share one compilation, and different modules are compiled one after the other.
    pub async fn load(&self, _engine: &Engine, path: &Path) -> Result<Code, CodeError> {
        let _ = (&self.directory, &self.compiler);
        Err(CodeError::Read { path: path.into(), source: std::io::ErrorKind::NotFound.into() })
    }

    /// Compilations since the process began.
    pub fn compilations(&self) -> u64 {
        0
    }

    /// Removes entries that no loaded code uses, oldest use first, until at most `budget` bytes
    /// are left. Returns the bytes freed.
    pub fn collect(&self, _budget: u64) -> Result<u64, CodeError> {
        Ok(0)
    }
}

//! The engine.
use std::path::Path;
use crate::sandbox::config::EngineConfig;
use crate::sandbox::container::{ContainerSpec, Running};
use crate::sandbox::shape::Shape;

/// Loads compiled code and starts containers. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    config: EngineConfig,
}

/// Why an engine could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the sandbox engine: {0}")]
pub struct EngineError(String);

/// Why compiled code could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It is of another engine, or damaged.
    #[error("compiled code is unusable: {0}")]
    Unusable(String),
    /// It exports nothing that can be run.
    #[error("nothing to run: {0}")]
    NoEntry(String),
    /// It imports what is not offered.
    #[error("imports that are not offered: {}; offered are {offered}", missing.join(", "))]
    Imports {
        /// Each import that is missing.
        missing: Vec<String>,
        /// What is offered.
        offered: String,
    },
    /// It needs WASI 0.3, which is off (reason `WasiVersionNotEnabled`).
    #[error("needs WASI 0.3 ({0}), which this node has not enabled (--wasi-p3)")]
    WasiVersionNotEnabled(Shape),
}

/// Why a container could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A volume's directory cannot be opened.
    #[error("cannot open directory {path} for {guest}: {reason}")]
    Preopen {
        /// On the host.
        path: String,
        /// As the guest would see it.
        guest: String,
        /// Why.
        reason: String,
    },
}

/// Loaded code. Clones are the same code.
#[derive(Clone)]
pub struct Code {
    shape: Shape,
}

impl Code {
    /// What kind of program it is.
    pub fn shape(&self) -> Shape {
        self.shape
    }
}

impl Engine {
    /// Sets up pools, threads and the ticker.
    pub fn new(config: EngineConfig) -> Result<Engine, EngineError> {
        Ok(Engine { config })
    }

    /// Names everything compiled code depends on; part of the cache's key.
    pub fn fingerprint(&self) -> String {
        String::new()
    }

    /// Loads compiled code, which must come from [`crate::code`].
    pub fn load(&self, _compiled: &Path) -> Result<Code, LoadError> {
        Err(LoadError::WasiVersionNotEnabled(Shape::CliCommandP3))
    }

    /// Starts a container. Returns before the guest has run.
    pub fn start(&self, _code: &Code, _spec: ContainerSpec) -> Result<Running, StartError> {
        let _ = &self.config;
        Err(StartError::Preopen { path: String::new(), guest: String::new(), reason: String::new() })
    }
}

//! The sandbox: WebAssembly in wasmtime, the only module that names it.
//!
//! [`Engine`] loads compiled code and starts containers; [`Running`] is a started one. Guests run
//! on threads of their own, are interrupted by epochs, limited in memory and CPU, and reach the
//! outside only by the [`PodNet`](crate::net::PodNet), the directories and the outputs that
//! their [`ContainerSpec`] names. Knows no Kubernetes, pulls no images, restarts nothing.

mod compile;
mod config;
mod container;
mod cpu;
mod engine;
mod memory;
mod native;
mod output;
mod pool;
mod shape;
mod ticker;

pub use compile::{CompileError, CompileLimits, Compiler, compile_child_main};
pub use config::{EngineConfig, Machine, Tunables};
pub use container::{ContainerSpec, Exit, ExitReason, HttpOptions, Preopen, Running, Usage};
pub use engine::{Code, Engine, EngineError, LoadError, StartError};
pub use output::Output;
pub use shape::Shape;

//! The sandbox: WebAssembly in wasmtime, the only module that names it.
//!
//! [`Engine`] loads compiled code and starts containers; [`Running`] is a started one. Guests run
//! on threads of their own, are interrupted by epochs, limited in memory and CPU, and reach the
//! outside only by the [`PodNet`](crate::net::PodNet), the directories and the outputs that
//! their [`ContainerSpec`] names. Knows no Kubernetes, pulls no images, restarts nothing.

mod command;
mod compile;
mod config;
mod container;
mod core_dump;
mod cpu;
mod directories;
mod engine;
mod environment;
mod host;
mod http_in;
mod http_out;
mod input;
mod link;
mod loaded;
mod memory;
mod native;
mod output;
mod pool;
mod room;
mod shape;
mod shared;
mod sockets;
mod ticker;

pub use compile::{CompileError, CompileLimits, Compiler, compile_child_main};
pub use config::{EngineConfig, Machine, Tunables};
pub use container::{ContainerSpec, Exit, ExitReason, HttpOptions, Meter, Preopen, Running, Stop, Usage};
pub use engine::{Engine, EngineError, StartError};
pub use input::{Feed, Input};
pub(crate) use loaded::WeakCode;
pub use loaded::{Code, LoadError};
pub use native::{allocate_apart, give_back_memory};
pub use output::{Chunk, Output};
pub use shape::Shape;

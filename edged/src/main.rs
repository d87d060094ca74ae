//! `edged`: a Kubernetes control plane and a WebAssembly node in one process.
//!
//! This binary only wires: configuration → build (binds everything) → run → drain in two phases →
//! exit code. What a control plane is lives in `edge-controller`, what a node is in `edge-runtime`;
//! they meet here on a byte stream that speaks the Kubernetes API, and nowhere else.

mod agent;
mod config;
mod manifests;
mod ready;
mod rest;
mod server;
mod shutdown;
mod split;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing_subscriber::EnvFilter;

use crate::config::{CommandLine, Host, Role};

/// Why not the system's: ARCHITECTURE.md, "jemalloc".
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let started = Instant::now();
    // The short-lived child in which modules are compiled is this program, too.
    if std::env::args_os().nth(1).is_some_and(|word| word == "__compile") {
        return edge_runtime::sandbox::compile_child_main();
    }
    let line = CommandLine::parse();
    raise_file_limit();
    match start(line, started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edged: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(line: CommandLine, started: Instant) -> Result<()> {
    let host = Host::read()?;
    match line.role.unwrap_or_else(|| Role::Server(Box::new(line.server))) {
        Role::Server(command) => {
            let settings = command.written.over(command.config.as_deref())?.mean(&host)?;
            if command.print_config {
                print!("{}", settings.to_toml()?);
                return Ok(());
            }
            log_to_stderr(&settings.log)?;
            runtime()?.block_on(server::serve(&settings, &host, started))
        }
        Role::Agent(command) => {
            let upstream = agent::Upstream::of(&command)?;
            let settings = command.written.over(command.config.as_deref())?.mean(&host)?;
            if command.print_config {
                print!("{}", settings.to_toml()?);
                return Ok(());
            }
            log_to_stderr(&settings.log)?;
            if command.with_parent {
                split::die_with_parent()?;
            }
            runtime()?.block_on(agent::serve(&settings, &host, upstream, started))
        }
    }
}

/// Opens as many files as the host allows: the usual soft limit of 1,024 is for programs that call select(2), and every
/// Pod has open files. Where it cannot be raised, fewer Pods run, and say why.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// The threads of control plane, DNS and proxy; guests have their own.
fn runtime() -> Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, 4))
        .thread_name("edged")
        .enable_all()
        .build()
        .context("cannot start threads")
}

fn log_to_stderr(directives: &str) -> Result<()> {
    let filter = EnvFilter::try_new(directives).with_context(|| format!("--log {directives:?}"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // One provider of cryptography for every TLS of this process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(())
}

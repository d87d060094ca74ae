//! What a container is to the sandbox: what it gets, how it ends, what it uses.
//!
//! Knows no Kubernetes: limits are numbers, volumes are directories, the network is a handle.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::http::SharedHandler;
use crate::net::PodNet;
use crate::sandbox::core_dump::CoreDumps;
use crate::sandbox::cpu::CpuAccount;
use crate::sandbox::directories::Directories;
use crate::sandbox::input::Input;
use crate::sandbox::memory::MemoryAccount;
use crate::sandbox::output::Output;

/// Everything a container may see and use. Nothing else is granted.
#[derive(Clone)]
pub struct ContainerSpec {
    /// The container's name, for messages.
    pub name: String,
    /// `argv`, the program's name first.
    pub args: Vec<String>,
    /// Environment variables in order; also what `wasi:config` shows at first.
    pub env: Arc<Vec<(String, String)>>,
    /// Directories it sees.
    pub preopens: Vec<Preopen>,
    /// Its standard input.
    pub stdin: Input,
    /// Its standard output.
    pub stdout: Output,
    /// Its standard error; also gets the message of a trap.
    pub stderr: Output,
    /// The Pod's network.
    pub net: PodNet,
    /// Bytes of linear memory and tables of all its instances together.
    pub memory_limit: Option<u64>,
    /// Thousandths of a CPU.
    pub cpu_limit: Option<u32>,
    /// How it serves HTTP, if it does.
    pub http: HttpOptions,
    /// The file for the core dump of its last trap, if it is to leave one.
    pub core_dump: Option<PathBuf>,
}

/// A directory of the host that a guest sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preopen {
    /// Where it is on the host.
    pub host: PathBuf,
    /// Where the guest sees it.
    pub guest: String,
    /// Whether the guest may only read.
    pub read_only: bool,
}

/// How a handler is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// Keep instances for further requests. State then leaks between requests.
    pub reuse: bool,
    /// Requests handled at once; as many again may wait.
    pub max_concurrent: usize,
    /// Until the head of the response; and, after the end of its body, for the guest to end.
    pub request_timeout: Duration,
}

impl Default for HttpOptions {
    /// Fresh instances, 256 at once, ten minutes.
    fn default() -> HttpOptions {
        HttpOptions { reuse: false, max_concurrent: 256, request_timeout: Duration::from_secs(600) }
    }
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The exit code: the guest's own, 134 after a trap, 137 when killed, 128 if it never began.
    pub code: i32,
    /// Why.
    pub reason: ExitReason,
    /// For humans: the trap with the guest's stack. Empty when there is nothing to say.
    pub message: String,
}

/// Why a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    /// By itself, with code 0.
    Completed,
    /// By itself with another code, by a trap, or it could not begin.
    Error,
    /// Its memory limit refused a growth and it did not survive that.
    OomKilled,
    /// [`Running::kill`], or the handle was dropped.
    Killed,
}

/// What a container uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since its start.
    pub cpu_time: Duration,
    /// Bytes of linear memory and tables now.
    pub memory: u64,
    /// Requests taken so far.
    pub requests: u64,
    /// Requests that ended without a response.
    pub failed_requests: u64,
    /// Requests a guest works on now, those included that it has answered already.
    pub active_requests: u64,
    /// Instances alive now.
    pub instances: u64,
}

/// The counters of one container, shared by its instances.
pub(super) struct Container {
    pub(super) spec: ContainerSpec,
    pub(super) cpu: Arc<CpuAccount>,
    pub(super) memory: Arc<MemoryAccount>,
    pub(super) core_dumps: Option<CoreDumps>,
    pub(super) directories: Directories,
    /// What `wasi:config` shows now.
    pub(super) config: ArcSwap<Vec<(String, String)>>,
    default_memory_limit: u64,
    pub(super) killed: CancellationToken,
    pub(super) requests: AtomicU64,
    pub(super) failed_requests: AtomicU64,
    pub(super) active_requests: AtomicU64,
    pub(super) instances: AtomicU64,
}

impl Container {
    /// A container that has not begun.
    pub(super) fn new(spec: ContainerSpec, default_memory_limit: u64) -> Container {
        let limit = spec.memory_limit.unwrap_or(default_memory_limit);
        Container {
            default_memory_limit,
            cpu: Arc::new(CpuAccount::new(spec.cpu_limit, Instant::now())),
            memory: Arc::new(MemoryAccount::new(limit)),
            core_dumps: spec.core_dump.clone().map(CoreDumps::new),
            directories: Directories::default(),
            config: ArcSwap::new(Arc::clone(&spec.env)),
            killed: CancellationToken::new(),
            requests: AtomicU64::new(0),
            failed_requests: AtomicU64::new(0),
            active_requests: AtomicU64::new(0),
            instances: AtomicU64::new(0),
            spec,
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            cpu_time: self.cpu.used(),
            memory: self.memory.used(),
            requests: self.requests.load(Ordering::Relaxed),
            failed_requests: self.failed_requests.load(Ordering::Relaxed),
            active_requests: self.active_requests.load(Ordering::Relaxed),
            instances: self.instances.load(Ordering::Relaxed),
        }
    }
}

/// A container that was started. Dropping it kills the container.
pub struct Running {
    pub(super) container: Arc<Container>,
    pub(super) http: Option<SharedHandler>,
    pub(super) exit: watch::Receiver<Option<Exit>>,
}

impl Running {
    /// Waits for the end; may be called any number of times. A server ends only by [`kill`].
    ///
    /// [`kill`]: Running::kill
    pub async fn exited(&self) -> Exit {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        ended.unwrap_or_else(Exit::killed) // The runtime went down with the guest.
    }

    /// Ends the guest within milliseconds, whatever it is doing. [`exited`](Running::exited)
    /// tells when it is gone.
    pub fn kill(&self) {
        self.container.killed.cancel();
    }

    /// Ends it, also from elsewhere.
    pub fn stop(&self) -> Stop {
        Stop(self.container.killed.clone())
    }

    /// Gives it other limits while it runs; `false`, and no change, if it has taken more memory than that already.
    pub fn limit(&self, memory: Option<u64>, cpu: Option<u32>) -> bool {
        let container = &self.container;
        let fits = container.memory.set_limit(memory.unwrap_or(container.default_memory_limit));
        if fits {
            container.cpu.set_limit(cpu, Instant::now());
        }
        fits
    }

    /// Lets `wasi:config` show this from now on. The variables of the environment stay what they were.
    pub fn configure(&self, pairs: Arc<Vec<(String, String)>>) {
        self.container.config.store(pairs);
    }

    /// The handler, if the container is a server.
    pub fn http(&self) -> Option<SharedHandler> {
        self.http.clone()
    }

    /// What it uses now.
    pub fn usage(&self) -> Usage {
        self.container.usage()
    }

    /// Reads what it uses, also elsewhere.
    pub fn meter(&self) -> Meter {
        Meter(Arc::downgrade(&self.container))
    }
}

/// Ends a container without keeping it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Does what [`Running::kill`] does.
    pub fn now(&self) {
        self.0.cancel();
    }
}

/// Reads what a container uses without keeping it. Cheap to clone.
#[derive(Clone)]
pub struct Meter(Weak<Container>);

impl Meter {
    /// What it uses now; nothing once the container is gone.
    pub fn usage(&self) -> Option<Usage> {
        self.0.upgrade().map(|container| container.usage())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Exit {
    pub(super) fn killed() -> Exit {
        Exit { code: 137, reason: ExitReason::Killed, message: String::new() }
    }

    pub(super) fn with_code(code: i32) -> Exit {
        let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
        Exit { code, reason, message: String::new() }
    }
}

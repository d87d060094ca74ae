//! The engine: threads, pools and the ticker, and the way from code to a running container.

use std::fs::File;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use ring::digest;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::sandbox::command;
use crate::sandbox::config::{EngineConfig, Tunables};
use crate::sandbox::container::{Container, ContainerSpec, Exit, Running};
use crate::sandbox::http_in::Server;
use crate::sandbox::loaded::{Code, LoadError};
use crate::sandbox::shared::Shared;
use crate::sandbox::ticker::Ticker;

/// How long the message of a trap may wait for a full log.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Loads compiled code and starts containers. Clones are the same engine; dropping the last one
/// ends every guest without waiting for it.
#[derive(Clone)]
pub struct Engine(Arc<Owner>);

/// Why an engine could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Threads could not be started.
    #[error("cannot start the threads of guests")]
    Threads(#[source] std::io::Error),
    /// wasmtime refused the configuration or found no room for it.
    #[error("cannot set up wasmtime: {0}")]
    Wasmtime(String),
}

/// Why a container could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A volume's directory cannot be opened.
    #[error("cannot open directory {path} for {guest}")]
    Preopen {
        /// On the host.
        path: String,
        /// As the guest would see it.
        guest: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Owns the threads. Guests hold [`Shared`] only, so that the owner is never dropped on one of
/// the threads it ends.
struct Owner {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
    _ticker: Ticker,
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A guest's blocking file operation may never return; nobody waits for it.
            runtime.shutdown_background();
        }
    }
}

impl Engine {
    /// Sets up threads, ticker and the first pool.
    pub fn new(config: EngineConfig) -> Result<Engine, EngineError> {
        let threads = if config.threads == 0 { default_threads() } else { config.threads };
        let cpus = if config.cpus == 0 { threads.div_ceil(2) } else { config.cpus };
        let ticker = Ticker::start(threads).map_err(EngineError::Threads)?;
        let runtime = guest_runtime(threads).map_err(EngineError::Threads)?;
        let polls = Arc::clone(ticker.polls());
        let shared = Shared::new(config, runtime.handle().clone(), polls, cpus);
        shared.first().map_err(|error| EngineError::Wasmtime(format!("{error:#}")))?;
        let owner = Owner { shared: Arc::new(shared), runtime: Some(runtime), _ticker: ticker };
        Ok(Engine(Arc::new(owner)))
    }

    /// Names everything compiled code depends on: wasmtime, CPU features, tunables.
    pub fn fingerprint(&self) -> String {
        let mut hasher = DigestHasher(digest::Context::new(&digest::SHA256));
        if let Ok(pool) = self.0.shared.first() {
            pool.engine.precompile_compatibility_hash().hash(&mut hasher);
        }
        hasher.0.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The choices compiled code is bound to.
    pub fn tunables(&self) -> &Tunables {
        &self.0.shared.config.tunables
    }

    /// Whether WASI 0.3 is offered.
    pub fn offers_p3(&self) -> bool {
        self.0.shared.config.p3
    }

    /// How often guests were interrupted for running longer than a tick of 5 ms.
    pub fn epochs(&self) -> u64 {
        self.0.shared.polls.ticks()
    }

    /// Loads compiled code. [`crate::code`] is the only caller: it has checked that the file is
    /// what our compiler wrote.
    pub(crate) fn load(&self, compiled: File) -> Result<Code, LoadError> {
        let shared = &self.0.shared;
        let pool = shared.first().map_err(|error| LoadError::Unusable(format!("{error:#}")))?;
        Code::load(compiled, &pool, || shared.on_demand(), shared.config.p3)
    }

    /// Starts a container. Returns before the guest has run; a guest that cannot begin exits
    /// with code 128 and says why.
    pub fn start(&self, code: &Code, spec: ContainerSpec) -> Result<Running, StartError> {
        check_preopens(&spec)?;
        let shared = Arc::clone(&self.0.shared);
        shared.container_moved();
        let container = Arc::new(Container::new(spec, shared.config.default_memory_limit));
        let (sender, exit) = watch::channel(None);
        let handle = shared.handle.clone();
        let mut http = None;
        if code.shape().is_http() {
            let server = Server::new(Arc::clone(&shared), code.clone(), Arc::clone(&container));
            http = Some(server.handler());
            handle.spawn(async move {
                let exit = server.ended().await;
                shared.container_moved();
                sender.send_replace(Some(exit));
            });
        } else {
            let (code, container) = (code.clone(), Arc::clone(&container));
            handle.spawn(async move {
                let exit = run_process(&shared, &code, &container).await;
                shared.container_moved();
                sender.send_replace(Some(exit));
            });
        }
        Ok(Running { container, http, exit })
    }
}

async fn run_process(shared: &Shared, code: &Code, container: &Arc<Container>) -> Exit {
    let guest = command::run(shared, code, container);
    let guest = shared.lanes.metered(Arc::clone(&container.cpu), guest);
    let exit = tokio::select! {
        biased;
        () = container.killed.cancelled() => Exit::killed(),
        exit = caught(guest) => exit,
    };
    if !exit.message.is_empty() {
        let words = container.spec.stderr.say(format!("{}\n", exit.message));
        // A log that takes nothing must not hold up the end.
        let _ = tokio::time::timeout(LAST_WORDS, words).await;
    }
    exit
}

/// A panic of ours ends the container it happened for, and nothing else.
async fn caught(guest: impl Future<Output = Exit>) -> Exit {
    AssertUnwindSafe(guest).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!("the host panicked while it ran a guest");
        command::failed(134, "the host failed; see the node's log".into())
    })
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cpus| cpus.get() * 2)
}

fn guest_runtime(threads: usize) -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("guest")
        .enable_all()
        // Polls of guests may take milliseconds: look at timers, sockets and tasks from other
        // threads more often than a runtime of short polls would.
        .event_interval(7)
        .global_queue_interval(7)
        .on_thread_start(|| {
            // On Linux this lowers the calling thread only: the control plane goes first.
            let _ = rustix::process::setpriority_process(None, 5);
        })
        .build()
}

fn check_preopens(spec: &ContainerSpec) -> Result<(), StartError> {
    use rustix::fs::{Mode, OFlags};
    for preopen in &spec.preopens {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&preopen.host, flags, Mode::empty()).map_err(|error| StartError::Preopen {
            path: preopen.host.display().to_string(),
            guest: preopen.guest.clone(),
            source: error.into(),
        })?;
    }
    Ok(())
}

/// Feeds what is hashed into a digest, so that the result is the same in every process.
struct DigestHasher(digest::Context);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0 // The digest is taken out instead.
    }
}

//! What containers need of the engine: threads to run on and engines to be instantiated in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::sandbox::config::EngineConfig;
use crate::sandbox::cpu::Lanes;
use crate::sandbox::loaded::{Code, Ready};
use crate::sandbox::native;
use crate::sandbox::pool::{self, Pool};
use crate::sandbox::ticker::Polls;

/// The number of the engine whose instances are made on demand.
const ON_DEMAND: usize = usize::MAX;
/// Containers that must have begun or ended before memory is given back to the kernel.
const MOVES_PER_TRIM: u64 = 64;
/// How long after the last of them that happens.
const TRIM_DELAY: Duration = Duration::from_secs(1);
/// How often it is put off while more begin or end.
const MOST_DELAYS: u32 = 60;

/// What containers need of the engine.
pub(super) struct Shared {
    pub(super) config: EngineConfig,
    pub(super) handle: Handle,
    pub(super) lanes: Lanes,
    pub(super) polls: Arc<Polls>,
    pools: ArcSwap<Vec<Arc<Pool>>>,
    on_demand: Mutex<Option<Arc<Pool>>>,
    growing: Mutex<()>,
    moves: AtomicU64,
    trimming: AtomicBool,
}

impl Shared {
    /// Nothing is set up before it is first needed.
    pub(super) fn new(config: EngineConfig, handle: Handle, polls: Arc<Polls>, cpus: usize) -> Shared {
        Shared {
            handle,
            lanes: Lanes::new(Arc::clone(&polls), cpus),
            polls,
            pools: ArcSwap::default(),
            on_demand: Mutex::new(None),
            growing: Mutex::new(()),
            moves: AtomicU64::new(0),
            trimming: AtomicBool::new(false),
            config,
        }
    }

    /// The engine that code is loaded into first.
    pub(super) fn first(&self) -> wasmtime::Result<Arc<Pool>> {
        if !self.config.tunables.pooled {
            return self.on_demand();
        }
        match self.pools.load().first() {
            Some(pool) => Ok(Arc::clone(pool)),
            None => self.grow(0),
        }
    }

    /// The engine without slots, made when first needed.
    pub(super) fn on_demand(&self) -> wasmtime::Result<Arc<Pool>> {
        let mut on_demand = self.on_demand.lock();
        if let Some(pool) = &*on_demand {
            return Ok(Arc::clone(pool));
        }
        let engine = pool::on_demand_engine(&self.config.tunables)?;
        self.polls.add_engine(engine.clone());
        Ok(Arc::clone(on_demand.insert(Arc::new(Pool::new(ON_DEMAND, engine)))))
    }

    /// Adds a pool, unless somebody else has since `known` pools were seen.
    fn grow(&self, known: usize) -> wasmtime::Result<Arc<Pool>> {
        let _one_at_a_time = self.growing.lock();
        let pools = self.pools.load_full();
        if let Some(pool) = pools.get(known) {
            return Ok(Arc::clone(pool));
        }
        let engine = pool::pooled_engine(&self.config.tunables, self.config.pool_slots)?;
        self.polls.add_engine(engine.clone());
        let pool = Arc::new(Pool::new(pools.len(), engine));
        let mut grown = Vec::clone(&pools);
        grown.push(Arc::clone(&pool));
        tracing::debug!(pools = grown.len(), "instance pool added");
        self.pools.store(Arc::new(grown));
        Ok(pool)
    }

    /// The engines an instance of `code` may be made in, in the order to try them.
    pub(super) fn places<'a>(&'a self, code: &'a Code) -> Places<'a> {
        let pooled = self.config.tunables.pooled && !code.is_oversized();
        Places { shared: self, code, next: if pooled { Some(0) } else { None }, ended: false }
    }

    /// Gives memory back to the kernel some time after many containers have begun or ended: both leave much behind.
    pub(super) fn container_moved(self: &Arc<Self>) {
        let moves = self.moves.fetch_add(1, Ordering::Relaxed) + 1;
        if moves < MOVES_PER_TRIM || self.trimming.swap(true, Ordering::Relaxed) {
            return;
        }
        let shared = Arc::clone(self);
        self.handle.spawn(async move {
            for _ in 0..MOST_DELAYS {
                let seen = shared.moves.load(Ordering::Relaxed);
                tokio::time::sleep(TRIM_DELAY).await;
                if shared.moves.load(Ordering::Relaxed) == seen {
                    break;
                }
            }
            shared.moves.store(0, Ordering::Relaxed);
            shared.trimming.store(false, Ordering::Relaxed);
            // The runtime going down is as good a reason not to.
            let _ = tokio::task::spawn_blocking(native::give_back_memory).await;
        });
    }
}

/// Engines to try: pools with room, a new pool, and at last the one without slots.
pub(super) struct Places<'a> {
    shared: &'a Shared,
    code: &'a Code,
    next: Option<usize>,
    ended: bool,
}

impl Places<'_> {
    /// The next engine with the code ready in it.
    pub(super) fn next(&mut self) -> wasmtime::Result<(Arc<Pool>, Arc<Ready>)> {
        let pool = self.next_pool()?;
        let ready = self.code.ready(&pool).map_err(wasmtime::Error::new)?;
        Ok((pool, ready))
    }

    fn next_pool(&mut self) -> wasmtime::Result<Arc<Pool>> {
        while let Some(index) = self.next {
            let pools = self.shared.pools.load();
            self.next = Some(index + 1);
            match pools.get(index) {
                Some(pool) if pool.room.is_full() => {}
                Some(pool) => return Ok(Arc::clone(pool)),
                None if pools.len() < self.shared.config.max_pools => match self.shared.grow(index) {
                    Ok(pool) => return Ok(pool),
                    Err(error) => {
                        tracing::warn!(error = %format!("{error:#}"), "no room for another pool");
                        self.next = None;
                    }
                },
                None => self.next = None,
            }
        }
        if self.ended {
            wasmtime::bail!("no engine has room for another instance");
        }
        self.ended = true;
        self.shared.on_demand()
    }
}

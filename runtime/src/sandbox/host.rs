//! What belongs to one instance: the state behind its imports.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::sandbox::container::Container;
use crate::sandbox::directories::DirectoriesView;
use crate::sandbox::environment::EnvironmentView;
use crate::sandbox::http_out::Outgoing;
use crate::sandbox::memory::MemoryShare;
use crate::sandbox::room::Room;
use crate::sandbox::sockets::SocketsView;

/// Bytes of random numbers given at once.
const MOST_RANDOM: u64 = 1 << 20;

/// Keeps the books while an instance lives.
struct Lease {
    container: Arc<Container>,
    room: Arc<Room>,
}

impl Lease {
    fn new(container: &Arc<Container>, room: &Arc<Room>) -> Lease {
        container.instances.fetch_add(1, Ordering::Relaxed);
        Lease { container: Arc::clone(container), room: Arc::clone(room) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.container.instances.fetch_sub(1, Ordering::Relaxed);
        self.room.freed();
    }
}

/// What `wasi:config` showed, and of what that was made.
type Shown = (Arc<Vec<(String, String)>>, WasiConfigVariables);

/// The state of a component's instance.
pub(super) struct Host {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    memory: MemoryShare,
    /// What it was told by `wasi:config` last.
    config: Option<Shown>,
    lease: Lease,
}

impl Host {
    /// A store for one instance in `engine`.
    pub(super) fn store(
        container: &Arc<Container>,
        engine: &Engine,
        room: &Arc<Room>,
    ) -> wasmtime::Result<Store<Host>> {
        let host = Host {
            table: ResourceTable::new(),
            wasi: wasi(container).build(),
            http: WasiHttpCtx::new(),
            outgoing: Outgoing::new(container.spec.net.clone()),
            memory: MemoryShare::new(Arc::clone(&container.memory)),
            config: None,
            lease: Lease::new(container, room),
        };
        let mut store = Store::new(engine, host);
        store.limiter(|host| &mut host.memory);
        interrupt(&mut store);
        Ok(store)
    }

    /// Whether the last growth was refused.
    pub(super) fn out_of_memory(&self) -> bool {
        self.memory.refused()
    }

    /// What it is told of its arguments and variables.
    pub(super) fn environment(&mut self) -> EnvironmentView<'_> {
        EnvironmentView(&self.lease.container.spec)
    }

    /// What it is told of its directories.
    pub(super) fn directories(&mut self) -> DirectoriesView<'_> {
        DirectoriesView { container: &self.lease.container, table: &mut self.table }
    }

    /// What its sockets work on.
    pub(super) fn pod_sockets(&mut self) -> SocketsView<'_> {
        SocketsView { net: &self.lease.container.spec.net, table: &mut self.table }
    }

    /// What `wasi:config` shows.
    pub(super) fn config(&mut self) -> WasiConfig<'_> {
        let pairs = self.lease.container.config.load_full();
        let known = self.config.take().filter(|(of, _)| Arc::ptr_eq(of, &pairs));
        let new = || {
            let shown = pairs.iter().cloned().collect();
            (pairs, shown)
        };
        let (_, shown) = self.config.insert(known.unwrap_or_else(new));
        WasiConfig::new(shown)
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outgoing, table: &mut self.table, ctx: &mut self.http }
    }
}

/// The state of a core module's instance.
pub(super) struct CoreHost {
    pub(super) p1: WasiP1Ctx,
    memory: MemoryShare,
    _lease: Lease,
}

impl CoreHost {
    /// A store for one instance in `engine`.
    pub(super) fn store(
        container: &Arc<Container>,
        engine: &Engine,
        room: &Arc<Room>,
    ) -> wasmtime::Result<Store<CoreHost>> {
        let mut p1 = wasi(container);
        for preopen in &container.spec.preopens {
            p1.preopened_dir(&preopen.host, &preopen.guest, preopen.permissions())?;
        }
        let host = CoreHost {
            p1: p1.args(&container.spec.args).envs(container.spec.env.as_slice()).build_p1(),
            memory: MemoryShare::new(Arc::clone(&container.memory)),
            _lease: Lease::new(container, room),
        };
        let mut store = Store::new(engine, host);
        store.limiter(|host| &mut host.memory);
        interrupt(&mut store);
        Ok(store)
    }

    /// Whether the last growth was refused.
    pub(super) fn out_of_memory(&self) -> bool {
        self.memory.refused()
    }
}

/// The guest yields at every epoch; everything else happens between its polls.
fn interrupt<T>(store: &mut Store<T>) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
}

/// What every guest gets. Directories and the environment of components are in modules of their own.
fn wasi(container: &Container) -> WasiCtxBuilder {
    let spec = &container.spec;
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdin(spec.stdin.clone())
        .stdout(spec.stdout.clone())
        .stderr(spec.stderr.clone())
        .max_random_size(MOST_RANDOM)
        // Sockets are ours; see `sandbox::sockets`. The stock ones stay shut behind them.
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .allow_blocking_current_thread(false);
    wasi
}

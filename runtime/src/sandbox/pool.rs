//! wasmtime engines: one configuration, instantiated as pools or on demand.
//!
//! All engines of a node share one configuration, so that code compiled once runs in each.

use std::sync::Arc;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::sandbox::config::Tunables;
use crate::sandbox::link::Linkers;
use crate::sandbox::room::Room;

/// Core instances a component may consist of, on average: adapter and shims count.
const CORE_INSTANCES: u32 = 6;

/// Slots that keep what the last instance left of their module for the next one of the same.
const WARM_SLOTS: u32 = 32;
/// Bytes of a memory that are put back by writing instead of unmapping, so that the next instance takes no page
/// faults for them. More than a small guest touches; all warm slots together hold 8 MiB at worst.
const KEPT_MEMORY: usize = 256 << 10;
/// The same of a table: 2,048 functions.
const KEPT_TABLE: usize = 16 << 10;
/// The same of a stack.
const KEPT_STACK: usize = 32 << 10;

/// What every engine has in common, and compiled code depends on.
fn common(tunables: &Tunables) -> Config {
    let mut config = Config::new();
    config
        .memory_reservation(tunables.memory_reservation)
        .memory_guard_size(tunables.memory_guard)
        .gc_heap_reservation(tunables.memory_reservation)
        .gc_heap_guard_size(tunables.memory_guard)
        .memory_init_cow(true)
        .async_stack_zeroing(true)
        .epoch_interruption(true)
        .coredump_on_trap(true)
        .wasm_component_model(true)
        .wasm_component_model_async(true);
    if !tunables.pooled {
        // Where address space is short, a memory that grows takes little more than it needs.
        config
            .memory_reservation_for_growth(tunables.memory_reservation)
            .gc_heap_reservation_for_growth(tunables.memory_reservation);
    }
    config
}

/// An engine that compiles and allocates nothing.
pub(super) fn compiling_engine(tunables: &Tunables) -> wasmtime::Result<Engine> {
    Engine::new(&common(tunables))
}

/// An engine whose instances are made on demand, without limits of a slot.
pub(super) fn on_demand_engine(tunables: &Tunables) -> wasmtime::Result<Engine> {
    Engine::new(&common(tunables))
}

/// An engine with `slots` preallocated instances.
pub(super) fn pooled_engine(tunables: &Tunables, slots: u32) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES)
        .total_memories(slots)
        .total_tables(slots * 2)
        .total_stacks(slots + slots / 4)
        .total_gc_heaps(slots / 8 + 1)
        .max_core_instances_per_component(64)
        .max_memories_per_component(8)
        .max_tables_per_component(32)
        .max_tables_per_module(4)
        .max_memories_per_module(2)
        .max_unused_warm_slots(WARM_SLOTS)
        // Where the kernel can tell which pages were written (since Linux 6.7), only those are put back.
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(KEPT_MEMORY)
        .table_keep_resident(KEPT_TABLE)
        .async_stack_keep_resident(KEPT_STACK);
    let mut config = common(tunables);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// One engine of a node with its linkers.
pub(super) struct Pool {
    /// Which of the node's engines it is.
    pub(super) id: usize,
    pub(super) engine: Engine,
    pub(super) linkers: Linkers,
    pub(super) room: Arc<Room>,
}

impl Pool {
    /// An engine under a number of its own.
    pub(super) fn new(id: usize, engine: Engine) -> Pool {
        Pool { id, engine, linkers: Linkers::default(), room: Arc::default() }
    }
}

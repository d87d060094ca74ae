//! What the engine is told, and what it finds out about the machine.
//!
//! [`Machine`] is a probe, [`Tunables`] are the choices that are baked into compiled code and
//! therefore made once per data directory, [`EngineConfig`] is everything else. Nothing here
//! reads the environment or writes a file: the node stores the tunables.

use serde::{Deserialize, Serialize};

use crate::sandbox::native;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// How far into the address space one linear memory may grow without moving, when there is room.
const WIDE_RESERVATION: u64 = 4 * GIB;
const WIDE_GUARD: u64 = 32 * MIB;
const NARROW_RESERVATION: u64 = MIB;
const NARROW_GUARD: u64 = 64 * 1024;

/// Address space that must be free for the pooled engine: two pools of the default size.
const WIDE_ADDRESS_SPACE: u64 = 9 << 40;

/// Pods beyond which a node is not asked to go, whatever the machine allows.
const MOST_PODS: u64 = 11_000;
/// Memory maps a pooled instance needs (measured).
const MAPS_PER_POD: u64 = 6;
/// Open files kept for a Pod: the directories of its token and of its last message, which most standard libraries open at
/// once. One that serves connections needs more, one that answers HTTP fewer.
const FILES_PER_POD: u64 = 2;
/// Memory maps kept back for the process itself.
const MAPS_KEPT: u64 = 4_096;

/// What the machine has, as far as sandboxes care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Threads that can run at once.
    pub cpus: usize,
    /// Physical memory in bytes.
    pub memory: u64,
    /// Address space in bytes that one reservation could get, in powers of two; 0 if none of the
    /// sizes tried was to be had.
    pub address_space: u64,
    /// `vm.max_map_count`.
    pub map_count: u64,
    /// The hard limit of open files.
    pub open_files: u64,
}

impl Machine {
    /// Asks the kernel. Costs a few system calls; nothing is kept reserved.
    pub fn probe() -> Machine {
        Machine {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory: total_memory().unwrap_or(GIB),
            address_space: native::largest_reservation(),
            map_count: read_number("/proc/sys/vm/max_map_count").unwrap_or(65_530),
            open_files: hard_file_limit(),
        }
    }

    /// How many Pods a node on this machine may be given (`status.allocatable.pods`): beyond it
    /// our own allocations would be what fails.
    pub fn pods(&self) -> u64 {
        let by_maps = self.map_count.saturating_sub(MAPS_KEPT) / MAPS_PER_POD;
        let by_files = self.open_files.saturating_sub(1_024) / FILES_PER_POD;
        MOST_PODS.min(by_maps).min(by_files).max(1)
    }
}

/// Choices baked into compiled code: code compiled with others is refused.
///
/// Chosen once per data directory and stored there, so that a changed machine or release does
/// not silently turn every restart into a compilation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tunables {
    /// Bytes of address space reserved for each linear memory.
    pub memory_reservation: u64,
    /// Bytes of inaccessible pages behind each linear memory.
    pub memory_guard: u64,
    /// Whether instances come out of preallocated pools. Off on small address spaces.
    pub pooled: bool,
}

impl Tunables {
    /// Whether code compiled so can run on this machine. If not, for example under a new
    /// `ulimit -v`, they have to be chosen again.
    pub fn fit(&self, machine: &Machine) -> bool {
        !self.pooled || machine.address_space >= WIDE_ADDRESS_SPACE
    }

    /// The choice for a machine: pooled instances with 4 GiB reservations where the address space
    /// is wide, instances on demand with small reservations on 39-bit boards and under
    /// `ulimit -v`.
    pub fn for_machine(machine: &Machine) -> Tunables {
        if machine.address_space >= WIDE_ADDRESS_SPACE {
            Tunables { memory_reservation: WIDE_RESERVATION, memory_guard: WIDE_GUARD, pooled: true }
        } else {
            Tunables { memory_reservation: NARROW_RESERVATION, memory_guard: NARROW_GUARD, pooled: false }
        }
    }
}

/// How an [`Engine`](crate::sandbox::Engine) is set up.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Baked into compiled code; see [`Tunables`].
    pub tunables: Tunables,
    /// Instances per pool. Pools are added as they fill; 1,000 slots cost about 2.4 ms.
    pub pool_slots: u32,
    /// Pools beyond which instances are made on demand.
    pub max_pools: usize,
    /// Threads that run guests; 0 means two per CPU (at most one per CPU runs long polls).
    pub threads: usize,
    /// CPUs that long-running guests may occupy together; 0 means all.
    pub cpus: usize,
    /// Whether WASI 0.3 is offered.
    pub p3: bool,
    /// Bytes of memory a container without a limit may have.
    pub default_memory_limit: u64,
}

impl EngineConfig {
    /// Defaults for a machine with tunables chosen earlier.
    pub fn new(machine: &Machine, tunables: Tunables) -> EngineConfig {
        let wanted = usize::try_from(machine.pods() / 1_000 + 1).unwrap_or(1);
        let room = usize::try_from(machine.address_space / (5 << 40)).unwrap_or(1);
        EngineConfig {
            tunables,
            pool_slots: 1_000,
            max_pools: wanted.min(room.max(1)),
            threads: machine.cpus * 2,
            cpus: machine.cpus,
            p3: false,
            default_memory_limit: machine.memory / 4 * 3,
        }
    }
}

fn read_number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

fn hard_file_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(address_space: u64, map_count: u64, open_files: u64) -> Machine {
        Machine { cpus: 2, memory: GIB, address_space, map_count, open_files }
    }

    #[test]
    fn pods_follow_the_tightest_limit() {
        let cases = [
            (machine(1 << 47, 65_530, 1 << 20), 10_239),
            (machine(1 << 47, 1 << 20, 1 << 20), 11_000),
            (machine(1 << 47, 1 << 20, 4_096), 1_536),
            (machine(1 << 47, 100, 100), 1),
        ];
        for (machine, pods) in cases {
            assert_eq!(machine.pods(), pods, "{machine:?}");
        }
    }

    #[test]
    fn small_address_spaces_are_not_pooled() {
        assert!(Tunables::for_machine(&machine(1 << 45, 65_530, 1 << 20)).pooled);
        let (wide, narrow) = (machine(1 << 45, 65_530, 1 << 20), machine(1 << 38, 65_530, 1 << 20));
        assert!(!Tunables::for_machine(&narrow).pooled);
        assert!(!Tunables::for_machine(&wide).fit(&narrow));
        assert!(Tunables::for_machine(&narrow).fit(&wide));
    }

    #[test]
    fn this_machine_has_something() {
        let machine = Machine::probe();
        assert!(machine.cpus > 0 && machine.memory > 0 && machine.address_space > 0, "{machine:?}");
    }
}

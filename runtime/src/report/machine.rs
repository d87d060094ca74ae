//! What of this host the node tells: in its status, and when it is asked what is in use.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

/// What is left of a resource below which the Node reports pressure.
const LEAST_MEMORY: u64 = 100 << 20;
/// The share of the disk.
const LEAST_DISK: f64 = 0.05;
/// Processes and threads that must be left.
const LEAST_PIDS: u64 = 64;

/// This host, as far as it does not change.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Threads that run at once.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// Pods that the machine can carry.
    pub pods: u64,
    /// The node's data directory, whose disk counts.
    pub data_dir: PathBuf,
}

/// What is short.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Memory.
    pub memory: bool,
    /// The disk.
    pub disk: bool,
    /// Process numbers.
    pub pids: bool,
}

/// A resource that Pods are to make room in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// `memory` or `ephemeral-storage`.
    pub resource: &'static str,
    /// Below what it counts as short.
    pub threshold: String,
    /// Bytes that are left.
    pub available: u64,
}

impl Machine {
    /// `status.capacity`.
    pub fn capacity(&self) -> Value {
        json!({
            "cpu": self.cpus.to_string(),
            "memory": format!("{}Ki", self.memory >> 10),
            "ephemeral-storage": format!("{}Ki", disk(&self.data_dir).0 >> 10),
            "pods": self.pods.to_string(),
        })
    }

    /// `status.allocatable`: the capacity less what the node itself needs.
    pub fn allocatable(&self) -> Value {
        let memory = self.memory.saturating_sub(LEAST_MEMORY);
        let storage = disk(&self.data_dir).0 / 10 * 9;
        json!({
            "cpu": self.cpus.to_string(),
            "memory": format!("{}Ki", memory >> 10),
            "ephemeral-storage": (storage >> 10 << 10).to_string(),
            "pods": self.pods.to_string(),
        })
    }

    /// What is short now.
    pub fn pressure(&self) -> Pressure {
        let (total, free) = disk(&self.data_dir);
        let memory = meminfo("MemAvailable:").is_some_and(|available| available < LEAST_MEMORY);
        let pids = read_number("/proc/sys/kernel/pid_max")
            .zip(running())
            .is_some_and(|(most, now)| now + LEAST_PIDS > most);
        Pressure { memory, disk: total > 0 && (free as f64) < total as f64 * LEAST_DISK, pids }
    }

    /// What Pods have to be ended for, if anything.
    pub fn shortage(&self) -> Option<Shortage> {
        let pressure = self.pressure();
        if pressure.memory {
            let threshold = format!("{}Mi", LEAST_MEMORY >> 20);
            return Some(Shortage { resource: "memory", threshold, available: memory().0 });
        }
        let (_, free) = disk(&self.data_dir);
        let threshold = format!("{}%", LEAST_DISK * 100.0);
        pressure.disk.then_some(Shortage { resource: "ephemeral-storage", threshold, available: free })
    }

    /// The share of the disk that is used, and its size in bytes.
    pub fn disk_use(&self) -> (f64, u64) {
        let (total, free) = disk(&self.data_dir);
        if total == 0 { (0.0, 0) } else { (1.0 - free as f64 / total as f64, total) }
    }

    /// `status.nodeInfo`.
    pub fn info(&self) -> Value {
        let line =
            |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let machine_id = line("/etc/machine-id");
        json!({
            "machineID": machine_id,
            "systemUUID": machine_id,
            "bootID": line("/proc/sys/kernel/random/boot_id"),
            "kernelVersion": line("/proc/sys/kernel/osrelease"),
            "osImage": os_image(),
            "containerRuntimeVersion": "wasmtime://48.0.8",
            "kubeletVersion": concat!("v1.37.0+edgectl.", env!("CARGO_PKG_VERSION")),
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": "wasm32",
        })
    }
}

/// CPU time that this host has spent on anything since it started, all CPUs together.
pub fn busy() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    busy_of(text.lines().next().unwrap_or_default())
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, in ticks.
fn busy_of(line: &str) -> Duration {
    let ticks = line.split_whitespace().skip(1).take(8).map(|word| word.parse::<u64>().unwrap_or(0));
    let busy: u64 = ticks.enumerate().filter(|(i, _)| !matches!(i, 3 | 4)).map(|(_, ticks)| ticks).sum();
    Duration::from_secs_f64(busy as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Bytes of memory that are available, and that are not.
pub fn memory() -> (u64, u64) {
    let available = meminfo("MemAvailable:").unwrap_or(0);
    (available, meminfo("MemTotal:").unwrap_or(0).saturating_sub(available))
}

fn os_image() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// Bytes of the disk, and of them free to us.
fn disk(path: &Path) -> (u64, u64) {
    rustix::fs::statvfs(path)
        .map_or((0, 0), |found| (found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize))
}

fn meminfo(field: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

fn read_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Processes and threads now, from `/proc/loadavg`'s `running/all`.
fn running() -> Option<u64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_not_being_busy() {
        let second = rustix::param::clock_ticks_per_second();
        let line = format!("cpu  {second} 0 {second} 999999 999999 0 0 {second} 5 5");
        assert_eq!(busy_of(&line), Duration::from_secs(3));
        assert_eq!(busy_of(""), Duration::ZERO);
        assert!(busy() > Duration::ZERO && memory().0 > 0 && memory().1 > 0);
    }

    #[test]
    fn this_machine_can_be_described() {
        let machine = Machine { cpus: 2, memory: 1 << 30, pods: 110, data_dir: "/".into() };
        assert_eq!(machine.capacity()["cpu"], "2");
        assert_eq!(machine.capacity()["memory"], "1048576Ki");
        assert_eq!(machine.allocatable()["memory"], format!("{}Ki", (1024 - 100) * 1024));
        assert!(
            machine.disk_use().1 > 0 && !machine.info()["kernelVersion"].as_str().expect("text").is_empty()
        );
    }
}

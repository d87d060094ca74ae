//! What the kernel says of a process and its children.

use std::path::Path;

use anyhow::{Context as _, Result};

/// Totals over a process and everything it started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Resident memory in bytes.
    pub resident: u64,
    /// CPU seconds, user and system.
    pub cpu: f64,
    /// Bytes given to the disk.
    pub written: u64,
}

/// Reads the totals of `pid` and its descendants.
///
/// # Errors
/// When the process is gone.
pub fn totals(pid: u32) -> Result<Totals> {
    let mut sum = Totals::default();
    for pid in family(pid)? {
        let status = read(pid, "status")?;
        let resident = field(&status, "VmRSS:").unwrap_or(0) * 1024;
        let io = read(pid, "io").unwrap_or_default();
        let stat = read(pid, "stat")?;
        let after_name: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |index: usize| after_name.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        sum.resident += resident;
        sum.cpu += (ticks(11) + ticks(12)) / per_second;
        sum.written += field(&io, "write_bytes:").unwrap_or(0);
    }
    Ok(sum)
}

/// Resident bytes of a process that are pages of its guests alone: linear memories, whether they were filled from the
/// module's file or not, tables and stacks.
///
/// They lie in mappings made for the most that a guest may use, of which little is ever touched. The heap's are full.
///
/// # Errors
/// When the process is gone.
pub fn of_guests(pid: u32) -> Result<u64> {
    let mut sum = 0;
    let (mut writable, mut path, mut size) = (false, String::new(), 0);
    for line in read(pid, "smaps")?.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Size:") => size = words.next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0),
            Some("Rss:") => {
                let resident = words.next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
                let sparse = path.is_empty() && resident * 4 < size;
                if writable && (sparse || path.ends_with(".cwasm")) {
                    sum += resident * 1024;
                }
            }
            Some(range) if range.contains('-') => {
                writable = words.next().is_some_and(|mode| mode.starts_with("rw"));
                path = words.nth(3).unwrap_or_default().to_owned();
            }
            _ => {}
        }
    }
    Ok(sum)
}

fn family(root: u32) -> Result<Vec<u32>> {
    let mut family = vec![root];
    let mut next = 0;
    while let Some(pid) = family.get(next).copied() {
        next += 1;
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
            .with_context(|| format!("process {pid} is gone"))?;
        for task in tasks.flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    Ok(family)
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::read_to_string(Path::new(&path)).with_context(|| format!("cannot read {path}"))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

//! Which containers run on this node, for those who measure them.
//!
//! Holds nothing alive: a container that is dropped ends, whether it is listed or not.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::report::PodName;
use crate::sandbox::{Meter, Usage};

/// A running container and what it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Its Pod.
    pub pod: PodName,
    /// Its name in the Pod.
    pub container: String,
    /// What it uses now.
    pub usage: Usage,
}

struct Entry {
    pod: PodName,
    container: String,
    meter: Meter,
}

#[derive(Default)]
struct Entries {
    next: u64,
    all: BTreeMap<u64, Entry>,
}

/// The running containers. Cheap to clone.
#[derive(Clone, Default)]
pub struct Roster(Arc<Mutex<Entries>>);

/// Keeps a container on the list until it is dropped.
pub struct Enrolled {
    roster: Roster,
    number: u64,
}

impl Roster {
    /// Lists a container that was started.
    pub fn enrol(&self, pod: PodName, container: String, meter: Meter) -> Enrolled {
        let mut entries = self.0.lock();
        let number = entries.next;
        entries.next += 1;
        entries.all.insert(number, Entry { pod, container, meter });
        Enrolled { roster: self.clone(), number }
    }

    /// All of them with what they use, in the order in which they were started.
    pub fn measure(&self) -> Vec<Measured> {
        let entries = self.0.lock();
        let measured = entries.all.values().filter_map(|entry| {
            let usage = entry.meter.usage()?;
            Some(Measured { pod: entry.pod.clone(), container: entry.container.clone(), usage })
        });
        measured.collect()
    }
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        self.roster.0.lock().all.remove(&self.number);
    }
}

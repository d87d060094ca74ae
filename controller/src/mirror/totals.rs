//! What the Pods of a node take together.

use std::collections::BTreeMap;

use crate::mirror::shape::{Load, Pod, PodPort, Resources};

/// Sums over the Pods of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// What they ask for.
    pub requests: Resources,
    /// What they count for where nodes are compared.
    pub load: Load,
    /// How many they are.
    pub pods: i64,
    ports: BTreeMap<(i64, String), BTreeMap<String, u32>>,
    priorities: BTreeMap<i64, u32>,
}

impl Totals {
    /// Counts a Pod in.
    pub fn add(&mut self, pod: &Pod) {
        self.requests.add(&pod.requests);
        self.load.cpu = self.load.cpu.saturating_add(pod.load.cpu);
        self.load.memory = self.load.memory.saturating_add(pod.load.memory);
        self.pods += 1;
        *self.priorities.entry(pod.priority).or_default() += 1;
        for port in pod.ports.iter().filter(|p| p.host_port != 0) {
            let addresses = self.ports.entry((port.host_port, port.protocol.clone())).or_default();
            *addresses.entry(port.host_ip.clone()).or_default() += 1;
        }
    }

    /// Counts a Pod out that was counted in.
    pub fn subtract(&mut self, pod: &Pod) {
        self.requests.subtract(&pod.requests);
        self.load.cpu = self.load.cpu.saturating_sub(pod.load.cpu);
        self.load.memory = self.load.memory.saturating_sub(pod.load.memory);
        self.pods -= 1;
        less(&mut self.priorities, &pod.priority);
        for port in pod.ports.iter().filter(|p| p.host_port != 0) {
            let key = (port.host_port, port.protocol.clone());
            let Some(addresses) = self.ports.get_mut(&key) else { continue };
            less(addresses, &port.host_ip);
            if addresses.is_empty() {
                self.ports.remove(&key);
            }
        }
    }

    /// Whether a host port is taken: by the same address, or by one that means all of them.
    pub fn taken(&self, port: &PodPort) -> bool {
        let wild = |address: &str| address.is_empty() || address == "0.0.0.0" || address == "::";
        let Some(addresses) = self.ports.get(&(port.host_port, port.protocol.clone())) else { return false };
        wild(&port.host_ip) || addresses.keys().any(|address| wild(address) || *address == port.host_ip)
    }

    /// The priority of the least important of them.
    pub fn least_priority(&self) -> Option<i64> {
        self.priorities.first_key_value().map(|(priority, _)| *priority)
    }
}

/// Counts one less, and forgets what is counted nought times.
fn less<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

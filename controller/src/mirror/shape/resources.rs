//! Amounts of what a node has and a Pod asks for.

use std::collections::BTreeMap;

use edge_api::quantity::Quantity;
use serde::Deserialize;
use serde_json::Value;

/// Amounts by resource. Everything is an integer: thousandths of a CPU, bytes, pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub storage: i64,
    /// Everything else, by name.
    pub other: BTreeMap<String, i64>,
}

/// A map of quantities as objects carry it.
pub type Quantities = BTreeMap<String, Value>;

impl Resources {
    /// Reads a map of quantities; what is no quantity counts as nothing, since validation refused it before.
    pub fn read(map: &Quantities) -> Resources {
        let mut resources = Resources::default();
        for (name, value) in map {
            match name.as_str() {
                "cpu" => resources.cpu = milli(value),
                "memory" => resources.memory = whole(value),
                "ephemeral-storage" => resources.storage = whole(value),
                _ => {
                    resources.other.insert(name.clone(), whole(value));
                }
            }
        }
        resources
    }

    /// Adds another amount.
    pub fn add(&mut self, more: &Resources) {
        self.each(more, |a, b| a.saturating_add(b));
    }

    /// Takes another amount away.
    pub fn subtract(&mut self, less: &Resources) {
        self.each(less, |a, b| a.saturating_sub(b));
        self.other.retain(|_, amount| *amount != 0);
    }

    /// Raises each amount to another's where that is more.
    pub fn raise(&mut self, to: &Resources) {
        self.each(to, i64::max);
    }

    fn each(&mut self, with: &Resources, combine: fn(i64, i64) -> i64) {
        self.cpu = combine(self.cpu, with.cpu);
        self.memory = combine(self.memory, with.memory);
        self.storage = combine(self.storage, with.storage);
        for (name, amount) in &with.other {
            let mine = self.other.entry(name.clone()).or_default();
            *mine = combine(*mine, *amount);
        }
    }
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

fn milli(value: &Value) -> i64 {
    quantity(value).map_or(0, |q| q.milli())
}

fn whole(value: &Value) -> i64 {
    quantity(value).map_or(0, |q| q.units())
}

/// What a Pod or the Pods of a node count for where nodes are compared by how full they are. A container that asks for
/// nothing counts for a little, as in Kubernetes: otherwise all of them would seem to fit anywhere equally well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Thousandths of a CPU.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
}

/// What a container without a request for CPU counts for.
const SMALL_CPU: &str = "100m";
/// What a container without a request for memory counts for.
const SMALL_MEMORY: &str = "200Mi";

/// What a Pod counts for.
pub fn load(containers: &[ContainerForm], init: &[ContainerForm], overhead: Option<&Quantities>) -> Load {
    let filled = |all: &[ContainerForm]| -> Vec<ContainerForm> {
        let mut all = all.to_vec();
        for container in &mut all {
            let requests = &mut container.resources.requests;
            requests.entry("cpu".to_owned()).or_insert_with(|| SMALL_CPU.into());
            requests.entry("memory".to_owned()).or_insert_with(|| SMALL_MEMORY.into());
        }
        all
    };
    let all = effective(&filled(containers), &filled(init), overhead);
    Load { cpu: all.cpu, memory: all.memory }
}

/// What is read of a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerForm {
    /// Its image.
    pub image: String,
    /// Its ports.
    pub ports: Vec<PortForm>,
    /// What it asks for.
    pub resources: ResourcesForm,
    /// `Always` makes an init container a sidecar.
    pub restart_policy: String,
}

impl ContainerForm {
    /// Whether an init container goes on running beside the others.
    pub fn sidecar(&self) -> bool {
        self.restart_policy == "Always"
    }
}

/// What is read of a container's port.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PortForm {
    /// Its name.
    pub name: String,
    /// Its number.
    pub container_port: i64,
    /// Its protocol.
    pub protocol: String,
    /// The node's port.
    pub host_port: i64,
    /// The node's address.
    #[serde(rename = "hostIP")]
    pub host_ip: String,
}

/// What is read of a container's resources.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResourcesForm {
    /// What the scheduler sets aside.
    pub requests: Quantities,
}

/// What a Pod needs: its containers and sidecars together, or its most demanding init container with the sidecars
/// before it, whichever is more; and the overhead.
pub fn effective(
    containers: &[ContainerForm],
    init: &[ContainerForm],
    overhead: Option<&Quantities>,
) -> Resources {
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in init {
        let own = Resources::read(&container.resources.requests);
        if container.sidecar() {
            sidecars.add(&own);
            peak.raise(&sidecars);
        } else {
            let mut now = sidecars.clone();
            now.add(&own);
            peak.raise(&now);
        }
    }
    let mut all = sidecars;
    for container in containers {
        all.add(&Resources::read(&container.resources.requests));
    }
    all.raise(&peak);
    if let Some(overhead) = overhead {
        all.add(&Resources::read(overhead));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(cpu: &str, restart_policy: &str) -> ContainerForm {
        ContainerForm {
            resources: ResourcesForm { requests: [("cpu".to_owned(), Value::from(cpu))].into() },
            restart_policy: restart_policy.to_owned(),
            ..ContainerForm::default()
        }
    }

    #[test]
    fn a_pod_needs_the_larger_of_init_and_main_and_sidecars_count_in_both() {
        let main = [container("100m", ""), container("0.2", "")];
        let cases: [(&[ContainerForm], i64); 4] = [
            (&[], 300),
            (&[container("1", "")], 1000),
            (&[container("50m", "Always")], 350),
            (&[container("50m", "Always"), container("400m", "")], 450),
        ];
        for (init, cpu) in cases {
            assert_eq!(effective(&main, init, None).cpu, cpu, "{init:?}");
        }
    }
}

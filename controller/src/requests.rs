//! How many requests containers took and failed, asked of their nodes at the moment it is asked of us.
//!
//! The counters are those of the nodes' `/metrics`; they begin with each start of a container. A node that cannot be
//! reached has none. Nothing is collected beforehand and nothing is kept.

use std::collections::BTreeMap;

use futures::future::join_all;

use crate::tunnel::Tunnels;

const TAKEN: &str = "edged_container_requests_total";
const FAILED: &str = "edged_container_failed_requests_total";

/// Requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that were taken, failed ones included.
    pub taken: u64,
    /// Those that ended without a response.
    pub failed: u64,
}

/// A container of a Pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// The Pod's namespace.
    pub namespace: String,
    /// The Pod's name.
    pub pod: String,
    /// The container's name.
    pub name: String,
}

/// Who knows how many requests containers took. Cheap to clone.
#[derive(Clone)]
pub struct Requests {
    tunnels: Tunnels,
}

impl Requests {
    /// What the nodes say on these tunnels.
    pub fn new(tunnels: Tunnels) -> Requests {
        Requests { tunnels }
    }

    /// The counters of every container that runs on these nodes.
    pub async fn counts(&self, nodes: impl Iterator<Item = &str>) -> BTreeMap<Container, Counts> {
        let texts = join_all(nodes.map(|node| self.metrics(node))).await;
        texts.iter().flatten().flat_map(|text| read(text)).collect()
    }

    /// What a node's `/metrics` says; nothing if it cannot be reached.
    async fn metrics(&self, node: &str) -> Option<String> {
        String::from_utf8(self.tunnels.read(node, "/metrics").await?.into()).ok()
    }
}

fn read(text: &str) -> BTreeMap<Container, Counts> {
    let mut all: BTreeMap<Container, Counts> = BTreeMap::new();
    for (series, container, value) in text.lines().filter_map(sample) {
        match series {
            TAKEN => all.entry(container).or_default().taken = value,
            FAILED => all.entry(container).or_default().failed = value,
            _ => {}
        }
    }
    all
}

/// One line: `SERIES{container="C",namespace="N",pod="P"} VALUE`. These names need no escapes.
fn sample(line: &str) -> Option<(&str, Container, u64)> {
    let (series, rest) = line.split_once('{')?;
    let (labels, value) = rest.split_once("} ")?;
    let label = |name: &str| {
        let quoted =
            |pair: &str| pair.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"').map(str::to_owned);
        labels.split(',').find_map(quoted)
    };
    let container =
        Container { namespace: label("namespace")?, pod: label("pod")?, name: label("container")? };
    // Written as a number with a fraction, of which counters have none.
    Some((series, container, value.trim().parse::<f64>().ok()? as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_a_container_are_read_from_a_nodes_metrics() {
        let text = "# HELP edged_container_requests_total HTTP requests.\n\
            # TYPE edged_container_requests_total counter\n\
            edged_compilations_total 3\n\
            container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} 1.5\n\
            edged_container_requests_total{container=\"c\",namespace=\"n\",pod=\"p\"} 40\n\
            edged_container_failed_requests_total{container=\"c\",namespace=\"n\",pod=\"p\"} 7\n\
            edged_container_requests_total{pod=\"q\",namespace=\"n\",container=\"c\"} 1\n";
        let named = |pod: &str| Container { namespace: "n".into(), pod: pod.into(), name: "c".into() };
        let expected =
            [(named("p"), Counts { taken: 40, failed: 7 }), (named("q"), Counts { taken: 1, failed: 0 })];
        assert_eq!(read(text), expected.into());
    }
}

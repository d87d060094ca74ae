//! NodePorts: a port of the host serves one Pod.

use crate::mirror::{Place, PodPort};
use crate::schedule::ask::Ask;
use crate::schedule::plugins::{Filter, Plugin, Reach, Refusal};

/// The table's entry.
pub const PLUGIN: Plugin =
    Plugin { name: "NodePorts", filter: Some(Filter { reach, refuse, help }), ..Plugin::NOTHING };

fn wanted<'a>(ask: &Ask<'a>) -> impl Iterator<Item = &'a PodPort> {
    ask.pod.body.ports.iter().filter(|port| port.host_port != 0)
}

fn reach(ask: &Ask<'_>) -> Reach {
    if wanted(ask).next().is_some() { Reach::Node } else { Reach::Nothing }
}

fn refuse(ask: &Ask<'_>, place: &Place) -> Option<Refusal> {
    if !wanted(ask).any(|port| place.taken.taken(port)) {
        return None;
    }
    Refusal::for_now("node(s) didn't have free ports for the requested pod ports")
}

fn help(ask: &Ask<'_>, place: &Place) -> (i64, Vec<String>) {
    let taken = wanted(ask).filter(|port| place.taken.taken(port));
    let all: Vec<String> =
        taken.map(|port| format!("host port {}/{} free", port.host_port, port.protocol)).collect();
    (all.len() as i64, all)
}

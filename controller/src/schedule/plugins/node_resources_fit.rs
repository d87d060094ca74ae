//! NodeResourcesFit: what a Pod asks for must be left on its node; and how full nodes are to be.
//!
//! A Pod asks for the larger of its containers and sidecars together and of its most demanding init container, and for
//! its overhead; [`crate::mirror::Pod`] has that as one sum.

use edge_api::quantity::{Format, Quantity};

use crate::mirror::{Amounts, Packing, Place, WHOLE};
use crate::schedule::ask::Ask;
use crate::schedule::plugins::{Filter, Plugin, Reach, Refusal, Scale, Score};

/// The table's entry.
pub const PLUGIN: Plugin = Plugin {
    name: "NodeResourcesFit",
    filter: Some(Filter { reach: |_| Reach::Amounts, refuse, help }),
    score: Some(Score { weight: 1, scale: Scale::Absolute, rate, special: None }),
    ..Plugin::NOTHING
};

/// What a Pod takes of CPU, memory, storage and places for Pods.
pub fn wanted(ask: &Ask<'_>) -> Amounts {
    let want = &ask.pod.body.requests;
    [want.cpu, want.memory, want.storage, 1]
}

/// The amounts that trees of nodes know, in Kubernetes' words.
pub const REASONS: [&str; 4] =
    ["Insufficient cpu", "Insufficient memory", "Insufficient ephemeral-storage", "Too many pods"];

/// A resource of which there is not enough: its name, how much is missing, and whether the node has enough at all.
struct Short<'a> {
    name: &'a str,
    missing: i64,
    enough_if_free: bool,
}

fn short<'a>(ask: &Ask<'a>, place: &Place) -> Vec<Short<'a>> {
    let (want, free) = (wanted(ask), place.free());
    let have = &place.node.body.allocatable;
    let have_all = [have.cpu, have.memory, have.storage, i64::MAX];
    let names = ["cpu", "memory", "ephemeral-storage", "pods"];
    // Kubernetes names the number of Pods first.
    let mut all: Vec<Short<'a>> = [3, 0, 1, 2]
        .into_iter()
        .filter(|&i| want[i] > 0 && want[i] > free[i])
        .map(|i| Short { name: names[i], missing: want[i] - free[i], enough_if_free: want[i] <= have_all[i] })
        .collect();
    for (name, want) in ask.pod.body.requests.other.iter().filter(|(_, want)| **want > 0) {
        let amount = |map: &std::collections::BTreeMap<String, i64>| map.get(name).copied().unwrap_or(0);
        let (have, taken) = (amount(&have.other), amount(&place.taken.requests.other));
        let missing = want.saturating_sub(have.saturating_sub(taken));
        if missing > 0 {
            all.push(Short { name, missing, enough_if_free: *want <= have });
        }
    }
    all
}

fn refuse(ask: &Ask<'_>, place: &Place) -> Option<Refusal> {
    let short = short(ask, place);
    if short.is_empty() {
        return None;
    }
    let reason = |one: &Short<'_>| match one.name {
        "cpu" => REASONS[0].into(),
        "memory" => REASONS[1].into(),
        "ephemeral-storage" => REASONS[2].into(),
        "pods" => REASONS[3].into(),
        name => format!("Insufficient {name}").into(),
    };
    let resolvable = short.iter().all(|one| one.enough_if_free);
    Some(Refusal { reasons: short.iter().map(reason).collect(), resolvable })
}

fn help(ask: &Ask<'_>, place: &Place) -> (i64, Vec<String>) {
    let says = |one: &Short<'_>| {
        let amount = match one.name {
            "cpu" => Quantity::from_milli(one.missing).to_string(),
            "memory" | "ephemeral-storage" => Quantity::from_units(one.missing, Format::BinarySi).to_string(),
            "pods" => return "room for one Pod more".to_owned(),
            _ => one.missing.to_string(),
        };
        let name = one.name;
        if one.enough_if_free {
            format!("{amount} more {name}")
        } else {
            format!("{amount} more {name}, which is more than the node has")
        }
    };
    let short = short(ask, place);
    // Of nodes that lack the same, the one that lacks the least is the nearest.
    let distance = short.iter().map(|one| one.missing.min(i64::MAX / 16)).sum();
    (distance, short.iter().map(says).collect())
}

/// How full the node is with the Pod on it, or how empty.
fn rate(ask: &Ask<'_>, place: &Place) -> Option<i64> {
    let packing = ask.fleet.packing();
    let (goodness, ..) = place.standing(packing, ask.pod.body.load);
    let parts = match packing {
        Packing::MostAllocated => goodness,
        Packing::LeastAllocated => WHOLE.saturating_add(goodness),
    };
    Some((parts / (WHOLE / 100)).clamp(0, 100))
}

//! Why a Pod has no node: what each node says, the alike together, and what would help.
//!
//! Made anew from the store when somebody asks, by the very plugins that decide; nothing is kept for it. It is the
//! server's and not the command line's, since the plugins look at what [`crate::mirror`] keeps, which a client would
//! have to fetch whole and to count the same way. Its path is no resource of Kubernetes, so that no client takes it for
//! one; who may read `/debug/` may read it.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::mirror::{Packing, Settings, World};
use crate::schedule::ask::Ask;
use crate::schedule::explain::Diagnosis;
use crate::schedule::plugins::{self, bars, check, filters};
use crate::schedule::preempt::{Outcome, preempt};
use crate::store::{RangeOptions, ReadError, Store};

/// What a decision looks at.
const SEEN: &[&str] = &[
    "/core/namespaces/",
    "/core/nodes/",
    "/core/pods/",
    "/core/persistentvolumeclaims/",
    "/core/persistentvolumes/",
    "/storage.k8s.io/storageclasses/",
    "/policy/poddisruptionbudgets/",
];

/// How many nodes of a group are named.
const NAMED: usize = 10;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum NoSuchPod {
    /// There is no such Pod.
    #[error("there is no such Pod")]
    Missing,
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Store(#[source] ReadError),
}

/// Says why the Pod has no node, as data.
pub fn why(store: &Store, packing: Packing, namespace: &str, name: &str) -> Result<Value, NoSuchPod> {
    let mut world = World::new(Settings { packing, ..Settings::default() });
    for prefix in SEEN {
        let page = store.range(prefix, &RangeOptions::default()).map_err(NoSuchPod::Store)?;
        for (key, stored) in &page.items {
            world.apply(key.text().clone(), stored.revision.0, Some(&stored.value));
        }
    }
    explain(&world, namespace, name).ok_or(NoSuchPod::Missing)
}

/// Nodes that say the same.
struct Group {
    count: usize,
    names: Vec<String>,
    /// What would help where the least is missing.
    nearest: (i64, Vec<String>, String),
}

/// What the nodes say to a Pod of this world.
pub(super) fn explain(world: &World, namespace: &str, name: &str) -> Option<Value> {
    let pod = world.pods.get(namespace, name)?;
    let mut answer = json!({"namespace": namespace, "pod": name, "nodes": world.fleet.len()});
    if let Some(node) = &pod.body.node {
        answer["node"] = json!(node);
        answer["message"] = json!(format!("is on node {node}"));
        return Some(answer);
    }
    let looks = Cell::new(0);
    let ask = Ask::of(pod, &world.fleet, world, &looks);
    let mut groups: BTreeMap<(&str, Vec<Cow<'static, str>>), Group> = BTreeMap::new();
    let mut fits: Vec<&str> = Vec::new();
    if let Some((plugin, reason)) = bars(&ask) {
        answer["bar"] = json!({"plugin": plugin, "reason": reason});
    } else {
        for place in world.fleet.places() {
            let node = &*place.node.meta.name;
            let Some((plugin, refusal)) = check(&ask, place) else {
                fits.push(node);
                continue;
            };
            let (far, help) = help(&ask, plugin, place);
            let group = groups.entry((plugin, refusal.reasons)).or_insert_with(|| Group {
                count: 0,
                names: Vec::new(),
                nearest: (i64::MAX, Vec::new(), String::new()),
            });
            group.count += 1;
            if group.names.len() < NAMED {
                group.names.push(node.to_owned());
            }
            if far < group.nearest.0 {
                group.nearest = (far, help, node.to_owned());
            }
        }
    }
    let mut refusals: Vec<Value> = groups.into_iter().map(said).collect();
    refusals.sort_by_key(|group| std::cmp::Reverse(group["count"].as_u64()));
    answer["refusals"] = json!(refusals);
    answer["fits"] = json!(fits.iter().take(NAMED).collect::<Vec<_>>());
    answer["message"] = json!(if !pod.body.ours {
        "is for another scheduler".to_owned()
    } else if fits.is_empty() {
        refused(&ask)
    } else {
        format!("{} of {} nodes can take it now", fits.len(), world.fleet.len())
    });
    Some(answer)
}

fn said(((plugin, reasons), group): ((&str, Vec<Cow<'static, str>>), Group)) -> Value {
    let (_, help, nearest) = group.nearest;
    json!({"plugin": plugin, "reasons": reasons, "count": group.count, "nodes": group.names,
        "help": help, "nearest": nearest})
}

fn help(ask: &Ask<'_>, plugin: &str, place: &crate::mirror::Place) -> (i64, Vec<String>) {
    let found = filters().find(|(name, _)| *name == plugin);
    found.map_or((0, Vec::new()), |(_, filter)| (filter.help)(ask, place))
}

/// The sentence of the Pod's condition, as it would be now.
fn refused(ask: &Ask<'_>) -> String {
    if ask.pod.body.gated {
        return plugins::bars(ask).map(|(_, why)| why).unwrap_or_default();
    }
    let diagnosis = Diagnosis::of(ask);
    match preempt(ask, &diagnosis) {
        Outcome::No(why) => diagnosis.message(&why),
        Outcome::Room { node, victims } => {
            let names: Vec<String> = victims.iter().map(|pod| pod.key().to_string()).collect();
            format!("{} Less important Pods make room on {node}: {}", diagnosis.message(""), names.join(", "))
        }
    }
}

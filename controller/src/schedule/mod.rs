//! Which Pod runs on which node.
//!
//! One more controller of [`crate::reconcile`], with a single key: it places all Pods that wait, in the order of their
//! importance and age, each seeing where the ones before it went. What may take a Pod and what suits it is one table
//! (`plugins`); what they look at is kept by [`crate::mirror::Fleet`], so a decision looks at a handful of nodes
//! however many there are. If no node can take a Pod, less important ones may have to make room (`preempt`).
//!
//! A Pod that fits nowhere waits until something happens that may help it: it looks at the nodes that got room since,
//! and is tried again when one of them could take it, or when something changed that its rules count.
//!
//! What is not there: several profiles, extenders, sampling of nodes, and default spreading of Pods without rules.

mod plugins;

mod wish;

mod ask;

mod choose;
mod explain;

mod preempt;

mod why;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use edge_api::kind::Kind;
use edge_api::kinds;
use edge_api::kinds::pod::{Disruption, set_condition};
use serde_json::{Value, json};

use crate::mirror::{Delta, Detail, Fleet, Meta, Name, Object, Pod, Sight, Turn, World, node_helps, waits};
use crate::reconcile::{Controller, Note, Plan, Write};
use crate::schedule::ask::Ask;
use crate::schedule::explain::Diagnosis;
use crate::schedule::preempt::Outcome;

pub use why::{NoSuchPod, why};

const POD: &Kind = &kinds::pod::KIND;

/// How many Pods one plan places.
const BATCH: usize = 256;

/// The table's entry.
pub const CONTROLLER: Controller = Controller { name: "scheduler", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    let parked = || world.waiting.lengths().1 > 0;
    let helps = match &delta.detail {
        Detail::Pod((before, after)) => {
            let of_node = |pod: &Option<Arc<Object<Pod>>>| {
                pod.as_ref().filter(|pod| !pod.body.finished()).and_then(|pod| pod.body.node.clone())
            };
            let moved = of_node(before) != of_node(after)
                || delta.before.as_ref().map(|meta| &meta.labels)
                    != delta.after.as_ref().map(|meta| &meta.labels);
            after.as_ref().is_some_and(|pod| waits(pod)) || ((moved || after.is_none()) && parked())
        }
        Detail::Node((before, after)) => node_helps(before.as_deref(), after.as_deref()),
        Detail::Claim(_) | Detail::Volume(_) | Detail::StorageClass(_) => parked(),
        Detail::Namespace((before, after)) => {
            let labels = |one: &Option<Arc<Object<_>>>| one.as_ref().map(|one| one.meta.labels.clone());
            labels(before) != labels(after) && parked()
        }
        _ => false,
    };
    if helps {
        wake(Name::default());
    }
}

fn reconcile(_: &Name, world: &World) -> Plan {
    round(world).plan
}

/// A plan, and what it took to make it.
#[derive(Debug, Default)]
struct Round {
    plan: Plan,
    /// Pods that were placed or refused.
    decisions: usize,
    /// How often a node was looked at.
    looks: usize,
    writes: Vec<Write>,
    /// Deletions, which come after the writes.
    deletes: Vec<Write>,
    /// Pods that are written although it is not their turn.
    touched: Vec<Name>,
    /// Claims and volumes that are written.
    promised: BTreeSet<Name>,
}

fn round(world: &World) -> Round {
    let looks = Cell::new(0);
    let mut round = Round::default();
    let mut fleet = world.fleet.clone();
    let sight = Sight { pods: &world.pods, namespaces: &world.namespaces };
    let mut turns = hopeful(world, &fleet, &looks, &mut round.plan);
    turns.extend(world.waiting.fresh().take(BATCH + 1).cloned());
    turns.sort();
    // Answers that hold until the next Pod is placed.
    let mut refused: Vec<(&Arc<Object<Pod>>, String)> = Vec::new();
    for turn in turns {
        let Some(pod) = world.pods.at(&turn.2) else { continue };
        if round.touched.contains(&turn.2) {
            round.plan.wake(world.now);
            continue;
        }
        if round.decisions == BATCH {
            round.plan.wake(world.now);
            break;
        }
        round.decisions += 1;
        if let Some((_, message)) = refused.iter().find(|(other, _)| alike(pod, other)) {
            round.refuse(pod, turn, message, None, world);
            continue;
        }
        let ask = Ask::of(pod, &fleet, world, &looks);
        if let Some(place) = choose::best(&ask) {
            let node = place.node.meta.name.clone();
            if !ask.unbound.is_empty() {
                if round.furnish(pod, turn, &ask, &place.node.meta, world) {
                    fleet.nominate(pod, Some(&node));
                    refused.clear();
                }
                continue;
            }
            round.writes.push(bind(pod, &node));
            fleet.nominate(pod, None);
            fleet.hold(pod, &node, sight, 0);
            refused.clear();
            continue;
        }
        let diagnosis = Diagnosis::of(&ask);
        match preempt::preempt(&ask, &diagnosis) {
            Outcome::No(why) => {
                let message = diagnosis.message(&why);
                // Whom others no longer make room for gives the place up.
                let keeps =
                    why.starts_with("not eligible").then_some(pod.body.nominated.as_deref()).flatten();
                round.refuse(pod, turn, &message, keeps, world);
                refused.push((pod, message));
            }
            Outcome::Room { .. } if !round.deletes.is_empty() => {
                // Who goes is seen only when it is written; until then nobody else is asked to.
                round.plan.wake(world.now);
            }
            Outcome::Room { node, victims } => {
                // Looked at again when this is written, or if it could not be.
                round.evict(pod, &node, &victims, &fleet);
                round.tell(pod, &diagnosis.message(""), Some(&node), world);
                fleet.nominate(pod, Some(&node));
                refused.clear();
            }
        }
    }
    round.plan.together(std::mem::take(&mut round.writes));
    round.plan.together(std::mem::take(&mut round.deletes));
    round.looks = looks.get();
    round
}

/// The Pods without a node that something may have helped; the others are remembered to have looked.
fn hopeful(world: &World, fleet: &Fleet, looks: &Cell<usize>, plan: &mut Plan) -> Vec<Turn> {
    let mut hopeful = Vec::new();
    let mut judged: Vec<(u64, &Arc<Object<Pod>>, bool)> = Vec::new();
    let changed = world.fleet.tallies().changed();
    for (since, turn) in world.waiting.parked(world.waiting.last_help().max(changed)) {
        let Some(pod) = world.pods.at(&turn.2) else { continue };
        let known = judged.iter().find(|(at, other, _)| at == since && alike(pod, other));
        let may = known.map(|(_, _, may)| *may).unwrap_or_else(|| {
            let may = may_fit(pod, *since, world, fleet, looks);
            judged.push((*since, pod, may));
            may
        });
        if may {
            hopeful.push(turn.clone());
        } else {
            plan.without_node.push(turn.clone());
        }
    }
    hopeful
}

/// Whether something happened after `since` by which the Pod may have a node now.
fn may_fit(pod: &Object<Pod>, since: u64, world: &World, fleet: &Fleet, looks: &Cell<usize>) -> bool {
    let ask = Ask::of(pod, fleet, world, looks);
    if world.waiting.all_helped() > since || ask.changed_since(since) {
        return true;
    }
    let mut nodes = world.waiting.helped(since).filter_map(|name| fleet.place(name));
    nodes.any(|place| match plugins::check(&ask, place) {
        None => true,
        Some((_, refusal)) => {
            let least = place.taken.least_priority();
            refusal.resolvable && pod.body.preempts && least.is_some_and(|least| least < pod.body.priority)
        }
    })
}

/// Whether what is true of one Pod without a node is true of the other.
fn alike(one: &Object<Pod>, other: &Object<Pod>) -> bool {
    let (a, b) = (&one.body, &other.body);
    one.meta.namespace == other.meta.namespace
        && one.meta.labels == other.meta.labels
        && a.requests == b.requests
        && a.ports == b.ports
        && a.node_selector == b.node_selector
        && a.affinity == b.affinity
        && a.social == b.social
        && a.tolerations == b.tolerations
        && a.claims == b.claims
        && (a.priority, a.preempts, &a.nominated) == (b.priority, b.preempts, &b.nominated)
}

impl Round {
    /// Asks for the volumes that a Pod's claims are to have on a node, where it goes when they have them: nobody else
    /// may take its room meanwhile. Answers whether that is so; it is not if another Pod was promised one of them.
    fn furnish(&mut self, pod: &Object<Pod>, turn: Turn, ask: &Ask<'_>, node: &Meta, world: &World) -> bool {
        let writes = wish::writes(&ask.unbound, node);
        if writes.iter().any(|write| self.promised.contains(&write.key)) {
            self.plan.wake(world.now);
            return false;
        }
        self.promised.extend(writes.iter().map(|write| write.key.clone()));
        self.writes.extend(writes);
        if pod.body.nominated.as_deref() != Some(&*node.name) {
            let mut tree = pod.tree();
            nominate(&mut tree, Some(&node.name));
            self.writes.push(Write::status(POD, pod.key(), pod.revision, tree));
        }
        self.plan.without_node.push(turn);
        true
    }

    /// Tells a Pod that there is no node for it until something helps.
    fn refuse(&mut self, pod: &Object<Pod>, turn: Turn, message: &str, node: Option<&str>, world: &World) {
        self.plan.without_node.push(turn);
        self.tell(pod, message, node, world);
    }

    /// Tells a Pod why there is no node for it, and which one it may hope for.
    fn tell(&mut self, pod: &Object<Pod>, message: &str, node: Option<&str>, world: &World) {
        let said = pod.body.unschedulable.as_deref() == Some(message);
        if said && pod.body.nominated.as_deref() == node {
            return;
        }
        let mut tree = pod.tree();
        set_condition(&mut tree, "PodScheduled", "False", ("Unschedulable", message), world.now);
        nominate(&mut tree, node);
        let write = Write::status(POD, pod.key(), pod.revision, tree);
        let note = Note::warning(POD, &pod.meta, "FailedScheduling", message.to_owned());
        self.writes.push(if said { write } else { write.saying(note) });
    }

    /// Asks these Pods to make room, and those less important for whom others made room there to look elsewhere.
    fn evict(&mut self, pod: &Object<Pod>, node: &str, victims: &[Arc<Object<Pod>>], fleet: &Fleet) {
        for victim in victims.iter().filter(|victim| !victim.meta.deleting()) {
            let message = format!("Preempted by pod {} on node {node}", pod.meta.uid);
            let note = Note::normal(POD, &victim.meta, "Preempted", message);
            let delete = Write::delete(POD, &victim.meta).disrupting(Disruption::PREEMPTION);
            self.deletes.push(delete.saying(note));
        }
        let nominated = fleet.place(node).map(|place| place.nominated.clone()).unwrap_or_default();
        for other in nominated.iter().filter(|other| other.body.priority < pod.body.priority) {
            let mut tree = other.tree();
            nominate(&mut tree, None);
            self.writes.push(Write::status(POD, other.key(), other.revision, tree));
            self.touched.push(other.key());
        }
    }
}

fn bind(pod: &Object<Pod>, node: &str) -> Write {
    let message = format!("Successfully assigned {} to {node}", pod.key());
    Write::bind(POD, &pod.meta, pod.revision, node).saying(Note::normal(POD, &pod.meta, "Scheduled", message))
}

fn nominate(tree: &mut Value, node: Option<&str>) {
    match (node, tree["status"].as_object_mut()) {
        (Some(node), _) => tree["status"]["nominatedNodeName"] = json!(node),
        (None, Some(status)) => drop(status.remove("nominatedNodeName")),
        (None, None) => {}
    }
}

//! Which Pod runs on which node.
//!
//! One more controller of [`crate::reconcile`], with a single key: it places all Pods that wait, in the order of their
//! importance and age, each seeing where the ones before it went. Filters say which nodes can take a Pod, scores say
//! which of them should; both are tables. What nodes have given away is kept by [`crate::mirror::Capacity`], so no
//! decision adds up Pods. A Pod that fits nowhere is tried again only after a change that could help it.

mod filter;
mod score;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::{Value, json};

use crate::mirror::{Delta, Detail, Name, Node, Object, Pod, Totals, World, node_helps};
use crate::reconcile::{Controller, Note, Plan, Write};

const POD: &Kind = &kinds::pod::KIND;

/// How many Pods one plan places.
const BATCH: usize = 256;

/// The table's entry.
pub const CONTROLLER: Controller = Controller { name: "scheduler", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    let helps = match &delta.detail {
        Detail::Pod((before, after)) => {
            let waits = |pod: &Arc<Object<Pod>>| pod.body.node.is_none() && !pod.body.finished();
            let holds = |pod: &Arc<Object<Pod>>| pod.body.node.is_some() && !pod.body.finished();
            let released = before.as_ref().is_some_and(holds) && !after.as_ref().is_some_and(holds);
            released || after.as_ref().is_some_and(waits)
        }
        Detail::Node((before, after)) => node_helps(before.as_deref(), after.as_deref()),
        _ => false,
    };
    if helps {
        wake(Name::default());
    }
}

/// A node as a Pod sees it that is about to be placed.
struct Place<'a> {
    node: &'a Object<Node>,
    taken: &'a Totals,
}

fn reconcile(_: &Name, world: &World) -> Plan {
    let mut plan = Plan::nothing();
    let mut writes = Vec::new();
    let mut placed: HashMap<&str, Totals> = HashMap::new();
    let mut tried = 0;
    for (_, _, key) in world.capacity.waiting() {
        let Some(pod) = world.pods.at(key).filter(|pod| world.capacity.worth_trying(pod)) else { continue };
        if tried == BATCH {
            plan.wake(world.now);
            break;
        }
        tried += 1;
        match place(pod, world, &placed) {
            Ok(node) => {
                let totals = placed.entry(&node.meta.name);
                totals.or_insert_with(|| on(world, &node.meta.name).cloned().unwrap_or_default()).add(&pod.body);
                writes.push(bind(pod, node));
            }
            Err(message) => {
                plan.without_node.push(pod.meta.uid.clone());
                if pod.body.unschedulable.as_deref() != Some(&message) {
                    let note = Note::warning(POD, &pod.meta, "FailedScheduling", message.clone());
                    writes.push(unschedulable(pod, &message, world).saying(note));
                }
            }
        }
    }
    plan.together(writes);
    plan
}

fn on<'a>(world: &'a World, node: &str) -> Option<&'a Totals> {
    world.capacity.on(node)
}

/// The best node for a Pod, or why there is none, in Kubernetes' words.
fn place<'a>(pod: &Object<Pod>, world: &'a World, placed: &HashMap<&str, Totals>) -> Result<&'a Object<Node>, String> {
    let nothing = Totals::default();
    let mut fitting = Vec::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let (mut nodes, mut hopeless) = (0, 0);
    for node in world.nodes.all().filter(|node| !node.meta.deleting()) {
        nodes += 1;
        let name = &*node.meta.name;
        let taken = placed.get(name).or_else(|| on(world, name)).unwrap_or(&nothing);
        let place = Place { node, taken };
        match filter::check(&pod.body, &place) {
            Ok(()) => fitting.push((&**node, taken)),
            Err(refusal) => {
                hopeless += usize::from(!refusal.preemption_helps);
                for reason in refusal.reasons {
                    *reasons.entry(reason).or_default() += 1;
                }
            }
        }
    }
    if nodes == 0 {
        return Err("no nodes available to schedule pods".to_owned());
    }
    let places: Vec<Place<'_>> = fitting.iter().map(|(node, taken)| Place { node, taken }).collect();
    match score::best(&pod.body, &places) {
        Some(best) => Ok(fitting[best].0),
        None => Err(explain(nodes, &reasons, hopeless)),
    }
}

fn explain(nodes: usize, reasons: &BTreeMap<String, usize>, hopeless: usize) -> String {
    let mut counted: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    counted.sort();
    let mut preemption = Vec::new();
    let rest = nodes - hopeless;
    if rest > 0 {
        preemption.push(format!("{rest} No preemption victims found for incoming pod"));
    }
    if hopeless > 0 {
        preemption.push(format!("{hopeless} Preemption is not helpful for scheduling"));
    }
    preemption.sort();
    let head = format!("0/{nodes} nodes are available: ");
    format!("{head}{}. preemption: {head}{}.", counted.join(", "), preemption.join(", "))
}

fn bind(pod: &Object<Pod>, node: &Object<Node>) -> Write {
    let message = format!("Successfully assigned {} to {}", pod.key(), node.meta.name);
    Write::bind(POD, &pod.meta, pod.revision, &node.meta.name)
        .saying(Note::normal(POD, &pod.meta, "Scheduled", message))
}

fn unschedulable(pod: &Object<Pod>, message: &str, world: &World) -> Write {
    let mut tree = pod.tree();
    let conditions = tree["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let is_it = |condition: &Value| condition["type"] == "PodScheduled";
    let before = conditions.iter().find(|c| is_it(c) && c["status"] == "False");
    let since = before.map_or(json!(world.now), |c| c["lastTransitionTime"].clone());
    let mut kept: Vec<Value> = conditions.iter().filter(|c| !is_it(c)).cloned().collect();
    kept.push(json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastProbeTime": null,
        "lastTransitionTime": since,
    }));
    tree["status"]["conditions"] = Value::Array(kept);
    Write::status(POD, pod.key(), pod.revision, tree)
}

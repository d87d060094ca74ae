//! Making room: which less important Pods of which node go, so that a Pod that fits nowhere fits.
//!
//! On a node all less important Pods are taken away in thought, on a copy of the nodes; if the Pod fits then, as many
//! as possible come back, those first whose leaving would violate a budget, then the more important. Of the nodes the
//! one is taken where least is lost. Nothing is written here.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use edge_api::time::Timestamp;

use crate::mirror::{Fleet, Name, Object, Place, Pod, Sight, World};
use crate::schedule::ask::Ask;
use crate::schedule::explain::{Counted, Diagnosis, counted};
use crate::schedule::plugins::{check, fields_name};

/// How many nodes are compared at most, or a tenth of all if that is more; as in Kubernetes.
const CANDIDATES: usize = 100;

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// These Pods make room on this node.
    Room {
        /// The node.
        node: Arc<str>,
        /// Who goes; may be on its way already.
        victims: Vec<Arc<Object<Pod>>>,
    },
    /// Nobody can or may make room, and why, in Kubernetes' words.
    No(String),
}

/// Looks for a node where others can make room for the Pod.
pub fn preempt(ask: &Ask<'_>, diagnosis: &Diagnosis) -> Outcome {
    if !ask.pod.body.preempts {
        return Outcome::No("not eligible due to preemptionPolicy=Never.".to_owned());
    }
    if others_leave(ask) {
        return Outcome::No("not eligible due to a terminating pod on the nominated node.".to_owned());
    }
    let most = CANDIDATES.max(ask.fleet.len() / 10);
    let (mut options, mut reasons, mut asked) = (Vec::new(), Counted::new(), 0);
    let named = fields_name(ask);
    let possible =
        |place: &&Arc<Place>| named.as_ref().is_none_or(|names| names.contains(&*place.node.meta.name));
    if diagnosis.resolvable > 0 {
        for place in ask.fleet.with_less_important(ask.pod.body.priority).filter(possible) {
            if check(ask, place).is_none_or(|(_, refusal)| !refusal.resolvable) {
                continue;
            }
            asked += 1;
            match room(ask, place) {
                Ok(option) => options.push(option),
                Err(why) => why.into_iter().for_each(|why| *reasons.entry(why).or_default() += 1),
            }
            if options.len() == most {
                break;
            }
        }
    }
    match options.into_iter().min_by_key(Room::cost) {
        Some(room) => Outcome::Room { node: room.node, victims: room.victims },
        None => {
            let mut add = |reason: &'static str, count: usize| {
                if count > 0 {
                    reasons.insert(reason.into(), count);
                }
            };
            add("No preemption victims found for incoming pod", diagnosis.resolvable - asked);
            add("Preemption is not helpful for scheduling", diagnosis.nodes - diagnosis.resolvable);
            Outcome::No(format!("0/{} nodes are available: {}.", diagnosis.nodes, counted(&reasons)))
        }
    }
}

/// Whether less important Pods are on their way from the node where they make room for this one.
fn others_leave(ask: &Ask<'_>) -> bool {
    let node = ask.pod.body.nominated.as_deref();
    node.is_some_and(|node| {
        let mut pods = ask.world.pods.on_node(node);
        pods.any(|pod| {
            pod.meta.deleting() && !pod.body.finished() && pod.body.priority < ask.pod.body.priority
        })
    })
}

/// A node with who would go.
struct Room {
    node: Arc<str>,
    victims: Vec<Arc<Object<Pod>>>,
    violations: usize,
}

/// What is compared, the most important first: budgets violated, the most important of those who go, the sum of their
/// importance, their number, when the longest-running of the most important began (later is better), the name.
type Cost = (usize, i64, i64, usize, Reverse<Option<Timestamp>>, Arc<str>);

impl Room {
    fn cost(&self) -> Cost {
        let highest = self.victims.iter().map(|pod| pod.body.priority).max().unwrap_or(i64::MIN);
        // The lowest priority counts as well, so that many unimportant ones are more than one.
        let sum = self.victims.iter().map(|pod| pod.body.priority + i64::from(i32::MAX) + 1).sum();
        let first = self.victims.iter().filter(|pod| pod.body.priority == highest).map(began).min();
        let (violations, count) = (self.violations, self.victims.len());
        (violations, highest, sum, count, Reverse(first.flatten()), self.node.clone())
    }
}

fn began(pod: &Arc<Object<Pod>>) -> Option<Timestamp> {
    pod.body.started.or(pod.meta.creation_timestamp)
}

/// Whether the Pod fits on this node, on nodes as they are in thought; why not if not.
fn fits(ask: &Ask<'_>, fleet: &Fleet, node: &str) -> Result<(), Vec<Cow<'static, str>>> {
    let then = Ask::of(ask.pod, fleet, ask.world, ask.looks);
    match fleet.place(node).map(|place| check(&then, place)) {
        Some(None) => Ok(()),
        Some(Some((_, refusal))) => Err(refusal.reasons),
        None => Err(Vec::new()),
    }
}

fn room(ask: &Ask<'_>, place: &Place) -> Result<Room, Vec<Cow<'static, str>>> {
    let node = &place.node.meta.name;
    let pods = ask.world.pods.on_node(node).filter(|pod| !pod.body.finished());
    let mut less: Vec<Arc<Object<Pod>>> =
        pods.filter(|pod| pod.body.priority < ask.pod.body.priority).cloned().collect();
    if less.is_empty() {
        return Err(vec!["No preemption victims found for incoming pod".into()]);
    }
    let sight: Sight<'_> = ask.sight();
    let mut fleet = ask.fleet.clone();
    less.iter().for_each(|pod| fleet.release(pod, node, sight, 0));
    fits(ask, &fleet, node)?;
    less.sort_by_key(|pod| (Reverse(pod.body.priority), began(pod), pod.key()));
    let violating = violating(&less, ask.world);
    let (first, then): (Vec<_>, Vec<_>) =
        less.into_iter().zip(violating).partition(|(_, violates)| *violates);
    let (mut victims, mut violations) = (Vec::new(), 0);
    for (pod, violates) in first.into_iter().chain(then) {
        let before = fleet.clone();
        fleet.hold(&pod, node, sight, 0);
        if fits(ask, &fleet, node).is_err() {
            fleet = before;
            violations += usize::from(violates);
            victims.push(pod);
        }
    }
    Ok(Room { node: node.clone(), victims, violations })
}

/// Of each Pod, whether its leaving after those before it would violate a budget.
fn violating(pods: &[Arc<Object<Pod>>], world: &World) -> Vec<bool> {
    let mut left: HashMap<Name, i64> = HashMap::new();
    let mut one = |pod: &Arc<Object<Pod>>| {
        let mut violates = false;
        for budget in world.budgets.in_namespace(&pod.meta.namespace) {
            let about = budget.body.selector.matches(&pod.meta.labels);
            if !about || budget.body.disrupted.contains_key(&*pod.meta.name) {
                continue;
            }
            let allowed = budget.body.status.get("disruptionsAllowed").and_then(serde_json::Value::as_i64);
            let left = left.entry(budget.key()).or_insert_with(|| allowed.unwrap_or(0));
            *left -= 1;
            violates |= *left < 0;
        }
        violates
    };
    pods.iter().map(&mut one).collect()
}

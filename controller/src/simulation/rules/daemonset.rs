//! DaemonSets: one Pod on a node, two only while templates change places under a surge; an update takes away no more
//! than may be missing; one of the present template on every node in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::mirror::{DaemonSet, Detail, Node, Object, Pod, World};
use crate::simulation::rule::{Rounded, Rule, Step, amount, is_active, owned, same, serves};

const HASH: &str = "controller-revision-hash";

/// What was true of a set since the control plane was quiet.
#[derive(Clone, Debug)]
struct Window {
    /// The most that may be missing.
    missing: i64,
    /// The most nodes that may have two.
    surge: i64,
    /// How many Pods others have taken away, and nodes that are new.
    others: i64,
    /// Pods that served at some time, by uid.
    served: BTreeSet<String>,
}

/// See the module.
#[derive(Default)]
pub struct DaemonSets {
    windows: BTreeMap<String, Window>,
    /// What each allows now.
    present: BTreeMap<String, Window>,
}

fn window(set: &Object<DaemonSet>, truth: &World) -> Window {
    let rolling = &set.tree()["spec"]["updateStrategy"]["rollingUpdate"];
    let nodes = truth.nodes.len() as i64;
    Window {
        missing: amount(&rolling["maxUnavailable"], nodes, Rounded::Up),
        surge: amount(&rolling["maxSurge"], nodes, Rounded::Up),
        others: 0,
        served: serving(set, truth),
    }
}

fn serving(set: &Object<DaemonSet>, truth: &World) -> BTreeSet<String> {
    let pods = owned(truth, &set.meta.uid).into_iter();
    pods.filter(|pod| serves(pod)).map(|pod| pod.meta.uid.to_string()).collect()
}

/// Whether a DaemonSet wants a Pod on a node: one that is not in trouble.
fn is_wanted(node: &Object<Node>) -> bool {
    let trouble = |key: &str| key.ends_with("/not-ready") || key.ends_with("/unreachable");
    !node.body.taints.iter().any(|taint| trouble(&taint.key))
}

/// The node that a Pod is on or made for.
fn place(pod: &Object<Pod>) -> Option<String> {
    let terms = || pod.body.affinity.as_ref()?.required.as_ref()?.first()?.match_fields.first();
    pod.body.node.clone().or_else(|| terms()?.values.first().cloned())
}

fn on<'a>(set: &Object<DaemonSet>, node: &str, truth: &'a World) -> Vec<&'a Arc<Object<Pod>>> {
    let mut pods = owned(truth, &set.meta.uid);
    pods.retain(|pod| place(pod).as_deref() == Some(node));
    pods
}

fn created(window: &Window, set: &Object<DaemonSet>, pod: &Object<Pod>, truth: &World) -> Result<(), String> {
    let node = place(pod).unwrap_or_default();
    let pods = on(set, &node, truth);
    let others = pods.iter().filter(|other| is_active(other) && other.meta.uid != pod.meta.uid);
    for other in others {
        if window.surge == 0 || other.meta.labels.get(HASH) == pod.meta.labels.get(HASH) {
            return Err(format!("{} and {} are both on {node}: {window:?}", other.key(), pod.key()));
        }
    }
    Ok(())
}

fn ended(window: &Window, set: &Object<DaemonSet>, pod: &Object<Pod>, truth: &World) -> Result<(), String> {
    let Some(node) = place(pod).filter(|node| truth.nodes.get("", node).is_some()) else { return Ok(()) };
    let others = on(set, &node, truth);
    let others = others.iter().filter(|other| other.meta.uid != pod.meta.uid);
    let available = pod.body.available(set.body.min_ready_seconds, truth.now).is_ok();
    if !serves(pod) || !available || others.clone().any(|other| is_active(other) && window.surge == 0) {
        return Ok(());
    }
    if window.surge > 0 && others.clone().any(|other| window.served.contains(&*other.meta.uid)) {
        return Ok(());
    }
    let serving = |node: &str| on(set, node, truth).iter().any(|pod| serves(pod));
    let wanted = truth.nodes.all().filter(|node| is_wanted(node));
    let missing = wanted.filter(|node| !serving(&node.meta.name)).count() as i64;
    if missing > window.missing + window.others {
        return Err(format!("{missing} nodes are without {} after {}: {window:?}", set.meta.name, pod.key()));
    }
    Ok(())
}

impl Rule for DaemonSets {
    fn promise(&self) -> &'static str {
        "a DaemonSet has one Pod on a node, and not too few while it is updated"
    }

    fn see(&mut self, step: &Step<'_>) -> Result<(), String> {
        match &step.delta.detail {
            Detail::DaemonSet((_, Some(set))) => {
                let new = window(set, step.truth);
                self.present.insert(set.meta.uid.to_string(), new.clone());
                let window = self.windows.entry(set.meta.uid.to_string()).or_insert_with(|| new.clone());
                window.missing = window.missing.max(new.missing);
                window.surge = window.surge.max(new.surge);
            }
            Detail::DaemonSet((Some(set), None)) => {
                self.windows.remove(&*set.meta.uid);
                self.present.remove(&*set.meta.uid);
            }
            Detail::Node((before, after))
                if before.as_deref().is_some_and(is_wanted) != after.as_deref().is_some_and(is_wanted) =>
            {
                self.windows.values_mut().for_each(|window| window.others += 1);
            }
            _ => {}
        }
        let Some(change) = step.pod() else { return Ok(()) };
        let pod = change.pod();
        let Some(owner) = pod.meta.controller().filter(|owner| owner.kind == "DaemonSet") else {
            return Ok(());
        };
        let Some(set) = step.truth.daemon_sets.get(&pod.meta.namespace, &owner.name) else { return Ok(()) };
        let Some(window) = self.windows.get_mut(&owner.uid) else { return Ok(()) };
        let ours = step.is_by("daemonset-controller");
        if change.after.is_some_and(serves) {
            window.served.insert(pod.meta.uid.to_string());
        }
        if change.is_lost() && !(ours && change.is_ended()) {
            window.others += 1;
        }
        if change.is_new() && ours {
            return created(window, set, pod, step.truth);
        }
        match change.before.filter(|_| ours && change.is_ended()) {
            Some(before) => ended(window, set, before, step.truth),
            None => Ok(()),
        }
    }

    fn quiet(&mut self, truth: &World) {
        self.windows.clone_from(&self.present);
        for set in truth.daemon_sets.all() {
            if let Some(window) = self.windows.get_mut(&*set.meta.uid) {
                window.served = serving(set, truth);
            }
        }
    }

    fn settled(&self, truth: &World) -> Result<(), String> {
        for set in truth.daemon_sets.all() {
            let (name, wanted) = (&set.meta.name, truth.nodes.len() as i64);
            for node in truth.nodes.all() {
                let pods = on(set, &node.meta.name, truth);
                same(&format!("the number of Pods of {name} on {}", node.meta.name), pods.len(), 1)?;
                same(&format!("whether {name} serves on {}", node.meta.name), serves(pods[0]), true)?;
            }
            same(&format!("the number of Pods of {name}"), owned(truth, &set.meta.uid).len() as i64, wanted)?;
            let status = |field: &str| set.body.status[field].as_i64().unwrap_or(0);
            let fields = [
                "desiredNumberScheduled",
                "currentNumberScheduled",
                "updatedNumberScheduled",
                "numberReady",
                "numberAvailable",
            ];
            for field in fields {
                same(&format!("{field} of {name}"), status(field), wanted)?;
            }
            same(&format!("numberMisscheduled of {name}"), status("numberMisscheduled"), 0)?;
            let seen = status("observedGeneration");
            same(&format!("observedGeneration of {name}"), seen, set.meta.generation)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::simulation::rule::Author;
    use crate::simulation::rules::history::{
        Event, check, controller, going, managed, node, object, phase, pod, user, with,
    };

    fn set(surge: i64, missing: i64) -> Value {
        let status = json!({"observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
            "updatedNumberScheduled": 2, "numberReady": 2, "numberAvailable": 2});
        let rolling = json!({"maxSurge": surge, "maxUnavailable": missing});
        let spec = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}});
        with(object("apps/v1", "DaemonSet", "d"), json!({"spec": spec, "status": status}))
    }

    fn of(name: &str, node: &str, hash: &str) -> Value {
        let change = json!({"metadata": {"labels": {HASH: hash}}, "spec": {"nodeName": node}});
        with(with(pod(name), managed("apps/v1", "DaemonSet", "d")), change)
    }

    fn ours(pod: Value) -> Event {
        controller("daemonset-controller", pod)
    }

    /// A Pod `a` on node `n`, a Pod `b` on node `m`.
    fn two(set: Value) -> Vec<Event> {
        let nodes = ["n", "m"].map(|name| user(node(name, 9))).to_vec();
        let pods = vec![ours(of("a", "n", "v1")), ours(of("b", "m", "v1"))];
        [nodes, vec![user(set)], pods, vec![Event::Quiet]].concat()
    }

    #[test]
    fn a_node_can_have_two() {
        let then = |set: Value, more: Vec<Event>| [two(set), more].concat();
        check::<DaemonSets>(&[
            ("one on each", two(set(0, 1)), None),
            (
                "two on one",
                then(set(0, 1), vec![ours(of("c", "n", "v2"))]),
                Some("default/a and default/c are both on n"),
            ),
            (
                "two, the first one going",
                then(set(0, 1), vec![user(going(of("a", "n", "v1"))), ours(of("c", "n", "v2"))]),
                None,
            ),
            ("old and new in a surge", then(set(1, 0), vec![ours(of("c", "n", "v2"))]), None),
            (
                "twice the same in a surge",
                then(set(1, 0), vec![ours(of("c", "n", "v1"))]),
                Some("are both on n"),
            ),
        ]);
    }

    #[test]
    fn too_many_nodes_can_be_without() {
        let then = |set: Value, more: Vec<Event>| [two(set), more].concat();
        let end = |name: &str, node: &str| ours(going(of(name, node, "v1")));
        let trouble =
            json!({"spec": {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}});
        let new = |phased: &str| ours(phase(of("c", "n", "v2"), phased));
        check::<DaemonSets>(&[
            ("one", then(set(0, 1), vec![end("a", "n")]), None),
            (
                "both",
                then(set(0, 1), vec![end("a", "n"), end("b", "m")]),
                Some("2 nodes are without d after default/b"),
            ),
            (
                "both, one by the user",
                then(set(0, 1), vec![user(going(of("a", "n", "v1"))), end("b", "m")]),
                None,
            ),
            (
                "both, one by the user and known",
                then(set(0, 1), vec![user(going(of("a", "n", "v1"))), Event::Quiet, end("b", "m")]),
                Some("2 nodes are without"),
            ),
            (
                "both, one not reached",
                then(
                    set(0, 1),
                    vec![user(with(node("n", 9), trouble)), Event::Quiet, end("a", "n"), end("b", "m")],
                ),
                None,
            ),
            (
                "the old one before the new one serves",
                then(set(1, 0), vec![new("Running"), end("a", "n")]),
                Some("1 nodes are without"),
            ),
            (
                "the old one when the new one serves",
                then(set(1, 0), vec![ours(of("c", "n", "v2")), end("a", "n")]),
                None,
            ),
            (
                "one that does not serve",
                then(set(0, 0), vec![user(phase(of("a", "n", "v1"), "Failed")), end("a", "n")]),
                None,
            ),
        ]);
    }

    #[test]
    fn a_set_can_end_elsewhere() {
        let then = |more: Vec<Event>| [two(set(0, 1)), more, vec![Event::Settled]].concat();
        let number = |field: &str| user(with(set(0, 1), json!({"status": {field: 1}})));
        check::<DaemonSets>(&[
            ("as declared", then(vec![]), None),
            ("a node without", then(vec![user(node("o", 9))]), Some("the number of Pods of d on o")),
            (
                "one does not serve",
                then(vec![user(phase(of("a", "n", "v1"), "Running"))]),
                Some("whether d serves on n"),
            ),
            (
                "one on a node that is gone",
                then(vec![Event::Gone(Author::User, node("m", 9))]),
                Some("the number of Pods of d"),
            ),
            (
                "wrong desired",
                then(vec![number("desiredNumberScheduled")]),
                Some("desiredNumberScheduled of d"),
            ),
            (
                "wrong current",
                then(vec![number("currentNumberScheduled")]),
                Some("currentNumberScheduled of d"),
            ),
            (
                "wrong updated",
                then(vec![number("updatedNumberScheduled")]),
                Some("updatedNumberScheduled of d"),
            ),
            ("wrong ready", then(vec![number("numberReady")]), Some("numberReady of d")),
            ("wrong available", then(vec![number("numberAvailable")]), Some("numberAvailable of d")),
            ("wrong misscheduled", then(vec![number("numberMisscheduled")]), Some("numberMisscheduled of d")),
            (
                "an old generation",
                then(vec![user(with(set(0, 1), json!({"metadata": {"generation": 2}})))]),
                Some("observedGeneration of d"),
            ),
        ]);
    }
}

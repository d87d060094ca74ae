//! StatefulSets: Pods come in order, each when those before it serve, and those that are not wanted any more go in
//! reverse; an update takes away no more than may be missing, and nothing below the partition; every number is there in
//! the end.
//!
//! That a number is not there twice the store's keys see to; that it does not *run* twice is the fleet's rule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::mirror::{Detail, Object, Pod, StatefulSet, World};
use crate::simulation::rule::{Rounded, Rule, Step, amount, is_active, owned, same, serves};

const HASH: &str = "controller-revision-hash";

/// What was true of a set since the control plane was quiet.
#[derive(Clone, Debug)]
struct Window {
    /// The numbers that were wanted at some time.
    first: i64,
    end: i64,
    /// The fewest that were wanted.
    fewest: i64,
    /// The lowest partition.
    partition: i64,
    /// The most that may be missing.
    missing: i64,
    /// How many Pods others have taken away.
    others: i64,
    /// Numbers that served at some time.
    served: BTreeSet<i64>,
    /// Numbers that were there all the time.
    stayed: BTreeSet<i64>,
}

/// See the module.
#[derive(Default)]
pub struct StatefulSets {
    windows: BTreeMap<String, Window>,
    /// What each wants now.
    present: BTreeMap<String, Window>,
}

fn number(pod: &str) -> Option<i64> {
    pod.rsplit_once('-')?.1.parse().ok()
}

fn by_number<'a>(set: &Object<StatefulSet>, truth: &'a World) -> BTreeMap<i64, &'a Arc<Object<Pod>>> {
    let pods = owned(truth, &set.meta.uid).into_iter();
    pods.filter_map(|pod| Some((number(&pod.meta.name)?, pod))).collect()
}

fn window(set: &Object<StatefulSet>, truth: &World) -> Window {
    let body = &set.body;
    let rolling = &set.tree()["spec"]["updateStrategy"]["rollingUpdate"];
    let missing = match &rolling["maxUnavailable"] {
        serde_json::Value::Null => 1,
        given => amount(given, body.replicas, Rounded::Up).max(1),
    };
    let mut window = Window {
        first: body.start,
        end: body.start + body.replicas,
        fewest: body.replicas,
        partition: rolling["partition"].as_i64().unwrap_or(0),
        missing,
        others: 0,
        served: BTreeSet::new(),
        stayed: BTreeSet::new(),
    };
    window.look(set, truth);
    window
}

impl Window {
    /// What is there now.
    fn look(&mut self, set: &Object<StatefulSet>, truth: &World) {
        let pods = by_number(set, truth);
        self.served = pods.iter().filter(|(_, pod)| serves(pod)).map(|(number, _)| *number).collect();
        self.stayed = pods.keys().copied().collect();
    }
}

impl StatefulSets {
    fn widen(&mut self, set: &Object<StatefulSet>, truth: &World) {
        let new = window(set, truth);
        self.present.insert(set.meta.uid.to_string(), new.clone());
        let window = self.windows.entry(set.meta.uid.to_string()).or_insert_with(|| new.clone());
        window.first = window.first.min(new.first);
        window.end = window.end.max(new.end);
        window.fewest = window.fewest.min(new.fewest);
        window.partition = window.partition.min(new.partition);
        window.missing = window.missing.max(new.missing);
    }
}

fn created(window: &Window, set: &Object<StatefulSet>, at: i64, key: &str) -> Result<(), String> {
    if !(window.first..window.end).contains(&at) {
        return Err(format!("{key} is not wanted: {window:?}"));
    }
    let early = (set.body.start..at).find(|before| !window.served.contains(before));
    match early.filter(|_| !set.body.parallel) {
        Some(before) => Err(format!("{key} comes although {before} does not serve: {window:?}")),
        None => Ok(()),
    }
}

/// Whether a Pod is of its set's present template.
fn is_present(set: &Object<StatefulSet>, pod: &Object<Pod>) -> bool {
    set.body.status["updateRevision"].as_str() == pod.meta.labels.get(HASH).map(String::as_str)
}

fn ended(
    window: &Window,
    set: &Object<StatefulSet>,
    (at, pod): (i64, &Object<Pod>),
    truth: &World,
) -> Result<(), String> {
    let (key, pods) = (pod.key(), by_number(set, truth));
    let wanted = set.body.start..set.body.start + window.fewest;
    if !wanted.contains(&at) {
        let waits = |other: i64| other > at && !wanted.contains(&other) && window.stayed.contains(&other);
        let later = pods.keys().find(|other| waits(**other));
        // Who does not know yet that it is not wanted may replace it.
        let replaced = (window.first..window.end).contains(&at) && !is_present(set, pod);
        match later.filter(|_| !set.body.parallel) {
            None => return Ok(()),
            Some(later) if !replaced => return Err(format!("{key} goes before {later}: {window:?}")),
            Some(_) => {}
        }
    }
    if !serves(pod) || pod.body.available(set.body.min_ready_seconds, truth.now).is_err() {
        return Ok(());
    }
    if at < set.body.start + window.partition {
        return Err(format!("{key} goes although it is below the partition: {window:?}"));
    }
    let missing = wanted.filter(|number| !pods.get(number).is_some_and(|pod| serves(pod))).count() as i64;
    if missing > window.missing + window.others {
        return Err(format!("{missing} are missing without {key}: {window:?}"));
    }
    Ok(())
}

impl Rule for StatefulSets {
    fn promise(&self) -> &'static str {
        "the Pods of a StatefulSet come and go in order, no more at a time than may be missing"
    }

    fn see(&mut self, step: &Step<'_>) -> Result<(), String> {
        match &step.delta.detail {
            Detail::StatefulSet((_, Some(set))) => self.widen(set, step.truth),
            Detail::StatefulSet((Some(set), None)) => {
                self.windows.remove(&*set.meta.uid);
                self.present.remove(&*set.meta.uid);
            }
            _ => {}
        }
        let Some(change) = step.pod() else { return Ok(()) };
        let pod = change.pod();
        let Some(owner) = pod.meta.controller().filter(|owner| owner.kind == "StatefulSet") else {
            return Ok(());
        };
        let Some(set) = step.truth.stateful_sets.get(&pod.meta.namespace, &owner.name) else { return Ok(()) };
        let (Some(at), Some(window)) = (number(&pod.meta.name), self.windows.get_mut(&owner.uid)) else {
            return Ok(());
        };
        let ours = step.is_by("statefulset-controller");
        if change.after.is_some_and(serves) {
            window.served.insert(at);
        }
        if change.after.is_none() {
            window.stayed.remove(&at);
        }
        if change.is_lost() && !(ours && change.is_ended()) {
            window.others += 1;
        }
        if change.is_new() && ours {
            return created(window, set, at, &pod.key().to_string());
        }
        match change.before.filter(|_| ours && change.is_ended()) {
            Some(before) => ended(window, set, (at, before), step.truth),
            None => Ok(()),
        }
    }

    fn quiet(&mut self, truth: &World) {
        self.windows.clone_from(&self.present);
        for set in truth.stateful_sets.all() {
            if let Some(window) = self.windows.get_mut(&*set.meta.uid) {
                window.look(set, truth);
            }
        }
    }

    fn settled(&self, truth: &World) -> Result<(), String> {
        for set in truth.stateful_sets.all() {
            let (name, body) = (&set.meta.name, &set.body);
            let pods = by_number(set, truth);
            let wanted: Vec<i64> = (body.start..body.start + body.replicas).collect();
            same(&format!("what there is of {name}"), pods.keys().copied().collect(), wanted)?;
            let serving = pods.values().filter(|pod| serves(pod) && is_active(pod)).count() as i64;
            same(&format!("how many of {name} serve"), serving, body.replicas)?;
            let status = |field: &str| body.status[field].as_i64().unwrap_or(0);
            for field in ["replicas", "readyReplicas", "availableReplicas"] {
                same(&format!("{field} of {name}"), status(field), body.replicas)?;
            }
            let updated = pods.range(body.start + body.partition..).map(|(_, pod)| pod);
            let present = body.status["updateRevision"].as_str().unwrap_or_default();
            let mut stale = updated.filter(|pod| pod.meta.labels[HASH] != present);
            same(&format!("old Pods of {name}"), stale.next().map(|pod| pod.key()), None)?;
            let seen = body.status["observedGeneration"].as_i64();
            same(&format!("observedGeneration of {name}"), seen, Some(set.meta.generation))?;
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
        Event, check, controller, going, managed, object, phase, pod, user, with,
    };

    fn set(change: Value) -> Value {
        let status = json!({"replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "observedGeneration": 1,
            "updateRevision": "s-1"});
        let set =
            with(object("apps/v1", "StatefulSet", "s"), json!({"spec": {"replicas": 3}, "status": status}));
        with(set, json!({ "spec": change }))
    }

    fn of(name: &str) -> Value {
        let pod = with(pod(name), managed("apps/v1", "StatefulSet", "s"));
        with(pod, json!({"metadata": {"labels": {HASH: "s-1"}}}))
    }

    fn made(name: &str) -> Event {
        controller("statefulset-controller", of(name))
    }

    fn ended(name: &str) -> Event {
        controller("statefulset-controller", going(of(name)))
    }

    fn gone(name: &str) -> Event {
        Event::Gone(Author::Node(0), going(of(name)))
    }

    /// The same set with another template.
    fn newer(set: Value) -> Value {
        with(set, json!({"status": {"updateRevision": "s-2"}}))
    }

    fn three(change: Value) -> Vec<Event> {
        let pods = ["s-0", "s-1", "s-2"].map(made);
        [vec![user(set(change))], pods.to_vec(), vec![Event::Quiet]].concat()
    }

    #[test]
    fn pods_can_come_out_of_order() {
        let first = |change: Value| vec![user(set(change)), made("s-0"), Event::Quiet];
        let then = |events: Vec<Event>, more: Vec<Event>| [events, more].concat();
        check::<StatefulSets>(&[
            ("in order", three(json!({})), None),
            ("beyond the end", then(three(json!({})), vec![made("s-3")]), Some("s-3 is not wanted")),
            (
                "before the start",
                vec![user(set(json!({"ordinals": {"start": 1}}))), made("s-0")],
                Some("s-0 is not wanted"),
            ),
            (
                "too early",
                then(first(json!({})), vec![made("s-2")]),
                Some("s-2 comes although 1 does not serve"),
            ),
            (
                "while the one before is not ready",
                then(first(json!({})), vec![user(phase(of("s-0"), "Running")), Event::Quiet, made("s-1")]),
                Some("s-1 comes although 0 does not serve"),
            ),
            (
                "when the one before was ready a moment ago",
                then(first(json!({})), vec![user(phase(of("s-0"), "Running")), made("s-1")]),
                None,
            ),
            (
                "when the one before is adopted",
                vec![user(pod("s-0")), user(set(json!({}))), Event::Quiet, made("s-0"), made("s-1")],
                None,
            ),
            ("all at once", then(first(json!({"podManagementPolicy": "Parallel"})), vec![made("s-2")]), None),
        ]);
    }

    #[test]
    fn pods_can_go_out_of_order() {
        let one = |change: Value| {
            [three(json!({})), vec![user(set(with(json!({"replicas": 1}), change))), Event::Quiet]].concat()
        };
        let then = |events: Vec<Event>, more: Vec<Event>| [events, more].concat();
        let late = json!({"replicas": 2, "ordinals": {"start": 1}});
        let shrunk = |change: Value| user(newer(set(with(json!({"replicas": 1}), change))));
        let old = |change: Value| [three(change.clone()), vec![user(newer(set(change)))]].concat();
        let partition = json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}});
        check::<StatefulSets>(&[
            ("the last one first", then(one(json!({})), vec![ended("s-2"), gone("s-2"), ended("s-1")]), None),
            ("one before the last", then(one(json!({})), vec![ended("s-1")]), Some("s-1 goes before 2")),
            (
                "before the last is gone",
                then(one(json!({})), vec![ended("s-2"), ended("s-1")]),
                Some("s-1 goes before 2"),
            ),
            ("all at once", then(one(json!({"podManagementPolicy": "Parallel"})), vec![ended("s-1")]), None),
            (
                "one before the last, which is replaced",
                then(old(json!({})), vec![shrunk(json!({})), ended("s-1")]),
                None,
            ),
            (
                "one before the last, which is replaced although there is no need",
                then(three(json!({})), vec![user(set(json!({"replicas": 1}))), ended("s-1")]),
                Some("s-1 goes before 2"),
            ),
            (
                "one before the last, which is replaced although all know that it goes",
                then(old(json!({})), vec![shrunk(json!({})), Event::Quiet, ended("s-1")]),
                Some("s-1 goes before 2"),
            ),
            (
                "one before the last, which is replaced although it is below the partition",
                then(old(partition.clone()), vec![shrunk(partition), ended("s-1")]),
                Some("s-1 goes although it is below the partition"),
            ),
            (
                "one below the first, beside those that stay",
                then(three(json!({})), vec![user(set(late)), Event::Quiet, ended("s-0")]),
                None,
            ),
        ]);
    }

    #[test]
    fn an_update_can_take_too_many_or_the_wrong_ones() {
        let rolling =
            |rolling: Value| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}});
        let then = |change: Value, more: Vec<Event>| [three(change), more].concat();
        check::<StatefulSets>(&[
            ("one", then(json!({}), vec![ended("s-2")]), None),
            (
                "two",
                then(json!({}), vec![ended("s-2"), ended("s-1")]),
                Some("2 are missing without default/s-1"),
            ),
            (
                "two of two",
                then(rolling(json!({"maxUnavailable": 2})), vec![ended("s-2"), ended("s-1")]),
                None,
            ),
            ("two, one by the user", then(json!({}), vec![user(going(of("s-2"))), ended("s-1")]), None),
            (
                "two, one by the user and known",
                then(json!({}), vec![user(going(of("s-2"))), Event::Quiet, ended("s-1")]),
                Some("2 are missing"),
            ),
            (
                "one that does not serve",
                then(json!({}), vec![user(phase(of("s-2"), "Running")), Event::Quiet, ended("s-2")]),
                None,
            ),
            (
                "one below the partition",
                then(rolling(json!({"partition": 2})), vec![ended("s-1")]),
                Some("s-1 goes although it is below"),
            ),
            ("one above the partition", then(rolling(json!({"partition": 2})), vec![ended("s-2")]), None),
        ]);
    }

    #[test]
    fn a_set_can_end_elsewhere() {
        let then = |more: Vec<Event>| [three(json!({})), more, vec![Event::Settled]].concat();
        let number = |field: &str| user(with(set(json!({})), json!({"status": {field: 7}})));
        let old = with(of("s-0"), json!({"metadata": {"labels": {HASH: "s-0"}}}));
        let partition = set(json!({"updateStrategy": {"rollingUpdate": {"partition": 1}}}));
        check::<StatefulSets>(&[
            ("as declared", then(vec![]), None),
            ("a number is missing", then(vec![gone("s-1")]), Some("what there is of s")),
            (
                "one does not serve",
                then(vec![user(phase(of("s-1"), "Running"))]),
                Some("how many of s serve"),
            ),
            ("wrong replicas", then(vec![number("replicas")]), Some("replicas of s")),
            ("wrong readyReplicas", then(vec![number("readyReplicas")]), Some("readyReplicas of s")),
            (
                "wrong availableReplicas",
                then(vec![number("availableReplicas")]),
                Some("availableReplicas of s"),
            ),
            ("an old Pod", then(vec![user(old.clone())]), Some("old Pods of s")),
            ("an old Pod below the partition", then(vec![user(partition), user(old)]), None),
            ("an old generation", then(vec![number("observedGeneration")]), Some("observedGeneration of s")),
        ]);
    }
}

//! StatefulSets: Pods come in order and go in reverse, each when those before it serve; an update takes away no more
//! than may be missing, and nothing below the partition; every number is there in the end.
//!
//! That a number is not there twice the store's keys see to; that it does not *run* twice is the fleet's rule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::mirror::{Detail, Object, Pod, StatefulSet, World};
use crate::simulation::rule::{Rounded, Rule, Step, amount, is_active, owned, same, serves};

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

fn ended(
    window: &Window,
    set: &Object<StatefulSet>,
    (at, pod): (i64, &Object<Pod>),
    truth: &World,
) -> Result<(), String> {
    let (key, pods) = (pod.key(), by_number(set, truth));
    let wanted = set.body.start..set.body.start + window.fewest;
    if !wanted.contains(&at) {
        let later = pods.keys().find(|other| **other > at && window.stayed.contains(other));
        return match later.filter(|_| !set.body.parallel) {
            Some(later) => Err(format!("{key} goes before {later}: {window:?}")),
            None => Ok(()),
        };
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
        if change.is_won() {
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
            let mut stale = updated.filter(|pod| pod.meta.labels["controller-revision-hash"] != present);
            same(&format!("old Pods of {name}"), stale.next().map(|pod| pod.key()), None)?;
            let seen = body.status["observedGeneration"].as_i64();
            same(&format!("observedGeneration of {name}"), seen, Some(set.meta.generation))?;
        }
        Ok(())
    }
}

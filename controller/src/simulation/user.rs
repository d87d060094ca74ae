//! Whoever uses the cluster: makes workloads, changes them, drains nodes, deletes this and that.

use std::collections::BTreeSet;

use edge_api::kind::Kind;
use edge_api::kinds;
use fastrand::Rng;
use serde_json::{Value, json};

use crate::identity;
use crate::registry::{ApiError, Context, DeleteOptions, PatchKind, Propagation, Reason, Registry, Target};
use crate::simulation::cluster::Cluster;
use crate::simulation::manifest::{self, NAMESPACE};
use crate::simulation::rule::Author;

/// A workload that somebody wanted.
#[derive(Clone)]
struct Workload {
    kind: &'static Kind,
    name: String,
}

/// See the module.
pub struct User {
    rng: Rng,
    workloads: Vec<Workload>,
    /// How many there are to be.
    wanted: usize,
    /// About how many Pods a workload has at most.
    size: i64,
    /// How many have been made.
    made: usize,
    draining: BTreeSet<String>,
}

fn cx() -> Context {
    Context::new(identity::User::admin("user"))
}

impl User {
    /// Somebody who wants so many workloads of such a size.
    pub fn new(wanted: usize, size: i64, rng: Rng) -> User {
        User { rng, workloads: Vec::new(), wanted, size, made: 0, draining: BTreeSet::new() }
    }

    /// Does something.
    pub fn act(&mut self, cluster: &mut Cluster, api: &Registry, nodes: &[&str]) {
        if self.workloads.len() < self.wanted && (self.workloads.is_empty() || self.rng.bool()) {
            return self.make(cluster, api);
        }
        match self.rng.u8(..20) {
            0..12 => self.change(cluster, api),
            12..14 => self.delete_a_pod(cluster, api),
            14..16 => self.evict_a_pod(None, cluster, api),
            16 => drop(self.delete_a_workload(cluster, api)),
            17 => {
                let node = nodes[self.rng.usize(..nodes.len())].to_owned();
                // One node at a time: the others have to take what leaves it.
                if self.draining.is_empty() {
                    self.cordon(&node, true, cluster, api);
                }
            }
            _ => match self.draining.first().cloned() {
                Some(node) if self.rng.u8(..3) == 0 => self.cordon(&node, false, cluster, api),
                Some(node) => (0..4).for_each(|_| self.evict_a_pod(Some(&node), cluster, api)),
                None => self.change(cluster, api),
            },
        }
    }

    /// What an end can be reached with: nothing is paused, suspended or cordoned; CronJobs make no more Jobs.
    pub fn make_good(&mut self, cluster: &mut Cluster, api: &Registry) {
        while let Some(node) = self.draining.first().cloned() {
            self.cordon(&node, false, cluster, api);
        }
        for Workload { kind, name } in self.workloads.clone() {
            match kind.kind {
                "Deployment" => self.patch(kind, &name, &json!({"spec": {"paused": false}}), cluster, api),
                "Job" => {
                    let good = json!({"spec": {"suspend": false, "parallelism": 2}});
                    self.patch(kind, &name, &good, cluster, api);
                }
                "CronJob" => self.patch(kind, &name, &json!({"spec": {"suspend": true}}), cluster, api),
                _ => {}
            }
        }
    }

    /// Deletes one of the workloads; false if there are none.
    pub fn delete_a_workload(&mut self, cluster: &mut Cluster, api: &Registry) -> bool {
        if self.workloads.is_empty() {
            return false;
        }
        let at = self.rng.usize(..self.workloads.len());
        let Workload { kind, name } = self.workloads.swap_remove(at);
        let how = match self.rng.u8(..6) {
            0..3 => Propagation::Background,
            3..5 => Propagation::Foreground,
            _ => Propagation::Orphan,
        };
        cluster.say(format_args!("the user deletes {} {name}, {how:?}", kind.kind));
        let options = DeleteOptions { propagation: Some(how), ..DeleteOptions::default() };
        self.delete(kind, &name, &options, cluster, api);
        if self.rng.bool() {
            self.delete(&kinds::pod_disruption_budget::KIND, &name, &DeleteOptions::default(), cluster, api);
        }
        true
    }

    /// Deletes what was set free by its owner's deletion, and budgets without Pods.
    pub fn sweep(&mut self, cluster: &mut Cluster, api: &Registry) {
        cluster.say(format_args!("the user sweeps"));
        let uids: BTreeSet<_> = cluster.truth.graph.uids().cloned().collect();
        for uid in uids {
            let Some(entry) = cluster.truth.graph.get(&uid).cloned() else { continue };
            let swept = ["Pod", "ReplicaSet", "Job", "ControllerRevision", "PodDisruptionBudget"];
            if entry.meta.owner_references.is_empty() && swept.contains(&entry.kind.kind) {
                let options =
                    DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
                self.delete(entry.kind, &entry.meta.name, &options, cluster, api);
            }
        }
    }

    fn make(&mut self, cluster: &mut Cluster, api: &Registry) {
        let kind = manifest::kind(&mut self.rng);
        // Now and then one of the same name again.
        let number = if self.made > 0 && self.rng.u8(..4) == 0 { self.made - 1 } else { self.made };
        let name = format!("{}{number}", kind.kind.to_lowercase().replace("set", "s"));
        let object = manifest::workload(kind, &name, self.size, &mut self.rng);
        if !self.create(kind, object, cluster, api) {
            return;
        }
        self.made += 1;
        self.workloads.push(Workload { kind, name: name.clone() });
        if matches!(kind.kind, "Deployment" | "StatefulSet" | "ReplicaSet") && self.rng.bool() {
            let budget = manifest::budget(&name, &mut self.rng);
            self.create(&kinds::pod_disruption_budget::KIND, budget, cluster, api);
        }
    }

    fn create(&self, kind: &'static Kind, object: Value, cluster: &mut Cluster, api: &Registry) -> bool {
        cluster.say(format_args!("the user creates {object}"));
        let target = Target::all(kind, NAMESPACE);
        let made = cluster.ask(Author::User, api.create(&cx(), &target, object));
        self.expect(cluster, made.map(drop))
    }

    fn change(&mut self, cluster: &mut Cluster, api: &Registry) {
        let Some(Workload { kind, name }) = self.rng.choice(&self.workloads).cloned() else { return };
        let rng = &mut self.rng;
        let containers = json!([{"name": "c", "image": manifest::image(rng),
            "resources": {"requests": {"cpu": "50m", "memory": "16Mi"}}}]);
        let image = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let most = if kind.kind == "StatefulSet" { self.size.min(6) } else { self.size };
        let replicas = json!({"spec": {"replicas": rng.i64(0..=most)}});
        let patch = match (kind.kind, rng.u8(..8)) {
            ("Deployment", 0 | 1) | ("ReplicaSet", _) | ("StatefulSet", 0..3) => replicas,
            ("Deployment", 2..6) | ("StatefulSet", 3..6) | ("DaemonSet", 0..6) => image,
            ("Deployment", 6) => json!({"spec": {"strategy": manifest::strategy(rng)}}),
            ("Deployment", _) => json!({"spec": {"paused": rng.bool()}}),
            ("StatefulSet", _) => json!({"spec": {"updateStrategy": manifest::rolling_numbers(rng)}}),
            ("DaemonSet", _) => json!({"spec": {"updateStrategy": manifest::daemon_strategy(rng)}}),
            ("Job", 0..4) => json!({"spec": {"parallelism": rng.i64(0..4)}}),
            _ => json!({"spec": {"suspend": rng.bool()}}),
        };
        self.patch(kind, &name, &patch, cluster, api);
    }

    fn patch(&self, kind: &'static Kind, name: &str, patch: &Value, cluster: &mut Cluster, api: &Registry) {
        cluster.say(format_args!("the user changes {} {name}: {patch}", kind.kind));
        let target = Target::one(kind, NAMESPACE, name);
        let done = cluster.ask(Author::User, api.patch(&cx(), &target, PatchKind::Merge, patch));
        self.expect(cluster, done.map(drop));
    }

    fn delete_a_pod(&mut self, cluster: &mut Cluster, api: &Registry) {
        let pods: Vec<String> = cluster.truth.pods.all().map(|pod| pod.meta.name.to_string()).collect();
        let Some(name) = self.rng.choice(pods) else { return };
        cluster.say(format_args!("the user deletes Pod {name}"));
        self.delete(&kinds::pod::KIND, &name, &DeleteOptions::default(), cluster, api);
    }

    fn delete(
        &self,
        kind: &'static Kind,
        name: &str,
        options: &DeleteOptions,
        cluster: &mut Cluster,
        api: &Registry,
    ) {
        let target = Target::one(kind, NAMESPACE, name);
        let done = cluster.ask(Author::User, api.delete(&cx(), &target, options));
        self.expect(cluster, done.map(drop));
    }

    fn evict_a_pod(&mut self, node: Option<&str>, cluster: &mut Cluster, api: &Registry) {
        let chosen = |pod: &crate::mirror::Object<crate::mirror::Pod>| match node {
            Some(node) => {
                let daemon = pod.meta.controller().is_some_and(|owner| owner.kind == "DaemonSet");
                pod.body.node.as_deref() == Some(node) && !daemon
            }
            None => true,
        };
        let pods = cluster.truth.pods.all().filter(|pod| chosen(pod));
        let Some(name) = self.rng.choice(pods.map(|pod| pod.meta.name.to_string()).collect::<Vec<_>>())
        else {
            return;
        };
        cluster.say(format_args!("the user evicts {name}"));
        let target = Target::one(&kinds::pod::KIND, NAMESPACE, &name).sub("eviction");
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": name, "namespace": NAMESPACE}});
        let done = cluster.ask(Author::Eviction, api.create(&cx(), &target, eviction));
        self.expect(cluster, done.map(drop));
    }

    fn cordon(&mut self, node: &str, close: bool, cluster: &mut Cluster, api: &Registry) {
        cluster.say(format_args!("the user says that {node} takes Pods: {}", !close));
        if close {
            self.draining.insert(node.to_owned())
        } else {
            self.draining.remove(node)
        };
        let target = Target::one(&kinds::node::KIND, "", node);
        let patch = json!({"spec": {"unschedulable": close}});
        let done = cluster.ask(Author::User, api.patch(&cx(), &target, PatchKind::Merge, &patch));
        self.expect(cluster, done.map(drop));
    }

    /// What the user asks for is right; it may come too late, too early, or against a budget.
    fn expect(&self, cluster: &mut Cluster, result: Result<(), ApiError>) -> bool {
        let Err(error) = result else { return true };
        cluster.say(format_args!("the user hears: {}", error.message));
        if !matches!(
            error.reason,
            Reason::NotFound | Reason::Conflict | Reason::AlreadyExists | Reason::TooManyRequests
        ) {
            cluster.fail("the user may do what he asks for", error.message);
        }
        false
    }
}

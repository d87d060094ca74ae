//! The nodes: they take Pods in, run them at their own pace, say how they are, and now and then die.
//!
//! A node knows what it was told, late; what it says goes through the API as any node's word does. What runs on it runs
//! on, whatever the control plane thinks of the node, until the node itself ends it or dies.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use edge_api::kinds;
use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::identity::User;
use crate::mirror::{NODE_LEASES, Object, Pod};
use crate::registry::{ApiError, Context, DeleteOptions, PatchKind, Registry, Target};
use crate::simulation::cluster::{Cluster, News};
use crate::simulation::rule::Author;
use crate::simulation::sandbox::{Sandbox, Stage, status};
use crate::store::{Durability, Key, Op, Write};

/// How long a node waits when the API does not answer.
const RETRY: std::ops::Range<u64> = 500..4_000;
/// How often a node renews its Lease, in milliseconds.
const BEAT: std::ops::Range<u64> = 20_000..35_000;

/// One node.
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub up: bool,
    /// Whether it reaches the API.
    pub reachable: bool,
    /// How slow it is, as a factor.
    pub slowness: u64,
    /// By how many seconds its clock is ahead.
    pub ahead: i64,
    /// Whether what it runs may end badly.
    pub fragile: bool,
    inbox: VecDeque<(Timestamp, News)>,
    /// When it lists its Pods, because it cannot trust what it has heard.
    relist: Option<Timestamp>,
    sandboxes: BTreeMap<Arc<str>, Sandbox>,
    /// Pods that it is done with, by uid.
    done: BTreeSet<Arc<str>>,
    beat: Timestamp,
}

/// All nodes.
pub struct Fleet {
    /// In the order of their numbers.
    pub nodes: Vec<Node>,
    /// How fast it all goes, and how it ends.
    rng: fastrand::Rng,
}

/// A random time between so many milliseconds.
pub fn millis(rng: &mut fastrand::Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_micros(rng.u64(range.start * 1000..range.end * 1000))
}

impl Node {
    fn clock(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_micros(now.as_micros() + self.ahead * 1_000_000)
    }

    /// When it has something to do.
    pub fn next(&self) -> Option<Timestamp> {
        if !self.up {
            return None;
        }
        let news = self.inbox.front().map(|(time, _)| *time).filter(|_| self.reachable);
        let sandboxes = self.sandboxes.values().filter_map(|sandbox| sandbox.next);
        sandboxes.chain(news).chain(self.relist.filter(|_| self.reachable)).chain([self.beat]).min()
    }

    /// Whether it has told everything and nothing is about to happen.
    pub fn is_idle(&self) -> bool {
        self.up
            && self.reachable
            && self.inbox.is_empty()
            && self.relist.is_none()
            && self.sandboxes.values().all(|sandbox| sandbox.next.is_none())
    }
}

impl Fleet {
    /// So many nodes that have been there for a while.
    pub fn new(names: impl Iterator<Item = String>, now: Timestamp, mut rng: fastrand::Rng) -> Fleet {
        let node = |name| Node {
            name,
            up: true,
            reachable: true,
            slowness: 1,
            ahead: 0,
            fragile: true,
            inbox: VecDeque::new(),
            relist: None,
            sandboxes: BTreeMap::new(),
            done: BTreeSet::new(),
            beat: now.plus(millis(&mut rng, 0..BEAT.end)),
        };
        let nodes = names.map(node).collect();
        Fleet { nodes, rng }
    }

    fn wait(&mut self, at: usize, range: std::ops::Range<u64>) -> Duration {
        millis(&mut self.rng, range) * u32::try_from(self.nodes[at].slowness).unwrap_or(1)
    }

    /// Tells a node of a Pod, unless it is out of reach. Answers which one.
    pub fn tell(&mut self, news: News, now: Timestamp) -> Option<usize> {
        let name = news.pod().body.node.clone()?;
        let at = self.nodes.iter().position(|node| node.name == name)?;
        if !self.nodes[at].up || !self.nodes[at].reachable {
            return None;
        }
        let then = now.plus(self.wait(at, 1..80));
        let inbox = &mut self.nodes[at].inbox;
        let then = inbox.back().map_or(then, |(last, _)| then.max(*last));
        inbox.push_back((then, news));
        Some(at)
    }

    /// The node lists its Pods soon: it was away, or the API was.
    pub fn reconnect(&mut self, at: usize, now: Timestamp) {
        let then = now.plus(self.wait(at, 10..2_000));
        let node = &mut self.nodes[at];
        node.inbox.clear();
        node.relist = Some(then);
    }

    /// The node dies with all that runs on it.
    pub fn crash(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.up = false;
        node.sandboxes.clear();
        node.done.clear();
        node.inbox.clear();
    }

    /// The node comes back, with nothing running.
    pub fn boot(&mut self, at: usize, now: Timestamp) {
        self.nodes[at].up = true;
        self.nodes[at].beat = now;
        self.reconnect(at, now);
    }

    /// A container of some Pod of the node ends and is started again.
    pub fn stumble(&mut self, at: usize, now: Timestamp) {
        let running: Vec<Arc<str>> = self.nodes[at]
            .sandboxes
            .iter()
            .filter(|(_, sandbox)| sandbox.stage == Stage::Ready && sandbox.told && !sandbox.ends)
            .map(|(uid, _)| uid.clone())
            .collect();
        if let Some(uid) = self.rng.choice(running)
            && let Some(sandbox) = self.nodes[at].sandboxes.get_mut(&uid)
        {
            sandbox.restarts += 1;
            sandbox.go(Stage::Running, now);
        }
    }

    /// Lets a node do what is due. Without an API it can say nothing.
    pub fn act(&mut self, at: usize, cluster: &mut Cluster, api: Option<&Registry>) {
        let now = cluster.clock.now();
        let api = api.filter(|_| self.nodes[at].reachable);
        if self.nodes[at].beat <= now {
            self.beat(at, cluster, api);
        }
        if api.is_some() {
            if self.nodes[at].relist.is_some_and(|time| time <= now) {
                self.relist(at, cluster);
            }
            while self.nodes[at].inbox.front().is_some_and(|(time, _)| *time <= now) {
                if let Some((_, news)) = self.nodes[at].inbox.pop_front() {
                    self.hear(at, &news, cluster);
                }
            }
        } else if self.nodes[at].reachable {
            self.reconnect(at, now);
        }
        let due = |sandbox: &Sandbox| sandbox.next.is_some_and(|time| time <= now);
        let all = self.nodes[at].sandboxes.iter().filter(|(_, sandbox)| due(sandbox));
        for uid in all.map(|(uid, _)| uid.clone()).collect::<Vec<_>>() {
            self.advance(at, &uid, cluster, api);
        }
    }

    fn beat(&mut self, at: usize, cluster: &mut Cluster, api: Option<&Registry>) {
        let now = cluster.clock.now();
        let Some(api) = api else {
            self.nodes[at].beat = now.plus(self.wait(at, RETRY));
            return;
        };
        self.nodes[at].beat = now.plus(millis(&mut self.rng, BEAT));
        let node = &self.nodes[at];
        let time = node.clock(now);
        let (key, lease) = lease(&node.name, time);
        let write =
            Write { key, op: Op::Put(lease.into()), when: Vec::new(), durability: Durability::Volatile };
        let store = cluster.store.clone();
        let _ = cluster.ask(Author::Node(at), store.write(write));
        let found = cluster.truth.nodes.get("", &node.name);
        let ready = found.is_some_and(|one| one.body.ready().is_some_and(|ready| ready.status == "True"));
        if ready {
            return;
        }
        let cx = Context::new(User::node(&node.name));
        let whole = self::node(&node.name, time);
        if found.is_none() {
            let all = Target::all(&kinds::node::KIND, "");
            let made = cluster.ask(Author::Node(at), api.create(&cx, &all, whole.clone()));
            self.expect(cluster, at, made.map(drop));
        }
        let target = Target::one(&kinds::node::KIND, "", &self.nodes[at].name).sub("status");
        let patch = json!({"status": whole["status"]});
        let said = cluster.ask(Author::Node(at), api.patch(&cx, &target, PatchKind::Merge, &patch));
        self.expect(cluster, at, said.map(drop));
    }

    /// What a node asks for is not refused, but for what has changed meanwhile.
    fn expect(&self, cluster: &mut Cluster, at: usize, result: Result<(), ApiError>) {
        use crate::registry::Reason::{AlreadyExists, Conflict, NotFound};
        if let Err(error) = result
            && !matches!(error.reason, NotFound | Conflict | AlreadyExists)
        {
            let what = format!("{}: {}", self.nodes[at].name, error.message);
            cluster.fail("a node may do what it has to do", what);
        }
    }

    fn relist(&mut self, at: usize, cluster: &mut Cluster) {
        self.nodes[at].relist = None;
        let pods: Vec<Arc<Object<Pod>>> = cluster.truth.pods.on_node(&self.nodes[at].name).cloned().collect();
        let there: BTreeSet<&Arc<str>> = pods.iter().map(|pod| &pod.meta.uid).collect();
        self.nodes[at].sandboxes.retain(|uid, _| there.contains(uid));
        for pod in pods {
            self.hear(at, &News::Is(pod), cluster);
        }
    }

    fn hear(&mut self, at: usize, news: &News, cluster: &mut Cluster) {
        let now = cluster.clock.now();
        let pod = news.pod();
        let uid = &pod.meta.uid;
        if let News::Gone(_) = news {
            self.nodes[at].sandboxes.remove(uid);
            self.nodes[at].done.remove(uid);
            return;
        }
        if self.nodes[at].done.contains(uid) {
            return;
        }
        if !self.nodes[at].sandboxes.contains_key(uid) {
            if pod.body.finished() && !pod.meta.deleting() {
                return;
            }
            let wait = self.wait(at, 20..3_000);
            let sandbox = Sandbox::new(pod, now.plus(wait));
            if sandbox.runs() {
                self.watch_for_twins(at, pod, cluster);
            }
            self.nodes[at].sandboxes.insert(uid.clone(), sandbox);
        }
        let wait = self.wait(at, 0..4_000);
        if let Some(sandbox) = self.nodes[at].sandboxes.get_mut(uid)
            && pod.meta.deleting()
        {
            sandbox.end_by(now.plus(wait));
        }
    }

    /// A Pod of a StatefulSet runs on one node at a time.
    fn watch_for_twins(&self, at: usize, pod: &Object<Pod>, cluster: &mut Cluster) {
        if pod.meta.controller().is_none_or(|owner| owner.kind != "StatefulSet") {
            return;
        }
        for (other, node) in self.nodes.iter().enumerate() {
            let mut twins = node.sandboxes.values().filter(|one| one.key == pod.key() && one.runs());
            if other != at && twins.next().is_some() {
                let what = format!("{} runs on {} and {}", pod.key(), node.name, self.nodes[at].name);
                cluster.fail("no number of a StatefulSet runs twice", what);
            }
        }
    }

    /// What is due of a Pod: the next stage of its life, or telling of the present one.
    fn advance(&mut self, at: usize, uid: &Arc<str>, cluster: &mut Cluster, api: Option<&Registry>) {
        let now = cluster.clock.now();
        let (ready_in, over_in, retry) =
            (self.wait(at, 10..2_000), self.wait(at, 200..20_000), self.wait(at, RETRY));
        let (at_once, code) = (self.rng.u8(..10) < 7, self.rng.u8(..10));
        let fragile = self.nodes[at].fragile;
        let Some(sandbox) = self.nodes[at].sandboxes.get_mut(uid) else { return };
        sandbox.step(now, at_once, if !fragile || code < 7 { 0 } else { [1, 3, 42][usize::from(code) - 7] });
        if !sandbox.told {
            sandbox.next = Some(now.plus(retry));
            let Some(api) = api else { return };
            let sandbox = sandbox.clone();
            if !self.report(at, &sandbox, cluster, api) {
                return;
            }
            let Some(sandbox) = self.nodes[at].sandboxes.get_mut(uid) else { return };
            sandbox.told = true;
            sandbox.next = match sandbox.stage {
                Stage::Running => Some(now.plus(ready_in)),
                Stage::Ready if sandbox.ends => Some(now.plus(over_in)),
                _ => None,
            };
            if let Some(end) = sandbox.end {
                sandbox.next = Some(sandbox.next.map_or(end, |next| next.min(end)));
            }
            if matches!(sandbox.stage, Stage::Over(_)) && sandbox.end.is_some() {
                sandbox.next = Some(now);
            }
        } else if matches!(sandbox.stage, Stage::Over(_)) && sandbox.end.is_some() {
            sandbox.next = Some(now.plus(retry));
            let Some(api) = api else { return };
            self.bury(at, uid, cluster, api);
        }
    }

    /// Says how a Pod is; false if it is to be said again.
    fn report(&mut self, at: usize, sandbox: &Sandbox, cluster: &mut Cluster, api: &Registry) -> bool {
        let node = &self.nodes[at];
        let cx = Context::new(User::node(&node.name));
        let (namespace, name) = (&*sandbox.key.namespace, &*sandbox.key.name);
        let target = Target::one(&kinds::pod::KIND, namespace, name).sub("status");
        let patch = status(sandbox, node.clock(cluster.clock.now()));
        let said = cluster.ask(Author::Node(at), api.patch(&cx, &target, PatchKind::Merge, &patch));
        let gone = said.as_ref().is_err_and(|error| error.is_not_found() || is_conflict(error));
        if gone {
            // It is no more, or another one of the same name.
            self.nodes[at].sandboxes.remove(&sandbox.uid);
            return false;
        }
        self.expect(cluster, at, said.map(drop));
        true
    }

    /// Takes away a Pod that was deleted and has ended.
    fn bury(&mut self, at: usize, uid: &Arc<str>, cluster: &mut Cluster, api: &Registry) {
        let Some(sandbox) = self.nodes[at].sandboxes.remove(uid) else { return };
        self.nodes[at].done.insert(uid.clone());
        let cx = Context::new(User::node(&self.nodes[at].name));
        let target = Target::one(&kinds::pod::KIND, &sandbox.key.namespace, &sandbox.key.name);
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            uid: Some(uid.to_string()),
            ..DeleteOptions::default()
        };
        let done = cluster.ask(Author::Node(at), api.delete(&cx, &target, &options));
        self.expect(cluster, at, done.map(drop));
    }
}

fn is_conflict(error: &ApiError) -> bool {
    error.reason == crate::registry::Reason::Conflict
}

/// A node as it registers itself.
pub fn node(name: &str, now: Timestamp) -> Value {
    let condition = |kind: &str, status: &str| {
        json!({"type": kind, "status": status, "reason": "Simulated", "message": "simulated",
            "lastHeartbeatTime": now, "lastTransitionTime": now})
    };
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "30"},
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "30"},
            "conditions": [condition("Ready", "True"), condition("MemoryPressure", "False"),
                condition("DiskPressure", "False"), condition("PIDPressure", "False")],
        },
    })
}

/// A node's Lease and its key.
pub fn lease(name: &str, now: Timestamp) -> (Key, String) {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": NODE_LEASES, "uid": format!("lease-{name}")},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now.micros()},
    });
    (Key::of("coordination.k8s.io", "leases", NODE_LEASES, name), lease.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::clock::Clock;
    use crate::simulation::rules::history::{managed, phase, pod, with};

    /// A Pod of this uid on this node, as a node is told of it.
    fn news(uid: &str, node: &str, owner: &str) -> Value {
        let owned = with(phase(pod("s-0"), "Pending"), managed("apps/v1", owner, "s"));
        with(owned, json!({"metadata": {"uid": uid}, "spec": {"nodeName": node}}))
    }

    #[test]
    fn a_number_of_a_stateful_set_can_run_twice() {
        let cases = [
            ("StatefulSet", "a", "n1", true),
            ("StatefulSet", "a", "n0", false),
            ("ReplicaSet", "a", "n1", false),
        ];
        for (owner, uid, node, broken) in cases {
            let mut cluster = Cluster::new(Vec::new());
            let names = ["n0", "n1"].map(str::to_owned).into_iter();
            let mut fleet = Fleet::new(names, Clock::new().now(), fastrand::Rng::with_seed(0));
            for (revision, (uid, node)) in (1..).zip([("first", "n0"), (uid, node)]) {
                let stored = news(uid, node, owner).to_string().into();
                cluster.truth.apply("/core/pods/default/s-0", revision, Some(&stored)).unwrap();
                let pod = cluster.truth.pods.get("default", "s-0").unwrap().clone();
                let at = usize::from(node == "n1");
                fleet.hear(at, &News::Is(pod), &mut cluster);
            }
            let verdict = cluster.verdict().map_err(|broken| broken.what);
            let twice = "default/s-0 runs on n0 and n1".to_owned();
            assert_eq!(verdict, if broken { Err(twice) } else { Ok(()) }, "{owner} {uid} on {node}");
        }
    }
}

//! The whole control plane against chance: all controllers over a cluster in memory, nodes that start and end Pods when
//! they please, mirrors that lag, and a process that dies between any two writes.
//!
//! A seed is a whole run; a failing one is printed. Time is the simulation's own, so a run takes milliseconds.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use edge_api::kinds;
use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::controllers::all_controllers;
use crate::mirror::World;
use crate::reconcile::ledger::{Ledger, poll, settings};
use crate::reconcile::{Driver, Job, Note, Outcome, carry_out};

type Running = (Job, Option<Timestamp>, Pin<Box<dyn Future<Output = (Outcome, Vec<Note>)>>>);

struct Simulation {
    rng: fastrand::Rng,
    ledger: Arc<Ledger>,
    driver: Driver,
    /// How much of the log the mirrors have seen.
    seen: usize,
    running: Vec<Running>,
    /// How much of the log the invariants have been checked on.
    checked: usize,
    pods: BTreeMap<String, Value>,
    /// Bounds of Pods since the last calm, by Deployment: the most allowed, the fewest available.
    bounds: BTreeMap<String, (usize, usize)>,
    /// Whether somebody else than the controllers takes Pods away, which no controller can make good at once.
    violence: bool,
}

fn driver() -> Driver {
    Driver::new(World::new(settings()), all_controllers())
}

fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "20"},
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}],
        },
    })
}

fn deployment(name: &str, replicas: i64, strategy: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas, "strategy": strategy, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "v0", "resources": {"requests": {"cpu": "50m"}}}]},
            },
        },
    })
}

impl Simulation {
    fn new(seed: u64, violence: bool) -> Simulation {
        let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
        let ledger = Arc::new(Ledger::with(now, &[namespace, node("a"), node("b")]));
        ledger.interrupt(seed ^ 0x5eed);
        let mut simulation = Simulation {
            rng: fastrand::Rng::with_seed(seed),
            ledger,
            driver: driver(),
            seen: 0,
            running: Vec::new(),
            checked: 0,
            pods: BTreeMap::new(),
            bounds: BTreeMap::new(),
            violence,
        };
        simulation.restart();
        simulation
    }

    /// The process dies with everything it was doing, and a new one starts.
    fn restart(&mut self) {
        self.running.clear();
        self.driver = driver();
        self.seen = self.ledger.log_length();
        self.ledger.show(&mut self.driver);
    }

    /// One thing happens.
    fn step(&mut self) {
        match self.rng.u32(..100) {
            0..30 => self.deliver(),
            30..55 => self.begin(),
            55..80 => self.proceed(),
            80..97 => self.live(),
            97..99 => self.ledger.pass(self.rng.f64() * 2.0),
            _ => self.restart(),
        }
        self.check();
    }

    fn deliver(&mut self) {
        let count = self.rng.usize(1..8);
        let changes = self.ledger.changes(self.seen, count);
        self.seen += changes.len();
        self.driver.observe(&changes, self.ledger.now());
    }

    fn begin(&mut self) {
        if let Some(task) = self.driver.plan(self.ledger.now(), 16) {
            let (ledger, plan, wake_at) = (self.ledger.clone(), task.plan.clone(), task.plan.wake_at);
            let future = Box::pin(async move { carry_out(&*ledger, task.account, &plan).await });
            self.running.push((task.job, wake_at, future));
        }
    }

    fn proceed(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let at = self.rng.usize(..self.running.len());
        if let Poll::Ready((outcome, _)) = poll(self.running[at].2.as_mut()) {
            let (job, wake_at, _) = self.running.swap_remove(at);
            let head = crate::reconcile::Writer::head(&*self.ledger);
            self.driver.finish(job, outcome, head, wake_at, self.ledger.now());
        }
    }

    /// A node does something about one of its Pods.
    fn live(&mut self) {
        let pods: Vec<Value> = self.ledger.all(&kinds::pod::KIND);
        let bound: Vec<&Value> = pods.iter().filter(|pod| !pod["spec"]["nodeName"].is_null()).collect();
        let Some(pod) = self.rng.choice(bound) else { return };
        let (namespace, name) =
            (pod["metadata"]["namespace"].as_str().unwrap(), pod["metadata"]["name"].as_str().unwrap());
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            return self.ledger.remove(&kinds::pod::KIND, namespace, name);
        }
        let now = self.ledger.now();
        self.ledger.edit(&kinds::pod::KIND, namespace, name, |pod| {
            if pod["status"]["phase"] != "Running" {
                pod["status"] = json!({"phase": "Running", "podIP": "10.42.0.9", "conditions": [
                    {"type": "Ready", "status": "True", "lastTransitionTime": now},
                ]});
            }
        });
    }

    /// A user changes a Deployment.
    fn change(&mut self, name: &str) {
        let (replicas, image) = (self.rng.i64(1..8), format!("v{}", self.rng.u32(..4)));
        let what = self.rng.u32(..4);
        self.ledger.edit(&kinds::deployment::KIND, "default", name, |deployment| match what {
            0 => deployment["spec"]["replicas"] = json!(replicas),
            1 | 2 => deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image),
            _ => deployment["spec"]["paused"] = json!(deployment["spec"]["paused"] != true),
        });
        self.widen(name);
    }

    /// Takes the Deployment's present size into the bounds.
    fn widen(&mut self, name: &str) {
        let Some(deployment) = self.ledger.get(&kinds::deployment::KIND, "default", name) else { return };
        let replicas = usize::try_from(deployment["spec"]["replicas"].as_i64().unwrap()).unwrap();
        // The strategies below are numbers, not shares.
        let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
        let number =
            |field: &str, else_: u64| usize::try_from(rolling[field].as_u64().unwrap_or(else_)).unwrap();
        let recreate = deployment["spec"]["strategy"]["type"] == "Recreate";
        let most = replicas + if recreate { 0 } else { number("maxSurge", 1) };
        let fewest = if recreate { 0 } else { replicas.saturating_sub(number("maxUnavailable", 0)) };
        let bounds = self.bounds.entry(name.to_owned()).or_insert((most, fewest));
        *bounds = (bounds.0.max(most), bounds.1.min(fewest));
    }

    fn kill_a_pod(&mut self) {
        let pods = self.ledger.all(&kinds::pod::KIND);
        if let Some(pod) = self.rng.choice(&pods) {
            let name = pod["metadata"]["name"].as_str().unwrap();
            self.ledger.delete(&kinds::pod::KIND, "default", name);
        }
    }

    /// Looks at every change of a Pod in the order in which they happened.
    fn check(&mut self) {
        for change in self.ledger.changes(self.checked, usize::MAX) {
            self.checked += 1;
            let Some(name) = change.key.as_str().strip_prefix("/core/pods/default/").map(str::to_owned)
            else {
                continue;
            };
            let after: Option<Value> =
                change.after.as_ref().map(|bytes| serde_json::from_slice(bytes).unwrap());
            let before = match &after {
                Some(pod) => self.pods.insert(name.clone(), pod.clone()),
                None => self.pods.remove(&name),
            };
            let app = |pod: &Value| pod["metadata"]["labels"]["app"].as_str().unwrap_or_default().to_owned();
            let Some(app) = after.as_ref().or(before.as_ref()).map(app) else { continue };
            let Some((most, fewest)) = self.bounds.get(&app).copied() else { continue };
            if before.is_none() {
                let active = self
                    .pods
                    .values()
                    .filter(|pod| pod["metadata"]["labels"]["app"] == *app && is_active(pod));
                assert!(active.count() <= most, "{app}: more than {most} Pods with {name}");
            }
            let was = before.as_ref().is_some_and(is_available);
            if was && !after.as_ref().is_some_and(is_available) && !self.violence {
                let left = self
                    .pods
                    .values()
                    .filter(|pod| pod["metadata"]["labels"]["app"] == *app && is_available(pod));
                let left = left.count();
                assert!(left >= fewest, "{app}: {left} available without {name}, {fewest} needed");
            }
        }
    }

    /// Lets everything come to an end, in which time may pass.
    fn calm(&mut self) {
        for round in 0.. {
            if round == 50_000 {
                let log = self.ledger.changes(self.ledger.log_length().saturating_sub(12), 12);
                panic!("does not come to rest; {} running; {log:#?}", self.running.len());
            }
            self.deliver();
            self.begin();
            self.proceed();
            self.live();
            self.check();
            let quiet =
                self.driver.is_quiet() && self.running.is_empty() && self.seen == self.ledger.log_length();
            if quiet && self.all_pods_live() {
                match self.driver.next_timer() {
                    // Back-off after failures and stale plans, not deadlines.
                    Some(time) if time.since(self.ledger.now()).as_secs() < 10 => self.ledger.pass_to(time),
                    _ => return,
                }
            }
        }
    }

    fn all_pods_live(&self) -> bool {
        let pods = self.ledger.all(&kinds::pod::KIND);
        pods.iter().all(|pod| is_available(pod) || pod["spec"]["nodeName"].is_null() && is_active(pod))
    }

    fn forget_bounds(&mut self) {
        self.bounds.clear();
        for deployment in self.ledger.all(&kinds::deployment::KIND) {
            self.widen(deployment["metadata"]["name"].as_str().unwrap());
        }
    }

    /// What must be true when everything has come to rest.
    fn assert_settled(&self) {
        let pods = self.ledger.all(&kinds::pod::KIND);
        let sets = self.ledger.all(&kinds::replica_set::KIND);
        for pod in &pods {
            let owner = &pod["metadata"]["ownerReferences"][0]["uid"];
            assert!(
                sets.iter().any(|set| set["metadata"]["uid"] == *owner),
                "orphan {}",
                pod["metadata"]["name"]
            );
            let name = pod["metadata"]["name"].as_str().unwrap();
            assert_eq!(
                self.ledger.times_created(&kinds::pod::KIND, "default", name),
                1,
                "{name} was created twice"
            );
        }
        for deployment in self.ledger.all(&kinds::deployment::KIND) {
            let wanted = deployment["spec"]["replicas"].as_u64().unwrap();
            let name = &deployment["metadata"]["name"];
            let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
            let mine: Vec<&Value> =
                pods.iter().filter(|pod| pod["metadata"]["labels"]["app"] == *name).collect();
            assert_eq!(mine.len() as u64, wanted, "{name}: {deployment:#}");
            assert!(
                mine.iter().all(|pod| pod["spec"]["containers"][0]["image"] == *image),
                "{name}: old Pods"
            );
            assert_eq!(deployment["status"]["availableReplicas"], wanted, "{name}: {deployment:#}");
            assert_eq!(deployment["status"]["updatedReplicas"], wanted, "{name}");
            assert_eq!(
                deployment["status"]["observedGeneration"], deployment["metadata"]["generation"],
                "{name}"
            );
            let conditions = deployment["status"]["conditions"].as_array().unwrap();
            let reason =
                |kind: &str| conditions.iter().find(|c| c["type"] == kind).map(|c| c["reason"].clone());
            assert_eq!(reason("Progressing"), Some(json!("NewReplicaSetAvailable")), "{deployment:#}");
            assert_eq!(reason("Available"), Some(json!("MinimumReplicasAvailable")), "{deployment:#}");
            let owned = sets.iter().filter(|set| set["metadata"]["ownerReferences"][0]["name"] == *name);
            assert!(owned.count() <= 3, "{name}: history limit 2");
        }
    }
}

fn is_active(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"] != "Failed"
}

fn is_available(pod: &Value) -> bool {
    is_active(pod)
        && pod["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

fn run(seed: u64, violence: bool) {
    let mut simulation = Simulation::new(seed, violence);
    let surge = simulation.rng.i64(0..3);
    let unavailable = if surge == 0 { 1 } else { simulation.rng.i64(0..2) };
    let rolling =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
    simulation.ledger.put(deployment("web", simulation.rng.i64(1..8), rolling));
    simulation.ledger.put(deployment("job", 2, json!({"type": "Recreate"})));
    simulation.forget_bounds();
    // The first rollout has nothing to keep available.
    simulation.bounds.values_mut().for_each(|bounds| bounds.1 = 0);
    simulation.calm();
    simulation.assert_settled();
    for _ in 0..3 {
        simulation.forget_bounds();
        for _ in 0..simulation.rng.u32(1..4) {
            let name = if simulation.rng.bool() { "web" } else { "job" };
            simulation.change(name);
            for _ in 0..simulation.rng.u32(..200) {
                simulation.step();
                if violence && simulation.rng.u32(..50) == 0 {
                    simulation.kill_a_pod();
                }
            }
        }
        for name in ["web", "job"] {
            simulation
                .ledger
                .edit(&kinds::deployment::KIND, "default", name, |d| d["spec"]["paused"] = json!(false));
        }
        simulation.calm();
        simulation.assert_settled();
    }
    simulation.bounds.clear();
    for name in ["web", "job"] {
        simulation.ledger.delete(&kinds::deployment::KIND, "default", name);
        (0..50).for_each(|_| simulation.step());
    }
    simulation.calm();
    for kind in [&kinds::replica_set::KIND, &kinds::pod::KIND] {
        assert!(simulation.ledger.all(kind).is_empty(), "{} without owner", kind.plural);
    }
}

fn run_all(seeds: std::ops::Range<u64>, violence: bool) {
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed, violence)) {
            eprintln!("seed {seed} (violence: {violence}) failed");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn rollouts_keep_their_bounds_and_settle_whatever_dies_in_between() {
    run_all(0..60, false);
}

#[test]
fn rollouts_settle_when_pods_are_killed_meanwhile() {
    run_all(1000..1060, true);
}

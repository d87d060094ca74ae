//! One story: who acts when, and what it has to come to.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use edge_api::time::Timestamp;
use fastrand::Rng;

use crate::simulation::agenda::{Actor, Agenda};
use crate::simulation::cluster::Cluster;
use crate::simulation::fault::{self, Faults};
use crate::simulation::fleet::{self, Fleet, millis};
use crate::simulation::process::Process;
use crate::simulation::rule::Broken;
use crate::simulation::user::User;
use crate::store::{Key, RangeOptions, Revision, Stored};

/// How long everything may take to become as declared once nothing goes wrong any more: longer than any back-off.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The stories of seeds below this are short: every run of the tests tells two hundred of them.
const SHORT: u64 = 1000;
/// How many things may happen in a story.
const LENGTH: u64 = 400_000;
/// How long nothing may change after that.
const REST: Duration = Duration::from_secs(20);

/// See the module.
pub struct Story {
    /// What there is.
    pub cluster: Cluster,
    /// How many things have happened.
    steps: u64,
    rng: Rng,
    agenda: Agenda,
    process: Option<Process>,
    fleet: Fleet,
    user: User,
    faults: Faults,
    /// Whether things go wrong.
    wild: bool,
    /// Whether Events are written.
    events: bool,
    /// How many times the user still acts.
    acts: u32,
    /// Whether the user only deletes.
    deletes: bool,
    /// Until when the process does nothing.
    rests: Timestamp,
}

/// What every cluster has before anybody does anything: made once, by the control plane itself.
fn beginning() -> Vec<(Key, Stored)> {
    static OBJECTS: OnceLock<Vec<(Key, Stored)>> = OnceLock::new();
    let made = OBJECTS.get_or_init(|| {
        fastrand::seed(0);
        let mut cluster = Cluster::new(Vec::new());
        let mut process = Process::start(&mut cluster, false);
        let mut rng = Rng::with_seed(0);
        while process.is_busy(&cluster) {
            process.step(&mut cluster, &mut rng);
        }
        let page = cluster.store.range("/", &RangeOptions::default()).unwrap();
        page.items
    });
    made.clone()
}

impl Story {
    /// The story of a seed.
    pub fn new(seed: u64) -> Story {
        let mut objects = beginning();
        fastrand::seed(seed);
        let mut rng = Rng::with_seed(seed);
        let (nodes, workloads, size, acts) = match seed {
            _ if seed % 100 == 50 => (100, rng.usize(2..5), 20, 3..6),
            SHORT.. if rng.u8(..3) == 0 => (rng.usize(6..12), rng.usize(2..5), 8, 6..20),
            SHORT.. => (rng.usize(2..6), rng.usize(1..4), 5, 4..16),
            _ => (rng.usize(2..5), rng.usize(1..3), 4, 3..7),
        };
        let mut revision = objects.iter().map(|(_, stored)| stored.revision.0).max().unwrap_or(0);
        let names: Vec<String> = (0..nodes).map(|number| format!("n{number}")).collect();
        let now = Timestamp::from_seconds(1_767_225_600);
        for (number, name) in names.iter().enumerate() {
            let mut node = fleet::node(name, now);
            node["metadata"]["uid"] = format!("node-{number}").into();
            node["metadata"]["creationTimestamp"] = now.seconds().into();
            node["spec"]["podCIDR"] = format!("10.42.{number}.0/24").into();
            node["spec"]["podCIDRs"] = serde_json::json!([format!("10.42.{number}.0/24")]);
            let (key, lease) = fleet::lease(name, now);
            for (key, text) in [(Key::of("core", "nodes", "", name), node.to_string()), (key, lease)] {
                revision += 1;
                objects.push((key, Stored { revision: Revision(revision), value: Bytes::from(text) }));
            }
        }
        let mut cluster = Cluster::new(objects);
        cluster.say(format_args!("seed {seed}: {nodes} nodes, {workloads} workloads"));
        let now = cluster.clock.now();
        Story {
            process: None,
            agenda: Agenda::default(),
            fleet: Fleet::new(names.into_iter(), now, Rng::with_seed(rng.u64(..))),
            user: User::new(workloads, size, Rng::with_seed(rng.u64(..))),
            faults: Faults::new(Rng::with_seed(rng.u64(..))),
            wild: false,
            events: rng.u8(..8) == 0,
            acts: rng.u32(acts),
            deletes: false,
            rests: now,
            steps: 0,
            cluster,
            rng,
        }
    }

    /// Tells it to its end.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub fn tell(&mut self) -> Result<(), Broken> {
        let now = self.cluster.clock.now();
        self.agenda.set(Actor::Plane, Some(now));
        (0..self.fleet.nodes.len())
            .for_each(|at| self.agenda.set(Actor::Node(at), self.fleet.nodes[at].next()));
        self.chaos(self.acts)?;
        self.calm()?;
        self.deletes = true;
        self.chaos(u32::MAX)?;
        self.calm()?;
        self.sweep()
    }

    /// The user acts so often, or until nothing is left to do, while things go wrong.
    fn chaos(&mut self, acts: u32) -> Result<(), Broken> {
        let now = self.cluster.clock.now();
        self.wild = true;
        self.acts = acts;
        self.fleet.nodes.iter_mut().for_each(|node| node.fragile = true);
        self.faults.begin(now);
        self.agenda.set(Actor::Fault, self.faults.next());
        self.agenda.set(Actor::User, Some(now));
        while self.acts > 0 {
            self.next()?;
        }
        self.agenda.set(Actor::User, None);
        Ok(())
    }

    /// Nothing goes wrong any more; so everything becomes what was declared, and stays it.
    fn calm(&mut self) -> Result<(), Broken> {
        self.wild = false;
        self.fleet.nodes.iter_mut().for_each(|node| node.fragile = false);
        self.faults.end(&mut self.cluster, &mut self.fleet);
        self.agenda.set(Actor::Fault, None);
        (0..self.fleet.nodes.len())
            .for_each(|at| self.agenda.set(Actor::Node(at), self.fleet.nodes[at].next()));
        self.rests = self.cluster.clock.now();
        while self.process.is_none() {
            self.next()?;
        }
        let api = self.api();
        self.user.make_good(&mut self.cluster, &api);
        self.settle()
    }

    fn settle(&mut self) -> Result<(), Broken> {
        self.cluster.say(format_args!("calm"));
        let end = self.cluster.clock.now().plus(PATIENCE);
        let (mut judged, mut verdict) = (u64::MAX, Ok(()));
        loop {
            self.next()?;
            let at_rest = |story: &Story| {
                let quiet = story.process.as_ref().is_some_and(|process| process.is_quiet(&story.cluster));
                quiet && story.fleet.nodes.iter().all(fleet::Node::is_idle)
            };
            let late = self.cluster.clock.now() > end;
            if judged != self.cluster.changes && at_rest(self) || late {
                judged = self.cluster.changes;
                verdict = self.cluster.settled();
                let busy = self.process.as_ref().map(|process| process.is_busy(&self.cluster));
                if late && verdict.is_ok() && !at_rest(self) {
                    let what = format!("the process is busy: {busy:?}");
                    verdict = Err(Broken { rule: "everything comes to rest", what });
                }
            }
            match &verdict {
                Ok(()) if judged == self.cluster.changes && self.cluster.silence() > REST => return Ok(()),
                Err(broken) if late => return Err(broken.clone()),
                _ => {}
            }
        }
    }

    /// The user deletes what was left on purpose; then there is nothing.
    fn sweep(&mut self) -> Result<(), Broken> {
        let api = self.api();
        self.user.sweep(&mut self.cluster, &api);
        self.settle()?;
        let truth = &self.cluster.truth;
        let left = [
            ("Pods", truth.pods.len()),
            ("ReplicaSets", truth.replica_sets.len()),
            ("Deployments", truth.deployments.len()),
            ("StatefulSets", truth.stateful_sets.len()),
            ("DaemonSets", truth.daemon_sets.len()),
            ("ControllerRevisions", truth.revisions.len()),
            ("Jobs", truth.jobs.len()),
            ("CronJobs", truth.cron_jobs.len()),
        ];
        match left.iter().find(|(_, count)| *count > 0) {
            Some((what, count)) => {
                Err(Broken { rule: "nothing is left of what was deleted", what: format!("{count} {what}") })
            }
            None => Ok(()),
        }
    }

    fn api(&self) -> crate::registry::Registry {
        self.process.as_ref().map(|process| process.registry.clone()).expect("the process runs")
    }

    /// The next thing happens.
    fn next(&mut self) -> Result<(), Broken> {
        let (time, actor) = self.agenda.pop().expect("somebody always has something to do");
        self.cluster.clock.pass_to(time);
        self.steps += 1;
        if self.steps > LENGTH {
            self.cluster.fail("every story has an end", format!("{actor:?} acts still"));
        }
        match actor {
            Actor::Plane => self.plane(),
            Actor::Node(at) => {
                let api = self.process.as_ref().map(|process| process.registry.clone());
                self.fleet.act(at, &mut self.cluster, api.as_ref());
                self.agenda.set(Actor::Node(at), self.fleet.nodes[at].next());
            }
            Actor::User => self.user(),
            Actor::Fault => {
                let api = self.process.as_ref().map(|process| process.registry.clone());
                self.faults.act(&mut self.cluster, &mut self.fleet, api.as_ref());
                self.agenda.set(Actor::Fault, self.faults.next());
                let nodes = 0..self.fleet.nodes.len();
                nodes.for_each(|at| self.agenda.set(Actor::Node(at), self.fleet.nodes[at].next()));
            }
        }
        self.spread();
        self.wake();
        self.cluster.verdict()
    }

    /// Nodes are told what concerns them.
    fn spread(&mut self) {
        let now = self.cluster.clock.now();
        while let Some(news) = self.cluster.news.pop_front() {
            if let Some(at) = self.fleet.tell(news, now) {
                self.agenda.set(Actor::Node(at), self.fleet.nodes[at].next());
            }
        }
    }

    /// The process goes on when there is something to do for it.
    fn wake(&mut self) {
        let Some(process) = &self.process else { return };
        let now = self.cluster.clock.now();
        let time = if process.is_busy(&self.cluster) {
            Some(now)
        } else {
            process.next_timer().map(|time| self.cluster.clock.when(time).max(now))
        };
        self.agenda.set(Actor::Plane, time.map(|time| time.max(self.rests)));
    }

    fn plane(&mut self) {
        let now = self.cluster.clock.now();
        if self.process.is_none() {
            self.process = Some(Process::start(&mut self.cluster, self.events));
            // It has just read everything.
            self.cluster.quiet();
            for at in 0..self.fleet.nodes.len() {
                if self.fleet.nodes[at].up && self.fleet.nodes[at].reachable {
                    self.fleet.reconnect(at, now);
                    self.agenda.set(Actor::Node(at), self.fleet.nodes[at].next());
                }
            }
            return;
        }
        if self.wild && self.rng.u32(..400) == 0 {
            return self.kill(now);
        }
        let Some(process) = &mut self.process else { return };
        if self.wild && self.rng.u32(..400) == 0 {
            process.relist(&mut self.cluster);
        }
        process.step(&mut self.cluster, &mut self.rng);
        if process.is_quiet(&self.cluster) {
            self.cluster.quiet();
        }
        self.rests = now.plus(fault::pause(&mut self.rng, self.wild));
    }

    /// The process dies; what it had asked the store for is done in part.
    fn kill(&mut self, now: Timestamp) {
        self.process = None;
        for _ in 0..self.rng.usize(..=self.cluster.waiting()) {
            self.cluster.commit();
        }
        self.cluster.lose();
        self.cluster.say(format_args!("the control plane dies"));
        let down = if self.rng.u8(..4) == 0 { 0..90_000 } else { 0..3_000 };
        self.agenda.set(Actor::Plane, Some(now.plus(millis(&mut self.rng, down))));
    }

    fn user(&mut self) {
        let now = self.cluster.clock.now();
        let pause = if self.rng.bool() { 0..300 } else { 100..40_000 };
        self.agenda.set(Actor::User, Some(now.plus(millis(&mut self.rng, pause))));
        let Some(process) = &self.process else { return };
        let api = process.registry.clone();
        let nodes: Vec<&str> = self.fleet.nodes.iter().map(|node| &*node.name).collect();
        self.acts -= 1;
        if !self.deletes {
            self.user.act(&mut self.cluster, &api, &nodes);
        } else if !self.user.delete_a_workload(&mut self.cluster, &api) {
            self.acts = 0;
        }
    }
}

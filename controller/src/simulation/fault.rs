//! What goes wrong: nodes die, are cut off, slow or confused about the time; the control plane's clock jumps. Each is
//! mended after a while, or when calm is asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use edge_api::kinds;
use edge_api::time::Timestamp;
use fastrand::Rng;

use crate::identity::User;
use crate::registry::{Context, DeleteOptions, Registry, Target};
use crate::simulation::cluster::Cluster;
use crate::simulation::fleet::{Fleet, millis};
use crate::simulation::rule::Author;

#[derive(Clone, Copy, Debug)]
enum Mend {
    Boot(usize),
    Reach(usize),
    Speed(usize),
    NodeClock(usize),
    Clock,
}

/// See the module.
pub struct Faults {
    rng: Rng,
    mends: BTreeMap<(Timestamp, usize), Mend>,
    counted: usize,
    next: Option<Timestamp>,
}

impl Faults {
    /// Nothing goes wrong yet.
    pub fn new(rng: Rng) -> Faults {
        Faults { rng, mends: BTreeMap::new(), counted: 0, next: None }
    }

    /// From now on things go wrong.
    pub fn begin(&mut self, now: Timestamp) {
        self.next = Some(now.plus(millis(&mut self.rng, 0..30_000)));
    }

    /// When something goes wrong or is mended.
    pub fn next(&self) -> Option<Timestamp> {
        self.mends.keys().map(|(time, _)| *time).chain(self.next).min()
    }

    /// What is due.
    pub fn act(&mut self, cluster: &mut Cluster, fleet: &mut Fleet, api: Option<&Registry>) {
        let now = cluster.clock.now();
        while let Some((time, _)) = self.mends.keys().next().copied()
            && time <= now
            && let Some((_, mend)) = self.mends.pop_first()
        {
            carry_out(mend, cluster, fleet);
        }
        if self.next.is_some_and(|time| time <= now) {
            self.next = Some(now.plus(millis(&mut self.rng, 500..40_000)));
            self.strike(cluster, fleet, api);
        }
    }

    /// Nothing goes wrong any more, and everything is mended.
    pub fn end(&mut self, cluster: &mut Cluster, fleet: &mut Fleet) {
        self.next = None;
        cluster.clock.mend();
        for mend in std::mem::take(&mut self.mends).into_values() {
            carry_out(mend, cluster, fleet);
        }
    }

    fn later(&mut self, mend: Mend, now: Timestamp, seconds: std::ops::Range<u64>) {
        // Most faults are short; some outlast every patience.
        let short = seconds.start..(seconds.start + (seconds.end - seconds.start) / 8).max(seconds.start + 1);
        let range = if self.rng.u8(..4) > 0 { short } else { seconds };
        let then = now.plus(millis(&mut self.rng, range.start * 1000..range.end * 1000));
        self.counted += 1;
        self.mends.insert((then, self.counted), mend);
    }

    fn strike(&mut self, cluster: &mut Cluster, fleet: &mut Fleet, api: Option<&Registry>) {
        let now = cluster.clock.now();
        let at = self.rng.usize(..fleet.nodes.len());
        let whole = fleet.nodes[at].up && fleet.nodes[at].reachable;
        let name = fleet.nodes[at].name.clone();
        match self.rng.u8(..12) {
            0..3 if whole => {
                cluster.say(format_args!("{name} dies"));
                fleet.crash(at);
                self.later(Mend::Boot(at), now, 2..500);
                if let Some(api) = api.filter(|_| self.rng.u8(..4) == 0) {
                    cluster.say(format_args!("and is given up"));
                    let cx = Context::new(User::admin("user"));
                    let target = Target::one(&kinds::node::KIND, "", &name);
                    let options = DeleteOptions::default();
                    let _ = cluster.ask(Author::User, api.delete(&cx, &target, &options));
                }
            }
            3..5 if whole => {
                cluster.say(format_args!("{name} is cut off"));
                fleet.nodes[at].reachable = false;
                self.later(Mend::Reach(at), now, 2..500);
            }
            5 => {
                cluster.say(format_args!("{name} is slow"));
                fleet.nodes[at].slowness = 8;
                self.later(Mend::Speed(at), now, 10..300);
            }
            6 => {
                let seconds = self.rng.i64(-600..600);
                cluster.say(format_args!("the clock of {name} is off by {seconds} s"));
                fleet.nodes[at].ahead = seconds;
                self.later(Mend::NodeClock(at), now, 10..300);
            }
            7 | 8 => {
                let most = if self.rng.bool() { 60 } else { 7200 };
                let seconds = self.rng.i64(-most..most);
                cluster.say(format_args!("the clock jumps by {seconds} s"));
                cluster.clock.jump(seconds);
                if self.rng.bool() {
                    self.later(Mend::Clock, now, 1..300);
                }
            }
            _ if whole => fleet.stumble(at, now),
            _ => {}
        }
    }
}

fn carry_out(mend: Mend, cluster: &mut Cluster, fleet: &mut Fleet) {
    let now = cluster.clock.now();
    cluster.say(format_args!("mended: {mend:?}"));
    match mend {
        Mend::Boot(at) => fleet.boot(at, now),
        Mend::Reach(at) => {
            fleet.nodes[at].reachable = true;
            fleet.reconnect(at, now);
        }
        Mend::Speed(at) => fleet.nodes[at].slowness = 1,
        Mend::NodeClock(at) => fleet.nodes[at].ahead = 0,
        Mend::Clock => cluster.clock.mend(),
    }
}

/// How long the control plane's process rests between two steps: next to nothing, or now and then for a while.
pub fn pause(rng: &mut Rng, wild: bool) -> Duration {
    match rng.u32(..if wild { 200 } else { u32::MAX }) {
        0 => millis(rng, 100..20_000),
        1..4 => millis(rng, 10..500),
        _ => Duration::from_micros(rng.u64(50..1_500)),
    }
}

//! A Pod's life as a pure machine: events in, effects out.
//!
//! [`Machine::step`] reads no clock and touches nothing; a thin executor carries its effects out and reports back
//! with events. Every rule about order, restarts and ends is here and nowhere else.

mod ending;
mod record;
mod renewal;
mod restart;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use edge_api::kinds::pod::{Container, ContainerStateTerminated, Pod, RESIZE_DEFERRED, ResourceRequirements};
use edge_api::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::sandbox::{Exit, ExitReason};
use crate::supervisor::allocation::{Amounts, Refusal};
use crate::supervisor::crew;
use crate::supervisor::life::{Failure, Life, Now, Role, Run, Slot};
pub use crate::supervisor::machine::record::PodRecord;
use crate::supervisor::machine::record::record_of_status;
use crate::supervisor::machine::renewal::wished;
pub use crate::supervisor::machine::restart::RESTARTING_ALL;
use crate::supervisor::machine::restart::{Follows, follows};
use crate::supervisor::waiting;

/// Kubernetes' default for `terminationGracePeriodSeconds`.
const DEFAULT_GRACE: i64 = 30;
/// The reason of a Pod that the node could not keep.
pub const EVICTED: &str = "Evicted";
/// The reason of a Pod that the node ended because its host goes down.
pub const TERMINATED: &str = "Terminated";
/// The same in a sentence.
const SHUTDOWN: &str = "Pod was terminated in response to imminent node shutdown.";
/// Exit code of what was killed.
const KILLED: i32 = 137;
/// What a Pod gets on top of its grace period when its `preStop` has taken all of it.
pub const EXTENSION: Duration = Duration::from_secs(2);

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The Pod was seen, for the first time or changed.
    Changed(Arc<Pod>),
    /// The Pod is gone from the API.
    Removed,
    /// The node is short of something and cannot keep the Pod; the reason in a sentence.
    Evicted(String),
    /// The host goes down, and the Pod has no more than this time.
    Terminated(Duration),
    /// Volumes and network are there.
    Prepared,
    /// A container's image is here, or not.
    Image(usize, Result<ImageFound, Failure>),
    /// A container was started, or not.
    Started(usize, Result<Started, Failure>),
    /// A container's `postStart` has ended.
    PostStart(usize, Hook),
    /// A probe changed its mind.
    Probed(usize, Probed),
    /// A container's run has ended.
    Exited(usize, Exit),
    /// What the Pod's variables and volumes are made of has changed.
    Refreshed,
    /// The node grants other resources to the Pod, or not.
    Granted(Result<(), Refusal>),
    /// Others have less than before.
    Freed,
    /// A container has other limits now, or why not.
    Resized(usize, ResourceRequirements, Result<(), String>),
    /// The `preStop` of every container that has one has ended.
    Hooked,
    /// Nothing is routed to the Pod any more and nothing is under way.
    Drained,
    /// Time has passed.
    Tick,
}

/// An image that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFound {
    /// As it was asked for.
    pub name: Arc<str>,
    /// For the status.
    pub id: String,
}

/// A run that began.
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    /// `edgectl://…`
    pub id: String,
    /// The resources in force.
    pub resources: ResourceRequirements,
    /// It has a `postStart` to go through.
    pub has_hook: bool,
    /// It has a startup probe to pass.
    pub has_startup: bool,
    /// It has a readiness probe to pass.
    pub has_readiness: bool,
}

/// How a hook ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Well.
    Done,
    /// Not well.
    Failed,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// The startup probe succeeded.
    Up,
    /// The readiness probe changed.
    Ready(bool),
    /// The startup or liveness probe failed as often as it may.
    Dead {
        /// `liveness` or `startup`.
        probe: &'static str,
    },
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Bring volumes and network about; answers [`Event::Prepared`].
    Prepare,
    /// Find or fetch a container's image; answers [`Event::Image`].
    Fetch(usize),
    /// Start a container's run; answers [`Event::Started`], later [`Event::Exited`].
    Start(usize),
    /// End a container's run now.
    Kill(usize),
    /// Give up a container's start, or end its run if it has begun meanwhile.
    Abort(usize),
    /// Run a container's `preStop`, until then at the latest, and then end its run.
    Stop {
        /// Which container.
        container: usize,
        /// By when, on the clock of delays.
        by: Duration,
    },
    /// Ask the node for the resources that the Pod is to have now; answers [`Event::Granted`].
    Ask(Amounts),
    /// Give a container that runs the limits it is to have now; answers [`Event::Resized`].
    Resize(usize),
    /// Take the Pod out of routing, run what comes before the end ([`Event::Hooked`]), let finish what is under way,
    /// until then at the latest; answers [`Event::Drained`].
    Drain {
        /// By when, on the clock of delays.
        by: Duration,
        /// Whether there is time for hooks.
        hooks: bool,
    },
    /// Tell about it.
    Tell(Tale),
    /// Remember the record.
    Remember,
    /// Report the last status and then remove the Pod from the API.
    Delete,
    /// Remove everything the Pod has on this node.
    Release,
}

/// An Event to be recorded on the Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tale {
    /// The container it is about.
    pub container: Option<usize>,
    /// Whether it is a warning.
    pub warning: bool,
    /// Such as `Started`.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

/// Where the Pod stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Not even begun.
    New,
    /// Volumes and network are on their way.
    Preparing,
    /// Containers live by the rules.
    Active,
    /// No container may begin any more; those alive are let go.
    Ending {
        /// Why.
        why: Ending,
        /// When patience ends.
        by: Duration,
        /// A `preStop` is under way.
        hooks: bool,
        /// Everything alive was told to end.
        killed: bool,
    },
    /// All containers have ended for good; the Pod is over.
    Over(Phase),
    /// Nothing is left here.
    Released,
}

/// Why a Pod ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The API says so.
    Deleted,
    /// It was active for too long.
    Deadline,
    /// The node is short of something.
    Evicted,
    /// The host goes down, and there is no more than this time.
    Shutdown(Duration),
    /// Its main containers have ended for good, its sidecars have not.
    Finished,
    /// It is gone from the API already.
    Removed,
}

/// A Pod's phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Not all containers have run yet.
    Pending,
    /// At least one runs or will again.
    Running,
    /// All ended well.
    Succeeded,
    /// All ended, not all well.
    Failed,
}

/// The life of one Pod.
#[derive(Debug, Clone)]
pub struct Machine {
    pod: Arc<Pod>,
    stage: Stage,
    slots: Vec<Slot>,
    start_time: Timestamp,
    prepared: bool,
    deleted: bool,
    reason: String,
    message: String,
    /// What the node has granted to each container.
    granted: Vec<ResourceRequirements>,
    /// Why it has not granted what they are to have now.
    refusal: Option<Refusal>,
    /// Since which generation a grant has not reached all containers yet.
    resizing: Option<i64>,
    /// Whether its containers end so that it can begin anew.
    anew: bool,
    /// Whether it was initialized before it began anew, and so stays it.
    initialized: bool,
    /// When its time began, if this process saw that.
    born: Option<Duration>,
    /// When it became active and how old it was then, for its deadline.
    active_since: Option<(Duration, Duration)>,
}

impl Machine {
    /// A Pod that this node sees for the first time, or again after a restart.
    pub fn new(pod: Arc<Pod>, record: Option<PodRecord>, now: Now) -> Machine {
        let slots: Vec<Slot> =
            crew::of(&pod).map(|(container, role)| Slot::new(&container.name, role)).collect();
        let record = record.unwrap_or_else(|| record_of_status(&pod));
        let start_time = record.start_time.or(pod.status.start_time);
        let granted = if record.granted.is_empty() { wished(&pod) } else { record.granted.clone() };
        let mut machine = Machine {
            stage: Stage::New,
            slots,
            start_time: start_time.unwrap_or(now.wall),
            prepared: false,
            deleted: false,
            reason: record.reason.clone(),
            message: record.message.clone(),
            granted,
            refusal: None,
            resizing: None,
            anew: record.anew && record.over.is_none(),
            initialized: record.initialized,
            born: start_time.is_none().then_some(now.mono),
            active_since: None,
            pod,
        };
        machine.restore(&record, now);
        if let Some(phase) = record.over {
            machine.stage = Stage::Over(phase);
        }
        machine
    }

    /// The Pod as last seen.
    pub fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    /// The containers' places: init containers first, then the others.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The container of a place, with the resources that the node has granted.
    pub fn container(&self, index: usize) -> Cow<'_, Container> {
        let mut container = crew::at(&self.pod, index).expect("every place has its container");
        if let Some(granted) = self.granted.get(index).filter(|granted| **granted != container.resources) {
            container.to_mut().resources = granted.clone();
        }
        container
    }

    /// What the node has granted to the Pod as a whole.
    pub fn allocated(&self) -> Amounts {
        self.amounts(&self.granted)
    }

    /// Why the node has not granted what the Pod is to have now.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// Whether the Pod may get what it is to have when others have less.
    pub fn is_deferred(&self) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| refusal.reason == RESIZE_DEFERRED)
    }

    /// Whether it has ended for good, and needs nothing any more.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_) | Stage::Released)
    }

    /// What the Pod asks for if its containers ask for this: all that run together, or one that runs before them.
    fn amounts(&self, resources: &[ResourceRequirements]) -> Amounts {
        let (mut together, mut before) = (Amounts::default(), Amounts::default());
        for (slot, resources) in self.slots.iter().zip(resources) {
            let asked = Amounts::of(&resources.requests);
            match slot.role {
                Role::Init => before = before.most(asked),
                Role::Main | Role::Sidecar => together = together.plus(asked),
                Role::Ephemeral => {}
            }
        }
        together.most(before)
    }

    /// When the node took the Pod.
    pub fn start_time(&self) -> Timestamp {
        self.start_time
    }

    /// Whether volumes and network are there.
    pub fn is_prepared(&self) -> bool {
        self.prepared
    }

    /// Whether no new request is to reach it.
    pub fn is_ending(&self) -> bool {
        matches!(self.stage, Stage::Ending { .. } | Stage::Over(_) | Stage::Released)
    }

    /// Whether it ends because it was deleted, and its `preStop`s are under way.
    pub fn is_taking_leave(&self) -> bool {
        matches!(self.stage, Stage::Ending { why: Ending::Deleted, hooks: true, .. })
    }

    /// Whether the worker of this Pod has nothing left to do.
    pub fn is_released(&self) -> bool {
        self.stage == Stage::Released
    }

    /// Why it ended, if not by itself.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The same in a sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether all init containers are done or, as sidecars, started; or were, before it began anew.
    pub fn is_initialized(&self) -> bool {
        self.initialized || self.has_initialized()
    }

    /// The same since it began, or began anew.
    pub fn has_initialized(&self) -> bool {
        self.slots.iter().all(Slot::has_initialized)
    }

    /// The phase by Kubernetes' rules.
    pub fn phase(&self) -> Phase {
        match self.stage {
            Stage::Over(phase) => return phase,
            Stage::New | Stage::Preparing => return Phase::Pending,
            _ => {}
        }
        if !self.is_initialized() && !self.is_ending() {
            return Phase::Pending;
        }
        let mut mains = self.slots.iter().filter(|slot| slot.role == Role::Main);
        let pending = |slot: &Slot| {
            let opening = matches!(slot.life, Life::Opening(_)) && slot.last.is_none();
            opening || !slot.ran && slot.ended().is_none()
        };
        if mains.any(pending) { Phase::Pending } else { Phase::Running }
    }

    /// When [`Event::Tick`] is due if nothing else happens.
    pub fn wake_at(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Active if self.anew => {
                let ephemeral = self.slots.iter().filter(|slot| slot.role == Role::Ephemeral);
                let own = self.anew_at().into_iter();
                ephemeral.filter_map(Slot::wake_at).chain(own).chain(self.deadline()).min()
            }
            Stage::Active => self.slots.iter().filter_map(Slot::wake_at).chain(self.deadline()).min(),
            Stage::Ending { by, killed: false, .. } => Some(*by),
            _ => None,
        }
    }

    /// The one step: takes an event in and answers what is to be done.
    pub fn step(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.take(event, now, &mut effects);
        self.settle(now, &mut effects);
        self.tell_resized(&mut effects);
        effects
    }

    fn take(&mut self, event: Event, now: Now, effects: &mut Vec<Effect>) {
        match event {
            Event::Changed(pod) => self.changed(pod, now, effects),
            Event::Removed => self.end(Ending::Removed, now, effects),
            Event::Evicted(why) => self.evicted(why, now, effects),
            Event::Terminated(most) => {
                if matches!(self.stage, Stage::New | Stage::Preparing | Stage::Active) {
                    (self.reason, self.message) = (TERMINATED.to_owned(), SHUTDOWN.to_owned());
                }
                self.end(Ending::Shutdown(most), now, effects);
            }
            Event::Prepared => {
                self.prepared = true;
                if self.stage == Stage::Preparing {
                    self.stage = Stage::Active;
                    let age = match self.born {
                        Some(born) => now.mono - born,
                        None => now.wall.since(self.start_time),
                    };
                    self.active_since = Some((now.mono, age));
                    effects.push(Effect::Remember);
                    self.reconsider(now, effects);
                }
            }
            Event::Image(index, result) => self.image(index, result, now, effects),
            Event::Started(index, result) => self.started(index, result, now, effects),
            Event::PostStart(index, hook) => self.post_start(index, hook, now, effects),
            Event::Probed(index, probed) => self.probed(index, &probed, now, effects),
            Event::Exited(index, exit) => self.exited(index, exit, now, effects),
            Event::Refreshed => {
                for slot in &mut self.slots {
                    if let Life::NotCreated { failure, retry } = &mut slot.life
                        && failure.reason == "CreateContainerConfigError"
                    {
                        *retry = now.mono;
                    }
                }
            }
            Event::Granted(result) => self.grant(result, now, effects),
            Event::Freed => {
                if self.stage == Stage::Active && self.is_deferred() {
                    self.reconsider(now, effects);
                }
            }
            Event::Resized(index, resources, result) => self.resized(index, resources, result, effects),
            Event::Hooked => {
                if let Stage::Ending { hooks, .. } = &mut self.stage {
                    *hooks = false;
                }
            }
            Event::Drained => {
                if let Stage::Ending { by, hooks, .. } = &mut self.stage {
                    (*by, *hooks) = (now.mono, false);
                }
            }
            Event::Tick => {}
        }
    }

    fn changed(&mut self, pod: Arc<Pod>, now: Now, effects: &mut Vec<Effect>) {
        self.pod = pod;
        let added = crew::of(&self.pod).skip(self.slots.len());
        self.slots.extend(added.map(|(container, role)| Slot::new(&container.name, role)));
        let added = wished(&self.pod).into_iter().skip(self.granted.len());
        self.granted.extend(added);
        if self.pod.metadata.deletion_timestamp.is_some() {
            self.deleted = true;
            match self.stage {
                Stage::Over(_) => effects.push(Effect::Delete),
                _ => self.end(Ending::Deleted, now, effects),
            }
        } else if self.stage == Stage::New {
            self.stage = Stage::Preparing;
            effects.push(Effect::Prepare);
        } else if self.stage == Stage::Active {
            self.reconsider(now, effects);
        }
    }

    fn image(
        &mut self,
        index: usize,
        result: Result<ImageFound, Failure>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let slot = &mut self.slots[index];
        if !matches!(slot.life, Life::Fetching(_)) {
            return;
        }
        match result {
            // It was asked for before the Pod began anew, and with another image.
            Ok(found) if *found.name != *slot.wanted => {}
            Ok(found) => {
                slot.image_id = found.id;
                slot.life = Life::Starting;
                effects.push(Effect::Start(index));
            }
            Err(failure) => {
                let (reason, message) = waiting::no_image(&slot.wanted, &failure);
                effects.push(warn(Some(index), reason, message));
                effects.push(warn(Some(index), "Failed", format!("Error: {}", failure.reason)));
                let retry = slot.next_retry(now);
                if let Some((reason, message)) = waiting::pull_back_off(slot, &failure) {
                    effects.push(tell(Some(index), "BackOff", message));
                    effects.push(warn(Some(index), "Failed", format!("Error: {reason}")));
                }
                slot.life = Life::NoImage { failure, retry };
            }
        }
    }

    fn started(
        &mut self,
        index: usize,
        result: Result<Started, Failure>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let slot = &mut self.slots[index];
        if slot.life != Life::Starting {
            return;
        }
        match result {
            Ok(started) => {
                slot.forget_retries();
                let fresh = !slot.begun;
                slot.begun = true;
                slot.ran = true;
                slot.image = slot.wanted.clone();
                slot.resources = started.resources;
                slot.not_resized = None;
                let run = Run {
                    id: started.id,
                    since: now.wall,
                    began: now.mono,
                    started: !started.has_startup,
                    ready: !started.has_startup && !started.has_readiness,
                };
                slot.life = if started.has_hook { Life::Opening(run) } else { Life::Running(run) };
                effects.push(tell(Some(index), "Created", format!("Created container: {}", slot.name)));
                effects.push(tell(Some(index), "Started", format!("Started container {}", slot.name)));
                if fresh {
                    effects.push(Effect::Remember);
                }
            }
            Err(failure) => {
                effects.push(warn(Some(index), "Failed", format!("Error: {}", failure.message)));
                let retry = slot.next_retry(now);
                slot.life = Life::NotCreated { failure, retry };
            }
        }
    }

    fn post_start(&mut self, index: usize, hook: Hook, now: Now, effects: &mut Vec<Effect>) {
        let slot = &mut self.slots[index];
        let Life::Opening(run) = &slot.life else { return };
        let run = run.clone();
        if hook == Hook::Done {
            slot.life = Life::Running(run);
            return;
        }
        slot.life = Life::Stopping(run);
        // What it said stays out of the Event, as in Kubernetes: it may be secret.
        effects.push(warn(Some(index), "FailedPostStartHook", "PostStartHook failed".to_owned()));
        effects.push(tell(Some(index), "Killing", "FailedPostStartHook".to_owned()));
        effects.push(self.stop(index, None, now));
    }

    /// What ends a run, with its `preStop` before it.
    fn stop(&self, index: usize, grace: Option<i64>, now: Now) -> Effect {
        if !has_pre_stop(&self.container(index)) {
            return Effect::Kill(index);
        }
        let seconds = u64::try_from(grace.unwrap_or_else(|| self.own_grace())).unwrap_or(0);
        Effect::Stop { container: index, by: now.mono + Duration::from_secs(seconds) }
    }

    fn probed(&mut self, index: usize, probed: &Probed, now: Now, effects: &mut Vec<Effect>) {
        let container = self.container(index).into_owned();
        let has_readiness = container.readiness_probe.is_some();
        let fatal = match probed {
            Probed::Dead { probe: "startup" } => &container.startup_probe,
            _ => &container.liveness_probe,
        };
        let grace = fatal.as_ref().and_then(|probe| probe.termination_grace_period_seconds);
        let slot = &mut self.slots[index];
        let Life::Running(run) = &mut slot.life else { return };
        match probed {
            Probed::Up => {
                run.started = true;
                run.ready = !has_readiness;
            }
            Probed::Ready(ready) => run.ready = *ready && run.started,
            Probed::Dead { probe } => {
                let message = format!("Container {} failed {probe} probe, will be restarted", slot.name);
                slot.life = Life::Stopping(run.clone());
                effects.push(tell(Some(index), "Killing", message));
                effects.push(self.stop(index, grace, now));
            }
        }
    }

    fn exited(&mut self, index: usize, exit: Exit, now: Now, effects: &mut Vec<Effect>) {
        let (ending, initialized) = (self.is_ending(), self.is_initialized());
        let slot = &mut self.slots[index];
        let run = match std::mem::replace(&mut slot.life, Life::Idle) {
            Life::Opening(run) | Life::Running(run) | Life::Stopping(run) => run,
            other => {
                slot.life = other;
                return;
            }
        };
        slot.begun = false;
        if self.anew && !ending && slot.role != Role::Ephemeral {
            return self.ended_for_anew(index, &run, exit, now, effects);
        }
        let ended = Box::new(terminated(&run, exit, now));
        if std::mem::take(&mut slot.renewed) && !ending {
            slot.last = Some(ended);
            slot.life = Life::Waiting { until: now.mono, delay: Duration::ZERO };
            effects.push(Effect::Remember);
            return;
        }
        let role = slot.role;
        let next = match ending {
            true => Follows::Nothing,
            false => follows(&self.pod, &self.container(index), role, ended.exit_code),
        };
        let slot = &mut self.slots[index];
        match next {
            Follows::Nothing => slot.life = Life::Ended(ended),
            Follows::Anew => {
                self.initialized = initialized;
                self.begin_anew(index, &run, ended, now, effects);
            }
            Follows::Run => slot.wait(now, now.mono.saturating_sub(run.began), ended),
        }
        if let Life::Waiting { delay, .. } = self.slots[index].life
            && !delay.is_zero()
        {
            let message = waiting::back_off_event(&self.pod, &self.slots[index].name);
            effects.push(warn(Some(index), "BackOff", message));
        }
        effects.push(Effect::Remember);
    }

    /// Goes on until nothing more follows from what is known.
    fn settle(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.stage == Stage::Active {
            if self.deadline().is_some_and(|deadline| now.mono >= deadline) {
                // Before a restart of the node, perhaps.
                let told =
                    std::mem::replace(&mut self.reason, "DeadlineExceeded".to_owned()) == "DeadlineExceeded";
                self.message = "Pod was active on the node longer than the specified deadline".to_owned();
                if !told {
                    effects.push(tell(None, "DeadlineExceeded", self.message.clone()));
                }
                self.end(Ending::Deadline, now, effects);
            } else {
                self.change_images(now, effects);
                self.look_in(now, effects);
                if self.anew {
                    self.advance_anew(now, effects);
                }
                if !self.anew {
                    self.advance(now, effects);
                }
            }
        }
        if matches!(self.stage, Stage::Ending { .. }) {
            self.let_go(now, effects);
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let seconds = u64::try_from(self.pod.spec.active_deadline_seconds?).ok()?;
        let (since, age) = self.active_since?;
        Some(since + Duration::from_secs(seconds).saturating_sub(age))
    }

    /// Begins the ephemeral containers, also when an init container is what there is to look at.
    fn look_in(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let slots = self.slots.iter_mut().enumerate();
        for (index, slot) in slots.filter(|(_, slot)| slot.role == Role::Ephemeral) {
            resume(&self.pod, slot, index, now, effects);
        }
    }

    /// Begins whatever may begin.
    fn advance(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let count = self.slots.iter().filter(|slot| slot.role != Role::Ephemeral).count();
        for index in 0..count {
            resume(&self.pod, &mut self.slots[index], index, now, effects);
            let slot = &self.slots[index];
            let proceed = match slot.role {
                Role::Init => slot.ended().is_some_and(|ended| ended.exit_code == 0),
                Role::Sidecar => slot.lets_others_begin(),
                Role::Main | Role::Ephemeral => true,
            };
            if !proceed {
                if slot.role == Role::Init && slot.ended().is_some() {
                    self.finish(now, effects);
                }
                // Those behind wait, but what already runs goes on.
                if index < self.first_main()
                    && self.slots[index + 1..count].iter().all(|slot| slot.life == Life::Idle)
                {
                    return;
                }
            }
        }
        let mut mains = self.slots.iter().filter(|slot| slot.role == Role::Main);
        if mains.all(|slot| slot.ended().is_some()) {
            self.finish(now, effects);
        }
    }

    fn first_main(&self) -> usize {
        self.pod.spec.init_containers.len()
    }
}

/// Lets a container begin, or begin again when its time has come.
fn resume(pod: &Pod, slot: &mut Slot, index: usize, now: Now, effects: &mut Vec<Effect>) {
    let due = match slot.life {
        Life::Idle => true,
        Life::Waiting { until, .. } => {
            let due = now.mono >= until;
            if due {
                slot.restarts += 1;
            }
            due
        }
        Life::NoImage { retry, .. } | Life::NotCreated { retry, .. } => now.mono >= retry,
        _ => false,
    };
    if due {
        let mut failure = match std::mem::replace(&mut slot.life, Life::Idle) {
            Life::NoImage { failure, .. } | Life::NotCreated { failure, .. } => Some(failure),
            _ => None,
        };
        let wanted =
            crew::at(pod, index).map_or_else(Arc::default, |container| container.image.as_str().into());
        if slot.wanted != wanted {
            slot.wanted = wanted;
            slot.image_id.clear();
            failure = None;
        }
        slot.life = Life::Fetching(failure);
        effects.push(Effect::Fetch(index));
    }
}

fn has_pre_stop(container: &Container) -> bool {
    container.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.pre_stop.is_some())
}

fn terminated(run: &Run, exit: Exit, now: Now) -> ContainerStateTerminated {
    let reason = match exit.reason {
        ExitReason::Completed => "Completed",
        ExitReason::OomKilled => "OOMKilled",
        ExitReason::Error | ExitReason::Killed => "Error",
    };
    ContainerStateTerminated {
        exit_code: exit.code,
        signal: 0,
        reason: reason.to_owned(),
        message: exit.message,
        started_at: Some(run.since),
        finished_at: Some(now.wall),
        container_id: run.id.clone(),
    }
}

fn tell(container: Option<usize>, reason: &'static str, message: String) -> Effect {
    Effect::Tell(Tale { container, warning: false, reason, message })
}

fn warn(container: Option<usize>, reason: &'static str, message: String) -> Effect {
    Effect::Tell(Tale { container, warning: true, reason, message })
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;

//! Turns changes into keys, keys into plans and plans into writes, for all controllers alike.
//!
//! [`Driver`] is the part without I/O: a test can step it by hand, in any order and at any time it likes. [`run`] is
//! the part with: it follows the store, carries plans out beside each other, and sleeps when there is nothing to do.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_api::time::Timestamp;
use futures::FutureExt;
use futures::stream::StreamExt;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::mirror::{Delta, Failure, Name, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Act, Note, Plan, Write};
use crate::reconcile::queue::{Job, Lengths, Outcome, Queue};
use crate::store::{Change, Cursor, RangeOptions, ReadError, Store};

/// How many plans are carried out at the same time.
const PLANS_AT_A_TIME: usize = 64;
/// How many writes of a stage are under way at the same time.
const WRITES_AT_A_TIME: usize = 32;
/// How late a timer may be before it says something about this process.
const LATE: Duration = Duration::from_secs(10);
/// How far a clock may be set back without notice.
const STEP: Duration = Duration::from_secs(1);
/// From how many objects on a plan that looked at all of them is followed by a rest.
const MANY: usize = 100;
/// How long that is for each of them: so a set of 1,000 Pods is looked through sixteen times a second at most.
const REST_FOR_EACH: Duration = Duration::from_micros(60);
/// How many keys are planned before the store is looked at again.
const KEYS_AT_A_TIME: usize = 256;

/// Where plans become writes. Two sides: the registry, and the plain map in which single controllers are tested.
pub trait Writer: Send + Sync + 'static {
    /// Carries out one write of the controller `account`.
    fn write(
        &self,
        account: &'static str,
        write: &Write,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// The newest revision; every write that has ended is at or below it, whatever became of it.
    fn head(&self) -> u64;
}

/// Why a write was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The object is not what it was when this was planned.
    #[error("the plan is stale: {0}")]
    Stale(String),
    /// The API refused it, or it is not known what became of it.
    #[error("{0}")]
    Refused(String),
}

/// What a controller has done so far.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Progress {
    /// Its name.
    pub name: &'static str,
    /// Plans made.
    pub plans: u64,
    /// Writes carried out or tried.
    pub writes: u64,
    /// Plans that were stale.
    pub stale: u64,
    /// Plans that failed.
    pub failures: u64,
    /// The last failure: key and message.
    pub last_failure: Option<(String, String)>,
    /// The longest a plan took to make, in microseconds.
    pub slowest_plan_us: u64,
}

/// The state of all controllers, as data.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Status {
    /// The revision the mirrors show.
    pub revision: u64,
    /// What waits.
    pub queue: Lengths,
    /// Plans being carried out.
    pub running: usize,
    /// Every controller.
    pub controllers: Vec<Progress>,
}

/// A plan on its way to be carried out.
#[derive(Debug)]
pub struct Task {
    /// Whose it is.
    pub job: Job,
    /// The account it is written as.
    pub account: &'static str,
    /// What to do.
    pub plan: Plan,
}

/// All controllers with what they see and what they wait for.
pub struct Driver {
    world: World,
    queue: Queue,
    controllers: Vec<Controller>,
    progress: Vec<Progress>,
}

impl Driver {
    /// Controllers that have seen nothing yet.
    pub fn new(world: World, controllers: Vec<Controller>) -> Driver {
        let mut queue = Queue::default();
        for (controller, entry) in controllers.iter().enumerate() {
            for (namespace, name) in entry.begins {
                queue.wake(Job { controller, key: Name::new(namespace, name) });
            }
        }
        let progress = controllers.iter().map(|c| Progress { name: c.name, ..Progress::default() }).collect();
        Driver { world, queue, controllers, progress }
    }

    /// Shows the whole state of a store, at first or after history was lost. Answers its revision.
    pub fn list(&mut self, store: &Store, now: Timestamp) -> Result<crate::store::Revision, ReadError> {
        let page = store.range("/", &RangeOptions::default())?;
        let items = page.items.iter().map(|(key, stored)| (key.text(), stored.revision.0, &stored.value));
        self.reset(page.revision.0, items, now);
        Ok(page.revision)
    }

    /// Shows a whole state at a revision.
    pub fn reset<'a>(
        &mut self,
        revision: u64,
        items: impl Iterator<Item = (&'a Arc<str>, u64, &'a bytes::Bytes)>,
        now: Timestamp,
    ) {
        self.tick(now);
        let deltas = self.world.reset(revision, items);
        self.wake(&deltas);
        self.queue.reached(revision);
    }

    /// Follows changes in the order in which they happened.
    pub fn observe(&mut self, changes: &[Arc<Change>], now: Timestamp) {
        self.tick(now);
        let follow = |change: &Arc<Change>| {
            self.world.apply(change.key.text().clone(), change.revision.0, change.after.as_ref())
        };
        let deltas: Vec<Delta> = changes.iter().filter_map(follow).collect();
        self.wake(&deltas);
        self.queue.reached(self.world.revision);
    }

    /// Takes over the time. A timer that is long overdue means that this process was stopped or the host asleep; a
    /// clock that was set back would delay everything that waits by as much.
    fn tick(&mut self, now: Timestamp) {
        let back = self.world.now.since(now);
        if back > STEP {
            self.world.set_back(back);
            self.queue.set_back();
        }
        if let Some(due) = self.queue.next_timer() {
            let late = now.since(due);
            if late > LATE {
                self.world.slept(late);
            }
        }
        self.world.now = now;
    }

    fn wake(&mut self, deltas: &[Delta]) {
        for delta in deltas {
            for (controller, entry) in self.controllers.iter().enumerate() {
                (entry.wakes)(delta, &self.world, &mut |key| self.queue.wake(Job { controller, key }));
            }
        }
    }

    /// The next plan that has something to do, if there is any; at most `keys` keys are looked at.
    pub fn plan(&mut self, now: Timestamp, keys: usize) -> Option<Task> {
        self.tick(now);
        self.queue.due(now);
        for _ in 0..keys {
            let (job, failure) = self.queue.take()?;
            let controller = self.controllers[job.controller];
            self.world.failure = failure;
            let began = Instant::now();
            let planned =
                std::panic::catch_unwind(AssertUnwindSafe(|| (controller.reconcile)(&job.key, &self.world)));
            self.world.failure = None;
            let progress = &mut self.progress[job.controller];
            progress.plans += 1;
            progress.slowest_plan_us =
                progress.slowest_plan_us.max(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
            let Ok(plan) = planned else {
                self.finish(job, Outcome::Failed(Failure::panicked()), 0, None, now);
                continue;
            };
            self.world.waiting.tried(&plan.without_node, self.world.revision);
            // Who still makes or removes objects goes on.
            if plan.looked_at > MANY && plan.writes().nth(1).is_none() {
                let looked_at = u32::try_from(plan.looked_at).unwrap_or(u32::MAX);
                self.queue.rest(&job, now.plus(REST_FOR_EACH.saturating_mul(looked_at)));
            }
            if plan.is_idle() {
                self.finish(job, Outcome::Done, 0, plan.wake_at, now);
                continue;
            }
            self.progress[job.controller].writes += plan.writes().count() as u64;
            return Some(Task { job, account: controller.name, plan });
        }
        None
    }

    /// Takes note of how a plan ended. `barrier` is the newest revision when it had ended.
    pub fn finish(
        &mut self,
        job: Job,
        outcome: Outcome,
        barrier: u64,
        wake_at: Option<Timestamp>,
        now: Timestamp,
    ) {
        let progress = &mut self.progress[job.controller];
        match &outcome {
            Outcome::Done => {}
            Outcome::Stale => progress.stale += 1,
            Outcome::Failed(failure) => {
                progress.failures += 1;
                progress.last_failure = Some((job.key.to_string(), failure.message.clone()));
                tracing::warn!(controller = progress.name, key = %job.key, error = failure.message, "plan failed");
            }
        }
        self.queue.finish(job, outcome, barrier, wake_at, now);
    }

    /// When there is something to plan although nothing changed.
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.queue.next_timer()
    }

    /// What the controllers see.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What each controller has done so far.
    pub fn progress(&self) -> &[Progress] {
        &self.progress
    }

    /// Whether a key can be planned now.
    pub fn has_ready(&self) -> bool {
        self.queue.has_next()
    }

    /// Whether nothing is to be planned, being carried out, to be tried again or waited for, but for times.
    pub fn is_quiet(&self) -> bool {
        self.queue.is_quiet()
    }

    fn status(&self, running: usize) -> Status {
        Status {
            revision: self.world.revision,
            queue: self.queue.lengths(),
            running,
            controllers: self.progress.clone(),
        }
    }
}

/// Carries out a plan: stage by stage, until one fails. Answers how it ended and what is to be told.
pub async fn carry_out<W: Writer>(writer: &W, account: &'static str, plan: &Plan) -> (Outcome, Vec<Note>) {
    let mut notes = plan.notes.clone();
    for stage in &plan.stages {
        // Not a closure: its future would have to be Send for every lifetime of the write.
        let mut writes = Vec::with_capacity(stage.len());
        for write in stage {
            writes.push(attempt(writer, account, write));
        }
        let mut results = futures::stream::iter(writes).buffered(WRITES_AT_A_TIME);
        let mut outcome = Outcome::Done;
        while let Some((write, result)) = results.next().await {
            match result {
                Ok(()) => notes.extend(write.done.clone()),
                Err(WriteError::Stale(why)) => {
                    tracing::debug!(account, kind = write.kind.kind, key = %write.key, why, "stale plan");
                    if outcome == Outcome::Done {
                        outcome = Outcome::Stale;
                    }
                }
                Err(WriteError::Refused(message)) => {
                    if let Some(mut note) = write.failed.clone() {
                        note.message.push_str(&message);
                        notes.push(note);
                    }
                    outcome = Outcome::Failed(Failure { reason: failure_reason(&write.act), message });
                }
            }
        }
        if outcome != Outcome::Done {
            return (outcome, notes);
        }
    }
    (Outcome::Done, notes)
}

async fn attempt<'a, W: Writer>(
    writer: &W,
    account: &'static str,
    write: &'a Write,
) -> (&'a Write, Result<(), WriteError>) {
    (write, writer.write(account, write).await)
}

fn failure_reason(act: &Act) -> &'static str {
    match act {
        Act::Create(_) | Act::Copy(_) => "FailedCreate",
        Act::Delete { .. } => "FailedDelete",
        _ => "FailedUpdate",
    }
}

/// Why the controllers stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// They cannot know any more what changes.
    #[error("controllers cannot follow the store")]
    Read(#[from] ReadError),
    /// It is not known what became of a plan: whoever carried it out is gone.
    #[error("a plan was lost")]
    Lost,
}

/// Follows the store and runs the controllers until `stop`, then lets the plans under way finish. What is to be told
/// goes to `notes`; when nobody takes it fast enough it is lost, as Events may be.
pub async fn run<W: Writer>(
    mut driver: Driver,
    store: Store,
    writer: Arc<W>,
    now: fn() -> Timestamp,
    notes: mpsc::Sender<(&'static str, Note)>,
    status: Arc<Mutex<Status>>,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let mut cursor = follow(&mut driver, &store, now())?;
    // Tasks of their own: carrying plans out is most of the work, and is not to keep to one thread.
    let mut running = JoinSet::new();
    loop {
        if stop.is_cancelled() {
            while running.join_next().await.is_some() {}
            return Ok(());
        }
        // Those that have ended make room for others.
        while let Some(ended) = running.try_join_next() {
            finish(&mut driver, ended, now())?;
        }
        let mut budget = KEYS_AT_A_TIME;
        while running.len() < PLANS_AT_A_TIME && budget > 0 {
            budget -= 1;
            let Some(task) = driver.plan(now(), KEYS_AT_A_TIME) else { break };
            running.spawn(execute(writer.clone(), task, notes.clone()));
        }
        *status.lock() = driver.status(running.len());
        let sleep = driver.next_timer().map(|time| time.since(now()));
        let busy = !driver_is_done(&driver, running.len());
        tokio::select! {
            biased;
            changes = cursor.next() => match changes {
                Ok(changes) => driver.observe(&changes, now()),
                Err(ReadError::Compacted { .. }) => cursor = follow(&mut driver, &store, now())?,
                Err(error) => return Err(RunError::Read(error)),
            },
            Some(ended) = running.join_next(), if !running.is_empty() => finish(&mut driver, ended, now())?,
            () = stop.cancelled() => {}
            () = tokio::task::yield_now(), if busy => {}
            () = tokio::time::sleep(sleep.unwrap_or_default()), if sleep.is_some() => {}
        }
    }
}

/// Whether there is nothing to plan now, or no room for more plans.
fn driver_is_done(driver: &Driver, running: usize) -> bool {
    !driver.has_ready() || running >= PLANS_AT_A_TIME
}

fn follow(driver: &mut Driver, store: &Store, now: Timestamp) -> Result<Cursor, RunError> {
    loop {
        let revision = driver.list(store, now).map_err(RunError::Read)?;
        match store.watch("/", revision) {
            Ok(cursor) => return Ok(cursor),
            Err(ReadError::Compacted { .. }) => {}
            Err(error) => return Err(RunError::Read(error)),
        }
    }
}

/// A task that was carried out, how it ended, and the newest revision then. The plan was made on the thread of the
/// controllers, and goes where it comes from, see [`Config::keeper`](crate::Config).
type Ended = (Task, Outcome, u64);

fn finish(driver: &mut Driver, ended: Result<Ended, JoinError>, now: Timestamp) -> Result<(), RunError> {
    let (Task { job, plan, .. }, outcome, barrier) = ended.map_err(|_| RunError::Lost)?;
    driver.finish(job, outcome, barrier, plan.wake_at, now);
    Ok(())
}

async fn execute<W: Writer>(writer: Arc<W>, task: Task, notes: mpsc::Sender<(&'static str, Note)>) -> Ended {
    let carried = AssertUnwindSafe(carry_out(&*writer, task.account, &task.plan)).catch_unwind().await;
    let (outcome, said) = carried.unwrap_or_else(|_| (Outcome::Failed(Failure::panicked()), Vec::new()));
    let barrier = if task.plan.stages.is_empty() { 0 } else { writer.head() };
    for note in said {
        // Full means that people cannot read that fast.
        let _ = notes.try_send((task.account, note));
    }
    (task, outcome, barrier)
}

//! Which key is planned next: each once, never twice at a time, not before the mirrors have caught up with what its
//! last plan wrote, later after failures, and at the time it asked for. Controllers take turns, and none has more than a
//! few plans under way: a thousand Pods that are made delay nobody's being scheduled.
//!
//! Pure: time and revisions are handed in. Nothing here polls; [`Queue::next_timer`] says when to look again.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use edge_api::time::Timestamp;

use crate::mirror::{Failure, Name};

/// A key of a controller, which is named by its place in the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job {
    /// The place in the table of controllers.
    pub controller: usize,
    /// The key.
    pub key: Name,
}

/// How a plan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was done.
    Done,
    /// It was made on a state that is no more: plan again.
    Stale,
    /// A write failed: plan again, later.
    Failed(Failure),
}

#[derive(Debug, Default)]
struct Entry {
    state: State,
    again: bool,
    attempts: u32,
    barrier: u64,
    timer: Option<Timestamp>,
    /// Until when it is not planned again: its last plan was much work.
    rest: Option<Timestamp>,
    failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    Ready,
    Running,
    Held,
}

/// What a controller has to do.
#[derive(Debug, Default)]
struct Line {
    keys: VecDeque<Name>,
    running: usize,
}

impl Line {
    fn may_go(&self) -> bool {
        self.running < AT_A_TIME && !self.keys.is_empty()
    }
}

/// How many keys of a controller are planned and carried out at the same time.
const AT_A_TIME: usize = 8;

/// The queue of all controllers.
#[derive(Debug, Default)]
pub struct Queue {
    entries: HashMap<Job, Entry>,
    /// One a controller.
    ready: Vec<Line>,
    /// Whose turn it is.
    turn: usize,
    held: BTreeSet<(u64, Job)>,
    timers: BTreeSet<(Timestamp, Job)>,
    rests: BTreeSet<(Timestamp, Job)>,
    revision: u64,
}

/// The first delay after a failure; it doubles up to [`LONGEST_DELAY`].
const FIRST_DELAY: Duration = Duration::from_millis(5);
/// The longest delay after failures.
const LONGEST_DELAY: Duration = Duration::from_secs(300);

fn delay(attempts: u32) -> Duration {
    let doubled =
        FIRST_DELAY.saturating_mul(1_u32.checked_shl(attempts.saturating_sub(1).min(31)).unwrap_or(u32::MAX));
    doubled.min(LONGEST_DELAY)
}

impl Queue {
    /// Something changed that concerns this key.
    pub fn wake(&mut self, job: Job) {
        let entry = self.entries.entry(job.clone()).or_default();
        match entry.state {
            State::Idle if entry.barrier > self.revision => {
                entry.state = State::Held;
                entry.again = true;
                self.held.insert((entry.barrier, job));
            }
            State::Idle => match entry.rest {
                None => {
                    entry.state = State::Ready;
                    self.line(job.controller).keys.push_back(job.key);
                }
                Some(rest) if entry.timer.is_none_or(|timer| timer > rest) => self.set_timer(job, rest),
                Some(_) => {}
            },
            State::Running | State::Held => entry.again = true,
            State::Ready => {}
        }
    }

    fn set_timer(&mut self, job: Job, time: Timestamp) {
        let entry = self.entries.entry(job.clone()).or_default();
        if let Some(before) = entry.timer.replace(time) {
            self.timers.remove(&(before, job.clone()));
        }
        self.timers.insert((time, job));
    }

    /// The mirrors show `revision`.
    pub fn reached(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
        while let Some((barrier, _)) = self.held.first()
            && *barrier <= self.revision
            && let Some((_, job)) = self.held.pop_first()
        {
            let entry = self.entries.entry(job.clone()).or_default();
            entry.state = State::Idle;
            if std::mem::take(&mut entry.again) {
                self.wake(job);
            } else {
                self.forget(&job);
            }
        }
    }

    /// Wakes the keys whose time has come.
    pub fn due(&mut self, now: Timestamp) {
        while let Some((time, _)) = self.rests.first()
            && *time <= now
            && let Some((_, job)) = self.rests.pop_first()
        {
            if let Some(entry) = self.entries.get_mut(&job) {
                entry.rest = None;
            }
            self.forget(&job);
        }
        while let Some((time, _)) = self.timers.first()
            && *time <= now
            && let Some((_, job)) = self.timers.pop_first()
        {
            if let Some(entry) = self.entries.get_mut(&job) {
                entry.timer = None;
            }
            self.wake(job);
        }
    }

    /// The clock was set back: what waits for a time is planned now, and asks for another time.
    pub fn set_back(&mut self) {
        for (_, job) in std::mem::take(&mut self.rests) {
            if let Some(entry) = self.entries.get_mut(&job) {
                entry.rest = None;
            }
            self.forget(&job);
        }
        for (_, job) in std::mem::take(&mut self.timers) {
            if let Some(entry) = self.entries.get_mut(&job) {
                entry.timer = None;
            }
            self.wake(job);
        }
    }

    /// When [`Queue::due`] has something to do.
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(time, _)| *time)
    }

    /// The next key to plan, and why its last plan failed if it did.
    pub fn take(&mut self) -> Option<(Job, Option<Failure>)> {
        let lines = self.ready.len();
        let turn = (self.turn..lines).chain(0..self.turn.min(lines)).find(|at| self.ready[*at].may_go())?;
        self.turn = turn + 1;
        let line = &mut self.ready[turn];
        line.running += 1;
        let job = Job { controller: turn, key: line.keys.pop_front()? };
        let entry = self.entries.entry(job.clone()).or_default();
        entry.state = State::Running;
        entry.again = false;
        if let Some(time) = entry.timer.take() {
            self.timers.remove(&(time, job.clone()));
        }
        let failure = entry.failure.clone();
        Some((job, failure))
    }

    /// Lets a key, which is being planned, rest after that until `time`: changes that concern it wait as long.
    pub fn rest(&mut self, job: &Job, time: Timestamp) {
        if let Some(entry) = self.entries.get_mut(job) {
            if let Some(before) = entry.rest.replace(time) {
                self.rests.remove(&(before, job.clone()));
            }
            self.rests.insert((time, job.clone()));
        }
    }

    /// The plan of a key ended. `barrier` is the highest revision it may have written, 0 for none.
    pub fn finish(
        &mut self,
        job: Job,
        outcome: Outcome,
        barrier: u64,
        wake_at: Option<Timestamp>,
        now: Timestamp,
    ) {
        let line = self.line(job.controller);
        line.running = line.running.saturating_sub(1);
        let entry = self.entries.entry(job.clone()).or_default();
        entry.state = State::Idle;
        entry.barrier = entry.barrier.max(barrier);
        let mut timer = wake_at;
        match outcome {
            Outcome::Done => {
                entry.attempts = 0;
                entry.failure = None;
            }
            Outcome::Stale => {
                entry.attempts += 1;
                // Once or twice is ordinary: somebody else wrote the object meanwhile, which the mirrors show by then.
                if entry.attempts <= 2 {
                    entry.again = true;
                } else {
                    timer = Some(now.plus(delay(entry.attempts)));
                }
            }
            Outcome::Failed(failure) => {
                entry.attempts += 1;
                entry.failure = Some(failure);
                timer = Some(now.plus(delay(entry.attempts)));
            }
        }
        let again = std::mem::take(&mut entry.again);
        if let Some(time) = timer {
            self.set_timer(job.clone(), time);
        }
        if again {
            self.wake(job);
        } else {
            self.forget(&job);
        }
    }

    /// Keys about which there is nothing to remember take no memory.
    fn forget(&mut self, job: &Job) {
        let idle = self.entries.get(job).is_some_and(|entry| {
            entry.state == State::Idle
                && entry.timer.is_none()
                && entry.rest.is_none()
                && entry.failure.is_none()
                && entry.attempts == 0
                && entry.barrier <= self.revision
        });
        if idle {
            self.entries.remove(job);
        } else if let Some(entry) = self.entries.get_mut(job)
            && entry.state == State::Idle
            && entry.barrier > self.revision
        {
            entry.state = State::Held;
            self.held.insert((entry.barrier, job.clone()));
        }
    }

    /// Whether [`Queue::take`] has a key.
    pub fn has_next(&self) -> bool {
        self.ready.iter().any(Line::may_go)
    }

    fn line(&mut self, controller: usize) -> &mut Line {
        if self.ready.len() <= controller {
            self.ready.resize_with(controller + 1, Line::default);
        }
        &mut self.ready[controller]
    }

    /// How many keys wait for what.
    pub fn lengths(&self) -> Lengths {
        Lengths {
            ready: self.ready.iter().map(|line| line.keys.len()).sum(),
            held: self.held.len(),
            timers: self.timers.len(),
            known: self.entries.len(),
        }
    }

    /// Whether nothing is ready, running, held or to be tried again; timers may be set.
    pub fn is_quiet(&self) -> bool {
        let rests = |entry: &Entry| entry.state == State::Idle && entry.attempts == 0;
        self.lengths().ready == 0 && self.held.is_empty() && self.entries.values().all(rests)
    }
}

/// How many keys wait for what.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Lengths {
    /// To be planned.
    pub ready: usize,
    /// For the mirrors to show what they wrote.
    pub held: usize,
    /// For a time.
    pub timers: usize,
    /// For anything, or about which something is remembered.
    pub known: usize,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn job(name: &str) -> Job {
        Job { controller: 0, key: Name::new("", name) }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn failure() -> Failure {
        Failure { reason: "FailedCreate", message: "no".to_owned() }
    }

    fn taken(queue: &mut Queue) -> Option<String> {
        queue.take().map(|(job, _)| job.key.name.to_string())
    }

    #[test]
    fn a_key_woken_twice_is_planned_once() {
        let mut queue = Queue::default();
        queue.wake(job("a"));
        queue.wake(job("a"));
        assert_eq!(taken(&mut queue).as_deref(), Some("a"));
        assert_eq!(taken(&mut queue), None);
    }

    #[test]
    fn controllers_take_turns_and_none_takes_all() {
        let mut queue = Queue::default();
        let of = |controller: usize, name: usize| Job { controller, key: Name::new("", &name.to_string()) };
        (0..2 * AT_A_TIME).for_each(|name| queue.wake(of(1, name)));
        (0..2).for_each(|name| queue.wake(of(3, name)));
        let mut order = Vec::new();
        while let Some((job, _)) = queue.take() {
            order.push(job);
        }
        assert_eq!(order[..4], [of(1, 0), of(3, 0), of(1, 1), of(3, 1)]);
        assert_eq!(order.len(), AT_A_TIME + 2);
        assert!(!queue.has_next() && queue.lengths().ready == AT_A_TIME);
        queue.finish(of(3, 0), Outcome::Done, 0, None, at(0));
        assert!(!queue.has_next(), "another's end makes no room");
        queue.finish(of(1, 0), Outcome::Done, 0, None, at(0));
        assert!(queue.has_next());
        assert_eq!(queue.take().unwrap().0, of(1, AT_A_TIME));
    }

    #[test]
    fn a_key_woken_while_it_runs_runs_again_after_it() {
        let mut queue = Queue::default();
        queue.wake(job("a"));
        queue.take().unwrap();
        queue.wake(job("a"));
        assert_eq!(taken(&mut queue), None);
        queue.finish(job("a"), Outcome::Done, 0, None, at(0));
        assert_eq!(taken(&mut queue).as_deref(), Some("a"));
    }

    #[test]
    fn a_key_waits_until_the_mirrors_show_what_it_wrote() {
        let mut queue = Queue::default();
        queue.wake(job("a"));
        queue.take().unwrap();
        queue.finish(job("a"), Outcome::Done, 7, None, at(0));
        queue.wake(job("a"));
        queue.reached(6);
        assert_eq!(taken(&mut queue), None);
        queue.reached(7);
        assert_eq!(taken(&mut queue).as_deref(), Some("a"));
    }

    #[test]
    fn a_timer_does_not_break_the_barrier() {
        let mut queue = Queue::default();
        queue.wake(job("a"));
        queue.take().unwrap();
        queue.finish(job("a"), Outcome::Done, 7, Some(at(5)), at(0));
        queue.due(at(5));
        assert_eq!(taken(&mut queue), None);
        queue.reached(9);
        assert_eq!(taken(&mut queue).as_deref(), Some("a"));
    }

    #[test]
    fn failures_are_retried_later_and_later_and_told_to_the_plan() {
        let mut queue = Queue::default();
        queue.wake(job("a"));
        let mut delays = Vec::new();
        for _ in 0..20 {
            queue.take().unwrap();
            queue.finish(job("a"), Outcome::Failed(failure()), 0, None, at(0));
            assert_eq!(taken(&mut queue), None);
            let time = queue.next_timer().unwrap();
            delays.push(time.as_micros() / 1000);
            queue.due(time);
        }
        assert_eq!(delays[..4], [5, 10, 20, 40]);
        assert_eq!(delays[19], 300_000);
        assert_eq!(queue.take().unwrap().1, Some(failure()));
        queue.finish(job("a"), Outcome::Done, 0, None, at(0));
        assert!(queue.is_quiet() && queue.entries.is_empty());
    }

    #[test]
    fn a_stale_plan_is_made_again_at_once_but_not_for_ever() {
        let mut queue = Queue::default();
        queue.wake(job("a"));
        for _ in 0..2 {
            queue.take().unwrap();
            queue.finish(job("a"), Outcome::Stale, 0, None, at(0));
        }
        queue.take().unwrap();
        queue.finish(job("a"), Outcome::Stale, 0, None, at(0));
        assert_eq!(taken(&mut queue), None);
        assert!(queue.next_timer().is_some());
    }

    #[test]
    fn a_clock_that_is_set_back_delays_no_retry() {
        let mut queue = Queue::default();
        queue.wake(job("a"));
        queue.take().unwrap();
        queue.finish(job("a"), Outcome::Failed(failure()), 0, None, at(7200));
        queue.due(at(0));
        assert_eq!(taken(&mut queue), None);
        queue.set_back();
        assert_eq!(taken(&mut queue).as_deref(), Some("a"));
        assert_eq!(queue.next_timer(), None);
    }

    #[test]
    fn a_key_that_rests_is_planned_once_after_it_for_all_that_happened() {
        let mut queue = Queue::default();
        queue.wake(job("a"));
        queue.take().unwrap();
        queue.rest(&job("a"), at(3));
        queue.wake(job("a"));
        queue.finish(job("a"), Outcome::Done, 0, Some(at(60)), at(0));
        queue.wake(job("a"));
        assert_eq!((taken(&mut queue), queue.next_timer()), (None, Some(at(3))));
        queue.due(at(2));
        assert_eq!(taken(&mut queue), None);
        queue.due(at(3));
        assert_eq!(taken(&mut queue).as_deref(), Some("a"));
        queue.finish(job("a"), Outcome::Done, 0, None, at(3));
        assert!(queue.is_quiet() && queue.entries.is_empty() && queue.next_timer().is_none());
    }

    #[test]
    fn nobody_is_woken_for_the_end_of_a_rest() {
        let mut queue = Queue::default();
        queue.wake(job("a"));
        queue.take().unwrap();
        queue.rest(&job("a"), at(3));
        queue.finish(job("a"), Outcome::Done, 0, None, at(0));
        assert_eq!(queue.next_timer(), None);
        queue.due(at(9));
        assert_eq!(taken(&mut queue), None);
        assert!(queue.entries.is_empty());
    }

    #[test]
    fn a_clock_that_is_set_back_ends_rests() {
        let mut queue = Queue::default();
        queue.wake(job("a"));
        queue.take().unwrap();
        queue.rest(&job("a"), at(7200));
        queue.finish(job("a"), Outcome::Done, 0, None, at(7199));
        queue.wake(job("a"));
        assert_eq!(taken(&mut queue), None);
        queue.set_back();
        assert_eq!(taken(&mut queue).as_deref(), Some("a"));
    }

    #[test]
    fn planning_anew_replaces_the_time_asked_for_before() {
        let mut queue = Queue::default();
        queue.wake(job("a"));
        queue.take().unwrap();
        queue.finish(job("a"), Outcome::Done, 0, Some(at(100)), at(0));
        queue.wake(job("a"));
        queue.take().unwrap();
        queue.finish(job("a"), Outcome::Done, 0, None, at(1));
        assert_eq!(queue.next_timer(), None);
    }
}

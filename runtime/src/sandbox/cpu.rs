//! CPU accounting, limits and fairness, around the polls of a guest's future.
//!
//! wasmtime's epoch makes every poll end within two ticks; everything else happens here, between
//! polls: the time is charged to the container, a container over its quota sleeps, and of the
//! guests whose polls run long no more run at once than there are CPUs. The runtime has more
//! threads than that, so that short polls always find a thread and the kernel shares the CPUs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Semaphore;
use tokio_util::sync::PollSemaphore;

use crate::sandbox::ticker::{Polls, TICK};

/// The period over which a CPU limit holds, as with cgroups.
const PERIOD: Duration = Duration::from_millis(100);

/// The CPU time of one container.
#[derive(Debug)]
pub(super) struct CpuAccount {
    used: AtomicU64,
    quota: Mutex<Option<Quota>>,
}

impl CpuAccount {
    /// An account limited to `milli` thousandths of a CPU, if given.
    pub(super) fn new(milli: Option<u32>, now: Instant) -> CpuAccount {
        let quota = Mutex::new(milli.map(|milli| Quota::new(milli, now)));
        CpuAccount { used: AtomicU64::new(0), quota }
    }

    /// Sets another limit, or none.
    pub(super) fn set_limit(&self, milli: Option<u32>, now: Instant) {
        *self.quota.lock() = milli.map(|milli| Quota::new(milli, now));
    }

    /// CPU time used so far.
    pub(super) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    fn charge(&self, time: Duration, now: Instant) {
        self.used.fetch_add(nanos(time), Ordering::Relaxed);
        if let Some(quota) = &mut *self.quota.lock() {
            quota.charge(time, now);
        }
    }

    /// How long the container must rest before it may run again.
    fn rest(&self, now: Instant) -> Option<Duration> {
        self.quota.lock().as_mut().and_then(|quota| quota.rest(now))
    }
}

/// A bucket that fills at the rate of the limit and holds one period's worth.
#[derive(Debug)]
struct Quota {
    milli: i128,
    /// Nanoseconds the container may run; negative after an overrun.
    credit: i128,
    filled: Instant,
}

impl Quota {
    fn new(milli: u32, now: Instant) -> Quota {
        let milli = i128::from(milli.max(1));
        Quota { milli, credit: Quota::size(milli), filled: now }
    }

    fn size(milli: i128) -> i128 {
        PERIOD.as_nanos() as i128 * milli / 1_000
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_nanos() as i128;
        self.filled = now;
        self.credit = (self.credit + passed * self.milli / 1_000).min(Quota::size(self.milli));
    }

    fn charge(&mut self, time: Duration, now: Instant) {
        self.fill(now);
        self.credit -= time.as_nanos() as i128;
    }

    fn rest(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        if self.credit > 0 {
            return None;
        }
        // Rest until there is half a tick's worth to run, so that resting does not become polling.
        let wanted = (TICK.as_nanos() as i128 / 2).min(Quota::size(self.milli));
        let nanos = (wanted - self.credit) * 1_000 / self.milli;
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What all guests of an engine share: the ticker's slots and the lane of long polls.
#[derive(Clone)]
pub(super) struct Lanes {
    polls: Arc<Polls>,
    long: Arc<Semaphore>,
}

impl Lanes {
    /// At most `cpus` long polls at once.
    pub(super) fn new(polls: Arc<Polls>, cpus: usize) -> Lanes {
        Lanes { polls, long: Arc::new(Semaphore::new(cpus.max(1))) }
    }

    /// Runs a guest's future on the account of its container.
    pub(super) fn metered<F: Future>(&self, cpu: Arc<CpuAccount>, guest: F) -> Metered<F> {
        Metered {
            guest: Box::pin(guest),
            cpu,
            polls: Arc::clone(&self.polls),
            lane: PollSemaphore::new(Arc::clone(&self.long)),
            long: false,
            rest: None,
        }
    }
}

/// A guest's future whose polls are counted, limited and kept in their lane.
pub(super) struct Metered<F> {
    guest: Pin<Box<F>>,
    cpu: Arc<CpuAccount>,
    polls: Arc<Polls>,
    lane: PollSemaphore,
    /// The last poll was ended by the epoch: the next one is expected to run as long.
    long: bool,
    rest: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        ready!(self.poll_rest(cx));
        let permit = if self.long { ready!(self.lane.poll_acquire(cx)) } else { None };
        let busy = self.long.then(thread_time);
        let begin = Instant::now();
        let result = {
            let polls = Arc::clone(&self.polls);
            let _guard = polls.enter();
            self.guest.as_mut().poll(cx)
        };
        let end = Instant::now();
        drop(permit);
        let elapsed = end - begin;
        // The thread's own clock costs a system call; it is worth it only where a preempted
        // thread would be charged for its neighbours' time.
        let used = busy.map_or(elapsed, |busy| thread_time().saturating_sub(busy).min(elapsed));
        self.cpu.charge(used, end);
        self.long = elapsed >= TICK;
        result
    }
}

impl<F> Metered<F> {
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(rest) = &mut self.rest {
                ready!(rest.as_mut().poll(cx));
                self.rest = None;
            }
            match self.cpu.rest(Instant::now()) {
                None => return Poll::Ready(()),
                Some(time) => self.rest = Some(Box::pin(tokio::time::sleep(time))),
            }
        }
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Runs a guest that always wants the CPU, in polls of `poll`, for `total`.
    fn simulate(milli: u32, poll: Duration, total: Duration) -> Duration {
        let start = Instant::now();
        let mut now = start;
        let account = CpuAccount::new(Some(milli), start);
        while now < start + total {
            match account.rest(now) {
                Some(rest) => now += rest,
                None => {
                    now += poll;
                    account.charge(poll, now);
                }
            }
        }
        account.used()
    }

    #[test]
    fn a_limit_holds_over_time() {
        let ten = Duration::from_secs(10);
        for (milli, poll_ms) in [(100, 7), (100, 1), (500, 10), (10, 10), (1, 5)] {
            let used = simulate(milli, Duration::from_millis(poll_ms), ten);
            let allowed = ten * milli / 1_000;
            let slack = PERIOD * milli / 1_000 + Duration::from_millis(poll_ms);
            assert!(used <= allowed + slack, "{milli}m used {used:?}");
            assert!(used + slack * 2 >= allowed, "{milli}m was held to {used:?}");
        }
    }

    #[test]
    fn a_limit_can_be_changed() {
        let start = Instant::now();
        let account = CpuAccount::new(Some(100), start);
        account.charge(Duration::from_secs(5), start);
        assert!(account.rest(start) > Some(Duration::from_secs(40)));
        account.set_limit(None, start);
        assert_eq!(account.rest(start), None);
        account.set_limit(Some(500), start);
        account.charge(Duration::from_millis(60), start);
        let rest = account.rest(start).unwrap();
        assert!(rest < Duration::from_millis(100), "what was overrun before is forgiven: {rest:?}");
    }

    #[test]
    fn no_limit_never_rests() {
        let account = CpuAccount::new(None, Instant::now());
        account.charge(Duration::from_secs(5), Instant::now());
        assert_eq!(account.rest(Instant::now()), None);
        assert_eq!(account.used(), Duration::from_secs(5));
    }
}

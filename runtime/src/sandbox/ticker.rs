//! The clock that interrupts guests: one thread that advances the epoch of every engine while
//! some guest has been running for longer than a tick, and sleeps otherwise.
//!
//! Each thread that polls guests has a slot counting the beginnings and ends of polls. The
//! ticker compares the slots one tick apart: an odd slot that did not change is a guest still in
//! the same poll. When nothing changed and nothing runs, it parks until the next poll begins.
//! It knows no containers and no quotas.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use parking_lot::Mutex;

/// The longest a guest runs before it is asked to yield is between one and two of these.
pub(super) const TICK: Duration = Duration::from_millis(5);

thread_local! {
    static SLOT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// One count per thread, on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Slot(AtomicU64);

/// What threads that poll guests share with the ticker.
pub(super) struct Polls {
    slots: Box<[Slot]>,
    taken: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
    thread: OnceLock<Thread>,
    engines: Mutex<Vec<wasmtime::Engine>>,
    ticks: AtomicU64,
}

impl Polls {
    /// Marks the beginning of a poll on this thread; its end is the guard's drop.
    pub(super) fn enter(&self) -> PollGuard<'_> {
        let slot = &self.slots[self.slot()].0;
        slot.fetch_add(1, Ordering::SeqCst);
        // SeqCst on both sides: either the ticker sees the odd slot before it parks, or we see
        // that it is about to.
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.wake();
        }
        PollGuard(slot)
    }

    /// Adds an engine whose guests are to be interrupted.
    pub(super) fn add_engine(&self, engine: wasmtime::Engine) {
        self.engines.lock().push(engine);
    }

    /// How often the epoch was advanced since the start.
    pub(super) fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    fn slot(&self) -> usize {
        SLOT.get().unwrap_or_else(|| {
            // More threads than slots share one; then the ticker may stay awake needlessly.
            let slot = self.taken.fetch_add(1, Ordering::Relaxed) % self.slots.len();
            SLOT.set(Some(slot));
            slot
        })
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn read(&self, into: &mut Vec<u64>) {
        into.clear();
        into.extend(self.slots.iter().map(|slot| slot.0.load(Ordering::SeqCst)));
    }

    fn run(&self) {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        while !self.stop.load(Ordering::SeqCst) {
            self.read(&mut before);
            std::thread::sleep(TICK);
            self.read(&mut after);
            if before.iter().zip(&after).any(|(before, after)| before == after && after % 2 == 1) {
                self.tick();
            } else if before == after {
                self.park();
            }
        }
    }

    fn tick(&self) {
        for engine in self.engines.lock().iter() {
            engine.increment_epoch();
        }
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    fn park(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        let running = self.slots.iter().any(|slot| slot.0.load(Ordering::SeqCst) % 2 == 1);
        if running {
            self.asleep.store(false, Ordering::SeqCst);
        }
        while self.asleep.load(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst) {
            std::thread::park();
        }
    }
}

/// A poll in progress.
pub(super) struct PollGuard<'a>(&'a AtomicU64);

impl Drop for PollGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Owns the ticker's thread; dropping it ends the thread.
pub(super) struct Ticker {
    polls: Arc<Polls>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread, with room for `threads` threads that poll guests.
    pub(super) fn start(threads: usize) -> std::io::Result<Ticker> {
        let polls = Arc::new(Polls {
            slots: (0..threads.max(1)).map(|_| Slot::default()).collect(),
            taken: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            thread: OnceLock::new(),
            engines: Mutex::new(Vec::new()),
            ticks: AtomicU64::new(0),
        });
        let running = Arc::clone(&polls);
        let thread = std::thread::Builder::new()
            .name("guest-ticker".into())
            .stack_size(64 * 1024)
            .spawn(move || running.run())?;
        polls.thread.get_or_init(|| thread.thread().clone());
        Ok(Ticker { polls, thread: Some(thread) })
    }

    /// What the polling threads need.
    pub(super) fn polls(&self) -> &Arc<Polls> {
        &self.polls
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.polls.stop.store(true, Ordering::SeqCst);
        self.polls.wake();
        if let Some(thread) = self.thread.take() {
            // The last handle may be dropped anywhere but on the ticker itself.
            let _ = thread.join();
        }
    }
}

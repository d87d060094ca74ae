//! The time: the true one of the story, and the control plane's, which may be ahead or behind.
//!
//! A registry is given its clock as a plain function, so the control plane's present lies in the thread.

use std::cell::Cell;
use std::time::Duration;

use edge_api::time::Timestamp;

thread_local! {
    static PRESENT: Cell<i64> = const { Cell::new(0) };
}

/// When every story begins, in Unix seconds: the first of January 2026.
const BEGIN: i64 = 1_767_225_600;

/// The present as the control plane sees it.
pub fn present() -> Timestamp {
    Timestamp::from_micros(PRESENT.get())
}

/// A story's time. It only moves when told to.
#[derive(Debug)]
pub struct Clock {
    now: Timestamp,
    /// By how many microseconds the control plane's clock is ahead.
    ahead: i64,
}

impl Clock {
    /// The beginning.
    pub fn new() -> Clock {
        let clock = Clock { now: Timestamp::from_seconds(BEGIN), ahead: 0 };
        clock.show();
        clock
    }

    /// The true time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// How long the story has lasted.
    pub fn age(&self) -> Duration {
        self.now.since(Timestamp::from_seconds(BEGIN))
    }

    /// Time passes. What is past stays past.
    pub fn pass_to(&mut self, time: Timestamp) {
        self.now = self.now.max(time);
        self.show();
    }

    /// The control plane's clock is moved by so many seconds, back if they are negative.
    pub fn jump(&mut self, seconds: i64) {
        self.ahead += seconds * 1_000_000;
        self.show();
    }

    /// The control plane's clock is right again.
    pub fn mend(&mut self) {
        self.ahead = 0;
        self.show();
    }

    /// The true time at which the control plane's clock shows `time`.
    pub fn when(&self, time: Timestamp) -> Timestamp {
        Timestamp::from_micros(time.as_micros() - self.ahead)
    }

    fn show(&self) {
        PRESENT.set(self.now.as_micros() + self.ahead);
    }
}

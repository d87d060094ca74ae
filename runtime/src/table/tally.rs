//! How many requests came for something, and how many of them have no whole answer yet.
//!
//! Counters, no rates: this module reads no clock. They are shared by all generations of what they belong to.

use crate::http::{Gauge, InFlight};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Requests for a Service, through an Ingress or to a Pod. Clones count the same.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    came: Arc<AtomicU64>,
    present: Gauge,
}

impl Tally {
    /// Counts a request, which is present until what is returned is dropped.
    pub fn begin(&self) -> InFlight {
        self.count();
        self.stay()
    }

    /// Counts a request.
    pub fn count(&self) {
        self.came.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps somebody present of whom it is not known yet how many requests he brings.
    pub fn stay(&self) -> InFlight {
        self.present.begin()
    }

    /// How many requests came since the beginning.
    pub fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

    /// How many have no whole answer now.
    pub fn present(&self) -> usize {
        self.present.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_stays_counted_and_what_is_answered_is_gone() {
        let tally = Tally::default();
        let first = tally.begin();
        let second = tally.clone().begin();
        let waiting = tally.stay();
        assert_eq!((tally.came(), tally.present()), (2, 3));
        drop((first, second, waiting));
        assert_eq!((tally.came(), tally.present()), (2, 0));
    }
}

//! Counts work in progress, so that something can be ended when nothing uses it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// A count of connections and exchanges in progress.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<State>);

#[derive(Debug, Default)]
struct State {
    count: AtomicUsize,
    zero: Notify,
}

/// One piece of work; a clone is another piece. Dropping it ends it.
#[derive(Debug)]
pub struct InFlight(Arc<State>);

impl Gauge {
    /// Begins a piece of work.
    pub fn begin(&self) -> InFlight {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        InFlight(self.0.clone())
    }

    /// How many pieces are in progress.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }

    /// Waits until nothing is in progress.
    pub async fn idle(&self) {
        loop {
            let zero = self.0.zero.notified();
            tokio::pin!(zero);
            zero.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            zero.await;
        }
    }
}

impl Clone for InFlight {
    fn clone(&self) -> Self {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        InFlight(self.0.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.zero.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_waits_for_the_last_piece() {
        let gauge = Gauge::default();
        gauge.idle().await;
        let first = gauge.begin();
        let second = first.clone();
        let waiting = tokio::spawn({
            let gauge = gauge.clone();
            async move { gauge.idle().await }
        });
        drop(first);
        assert_eq!(gauge.count(), 1);
        drop(second);
        waiting.await.expect("it ends");
    }
}

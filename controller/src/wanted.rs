//! Autoscalers whose targets have no replicas while requests wait for them, as nodes tell it.
//!
//! A node tells again while requests wait, so what was told counts for a while and nothing is kept longer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::mirror::Name;

/// For how long a node's word counts; it repeats it every five seconds.
const COUNTS: Duration = Duration::from_secs(12);
/// Autoscalers that are remembered; nodes that name more are not heard.
const MOST: usize = 10_000;

/// Who is wanted. Cheap to clone.
#[derive(Clone, Default)]
pub struct Wanted(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Until when.
    until: Mutex<HashMap<Name, Instant>>,
    bell: Notify,
}

impl Wanted {
    /// A node says that requests wait for these.
    pub fn tell(&self, autoscalers: impl Iterator<Item = Name>) {
        self.tell_at(autoscalers, Instant::now());
    }

    fn tell_at(&self, autoscalers: impl Iterator<Item = Name>, now: Instant) {
        let mut until = self.0.until.lock();
        until.retain(|_, end| *end > now);
        let mut rings = false;
        for name in autoscalers {
            if until.len() < MOST || until.contains_key(&name) {
                rings |= until.insert(name, now + COUNTS).is_none();
            }
        }
        drop(until);
        if rings {
            self.0.bell.notify_one();
        }
    }

    /// Whether requests wait for an autoscaler's target.
    pub fn is(&self, autoscaler: &Name) -> bool {
        self.is_at(autoscaler, Instant::now())
    }

    fn is_at(&self, autoscaler: &Name, now: Instant) -> bool {
        self.0.until.lock().get(autoscaler).is_some_and(|end| *end > now)
    }

    /// Waits until somebody is wanted that was not before.
    pub async fn news(&self) {
        self.0.bell.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_word_counts_for_a_while_and_rings_once() {
        let (wanted, now) = (Wanted::default(), Instant::now());
        let web = Name::new("n", "web");
        assert!(!wanted.is_at(&web, now) && wanted.news().now_or_never().is_none());
        wanted.tell_at([web.clone()].into_iter(), now);
        wanted.tell_at([web.clone()].into_iter(), now);
        assert!(wanted.is_at(&web, now) && wanted.news().now_or_never().is_some());
        assert!(wanted.news().now_or_never().is_none(), "the same again is nothing new");
        let later = now + COUNTS;
        assert!(!wanted.is_at(&web, later));
        wanted.tell_at([web].into_iter(), later);
        assert!(wanted.news().now_or_never().is_some());
    }
}

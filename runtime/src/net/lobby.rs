//! Where requests wait that found a Service scaled to zero, until there is an endpoint.
//!
//! It counts them by the autoscaler that can help, up to a limit for each, and rings when that changes. Who listens
//! tells the control plane; this module tells nobody.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// The waiting requests of a node. Clones are the same lobby.
#[derive(Clone)]
pub struct Lobby(Arc<Inner>);

struct Inner {
    /// Requests by autoscaler (`namespace/name`); none of them is zero.
    waiting: Mutex<BTreeMap<Arc<str>, usize>>,
    /// How many may wait for one autoscaler.
    places: usize,
    bell: watch::Sender<u64>,
}

/// The place of one waiting request; dropping it gives it back.
pub(crate) struct Seat {
    lobby: Lobby,
    wakers: Arc<[Arc<str>]>,
}

impl Lobby {
    pub(crate) fn new(places: usize) -> Lobby {
        Lobby(Arc::new(Inner { waiting: Mutex::default(), places, bell: watch::Sender::new(0) }))
    }

    /// A place for a request that these autoscalers can help; none if too many wait for one of them.
    pub(crate) fn enter(&self, wakers: &Arc<[Arc<str>]>) -> Option<Seat> {
        let mut waiting = self.0.waiting.lock();
        if wakers.iter().any(|waker| waiting.get(waker).is_some_and(|count| *count >= self.0.places)) {
            return None;
        }
        let mut first = false;
        for waker in wakers.iter() {
            let count = waiting.entry(waker.clone()).or_default();
            first |= *count == 0;
            *count += 1;
        }
        drop(waiting);
        if first {
            self.ring();
        }
        Some(Seat { lobby: self.clone(), wakers: wakers.clone() })
    }

    /// The autoscalers (`namespace/name`) that requests wait for.
    pub fn wanted(&self) -> Vec<Arc<str>> {
        self.0.waiting.lock().keys().cloned().collect()
    }

    /// Rings when another autoscaler is wanted, or one is no more.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.bell.subscribe()
    }

    fn ring(&self) {
        self.0.bell.send_modify(|rings| *rings += 1);
    }
}

impl fmt::Debug for Lobby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lobby").field("waiting", &*self.0.waiting.lock()).finish_non_exhaustive()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut waiting = self.lobby.0.waiting.lock();
        let mut last = false;
        for waker in self.wakers.iter() {
            if let Some(count) = waiting.get_mut(waker) {
                *count -= 1;
                if *count == 0 {
                    waiting.remove(waker);
                    last = true;
                }
            }
        }
        drop(waiting);
        if last {
            self.lobby.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wakers(names: &[&str]) -> Arc<[Arc<str>]> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn places_are_counted_by_autoscaler_and_given_back() {
        let lobby = Lobby::new(2);
        let mut bell = lobby.changes();
        let mut rang = || {
            let rang = bell.has_changed().unwrap_or_default();
            bell.mark_unchanged();
            rang
        };
        let first = lobby.enter(&wakers(&["n/a"]));
        assert!(rang(), "somebody is wanted");
        let both = lobby.enter(&wakers(&["n/a", "n/b"]));
        assert!(rang(), "another is wanted");
        assert_eq!(lobby.wanted(), [Arc::from("n/a"), Arc::from("n/b")]);
        assert!(lobby.enter(&wakers(&["n/a"])).is_none(), "no place is left");
        let other = lobby.enter(&wakers(&["n/b"]));
        assert!(other.is_some() && !rang(), "nothing new is wanted");
        drop(first);
        assert!(lobby.enter(&wakers(&["n/a"])).is_some(), "one place was given back");
        drop((both, other));
        assert!(rang() && lobby.wanted().is_empty());
    }
}

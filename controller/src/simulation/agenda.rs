//! Who acts next, and when.

use std::collections::{BTreeMap, BTreeSet};

use edge_api::time::Timestamp;

/// Whoever acts by himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// The control plane.
    Plane,
    /// The user.
    User,
    /// Whatever breaks things, and mends them.
    Fault,
    /// A node.
    Node(usize),
}

/// At most one appointment for each actor.
#[derive(Debug, Default)]
pub struct Agenda {
    due: BTreeSet<(Timestamp, Actor)>,
    times: BTreeMap<Actor, Timestamp>,
}

impl Agenda {
    /// The actor acts at `time` and not before, or not at all.
    pub fn set(&mut self, actor: Actor, time: Option<Timestamp>) {
        if let Some(before) = self.times.remove(&actor) {
            self.due.remove(&(before, actor));
        }
        if let Some(time) = time {
            self.times.insert(actor, time);
            self.due.insert((time, actor));
        }
    }

    /// The next one to act.
    pub fn pop(&mut self) -> Option<(Timestamp, Actor)> {
        let (time, actor) = self.due.pop_first()?;
        self.times.remove(&actor);
        Some((time, actor))
    }
}

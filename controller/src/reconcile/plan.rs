//! What a controller wants done: writes in order, each with the revision it was planned on, and when to be asked again.
//!
//! A plan is data. It is made without I/O and carried out by [`crate::reconcile::driver`], so every controller is
//! tested by looking at its plans.

use std::sync::Arc;

use edge_api::kind::Kind;
use edge_api::kinds::pod::Disruption;
use edge_api::meta;
use edge_api::time::Timestamp;
use serde_json::Value;

use crate::mirror::{Meta, Name, Turn};

/// What to do about a key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Writes in stages: those of a stage go together, the next stage only if all of them went well.
    pub stages: Vec<Vec<Write>>,
    /// What to tell people whatever becomes of the writes.
    pub notes: Vec<Note>,
    /// When to be asked again although nothing changed.
    pub wake_at: Option<Timestamp>,
    /// How many objects had to be looked at, where that can be many: the key then rests a while before it is planned
    /// again, so that a change costs the same in a set of ten and of ten thousand.
    pub looked_at: usize,
    /// Pods for which no node was found; tried again when something changes that could help.
    pub without_node: Vec<Turn>,
}

impl Plan {
    /// Nothing to do.
    pub fn nothing() -> Plan {
        Plan::default()
    }

    /// A single write.
    pub fn of(write: Write) -> Plan {
        Plan { stages: vec![vec![write]], ..Plan::default() }
    }

    /// Adds a write that waits for those before it.
    pub fn then(&mut self, write: Write) {
        self.stages.push(vec![write]);
    }

    /// Adds writes that go together.
    pub fn together(&mut self, writes: Vec<Write>) {
        if !writes.is_empty() {
            self.stages.push(writes);
        }
    }

    /// Asks to be asked again at `time`, or earlier if that was asked before.
    pub fn wake(&mut self, time: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(time, |before| before.min(time)));
    }

    /// All writes in order.
    pub fn writes(&self) -> impl Iterator<Item = &Write> {
        self.stages.iter().flatten()
    }

    /// Whether there is nothing to carry out.
    pub fn is_idle(&self) -> bool {
        self.stages.is_empty() && self.notes.is_empty()
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The kind.
    pub kind: &'static Kind,
    /// Which object.
    pub key: Name,
    /// What to do with it.
    pub act: Act,
    /// The revision of the object on which this was planned; none for a creation.
    pub on: Option<u64>,
    /// What to tell people when it is done.
    pub done: Option<Note>,
    /// What to tell people when it failed; the message is completed by what the API said.
    pub failed: Option<Note>,
}

/// What a write does.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Makes the object.
    Create(Value),
    /// Makes one like this, with the name of the key. Of many that differ in nothing else there is so one alone.
    Copy(Arc<Value>),
    /// Replaces it.
    Update(Value),
    /// Replaces its status.
    Status(Value),
    /// Replaces a Namespace's finalizers.
    Finalize(Value),
    /// Merges into it.
    Patch(Value),
    /// Deletes it, if it is still the one with this uid.
    Delete {
        /// The identity; none for whichever has the name.
        uid: Option<String>,
        /// Seconds it is given; its own if none.
        grace: Option<i64>,
        /// Whether dependents go first.
        cascade: Cascade,
        /// Who takes a Pod away, for its status while it ends.
        disruption: Option<Disruption>,
    },
    /// Binds a Pod to a node, if it is still the one with this uid.
    Bind {
        /// The identity.
        uid: String,
        /// The node.
        node: String,
    },
}

/// What becomes of the dependents of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cascade {
    /// They go afterwards.
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

impl Write {
    fn new(kind: &'static Kind, key: Name, act: Act, on: Option<u64>) -> Write {
        Write { kind, key, act, on, done: None, failed: None }
    }

    /// Makes an object.
    pub fn create(kind: &'static Kind, key: Name, object: Value) -> Write {
        Write::new(kind, key, Act::Create(object), None)
    }

    /// Makes an object that is like another one but for its name.
    pub fn copy(kind: &'static Kind, key: Name, like: &Arc<Value>) -> Write {
        Write::new(kind, key, Act::Copy(like.clone()), None)
    }

    /// The object that is made; none if this makes none.
    pub fn object(&self) -> Option<Value> {
        match &self.act {
            Act::Create(object) => Some(object.clone()),
            Act::Copy(like) => {
                let mut object = Value::clone(like);
                meta::set(&mut object, "name", &*self.key.name);
                Some(object)
            }
            _ => None,
        }
    }

    /// Replaces an object read at `on`.
    pub fn update(kind: &'static Kind, key: Name, on: u64, object: Value) -> Write {
        Write::new(kind, key, Act::Update(object), Some(on))
    }

    /// Replaces the status of an object read at `on`.
    pub fn status(kind: &'static Kind, key: Name, on: u64, object: Value) -> Write {
        Write::new(kind, key, Act::Status(object), Some(on))
    }

    /// Replaces the finalizers of a Namespace read at `on`.
    pub fn finalize(kind: &'static Kind, key: Name, on: u64, object: Value) -> Write {
        Write::new(kind, key, Act::Finalize(object), Some(on))
    }

    /// Merges into an object read at `on`.
    pub fn patch(kind: &'static Kind, key: Name, on: u64, patch: Value) -> Write {
        Write::new(kind, key, Act::Patch(patch), Some(on))
    }

    /// Deletes an object whatever its revision, but only the one with this uid.
    pub fn delete(kind: &'static Kind, meta: &Meta) -> Write {
        Write::new(kind, meta.key(), deletion(Some(meta.uid.to_string())), None)
    }

    /// Deletes whatever has the name.
    pub fn expire(kind: &'static Kind, key: Name) -> Write {
        Write::new(kind, key, deletion(None), None)
    }

    /// The same deletion without a period of grace.
    pub fn at_once(mut self) -> Write {
        if let Act::Delete { grace, .. } = &mut self.act {
            *grace = Some(0);
        }
        self
    }

    /// The same deletion of a Pod, whose status says who takes it away.
    pub fn disrupting(mut self, who: Disruption) -> Write {
        if let Act::Delete { disruption, .. } = &mut self.act {
            *disruption = Some(who);
        }
        self
    }

    /// The same deletion with another cascade.
    pub fn cascading(mut self, how: Cascade) -> Write {
        if let Act::Delete { cascade, .. } = &mut self.act {
            *cascade = how;
        }
        self
    }

    /// Binds a Pod to a node.
    pub fn bind(kind: &'static Kind, meta: &Meta, on: u64, node: &str) -> Write {
        let act = Act::Bind { uid: meta.uid.to_string(), node: node.to_owned() };
        Write::new(kind, meta.key(), act, Some(on))
    }

    /// The same, planned on the object as it was at `revision`.
    pub fn planned_on(mut self, revision: u64) -> Write {
        self.on = Some(revision);
        self
    }

    /// The same, telling people when it is done.
    pub fn saying(mut self, note: Note) -> Write {
        self.done = Some(note);
        self
    }

    /// The same, telling people when it failed.
    pub fn failing(mut self, note: Note) -> Write {
        self.failed = Some(note);
        self
    }
}

fn deletion(uid: Option<String>) -> Act {
    Act::Delete { uid, grace: None, cascade: Cascade::Background, disruption: None }
}

/// Something worth telling people about an object: an Event to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Note {
    /// The kind of the object it is about.
    pub kind: &'static Kind,
    /// Which object.
    pub key: Name,
    /// Its identity.
    pub uid: Arc<str>,
    /// Whether it is bad news.
    pub tone: Tone,
    /// One word for machines.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// The type of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tone {
    /// As it should be.
    Normal,
    /// Not as it should be.
    Warning,
}

impl Note {
    /// Good news about an object.
    pub fn normal(kind: &'static Kind, meta: &Meta, reason: &'static str, message: String) -> Note {
        Note::new(kind, meta, Tone::Normal, reason, message)
    }

    /// Bad news about an object.
    pub fn warning(kind: &'static Kind, meta: &Meta, reason: &'static str, message: String) -> Note {
        Note::new(kind, meta, Tone::Warning, reason, message)
    }

    fn new(kind: &'static Kind, meta: &Meta, tone: Tone, reason: &'static str, message: String) -> Note {
        Note { kind, key: meta.key(), uid: meta.uid.clone(), tone, reason, message }
    }
}

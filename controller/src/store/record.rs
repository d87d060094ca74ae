//! The words of the store: keys, revisions, writes and what came of them.
//!
//! Bytes are opaque here: canonical JSON without `resourceVersion` by agreement with the registry,
//! which splices the revision in on the way out. Nothing in this module knows a kind.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// A point in the store's one history: the number of a change, counted over all keys.
///
/// A revision that left the process is never used for another change, crashes included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first change.
    pub const ZERO: Revision = Revision(0);

    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of an object: `/<group>/<resource>/<namespace or empty>/<name>`, the core group being
/// `core`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// A key of the given text.
    pub fn new(text: impl Into<Arc<str>>) -> Key {
        Key(text.into())
    }

    /// The key of an object from its parts; `namespace` is empty for cluster-scoped objects.
    pub fn of(group: &str, resource: &str, namespace: &str, name: &str) -> Key {
        Key::new(format!("/{group}/{resource}/{namespace}/{name}"))
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole text, for who keeps it.
    pub fn text(&self) -> &Arc<str> {
        &self.0
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Key {
        Key::new(text)
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What must hold of a key for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Any,
    /// The key has no object.
    Absent,
    /// The key has an object.
    Exists,
    /// The key has an object, last changed at this revision.
    At(Revision),
}

impl Condition {
    /// Whether the condition holds of a key whose object was last changed at `found`.
    pub fn holds(self, found: Option<Revision>) -> bool {
        match self {
            Condition::Any => true,
            Condition::Absent => found.is_none(),
            Condition::Exists => found.is_some(),
            Condition::At(revision) => found == Some(revision),
        }
    }
}

/// What a write does to its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// The key's object is these bytes from now on.
    Put(Bytes),
    /// The key has no object from now on. Deleting what is not there is a conflict.
    Delete,
}

/// What an acknowledged write is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On disk before it is acknowledged.
    Durable,
    /// Visible at once, on disk with the next durable write or at shutdown. Only for keys the
    /// store's configuration calls volatile; for others it is the same as `Durable`.
    Volatile,
}

/// One change asked of the store.
#[derive(Clone, Debug)]
pub struct Write {
    /// The key that changes.
    pub key: Key,
    /// How it changes.
    pub op: Op,
    /// What must hold, of this key and of any other, at the moment of the change.
    pub when: Vec<(Key, Condition)>,
    /// What its acknowledgement is worth.
    pub durability: Durability,
}

/// An object as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The revision of its last change.
    pub revision: Revision,
    /// Its canonical JSON without `resourceVersion`.
    pub value: Bytes,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It got an object.
    Create,
    /// Its object was replaced.
    Update,
    /// Its object went away.
    Delete,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place in the history.
    pub revision: Revision,
    /// The key that changed.
    pub key: Key,
    /// How it changed.
    pub verb: Verb,
    /// The object afterwards; none after a delete.
    pub after: Option<Bytes>,
    /// The object before; none before a create.
    pub before: Option<Stored>,
}

/// Which part of a prefix a [`range`](crate::store::Store::range) answers.
#[derive(Clone, Debug, Default)]
pub struct RangeOptions {
    /// The revision to answer for; the head when none.
    pub at: Option<Revision>,
    /// Only keys after this one: the last key of the page before.
    pub after: Option<Key>,
    /// At most so many objects; all when none.
    pub limit: Option<usize>,
}

/// An answer to a [`range`](crate::store::Store::range).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Objects in the order of their keys.
    pub items: Vec<(Key, Stored)>,
    /// The revision the page shows; further pages are asked at the same one.
    pub revision: Revision,
    /// Whether keys follow beyond the limit.
    pub more: bool,
    /// How many follow.
    pub remaining: u64,
}

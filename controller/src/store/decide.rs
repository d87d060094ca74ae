//! Decides a batch of writes: pure, the same for every engine that assigns revisions itself.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::store::engine::Current;
use crate::store::error::WriteError;
use crate::store::record::{Change, Condition, Durability, Key, Op, Revision, Stored, Verb, Write};

/// A batch, decided but not yet kept.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    /// One answer for each write, in their order.
    pub answers: Vec<Result<Revision, WriteError>>,
    /// What changes, in the order of revisions.
    pub changes: Vec<Arc<Change>>,
    /// Whether any of the changes has to be on disk before it is acknowledged.
    pub durable: bool,
}

/// Decides writes in their order on top of `head`; each sees what those before it did.
pub(crate) fn decide(
    current: Current<'_>,
    head: Revision,
    batch: &[Write],
    volatile: impl Fn(&Key) -> bool,
) -> Decided {
    let mut decided = Decided::default();
    let mut seen = Seen { current, changed: HashMap::new() };
    let mut head = head;
    for write in batch {
        let answer = decide_one(&seen, head.next(), write).map(|change| {
            head = change.revision;
            decided.durable |= write.durability == Durability::Durable || !volatile(&write.key);
            let after = change.after.clone().map(|value| Stored { revision: head, value });
            seen.changed.insert(change.key.clone(), after);
            decided.changes.push(Arc::new(change));
            head
        });
        decided.answers.push(answer);
    }
    decided
}

struct Seen<'a> {
    current: Current<'a>,
    changed: HashMap<Key, Option<Stored>>,
}

impl Seen<'_> {
    fn get(&self, key: &Key) -> Option<(Key, Stored)> {
        match self.changed.get_key_value(key) {
            Some((key, changed)) => changed.clone().map(|stored| (key.clone(), stored)),
            None => (self.current)(key),
        }
    }
}

fn decide_one(seen: &Seen<'_>, revision: Revision, write: &Write) -> Result<Change, WriteError> {
    for (key, condition) in &write.when {
        if *condition != Condition::Any {
            let found = seen.get(key).map(|(_, stored)| stored.revision);
            if !condition.holds(found) {
                return Err(WriteError::Conflict { key: key.clone(), found });
            }
        }
    }
    // What is kept is made here, see `Config::keeper`: a new key, and a copy of the bytes, so that no buffer larger than
    // the object stays alive with it.
    let (key, before) = match seen.get(&write.key) {
        Some((key, before)) => (key, Some(before)),
        None => (Key::from(write.key.as_str()), None),
    };
    let (verb, after) = match &write.op {
        Op::Put(value) if before.is_some() => (Verb::Update, Some(Bytes::copy_from_slice(value))),
        Op::Put(value) => (Verb::Create, Some(Bytes::copy_from_slice(value))),
        Op::Delete if before.is_some() => (Verb::Delete, None),
        Op::Delete => return Err(WriteError::Conflict { key, found: None }),
    };
    Ok(Change { revision, key, verb, after, before })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn put(key: &str, value: &'static str, when: Vec<(Key, Condition)>) -> Write {
        Write {
            key: key.into(),
            op: Op::Put(Bytes::from_static(value.as_bytes())),
            when,
            durability: Durability::Volatile,
        }
    }

    fn decide_all(batch: &[Write]) -> Decided {
        let one = Stored { revision: Revision(7), value: Bytes::from_static(b"old") };
        let current = |key: &Key| (key.as_str() == "/g/r//old").then(|| (key.clone(), one.clone()));
        decide(&current, Revision(10), batch, |key| key.as_str().starts_with("/g/v/"))
    }

    #[test]
    fn writes_of_one_batch_see_each_other() {
        let key = Key::from("/g/r//a");
        let decided = decide_all(&[
            put("/g/r//a", "1", vec![(key.clone(), Condition::Absent)]),
            put("/g/r//a", "2", vec![(key.clone(), Condition::At(Revision(11)))]),
            put("/g/r//a", "3", vec![(key.clone(), Condition::At(Revision(11)))]),
        ]);
        assert_eq!(decided.answers[..2], [Ok(Revision(11)), Ok(Revision(12))]);
        assert_eq!(decided.answers[2], Err(WriteError::Conflict { key, found: Some(Revision(12)) }));
        assert_eq!(decided.changes.len(), 2);
        assert_eq!(decided.changes[1].before.as_ref().unwrap().revision, Revision(11));
    }

    #[test]
    fn a_condition_may_name_any_number_of_keys() {
        let old = (Key::from("/g/r//old"), Condition::At(Revision(7)));
        let none = (Key::from("/g/r//none"), Condition::Absent);
        let wrong = (Key::from("/g/r//none"), Condition::Exists);
        let decided = decide_all(&[
            put("/g/r//a", "1", vec![old.clone(), none.clone()]),
            put("/g/r//b", "1", vec![old, none, wrong]),
        ]);
        assert_eq!(decided.answers[0], Ok(Revision(11)));
        let conflict = WriteError::Conflict { key: "/g/r//none".into(), found: None };
        assert_eq!(decided.answers[1], Err(conflict));
    }

    #[test]
    fn deleting_what_is_not_there_is_a_conflict() {
        let mut write = put("/g/r//none", "", vec![]);
        write.op = Op::Delete;
        let decided = decide_all(&[write]);
        assert_eq!(decided.answers[0], Err(WriteError::Conflict { key: "/g/r//none".into(), found: None }));
    }

    #[test]
    fn only_volatile_keys_may_be_written_volatile() {
        assert!(decide_all(&[put("/g/r//a", "1", vec![])]).durable);
        assert!(!decide_all(&[put("/g/v//a", "1", vec![])]).durable);
        assert!(decide_all(&[put("/g/v//a", "1", vec![]), put("/g/r//a", "1", vec![])]).durable);
    }
}

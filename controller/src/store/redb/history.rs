//! Rows of the log: each has some changes, as many as fill its pages well.
//!
//! A change in a row of its own leaves half of its pages empty, and the table has to be told of each. Of an update the
//! version before is kept as what it has between the beginning and the end that both versions share: where only a
//! status changes, a spec is not written twice. Nothing here knows a table.

use std::borrow::Borrow;

use bytes::Bytes;

use crate::store::record::{Change, Key, Revision, Stored, Verb};
use crate::store::redb::journal::chunk;

/// The most bytes of a row of more than one change: with what redb adds they fill 32 KiB.
const FULL: usize = (32 << 10) - 64;

/// Bits beside the verb.
const HAS_AFTER: u8 = 1 << 2;
const HAS_BEFORE: u8 = 1 << 3;

/// Makes rows of changes; each is handed over with the revision of its last change.
///
/// # Errors
/// Those of `changes` and `keep`.
pub(crate) fn pack<E>(
    changes: impl Iterator<Item = Result<impl Borrow<Change>, E>>,
    mut keep: impl FnMut(Revision, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (mut row, mut last) = (Vec::with_capacity(FULL), Revision::ZERO);
    for change in changes {
        let (change, start) = (change?, row.len());
        let change = change.borrow();
        put(change, &mut row);
        // It does not fit: the row is without it, and it begins the next one.
        if start > 0 && row.len() > FULL {
            keep(last, &row[..start])?;
            row.drain(..start);
        }
        last = change.revision;
    }
    match row.is_empty() {
        true => Ok(()),
        false => keep(last, &row),
    }
}

/// The changes of a row, in order; `None` where it is damaged, and then nothing more. Their revisions rise, up to the
/// row's own.
pub(crate) fn unpack(last: Revision, mut row: &[u8]) -> impl Iterator<Item = Option<Line<'_>>> {
    let mut seen = Some(Revision::ZERO);
    std::iter::from_fn(move || {
        let before = seen.take()?;
        if row.is_empty() && before == last {
            return None;
        }
        let line = take(&mut row).filter(|line| before < line.revision && line.revision <= last);
        seen = line.as_ref().map(|line| line.revision);
        Some(line)
    })
}

/// A change as it lies in a row.
pub(crate) struct Line<'a> {
    pub revision: Revision,
    pub key: &'a str,
    verb: Verb,
    after: Option<&'a [u8]>,
    before: Option<Before<'a>>,
}

/// A version before: this, between what it shares with the one after.
struct Before<'a> {
    revision: Revision,
    head: &'a [u8],
    middle: &'a [u8],
    tail: &'a [u8],
}

impl Line<'_> {
    /// The whole change.
    pub(crate) fn change(&self) -> Change {
        let before = self.before.as_ref().map(|before| Stored {
            revision: before.revision,
            value: [before.head, before.middle, before.tail].concat().into(),
        });
        Change {
            revision: self.revision,
            key: Key::from(self.key),
            verb: self.verb,
            after: self.after.map(Bytes::copy_from_slice),
            before,
        }
    }
}

fn put(change: &Change, row: &mut Vec<u8>) {
    let has = |some: bool, bit: u8| if some { bit } else { 0 };
    let kind = verb_code(change.verb)
        | has(change.after.is_some(), HAS_AFTER)
        | has(change.before.is_some(), HAS_BEFORE);
    row.extend_from_slice(&change.revision.0.to_le_bytes());
    row.push(kind);
    put_bytes(change.key.as_str().as_bytes(), row);
    if let Some(after) = &change.after {
        put_bytes(after, row);
    }
    if let Some(Stored { revision, value }) = &change.before {
        let after = change.after.as_deref().unwrap_or_default();
        let head = shared(value.iter().zip(after));
        let tail = shared(value[head..].iter().rev().zip(after[head..].iter().rev()));
        row.extend_from_slice(&revision.0.to_le_bytes());
        put_length(head, row);
        put_length(tail, row);
        put_bytes(&value[head..value.len() - tail], row);
    }
}

/// How many pairs are of equals, up to the first that is not.
fn shared<'a>(pairs: impl Iterator<Item = (&'a u8, &'a u8)>) -> usize {
    pairs.take_while(|(one, other)| one == other).count()
}

fn put_length(length: usize, row: &mut Vec<u8>) {
    let length = u32::try_from(length).expect("no object has so many bytes");
    row.extend_from_slice(&length.to_le_bytes());
}

fn put_bytes(bytes: &[u8], row: &mut Vec<u8>) {
    put_length(bytes.len(), row);
    row.extend_from_slice(bytes);
}

fn take<'a>(row: &mut &'a [u8]) -> Option<Line<'a>> {
    let revision = take_revision(row)?;
    let [kind] = *chunk(row)?;
    let key = std::str::from_utf8(take_bytes(row)?).ok()?;
    let after = if kind & HAS_AFTER == 0 { None } else { Some(take_bytes(row)?) };
    let before =
        if kind & HAS_BEFORE == 0 { None } else { Some(take_before(row, after.unwrap_or_default())?) };
    Some(Line { revision, key, verb: verb_of(kind & !(HAS_AFTER | HAS_BEFORE))?, after, before })
}

fn take_before<'a>(row: &mut &'a [u8], after: &'a [u8]) -> Option<Before<'a>> {
    let revision = take_revision(row)?;
    let (head, tail) = (take_length(row)?, take_length(row)?);
    let (head, rest) = after.split_at_checked(head)?;
    let tail = rest.get(rest.len().checked_sub(tail)?..)?;
    Some(Before { revision, head, middle: take_bytes(row)?, tail })
}

fn take_revision(row: &mut &[u8]) -> Option<Revision> {
    chunk(row).map(|bytes| Revision(u64::from_le_bytes(*bytes)))
}

fn take_length(row: &mut &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*chunk(row)?)).ok()
}

fn take_bytes<'a>(row: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_length(row)?;
    let (bytes, rest) = row.split_at_checked(length)?;
    *row = rest;
    Some(bytes)
}

/// A verb as it is written.
fn verb_code(verb: Verb) -> u8 {
    match verb {
        Verb::Create => 0,
        Verb::Update => 1,
        Verb::Delete => 2,
    }
}

/// A verb as it was written; none when damaged.
pub(crate) fn verb_of(code: u8) -> Option<Verb> {
    [Verb::Create, Verb::Update, Verb::Delete].get(usize::from(code)).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn change(revision: u64, after: Option<&str>, before: Option<&str>) -> Change {
        let verb = match (before, after) {
            (_, None) => Verb::Delete,
            (None, _) => Verb::Create,
            _ => Verb::Update,
        };
        let value = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let stored = |text: &str| Stored { revision: Revision(revision - 1), value: value(text) };
        let key = Key::from(format!("/a/r//{revision}").as_str());
        Change {
            revision: Revision(revision),
            key,
            verb,
            after: after.map(value),
            before: before.map(stored),
        }
    }

    fn rows(changes: &[Change]) -> Vec<(Revision, Vec<u8>)> {
        let mut rows = Vec::new();
        let keep = |last, row: &[u8]| {
            rows.push((last, row.to_vec()));
            Ok::<_, ()>(())
        };
        pack(changes.iter().map(Ok), keep).unwrap();
        rows
    }

    fn read(rows: &[(Revision, Vec<u8>)]) -> Vec<Change> {
        rows.iter().flat_map(|(last, row)| unpack(*last, row)).map(|line| line.unwrap().change()).collect()
    }

    #[test]
    fn what_was_packed_is_read_again() {
        let changes: Vec<_> = [
            (Some("new"), None),
            (None, Some("old")),
            (Some(""), Some("")),
            (Some("aaa"), Some("aaaa")),
            (Some("aaaa"), Some("aaa")),
            (Some("a b c"), Some("a c")),
            (Some("same"), Some("same")),
            (Some("one"), Some("two")),
            (None, None),
        ]
        .iter()
        .zip(1..)
        .map(|((after, before), revision)| change(revision, *after, *before))
        .collect();
        assert_eq!(read(&rows(&changes)), changes);
        assert_eq!(rows(&[]), []);
    }

    #[test]
    fn rows_are_filled_and_not_more() {
        for (size, full) in [(100, 250), (5_000, 6), (20_000, 1), (100_000, 1)] {
            let text = "x".repeat(size);
            let changes: Vec<_> = (1..=1_000).map(|revision| change(revision, Some(&text), None)).collect();
            let rows = rows(&changes);
            assert_eq!(read(&rows), changes);
            let counts = || rows.iter().map(|(last, row)| unpack(*last, row).count());
            assert!(counts().rev().skip(1).all(|count| count >= full), "{size}");
            assert!(
                rows.iter().all(|(last, row)| row.len() <= FULL || unpack(*last, row).count() == 1),
                "{size}"
            );
        }
    }

    #[test]
    fn what_did_not_change_is_written_once() {
        let spec = "s".repeat(3_000);
        let [old, new] =
            ["Pending", "Running"].map(|phase| format!("{{\"spec\":\"{spec}\",\"status\":\"{phase}\"}}"));
        let [(_, row)] = &rows(&[change(7, Some(&new), Some(&old))])[..] else { panic!("one row") };
        assert!(row.len() < new.len() + 100, "{}", row.len());
    }

    #[test]
    fn a_damaged_row_is_told() {
        let [(last, row)] = &rows(&[change(7, Some("new"), Some("old")), change(8, None, Some("new"))])[..]
        else {
            panic!("one row")
        };
        let told = |row: &[u8]| unpack(*last, row).last().is_some_and(|line| line.is_none());
        assert!(!told(row));
        for end in 0..row.len() {
            assert!(told(&row[..end]), "{end}");
        }
        // The bytes of a revision: there is none such in this row.
        for at in 0..8 {
            let mut row = row.clone();
            row[at] ^= 0x80;
            assert!(told(&row), "{at}");
        }
        assert!(told(&[row.as_slice(), row].concat()));
    }
}

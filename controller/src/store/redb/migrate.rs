//! From older formats to the present one: one step a format, all in one transaction.
//!
//! A step never reads what a later format wrote, and the transaction commits only when every step
//! has succeeded: a migration that fails leaves the store as it was.

use bytes::Bytes;
use redb::{Database, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

use crate::store::record::{Change, Key, Revision, Stored};
use crate::store::redb::disk::Trouble;
use crate::store::redb::format::{FORMAT, FORMAT_KEY, LOG, META};
use crate::store::redb::history;

/// A step: the format it starts from, and what it does.
type Step = (u64, fn(&WriteTransaction) -> Result<(), redb::Error>);

const STEPS: [Step; 4] =
    [(1, keep_versions_before), (2, keep_a_journal), (3, keep_two_sections), (4, fill_rows)];

/// Brings a database of an older format into the present one.
pub(crate) fn migrate(database: &Database, from: u64) -> Result<(), Trouble> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    let first = STEPS
        .iter()
        .position(|(format, _)| *format == from)
        .ok_or_else(|| redb::Error::Corrupted(format!("format {from} is none that was ever written")))?;
    for (_, step) in &STEPS[first..] {
        step(&transaction)?;
    }
    transaction.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
    transaction.commit()?;
    tracing::info!(from, to = FORMAT, "the store was migrated");
    Ok(())
}

/// The log of format 1: key, verb and bytes after, without the version before.
pub(crate) const LOG_1: TableDefinition<'static, u64, (&str, u8, Option<&[u8]>)> =
    TableDefinition::new("log");

/// A row of the log of formats 2 to 4: key, verb, bytes after, and the version before.
type Row2<'a> = (&'a str, u8, Option<&'a [u8]>, Option<(u64, &'a [u8])>);

/// The log of formats 2 to 4: revision → what changed.
pub(crate) const LOG_2: TableDefinition<'static, u64, Row2<'static>> = TableDefinition::new("log");

/// Format 1 → 2. Without the versions before, the old log cannot show the past: it is dropped, and
/// the floor is the head. Format 1 had no clean stop either, so its ceiling stays where it is.
fn keep_versions_before(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let dropped = transaction.open_table(LOG_1)?.len()?;
    transaction.delete_table(LOG_1)?;
    transaction.open_table(LOG_2)?;
    let mut meta = transaction.open_table(META)?;
    let head = meta.get("head")?.map_or(Revision::ZERO, |head| Revision(head.value()));
    meta.insert("floor", head.0)?;
    tracing::info!(rows = dropped, revision = head.0, "the log of format 1 was dropped");
    Ok(())
}

/// Format 2 → 3. There is nothing to change: whoever reads format 2 knows no journal, and must not open a store that
/// may have one.
fn keep_a_journal(_: &WriteTransaction) -> Result<(), redb::Error> {
    Ok(())
}

/// Format 3 → 4. Nothing here either: whoever reads format 3 looks for the journal's records at its beginning only, and
/// would not find those that begin in the second section.
fn keep_two_sections(_: &WriteTransaction) -> Result<(), redb::Error> {
    Ok(())
}

/// Format 4 → 5. The changes of the log, each in a row of its own until now, share rows.
fn fill_rows(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let mut bytes = 0;
    {
        let (from, mut to) = (transaction.open_table(LOG_2)?, transaction.open_table(LOG)?);
        let changes = from.iter()?.map(|row| {
            let (revision, row) = row?;
            change(revision.value(), row.value())
        });
        history::pack(changes, |last, row| {
            bytes += row.len() as u64;
            to.insert(last.0, row)?;
            Ok(())
        })?;
    }
    transaction.delete_table(LOG_2)?;
    transaction.open_table(META)?.insert("log-bytes", bytes)?;
    Ok(())
}

fn change(revision: u64, (key, verb, after, before): Row2<'_>) -> Result<Change, redb::Error> {
    let damaged = || redb::Error::Corrupted(format!("verb of row {revision} of the log"));
    let value = Bytes::copy_from_slice;
    let stored = |(revision, before)| Stored { revision: Revision(revision), value: value(before) };
    Ok(Change {
        revision: Revision(revision),
        key: Key::from(key),
        verb: history::verb_of(verb).ok_or_else(damaged)?,
        after: after.map(value),
        before: before.map(stored),
    })
}

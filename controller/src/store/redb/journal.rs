//! The journal: what was acknowledged since the tables were last written, batch by batch.
//!
//! A transaction of redb writes a path of pages for every table it touches, and syncs what is scattered over the
//! file; a record here is one write in place and one sync. So acknowledged batches go here, and into the tables
//! many at a time: when the journal is full, at a clean end, and when a store that was killed is opened.
//!
//! It has two sections. While the tables follow one, the other is written: nobody waits for them.
//!
//! A record is a whole batch or nothing: it carries its length and a checksum. It counts only if it continues the
//! history where the tables, or the record before it, end; revisions are never used twice, so what is left of an
//! earlier round in the same place is never taken for news, and nothing has to be erased.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use redb::StorageBackend;

use crate::store::record::{Change, Key, Revision};
use crate::store::redb::disk::Place;

/// Length and checksum of what follows.
const HEADER: usize = 8;

/// The steps in which the file grows, so that most syncs find its length unchanged; sections begin at such a step.
const STEP: u64 = if cfg!(test) { 4 << 10 } else { 256 << 10 };

/// A change as it is written: what was before is known from the tables.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub revision: Revision,
    pub key: Key,
    pub after: Option<Bytes>,
}

/// See the module.
pub(crate) struct Journal {
    place: Arc<Place>,
    /// None until there is something to write.
    file: Option<Box<dyn StorageBackend>>,
    /// Whether the second section is written.
    second: bool,
    /// Where the next record goes.
    end: u64,
    length: u64,
    limit: u64,
    /// Whether a record that failed may lie at the end.
    torn: bool,
    record: Vec<u8>,
}

impl Journal {
    /// The journal of a place, which may grow up to a limit.
    pub(crate) fn open(place: Arc<Place>, limit: u64) -> io::Result<Journal> {
        let file = place.find_journal()?;
        let length = file.as_ref().map_or(Ok(0), |file| file.len())?;
        Ok(Journal { place, file, second: false, end: 0, length, limit, torn: false, record: Vec::new() })
    }

    /// How far it may grow.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// What the records say that continue the history after a revision. They may begin in either section, and where
    /// that is depends on the limit there was when they were written.
    pub(crate) fn read(&self, after: Revision) -> io::Result<Vec<Entry>> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let length = usize::try_from(self.length).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        file.read(0, &mut bytes)?;
        let (mut entries, mut last) = (Vec::new(), after);
        let starts = || (0..self.length).step_by(STEP as usize).chain([self.section()]);
        let rest =
            |start| usize::try_from(start).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
        while let Some(start) = starts().find(|start| record(rest(*start), last.next()).is_some()) {
            let mut rest = rest(start);
            while let Some((batch, next)) = record(rest, last.next()) {
                last = batch.last().map_or(last, |entry: &Entry| entry.revision);
                entries.extend(batch);
                rest = next;
            }
        }
        Ok(entries)
    }

    /// The length of a section.
    fn section(&self) -> u64 {
        let half = self.limit / 2;
        if half < STEP { half } else { half - half % STEP }
    }

    /// Whether a record of this size fits into the section that is written.
    pub(crate) fn fits(&self, record: u64) -> bool {
        self.end + record <= self.section() * if self.second { 2 } else { 1 }
    }

    /// Whether it fits into one that is empty.
    pub(crate) fn fits_anew(&self, record: u64) -> bool {
        record <= self.section()
    }

    /// Goes on in the other section: the tables have what is there.
    pub(crate) fn turn(&mut self) {
        self.second = !self.second;
        self.end = if self.second { self.section() } else { 0 };
    }

    /// Writes changes, the next ones of the history, and syncs them.
    pub(crate) fn append<'a>(&mut self, changes: impl Iterator<Item = &'a Change>) -> io::Result<()> {
        self.record.clear();
        self.record.resize(HEADER, 0);
        changes.for_each(|change| put(change, &mut self.record));
        let length = u32::try_from(self.record.len() - HEADER).map_err(io::Error::other)?;
        self.record[..4].copy_from_slice(&length.to_le_bytes());
        let sum = checksum(&self.record[HEADER..]);
        self.record[4..HEADER].copy_from_slice(&sum.to_le_bytes());
        let end = self.end + self.record.len() as u64;
        self.grow(end)?;
        self.torn = true;
        let file = self.file.as_ref().expect("it has grown");
        file.write(self.end, &self.record)?;
        file.sync_data()?;
        self.torn = false;
        self.end = end;
        Ok(())
    }

    /// Makes sure that a record that failed does not count.
    pub(crate) fn mend(&mut self) -> io::Result<()> {
        if let (true, Some(file)) = (self.torn, &self.file) {
            file.write(self.end, &[0; HEADER])?;
            file.sync_data()?;
        }
        self.torn = false;
        Ok(())
    }

    /// Begins anew: the tables have everything.
    pub(crate) fn restart(&mut self) {
        self.second = false;
        self.end = 0;
        self.torn = false;
    }

    /// Takes the file away: the tables have everything, and this is the end.
    pub(crate) fn close(&mut self) {
        self.restart();
        if self.file.take().is_some() {
            self.place.remove_journal();
        }
    }

    fn grow(&mut self, end: u64) -> io::Result<()> {
        if end <= self.length {
            return Ok(());
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => self.place.make_journal()?,
        };
        let file = self.file.insert(file);
        let length = end.next_multiple_of(STEP).min(self.limit.max(end));
        let zeros = vec![0; usize::try_from(length - self.length).map_err(io::Error::other)?];
        file.write(self.length, &zeros)?;
        self.length = length;
        Ok(())
    }
}

/// The size of the record of these changes.
pub(crate) fn record_size<'a>(changes: impl Iterator<Item = &'a Change>) -> u64 {
    (HEADER + changes.map(size).sum::<usize>()) as u64
}

/// The size of a change in a record: revision, kind, lengths of key and value, and these.
fn size(change: &Change) -> usize {
    17 + change.key.as_str().len() + change.after.as_ref().map_or(0, Bytes::len)
}

fn put(change: &Change, out: &mut Vec<u8>) {
    let value = change.after.as_deref().unwrap_or_default();
    let length =
        |bytes: &[u8]| u32::try_from(bytes.len()).expect("a batch is smaller than that").to_le_bytes();
    out.extend_from_slice(&change.revision.0.to_le_bytes());
    out.push(u8::from(change.after.is_some()));
    out.extend_from_slice(&length(change.key.as_str().as_bytes()));
    out.extend_from_slice(&length(value));
    out.extend_from_slice(change.key.as_str().as_bytes());
    out.extend_from_slice(value);
}

/// The record at the beginning, if it is whole and begins with this revision, and what follows it.
fn record(bytes: &[u8], first: Revision) -> Option<(Vec<Entry>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (mut body, next) = rest.split_at_checked(length)?;
    // The revision first: of two sections full of records there may be none that counts.
    if body.first_chunk() != Some(&first.0.to_le_bytes()) || checksum(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (mut entries, mut wanted) = (Vec::new(), first);
    while !body.is_empty() {
        let entry = take(&mut body)?;
        if entry.revision != wanted {
            return None;
        }
        wanted = wanted.next();
        entries.push(entry);
    }
    Some((entries, next))
}

fn take(body: &mut &[u8]) -> Option<Entry> {
    let revision = u64::from_le_bytes(*chunk(body)?);
    let [kind] = *chunk::<1>(body)?;
    let mut length = || usize::try_from(u32::from_le_bytes(*chunk(body)?)).ok();
    let (key, value) = (length()?, length()?);
    let (key, rest) = body.split_at_checked(key)?;
    let (value, rest) = rest.split_at_checked(value)?;
    *body = rest;
    let after = (kind == 1).then(|| Bytes::copy_from_slice(value));
    Some(Entry { revision: Revision(revision), key: Key::from(std::str::from_utf8(key).ok()?), after })
}

/// Takes so many bytes off the beginning.
pub(crate) fn chunk<'a, const N: usize>(body: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (chunk, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(chunk)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::store::record::Verb;
    use crate::store::redb::crash_disk::CrashDisk;

    fn change(revision: u64, value: Option<&str>) -> Change {
        let after = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
        Change {
            revision: Revision(revision),
            key: "/a/r//1".into(),
            verb: Verb::Update,
            after,
            before: None,
        }
    }

    fn journal(disk: &CrashDisk) -> Journal {
        Journal::open(Arc::new(disk.place()), 1 << 20).unwrap()
    }

    fn read(disk: &CrashDisk, after: u64) -> Vec<(u64, Option<Bytes>)> {
        read_with(disk, 1 << 20, after)
    }

    fn read_with(disk: &CrashDisk, limit: u64, after: u64) -> Vec<(u64, Option<Bytes>)> {
        let journal = Journal::open(Arc::new(disk.place()), limit).unwrap();
        let entries = journal.read(Revision(after)).unwrap();
        entries.into_iter().map(|entry| (entry.revision.0, entry.after)).collect()
    }

    #[test]
    fn what_was_written_is_read_from_where_the_tables_end() {
        let disk = CrashDisk::default();
        let mut writing = journal(&disk);
        assert!(read(&disk, 0).is_empty());
        writing.append([change(5, Some("a")), change(6, None)].iter()).unwrap();
        writing.append([change(7, Some(""))].iter()).unwrap();
        assert_eq!(read(&disk, 4), [(5, Some("a".into())), (6, None), (7, Some("".into()))]);
        assert!(read(&disk, 7).is_empty(), "the tables have it");
        assert!(read(&disk, 3).is_empty(), "there is a gap");
    }

    #[test]
    fn what_an_earlier_round_left_is_no_news() {
        let disk = CrashDisk::default();
        let mut writing = journal(&disk);
        for revision in 1..=9 {
            writing.append([change(revision, Some("old"))].iter()).unwrap();
        }
        writing.restart();
        assert!(read(&disk, 9).is_empty());
        writing.append([change(10, Some("new"))].iter()).unwrap();
        assert_eq!(read(&disk, 9), [(10, Some("new".into()))]);
    }

    #[test]
    fn a_damaged_record_ends_the_reading() {
        let disk = CrashDisk::default();
        let mut writing = journal(&disk);
        for revision in 1..=3 {
            writing.append([change(revision, Some("value"))].iter()).unwrap();
        }
        let size = HEADER + size(&change(1, Some("value")));
        for at in 0..size {
            let file = disk.place().find_journal().unwrap().unwrap();
            let mut byte = [0];
            file.read((size + at) as u64, &mut byte).unwrap();
            file.write((size + at) as u64, &[byte[0] ^ 0x40]).unwrap();
            assert_eq!(read(&disk, 0).len(), 1, "damaged at {at}");
            file.write((size + at) as u64, &byte).unwrap();
        }
        assert_eq!(read(&disk, 0).len(), 3);
    }

    #[test]
    fn a_record_that_failed_is_wiped_before_the_next() {
        let disk = CrashDisk::default();
        let mut writing = journal(&disk);
        writing.append([change(1, Some("a"))].iter()).unwrap();
        disk.set_lying(true);
        assert!(writing.append([change(2, Some("b"))].iter()).is_err());
        assert!(writing.mend().is_err());
        disk.set_lying(false);
        writing.mend().unwrap();
        assert_eq!(read(&disk, 0).len(), 1);
        writing.append([change(2, None)].iter()).unwrap();
        assert_eq!(read(&disk, 0), [(1, Some("a".into())), (2, None)]);
    }

    #[test]
    fn a_section_is_full_at_half_of_the_limit_and_the_other_goes_on() {
        let disk = CrashDisk::default();
        let mut writing = Journal::open(Arc::new(disk.place()), 1000).unwrap();
        let value = "x".repeat(200);
        let mut revision = 1;
        let mut fill = |writing: &mut Journal| {
            while writing.fits(record_size([change(revision, Some(&value))].iter())) {
                writing.append([change(revision, Some(&value))].iter()).unwrap();
                revision += 1;
            }
        };
        fill(&mut writing);
        assert_eq!(read_with(&disk, 1000, 0).len(), 2);
        writing.turn();
        fill(&mut writing);
        assert_eq!(
            (read_with(&disk, 1000, 0).len(), disk.len()),
            (4, 1000),
            "both sections, first and second"
        );
        writing.turn();
        fill(&mut writing);
        let revisions = |after| -> Vec<u64> {
            read_with(&disk, 1000, after).into_iter().map(|(revision, _)| revision).collect()
        };
        assert!(revisions(0).is_empty(), "the tables have followed the first two");
        assert_eq!(revisions(2), [3, 4, 5, 6], "second and first");
        assert_eq!(revisions(4), [5, 6]);
    }

    #[test]
    fn sections_are_found_whatever_the_limit_was() {
        let disk = CrashDisk::default();
        let mut writing = Journal::open(Arc::new(disk.place()), 4 * STEP).unwrap();
        writing.append([change(1, Some("a"))].iter()).unwrap();
        writing.turn();
        writing.append([change(2, Some("b"))].iter()).unwrap();
        for limit in [2 * STEP, 4 * STEP, 10 * STEP] {
            assert_eq!(read_with(&disk, limit, 0).len(), 2);
        }
    }
}

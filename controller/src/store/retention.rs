//! When an entry of the log may go: older than an age and beyond a size, both.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::store::record::{Change, Revision};

/// How much history a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retain {
    /// Entries younger than this stay.
    pub age: Duration,
    /// The newest entries up to this many bytes stay.
    pub bytes: u64,
}

impl Default for Retain {
    fn default() -> Retain {
        Retain { age: Duration::from_secs(300), bytes: 64 << 20 }
    }
}

/// How old the entries of a log are, to a sixteenth of the age that matters.
#[derive(Debug)]
pub(crate) struct Retention {
    retain: Retain,
    marks: VecDeque<(Instant, Revision)>,
    old: Revision,
}

impl Retention {
    /// A log whose newest entry is `head`; entries from before now count as written now.
    pub(crate) fn new(retain: Retain, now: Instant, head: Revision) -> Retention {
        Retention { retain, marks: VecDeque::from([(now, head)]), old: Revision::ZERO }
    }

    /// The newest entry that may go now, when there are `bytes` in the log.
    pub(crate) fn due(&mut self, now: Instant, head: Revision, bytes: u64) -> Option<Revision> {
        while let Some((at, revision)) = self.marks.front() {
            if now.saturating_duration_since(*at) < self.retain.age {
                break;
            }
            self.old = *revision;
            self.marks.pop_front();
        }
        let spacing = self.retain.age / 16;
        if self.marks.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= spacing) {
            self.marks.push_back((now, head));
        }
        (bytes > self.retain.bytes && self.old > Revision::ZERO).then_some(self.old)
    }

    /// How many bytes of log are kept however old they are.
    pub(crate) fn bytes(&self) -> u64 {
        self.retain.bytes
    }
}

/// What an entry counts for, at most: the tables write what two versions share once.
pub(crate) fn weight(change: &Change) -> u64 {
    let after = change.after.as_ref().map_or(0, |value| value.len());
    let before = change.before.as_ref().map_or(0, |stored| stored.value.len());
    (change.key.as_str().len() + after + before + 32) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_go_when_old_and_beyond_the_size() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let retain = Retain { age: Duration::from_secs(160), bytes: 100 };
        let mut retention = Retention::new(retain, start, Revision(5));
        assert_eq!(retention.due(at(1), Revision(6), 1000), None, "all are young");
        assert_eq!(retention.due(at(20), Revision(7), 1000), None);
        assert_eq!(retention.due(at(160), Revision(8), 100), None, "within the size");
        assert_eq!(retention.due(at(161), Revision(9), 101), Some(Revision(5)));
        assert_eq!(retention.due(at(180), Revision(9), 101), Some(Revision(7)));
    }
}

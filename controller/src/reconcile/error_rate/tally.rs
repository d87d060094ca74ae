//! How many requests the Pods of one template took and failed lately.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use edge_api::time::Timestamp;

use crate::requests::{Container, Counts};

/// Fewer requests say nothing.
const LEAST: u64 = 20;

/// Counters of containers over time, as sums that only grow.
#[derive(Debug, Default)]
pub(super) struct Tally {
    last: BTreeMap<Container, Counts>,
    total: Counts,
    /// The total at the end of every look, the oldest first.
    sums: VecDeque<(Timestamp, Counts)>,
}

impl Tally {
    /// A tally to which what these containers did before does not belong.
    pub(super) fn after(earlier: BTreeMap<Container, Counts>) -> Tally {
        Tally { last: earlier, ..Tally::default() }
    }

    /// Takes the counters of the containers as they are now; keeps what is needed for `window`.
    pub(super) fn take(&mut self, counts: BTreeMap<Container, Counts>, now: Timestamp, window: Duration) {
        for (container, count) in &counts {
            let before = self.last.get(container).copied().unwrap_or_default();
            // A container that was started anew counts from zero.
            let anew = count.taken < before.taken || count.failed < before.failed;
            let before = if anew { Counts::default() } else { before };
            self.total.taken += count.taken - before.taken;
            self.total.failed += count.failed - before.failed;
        }
        self.last.extend(counts);
        self.sums.push_back((now, self.total));
        while self.sums.get(1).is_some_and(|(time, _)| time.plus(window) <= now) {
            self.sums.pop_front();
        }
    }

    /// What was counted within the last `window`.
    pub(super) fn within(&self, window: Duration, now: Timestamp) -> Counts {
        let base = self.sums.front().filter(|(time, _)| time.plus(window) <= now);
        let base = base.map(|(_, sum)| *sum).unwrap_or_default();
        Counts { taken: self.total.taken - base.taken, failed: self.total.failed - base.failed }
    }
}

/// Whether more than a share of requests failed, and there were enough of them to say so.
pub(super) fn too_many(counts: Counts, most: f64) -> bool {
    counts.taken >= LEAST && counts.failed as f64 > most * counts.taken as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn counts(all: &[(&str, u64, u64)]) -> BTreeMap<Container, Counts> {
        let one = |(pod, taken, failed): &(&str, u64, u64)| {
            let name = Container { namespace: "n".into(), pod: (*pod).into(), name: "c".into() };
            (name, Counts { taken: *taken, failed: *failed })
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn requests_are_counted_within_the_window() {
        // What was counted before, second and counters of each look, taken and failed in the end.
        type Look<'a> = (i64, &'a [(&'a str, u64, u64)]);
        type Case<'a> = (&'a str, &'a [(&'a str, u64, u64)], &'a [Look<'a>], (u64, u64));
        let cases: &[Case<'_>] = &[
            ("the Pods of a new template count from their beginning", &[], &[(0, &[("a", 9, 1)])], (9, 1)),
            ("what was before does not count", &[("a", 100, 50)], &[(0, &[("a", 109, 51)])], (9, 1)),
            ("Pods add up", &[], &[(0, &[("a", 9, 1), ("b", 1, 1)])], (10, 2)),
            ("a container that was started anew", &[], &[(0, &[("a", 9, 1)]), (9, &[("a", 5, 0)])], (14, 1)),
            ("a Pod that is gone did what it did", &[], &[(0, &[("a", 9, 1)]), (9, &[("b", 1, 0)])], (10, 1)),
            (
                "what is older than the window is forgotten",
                &[],
                &[(0, &[("a", 50, 50)]), (30, &[("a", 60, 50)]), (60, &[("a", 70, 51)])],
                (20, 1),
            ),
            (
                "looks that are late keep the window",
                &[],
                &[(0, &[("a", 50, 50)]), (30, &[("a", 60, 50)]), (200, &[("a", 70, 50)])],
                (10, 0),
            ),
        ];
        for (name, before, looks, expected) in cases {
            let mut tally = Tally::after(counts(before));
            let mut now = Timestamp::from_seconds(0);
            for (second, seen) in *looks {
                now = Timestamp::from_seconds(*second);
                tally.take(counts(seen), now, WINDOW);
            }
            let found = tally.within(WINDOW, now);
            assert_eq!((found.taken, found.failed), *expected, "{name}");
        }
    }

    #[test]
    fn a_share_is_exceeded_only_by_more_and_by_enough_requests() {
        let cases = [
            ("none failed", 100, 0, 0.0, false),
            ("exactly the share", 100, 5, 0.05, false),
            ("more", 100, 6, 0.05, true),
            ("too few requests to say", 19, 19, 0.05, false),
            ("enough", 20, 2, 0.05, true),
            ("none may fail", 20, 1, 0.0, true),
            ("all may fail", 20, 20, 1.0, false),
        ];
        for (name, taken, failed, most, expected) in cases {
            assert_eq!(too_many(Counts { taken, failed }, most), expected, "{name}");
        }
    }
}

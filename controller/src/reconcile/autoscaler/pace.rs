//! How fast replicas come and go: what was recommended lately, and how much has changed lately.

use std::time::Duration;

use edge_api::time::Timestamp;

use crate::reconcile::autoscaler::sight::{Behavior, Rules};

/// For how long the highest recommendation counts before replicas go, if nothing else is said.
const DOWN_WINDOW: i64 = 300;

/// What is remembered of an autoscaler between decisions. It is lost with the process, as Kubernetes' is.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    recommended: Vec<(Timestamp, i64)>,
    added: Vec<(Timestamp, i64)>,
    removed: Vec<(Timestamp, i64)>,
}

/// A condition that explains a decision: reason and message.
pub(super) type Because = (&'static str, &'static str);

/// What becomes of a recommendation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Paced {
    /// So many replicas.
    pub replicas: i64,
    /// For `AbleToScale`, which is true.
    pub able: Because,
    /// For `ScalingLimited`, and whether that is so.
    pub limited: (bool, Because),
}

/// The bounds of an autoscaler and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    /// Replicas now.
    pub now: i64,
    /// The least.
    pub least: i64,
    /// The most.
    pub most: i64,
}

const FITS: Because = ("ReadyForNewScale", "recommended size matches current size");
const HIGHER: Because = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const LOWER: Because = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const WITHIN: Because = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_FEW: Because =
    ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const TOO_MANY: Because =
    ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const TOO_FAST: Because =
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const TOO_FAST_DOWN: Because =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");

impl Memory {
    /// The first thing known of a target is that it is as somebody wished.
    pub(super) fn begin(&mut self, replicas: i64, now: Timestamp) {
        if self.recommended.is_empty() {
            self.recommended.push((now, replicas));
        }
    }

    /// What becomes of a recommendation, which is remembered.
    pub(super) fn pace(
        &mut self,
        wished: i64,
        range: Range,
        behavior: Option<&Behavior>,
        now: Timestamp,
    ) -> Paced {
        let stable = self.stabilise(wished, range, behavior, now);
        self.recommended.push((now, wished));
        let able = match stable == wished {
            true => FITS,
            false if behavior.is_some() && wished >= range.now => LOWER,
            false => HIGHER,
        };
        let (replicas, because) = match behavior {
            Some(behavior) => self.by_rules(stable, range, behavior, now),
            None => by_habit(stable, range),
        };
        Paced { replicas, able, limited: (replicas != stable, because) }
    }

    fn stabilise(&mut self, wished: i64, range: Range, behavior: Option<&Behavior>, now: Timestamp) -> i64 {
        let window = |rules: fn(&Behavior) -> &Rules, otherwise| {
            behavior.and_then(|behavior| rules(behavior).stabilization_window_seconds).unwrap_or(otherwise)
        };
        let (up, down) = (window(|b| &b.scale_up, 0), window(|b| &b.scale_down, DOWN_WINDOW));
        self.recommended.retain(|(at, _)| within(*at, up.max(down), now));
        let lately = |window: i64| {
            self.recommended.iter().filter(move |(at, _)| within(*at, window, now)).map(|(_, count)| *count)
        };
        let highest = lately(down).chain([wished]).max().unwrap_or(wished);
        if behavior.is_none() {
            return highest;
        }
        // Whoever waits for the first replica is not to wait for a window.
        let up = if range.now == 0 { 0 } else { up };
        let lowest = lately(up).chain([wished]).min().unwrap_or(wished);
        range.now.max(lowest).min(highest)
    }

    fn by_rules(&self, stable: i64, range: Range, behavior: &Behavior, now: Timestamp) -> (i64, Because) {
        if stable > range.now {
            let fastest = self.fastest(&behavior.scale_up, range.now, 1, now).max(range.now);
            let (most, because) =
                if range.most > fastest { (fastest, TOO_FAST) } else { (range.most, TOO_MANY) };
            if stable > most {
                return (most, because);
            }
        } else if stable < range.now {
            let fastest = self.fastest(&behavior.scale_down, range.now, -1, now).min(range.now);
            let (least, because) =
                if range.least < fastest { (fastest, TOO_FAST_DOWN) } else { (range.least, TOO_FEW) };
            if stable < least {
                return (least, because);
            }
        }
        (stable, WITHIN)
    }

    /// How far the policies let it go upwards (1) or downwards (-1).
    fn fastest(&self, rules: &Rules, current: i64, direction: i64, now: Timestamp) -> i64 {
        if rules.select_policy == "Disabled" {
            return current;
        }
        let changed = |events: &[(Timestamp, i64)], period| -> i64 {
            events.iter().filter(|(at, _)| within(*at, period, now)).map(|(_, count)| count).sum()
        };
        let limits = rules.policies.iter().map(|policy| {
            let period = policy.period_seconds;
            let began = current - changed(&self.added, period) + changed(&self.removed, period);
            let share = began.saturating_mul(policy.value);
            match policy.type_.as_str() {
                "Pods" => began + direction * policy.value,
                _ if direction > 0 => began + share / 100 + i64::from(share % 100 > 0),
                // What goes is rounded up, so that one goes of a few.
                _ => began - share / 100 - i64::from(share % 100 > 0),
            }
        });
        // The policy that changes most, unless the one that changes least is asked for.
        let furthest = (direction > 0) == (rules.select_policy != "Min");
        let limit = if furthest { limits.max() } else { limits.min() };
        // A share of nothing is nothing, and would be so for ever.
        let least = i64::from(direction > 0 && current == 0);
        limit.unwrap_or(current).max(least)
    }

    /// The target has been scaled.
    pub(super) fn scaled(&mut self, from: i64, to: i64, behavior: Option<&Behavior>, now: Timestamp) {
        let Some(behavior) = behavior else { return };
        let policies = behavior.scale_up.policies.iter().chain(&behavior.scale_down.policies);
        let longest = policies.map(|policy| policy.period_seconds).max().unwrap_or(0);
        for events in [&mut self.added, &mut self.removed] {
            events.retain(|(at, _)| within(*at, longest, now));
        }
        let events = if to > from { &mut self.added } else { &mut self.removed };
        events.push((now, (to - from).abs()));
    }
}

/// Whether a time is at most so many seconds ago.
fn within(at: Timestamp, seconds: i64, now: Timestamp) -> bool {
    at.plus(Duration::from_secs(seconds.unsigned_abs())) > now
}

/// Without rules replicas at most double at a time, or come to four.
fn by_habit(stable: i64, range: Range) -> (i64, Because) {
    let fastest = (2 * range.now).max(4);
    let (most, because) = if fastest < range.most { (fastest, TOO_FAST) } else { (range.most, TOO_MANY) };
    if stable < range.least {
        (range.least, TOO_FEW)
    } else if stable > most {
        (most, because)
    } else {
        (stable, WITHIN)
    }
}

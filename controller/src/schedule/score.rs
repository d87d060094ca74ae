//! Which of the nodes that can take a Pod should. One entry for each wish; the sum decides.

use crate::mirror::{Pod, tolerates};
use crate::schedule::Place;
use crate::schedule::filter::term_matches;

/// One wish.
struct Score {
    /// Kubernetes' name of it.
    #[allow(dead_code, reason = "read by people, and by `why` once it is there")]
    name: &'static str,
    /// How much it counts.
    weight: i64,
    /// How raw scores become 0 to 100.
    scale: Scale,
    /// How well a node suits.
    rate: fn(&Pod, &Place<'_>) -> i64,
}

enum Scale {
    /// They already are.
    Absolute,
    /// The highest one becomes 100.
    Highest,
    /// The highest one becomes 0, none becomes 100.
    Lowest,
}

/// All wishes. Nodes are filled one after the other (most allocated first), so that others stay free or can be turned
/// off.
const SCORES: &[Score] = &[
    Score { name: "TaintToleration", weight: 3, scale: Scale::Lowest, rate: unwelcome },
    Score { name: "NodeAffinity", weight: 2, scale: Scale::Highest, rate: preferred },
    Score { name: "NodeResourcesMostAllocated", weight: 1, scale: Scale::Absolute, rate: allocated },
];

/// The best of these places; among equals the one with the most Pods, then the first by name.
pub fn best(pod: &Pod, places: &[Place<'_>]) -> Option<usize> {
    if places.len() <= 1 {
        return places.len().checked_sub(1);
    }
    let mut sums = vec![0_i64; places.len()];
    for score in SCORES {
        let raw: Vec<i64> = places.iter().map(|place| (score.rate)(pod, place)).collect();
        let highest = raw.iter().copied().max().unwrap_or(0);
        for (sum, raw) in sums.iter_mut().zip(raw) {
            *sum += score.weight * scaled(&score.scale, raw, highest);
        }
    }
    let rank =
        |at: &usize| (sums[*at], places[*at].taken.pods, std::cmp::Reverse(&places[*at].node.meta.name));
    (0..places.len()).max_by_key(rank)
}

fn scaled(scale: &Scale, raw: i64, highest: i64) -> i64 {
    match scale {
        Scale::Absolute => raw,
        Scale::Highest if highest == 0 => 0,
        Scale::Highest => raw * 100 / highest,
        Scale::Lowest if highest == 0 => 100,
        Scale::Lowest => 100 - raw * 100 / highest,
    }
}

/// Taints that would rather not have the Pod.
fn unwelcome(pod: &Pod, place: &Place<'_>) -> i64 {
    let taints = place.node.body.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
    taints.filter(|taint| !tolerates(&pod.tolerations, taint)).count().try_into().unwrap_or(i64::MAX)
}

fn preferred(pod: &Pod, place: &Place<'_>) -> i64 {
    let liked = pod.affinity.iter().flat_map(|affinity| &affinity.preferred);
    liked.filter(|term| term_matches(&term.preference, place)).map(|term| term.weight).sum()
}

/// What share of the node's CPU and memory would be taken with the Pod on it.
fn allocated(pod: &Pod, place: &Place<'_>) -> i64 {
    // What a Pod without requests counts for, as in Kubernetes.
    const SMALL_CPU: i64 = 100;
    const SMALL_MEMORY: i64 = 200 * 1024 * 1024;
    let share = |want: i64, small: i64, taken: i64, have: i64| {
        let want = if want == 0 { small } else { want };
        if have <= 0 {
            0
        } else {
            (100 * i128::from(taken.saturating_add(want)) / i128::from(have)).min(100) as i64
        }
    };
    let (have, taken, want) = (&place.node.body.allocatable, &place.taken.requests, &pod.requests);
    let cpu = share(want.cpu, SMALL_CPU, taken.cpu, have.cpu);
    let memory = share(want.memory, SMALL_MEMORY, taken.memory, have.memory);
    (cpu + memory) / 2
}

//! ImageLocality: a node that has a Pod's large images suits it better; the more so the more nodes have them, so that
//! not all Pods go where an image was first.

use crate::mirror::{LARGE_IMAGE, Place};
use crate::schedule::ask::Ask;
use crate::schedule::plugins::{Plugin, Scale, Score};

/// The table's entry.
pub const PLUGIN: Plugin = Plugin {
    name: "ImageLocality",
    score: Some(Score { weight: 1, scale: Scale::Absolute, rate, special: None }),
    ..Plugin::NOTHING
};

/// Images of a container above this many bytes count no more.
const HUGE: i64 = 1000 * 1024 * 1024;

fn rate(ask: &Ask<'_>, place: &Place) -> Option<i64> {
    let images = &ask.pod.body.images;
    let containers = i64::try_from(images.len().max(1)).unwrap_or(i64::MAX);
    let nodes = ask.fleet.len().max(1) as f64;
    let there = |name: &String| {
        let have = &place.node.body.images;
        let at = have.binary_search_by(|(image, _)| image.cmp(name)).ok()?;
        Some((have[at].1 as f64 * (ask.fleet.nodes_with(name) as f64 / nodes)) as i64)
    };
    let sum: i64 = images.iter().filter_map(there).sum();
    let most = HUGE.saturating_mul(containers);
    Some(100 * (sum.clamp(LARGE_IMAGE, most) - LARGE_IMAGE) / (most - LARGE_IMAGE))
}

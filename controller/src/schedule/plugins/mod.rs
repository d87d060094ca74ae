//! The scheduler's plugins, as Kubernetes names them: one file each, and this table.
//!
//! A plugin may bar a Pod from all nodes, refuse nodes, and rate them. Each says how far a rule of its reaches: a rule
//! that cannot tell the nodes of a class apart is asked once for the class. To add a plugin is to add a file of the
//! same shape and a line. Plugins read what is kept for them in [`Ask`] and [`Place`]; they decide nothing.

mod image_locality;
mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources_fit;
mod node_unschedulable;
mod pod_topology_spread;
mod scheduling_gates;
mod taint_toleration;
mod volume_binding;
mod volume_restrictions;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::mirror::Place;
use crate::schedule::ask::Ask;

pub use node_affinity::fields_name;
pub use node_resources_fit::{REASONS as AMOUNT_REASONS, wanted};

/// A plugin.
pub struct Plugin {
    /// Kubernetes' name of it.
    pub name: &'static str,
    /// Why a Pod can have no node at all.
    pub bars: Option<fn(&Ask<'_>) -> Option<String>>,
    /// Which nodes cannot take a Pod.
    pub filter: Option<Filter>,
    /// Which of the others should.
    pub score: Option<Score>,
}

impl Plugin {
    const NOTHING: Plugin = Plugin { name: "", bars: None, filter: None, score: None };
}

/// A rule about which nodes cannot take a Pod.
pub struct Filter {
    /// How far it reaches for this Pod.
    pub reach: fn(&Ask<'_>) -> Reach,
    /// Why the node cannot take it.
    pub refuse: fn(&Ask<'_>, &Place) -> Option<Refusal>,
    /// What would change that, in words for people, and how far off it is; nearer nodes are shown as examples.
    pub help: fn(&Ask<'_>, &Place) -> (i64, Vec<String>),
}

/// How far a rule reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It says nothing about this Pod.
    Nothing,
    /// It says the same of all nodes of a class.
    Class,
    /// It must be asked of each node.
    Node,
    /// It must be asked of each node, but what it says follows from the amounts that a node has and has left.
    Amounts,
}

/// Why a node cannot take a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In Kubernetes' words; several where several resources are short.
    pub reasons: Vec<Cow<'static, str>>,
    /// Whether the node could take it if others left.
    pub resolvable: bool,
}

impl Refusal {
    /// One that stands whoever leaves.
    fn for_good(reason: impl Into<Cow<'static, str>>) -> Option<Refusal> {
        Some(Refusal { reasons: vec![reason.into()], resolvable: false })
    }

    /// One that may fall when others leave.
    fn for_now(reason: impl Into<Cow<'static, str>>) -> Option<Refusal> {
        Some(Refusal { reasons: vec![reason.into()], resolvable: true })
    }
}

/// A rule about which nodes suit a Pod.
pub struct Score {
    /// How much it counts, as in Kubernetes' default configuration.
    pub weight: i64,
    /// How what it says becomes 0 to 100.
    pub scale: Scale,
    /// How well a node suits; none if it is not compared at all, which is 0. Says the same of all nodes of a class,
    /// but for those that are `special`.
    pub rate: fn(&Ask<'_>, &Place) -> Option<i64>,
    /// The names of nodes of which it may say something else than of others of their class.
    pub special: Option<Special>,
}

/// Puts names of nodes into a set.
pub type Special = fn(&Ask<'_>, &mut BTreeSet<Arc<str>>);

/// How ratings become 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// They already are, and are the only ones that depend on what is left on a node.
    Absolute,
    /// The highest becomes 100, none is 0.
    Highest,
    /// The highest becomes 0, none is 100.
    Lowest,
    /// The lowest becomes 0, the highest 100; if all are the same, 0.
    Between,
    /// The lowest becomes 100, and the others less in proportion to the highest.
    Fewest,
}

/// All of them, in the order in which Kubernetes asks them.
pub static PLUGINS: &[Plugin] = &[
    scheduling_gates::PLUGIN,
    node_unschedulable::PLUGIN,
    node_name::PLUGIN,
    taint_toleration::PLUGIN,
    node_affinity::PLUGIN,
    node_ports::PLUGIN,
    node_resources_fit::PLUGIN,
    volume_restrictions::PLUGIN,
    volume_binding::PLUGIN,
    pod_topology_spread::PLUGIN,
    inter_pod_affinity::PLUGIN,
    image_locality::PLUGIN,
];

/// All filters with the names of their plugins.
pub fn filters() -> impl Iterator<Item = (&'static str, &'static Filter)> {
    PLUGINS.iter().filter_map(|plugin| Some((plugin.name, plugin.filter.as_ref()?)))
}

/// Why a Pod can have no node at all.
pub fn bars(ask: &Ask<'_>) -> Option<(&'static str, String)> {
    PLUGINS.iter().find_map(|plugin| Some((plugin.name, plugin.bars?(ask)?)))
}

/// The first plugin that refuses a node, and why. Pods for which others make room there count as being there.
pub fn check(ask: &Ask<'_>, place: &Place) -> Option<(&'static str, Refusal)> {
    ask.looks.set(ask.looks.get() + 1);
    let (uid, priority) = (&ask.pod.meta.uid, ask.pod.body.priority);
    let mut others =
        place.nominated.iter().filter(|pod| pod.meta.uid != *uid && pod.body.priority >= priority).peekable();
    if others.peek().is_some() {
        let mut crowded = place.clone();
        others.for_each(|pod| crowded.taken.add(&pod.body));
        if let Some(refused) = refuse(ask, &crowded) {
            return Some(refused);
        }
    }
    refuse(ask, place)
}

fn refuse(ask: &Ask<'_>, place: &Place) -> Option<(&'static str, Refusal)> {
    filters().find_map(|(name, filter)| match (filter.reach)(ask) {
        Reach::Nothing => None,
        _ => (filter.refuse)(ask, place).map(|refusal| (name, refusal)),
    })
}

/// Ratings of one kind as scores.
pub fn scaled(scale: Scale, ratings: &[Option<i64>]) -> Vec<i64> {
    let known = || ratings.iter().flatten().copied();
    let (lowest, highest) = (known().min().unwrap_or(0), known().max().unwrap_or(0));
    let one = |rating: i64| match scale {
        Scale::Absolute => rating,
        Scale::Highest if highest == 0 => 0,
        Scale::Highest => rating * 100 / highest,
        Scale::Lowest if highest == 0 => 100,
        Scale::Lowest => 100 - rating * 100 / highest,
        Scale::Between if highest == lowest => 0,
        Scale::Between => 100 * (rating - lowest) / (highest - lowest),
        Scale::Fewest if highest == 0 => 100,
        Scale::Fewest => 100 * (highest + lowest - rating) / highest,
    };
    ratings.iter().map(|rating| rating.map_or(0, one)).collect()
}

/// For filters about which nobody can do anything but choose another node.
fn no_help(_: &Ask<'_>, _: &Place) -> (i64, Vec<String>) {
    (0, Vec::new())
}

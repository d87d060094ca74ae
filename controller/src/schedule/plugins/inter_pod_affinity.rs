//! InterPodAffinity: Pods that must, must not, should or should not be near each other; a rule against holds both ways.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::mirror::{HOSTNAME, Place, Tally};
use crate::schedule::ask::Ask;
use crate::schedule::plugins::{Filter, Plugin, Reach, Refusal, Scale, Score};

/// The table's entry.
pub const PLUGIN: Plugin = Plugin {
    name: "InterPodAffinity",
    filter: Some(Filter { reach, refuse, help }),
    score: Some(Score { weight: 2, scale: Scale::Between, rate, special: Some(special) }),
    ..Plugin::NOTHING
};

fn reach(ask: &Ask<'_>) -> Reach {
    let near = ask.near.iter().map(|(topology, _)| topology);
    let apart = ask.apart.iter().map(|(topology, _)| *topology);
    let unwelcome = ask.unwelcome.iter().map(|(topology, _)| *topology);
    let mut reach = Reach::Nothing;
    for topology in near.chain(apart).chain(unwelcome) {
        if &**topology == HOSTNAME {
            return Reach::Node;
        }
        reach = Reach::Class;
    }
    reach
}

/// How many are in the node's place.
fn there(place: &Place, topology: &str, tally: Option<&Tally>) -> i64 {
    let name = place.node.meta.labels.get(topology);
    name.zip(tally).map_or(0, |(name, tally)| tally.count(name))
}

fn is_near(ask: &Ask<'_>, place: &Place) -> bool {
    let in_a_place = ask.near.iter().all(|(topology, _)| place.node.meta.labels.contains_key(&**topology));
    in_a_place && (ask.first || ask.near.iter().all(|(topology, tally)| there(place, topology, *tally) > 0))
}

fn is_crowded(ask: &Ask<'_>, place: &Place) -> bool {
    ask.apart.iter().any(|(topology, tally)| there(place, topology, *tally) > 0)
}

fn is_unwelcome(ask: &Ask<'_>, place: &Place) -> bool {
    ask.unwelcome.iter().any(|(topology, tally)| there(place, topology, Some(tally)) > 0)
}

fn refuse(ask: &Ask<'_>, place: &Place) -> Option<Refusal> {
    if !is_near(ask, place) {
        Refusal::for_good("node(s) didn't match pod affinity rules")
    } else if is_crowded(ask, place) {
        Refusal::for_now("node(s) didn't match pod anti-affinity rules")
    } else if is_unwelcome(ask, place) {
        Refusal::for_now("node(s) didn't satisfy existing pods anti-affinity rules")
    } else {
        None
    }
}

fn help(ask: &Ask<'_>, place: &Place) -> (i64, Vec<String>) {
    let mut all = Vec::new();
    if !is_near(ask, place) {
        all.push("a Pod there that this one must be near".to_owned());
    }
    if is_crowded(ask, place) {
        all.push("no Pod there that this one must not be near".to_owned());
    }
    if is_unwelcome(ask, place) {
        all.push("no Pod there that must not be near this one".to_owned());
    }
    (all.len() as i64, all)
}

fn rate(ask: &Ask<'_>, place: &Place) -> Option<i64> {
    let weighed =
        ask.wishes.iter().map(|(topology, tally, weight)| weight * there(place, topology, Some(tally)));
    Some(weighed.sum())
}

fn special(ask: &Ask<'_>, names: &mut BTreeSet<Arc<str>>) {
    let by_name = ask.wishes.iter().filter(|(topology, ..)| &***topology == HOSTNAME);
    names.extend(by_name.flat_map(|(_, tally, _)| tally.taken()).cloned());
}

//! PodTopologySpread: no place may have many more of some Pods than the emptiest one, or should not.
//!
//! The weight of a soft rule grows with the number of places as in Kubernetes, which counts the places among the nodes
//! that fit; here they are those that count for the Pod. There are no rules by default for Pods that have none.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::mirror::{HOSTNAME, Place, Tally};
use crate::schedule::ask::{Ask, Spreading};
use crate::schedule::plugins::{Filter, Plugin, Reach, Refusal, Scale, Score};

/// The table's entry.
pub const PLUGIN: Plugin = Plugin {
    name: "PodTopologySpread",
    filter: Some(Filter { reach, refuse, help }),
    score: Some(Score { weight: 2, scale: Scale::Fewest, rate, special: Some(special) }),
    ..Plugin::NOTHING
};

fn rules<'a, 'b>(ask: &'b Ask<'a>, hard: bool) -> impl Iterator<Item = &'b Spreading<'a>> {
    ask.spread.iter().filter(move |spread| spread.rule.hard == hard)
}

fn reach(ask: &Ask<'_>) -> Reach {
    let mut reach = Reach::Nothing;
    for spread in rules(ask, true) {
        if &*spread.rule.topology == HOSTNAME {
            return Reach::Node;
        }
        reach = Reach::Class;
    }
    reach
}

/// How many more a node's place would have than the emptiest one; none if the node is in no place.
fn skew(spread: &Spreading<'_>, place: &Place) -> Option<i64> {
    let name = place.node.meta.labels.get(&*spread.rule.topology)?;
    let places = spread.tally.map_or(0, Tally::places);
    let least = spread.tally.and_then(Tally::least).unwrap_or(i64::from(i32::MAX));
    let enough = i64::try_from(places).unwrap_or(i64::MAX) >= spread.rule.min_domains;
    let least = if enough { least } else { 0 };
    let count = spread.tally.map_or(0, |tally| tally.count(name));
    Some(count + i64::from(spread.counts_itself) - least)
}

fn refuse(ask: &Ask<'_>, place: &Place) -> Option<Refusal> {
    for spread in rules(ask, true) {
        match skew(spread, place) {
            None => {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Refusal::for_good(reason);
            }
            Some(skew) if skew > spread.rule.max_skew => {
                return Refusal::for_now("node(s) didn't match pod topology spread constraints");
            }
            Some(_) => {}
        }
    }
    None
}

fn help(ask: &Ask<'_>, place: &Place) -> (i64, Vec<String>) {
    let one = |spread: &Spreading<'_>| match skew(spread, place) {
        None => Some((1, format!("label {} on the node", spread.rule.topology))),
        Some(skew) if skew > spread.rule.max_skew => {
            let over = skew - spread.rule.max_skew;
            Some((over, format!("{over} fewer such Pods in its {}, or more elsewhere", spread.rule.topology)))
        }
        Some(_) => None,
    };
    let all: Vec<(i64, String)> = rules(ask, true).filter_map(one).collect();
    (all.iter().map(|(over, _)| over).sum(), all.into_iter().map(|(_, text)| text).collect())
}

fn rate(ask: &Ask<'_>, place: &Place) -> Option<i64> {
    let (mut sum, mut any) = (0.0, false);
    for spread in rules(ask, false) {
        any = true;
        let name = place.node.meta.labels.get(&*spread.rule.topology)?;
        let count = spread.tally.map_or(0, |tally| tally.count(name));
        let places = spread.tally.map_or(0, Tally::places);
        let weight = (places as f64 + 2.0).ln();
        sum += count as f64 * weight + (spread.rule.max_skew - 1) as f64;
    }
    if any { Some(sum.round() as i64) } else { None }
}

fn special(ask: &Ask<'_>, names: &mut BTreeSet<Arc<str>>) {
    let by_name = rules(ask, false).filter(|spread| &*spread.rule.topology == HOSTNAME);
    names.extend(by_name.filter_map(|spread| spread.tally).flat_map(Tally::taken).cloned());
}

//! NodeAffinity: the labels a node must have, `nodeSelector` included, and those that are liked.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::mirror::{HOSTNAME, NodeTerm, Place, Requirement};
use crate::schedule::ask::{Ask, is_name, mention_names};
use crate::schedule::plugins::{Filter, Plugin, Reach, Refusal, Scale, Score};

/// The table's entry.
pub const PLUGIN: Plugin = Plugin {
    name: "NodeAffinity",
    filter: Some(Filter { reach, refuse, help }),
    score: Some(Score { weight: 2, scale: Scale::Highest, rate, special: Some(special) }),
    ..Plugin::NOTHING
};

fn required<'a>(ask: &Ask<'a>) -> Option<&'a Vec<NodeTerm>> {
    ask.pod.body.affinity.as_ref()?.required.as_ref()
}

fn reach(ask: &Ask<'_>) -> Reach {
    let selector = &ask.pod.body.node_selector;
    let terms = required(ask);
    if selector.contains_key(HOSTNAME) || terms.is_some_and(|terms| mention_names(terms)) {
        Reach::Node
    } else if selector.is_empty() && terms.is_none() {
        Reach::Nothing
    } else {
        Reach::Class
    }
}

fn selected(ask: &Ask<'_>, place: &Place) -> bool {
    let labels = &place.node.meta.labels;
    ask.pod.body.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn meets_a_term(ask: &Ask<'_>, place: &Place) -> bool {
    required(ask).is_none_or(|terms| terms.iter().any(|term| term.matches(&place.node.meta)))
}

fn refuse(ask: &Ask<'_>, place: &Place) -> Option<Refusal> {
    if selected(ask, place) && meets_a_term(ask, place) {
        return None;
    }
    Refusal::for_good("node(s) didn't match Pod's node affinity/selector")
}

/// The names of nodes that every term demands by field, as a DaemonSet's Pods do; others need not be looked at, and
/// Kubernetes says so in other words.
pub fn fields_name(ask: &Ask<'_>) -> Option<BTreeSet<String>> {
    let of = |term: &NodeTerm| {
        let mut fields = term.match_fields.iter();
        fields.find(|one| one.key == "metadata.name" && one.operator == "In").map(|one| one.values.clone())
    };
    let each: Option<Vec<Vec<String>>> = required(ask)?.iter().map(of).collect();
    Some(each?.into_iter().flatten().collect())
}

fn help(ask: &Ask<'_>, place: &Place) -> (i64, Vec<String>) {
    let labels = &place.node.meta.labels;
    let missing = ask.pod.body.node_selector.iter().filter(|(key, value)| labels.get(*key) != Some(value));
    let mut all: Vec<String> =
        missing.map(|(key, value)| format!("label {key}={value} on the node")).collect();
    let terms = required(ask).filter(|_| !meets_a_term(ask, place));
    let nearest = terms.into_iter().flatten().map(|term| unmet(term, place)).min_by_key(Vec::len);
    all.extend(nearest.into_iter().flatten());
    (all.len() as i64, all)
}

fn unmet(term: &NodeTerm, place: &Place) -> Vec<String> {
    let says = |one: &Requirement| match (one.operator.as_str(), one.values.as_slice()) {
        ("Exists", _) => format!("label {} on the node", one.key),
        ("DoesNotExist", _) => format!("no label {} on the node", one.key),
        (operator, values) => format!("{} {operator} ({}) of the node", one.key, values.join(", ")),
    };
    let fields = [("metadata.name".to_owned(), place.node.meta.name.to_string())].into();
    let expressions = term.match_expressions.iter().filter(|one| !one.matches(&place.node.meta.labels));
    let named = term.match_fields.iter().filter(|one| !one.matches(&fields));
    expressions.chain(named).map(says).collect()
}

fn rate(ask: &Ask<'_>, place: &Place) -> Option<i64> {
    let liked = ask.pod.body.affinity.iter().flat_map(|affinity| &affinity.preferred);
    Some(liked.filter(|term| term.preference.matches(&place.node.meta)).map(|term| term.weight).sum())
}

/// The nodes that a liked term names.
fn special(ask: &Ask<'_>, names: &mut BTreeSet<Arc<str>>) {
    let liked = ask.pod.body.affinity.iter().flat_map(|affinity| &affinity.preferred);
    for term in liked.map(|liked| &liked.preference) {
        let about = term.match_fields.iter().chain(&term.match_expressions).filter(|one| is_name(one));
        names.extend(about.flat_map(|one| &one.values).map(|name| Arc::from(name.as_str())));
    }
}

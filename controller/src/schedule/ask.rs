//! A Pod that is to be placed, with the counts its rules ask for at hand.
//!
//! Made once for each decision, on the nodes as they are after the decisions before it. Looking things up here is all
//! that a plugin does; none adds up Pods.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::mirror::{
    Fleet, HOSTNAME, Key, NodeTerm, Object, Pod, Requirement, Role, Sight, Spread, Tally, Volume, World,
    is_bound,
};
use crate::schedule::wish::{self, Wish};

/// How much being near counts for a Pod that others had to be near, as in Kubernetes' default configuration.
const HARD_AFFINITY: i64 = 1;

/// A rule of spreading with what is counted for it.
pub struct Spreading<'a> {
    /// The rule.
    pub rule: &'a Spread,
    /// How many Pods are where.
    pub tally: Option<&'a Tally>,
    /// Whether the Pod itself will be counted.
    pub counts_itself: bool,
}

/// A Pod that is to be placed.
pub struct Ask<'a> {
    /// The Pod.
    pub pod: &'a Object<Pod>,
    /// The nodes.
    pub fleet: &'a Fleet,
    /// Everything else.
    pub world: &'a World,
    /// How many of the Pods it must be near are where, by topology.
    pub near: Vec<(Arc<str>, Option<&'a Tally>)>,
    /// Whether none of those is anywhere, and it will be one of them itself: somebody must be the first.
    pub first: bool,
    /// How many of the Pods it must not be near are where.
    pub apart: Vec<(&'a Arc<str>, Option<&'a Tally>)>,
    /// How many Pods that do not want it near are where.
    pub unwelcome: Vec<(&'a Arc<str>, &'a Tally)>,
    /// How much each Pod counts that it likes or that likes it, or that does not.
    pub wishes: Vec<(&'a Arc<str>, &'a Tally, i64)>,
    /// How it is to be spread.
    pub spread: Vec<Spreading<'a>>,
    /// Its claims that wait for its node.
    pub unbound: Vec<Wish<'a>>,
    /// The only names that its node may have, where nodes are called by their hostnames.
    pub pinned: Option<BTreeSet<String>>,
    /// How many nodes were looked at.
    pub looks: &'a Cell<usize>,
}

impl<'a> Ask<'a> {
    /// A Pod before these nodes.
    pub fn of(pod: &'a Object<Pod>, fleet: &'a Fleet, world: &'a World, looks: &'a Cell<usize>) -> Ask<'a> {
        let mut ask = Ask {
            pod,
            fleet,
            world,
            near: Vec::new(),
            first: false,
            apart: Vec::new(),
            unwelcome: Vec::new(),
            wishes: Vec::new(),
            spread: Vec::new(),
            unbound: wish::of(pod, world),
            pinned: None,
            looks,
        };
        for (topology, role, tally) in fleet.tallies().about(&pod.meta, &world.namespaces) {
            match role {
                Role::Apart => ask.unwelcome.push((topology, tally)),
                Role::Near => ask.wishes.push((topology, tally, HARD_AFFINITY)),
                Role::Liked(weight) => ask.wishes.push((topology, tally, weight)),
                Role::Disliked(weight) => ask.wishes.push((topology, tally, -weight)),
            }
        }
        ask.own_rules();
        ask.pinned = ask.pins();
        ask
    }

    fn own_rules(&mut self) {
        let Some(social) = &self.pod.body.social else { return };
        let tallies = self.fleet.tallies();
        self.near = Key::near(social).map(|key| (key.topology.clone(), tallies.get(&key))).collect();
        let nobody = self.near.iter().all(|(_, tally)| tally.is_none_or(Tally::is_empty));
        let contains = |peers: &crate::mirror::Peers| peers.contain(&self.pod.meta, &self.world.namespaces);
        self.first = nobody && social.near.iter().all(|term| contains(&term.peers));
        self.apart =
            social.apart.iter().map(|term| (&term.topology, tallies.get(&Key::among(term)))).collect();
        let liked = social.liked.iter().map(|(weight, term)| (*weight, term));
        let disliked = social.disliked.iter().map(|(weight, term)| (-weight, term));
        for (weight, term) in liked.chain(disliked) {
            if let Some(tally) = tallies.get(&Key::among(term)) {
                self.wishes.push((&term.topology, tally, weight));
            }
        }
        self.spread = social
            .spread
            .iter()
            .map(|rule| Spreading {
                rule,
                tally: tallies.get(&Key::spread(rule, &self.pod.body)),
                counts_itself: rule.peers.selector.matches(&self.pod.meta.labels),
            })
            .collect();
    }

    /// What is needed to count a Pod in or out.
    pub fn sight(&self) -> Sight<'a> {
        Sight { pods: &self.world.pods, namespaces: &self.world.namespaces }
    }

    /// Whether anything that is counted for its rules has changed after `revision`.
    pub fn changed_since(&self, revision: u64) -> bool {
        let near = self.near.iter().filter_map(|(_, tally)| *tally);
        let apart = self.apart.iter().filter_map(|(_, tally)| *tally);
        let spread = self.spread.iter().filter_map(|spread| spread.tally);
        let unwelcome = self.unwelcome.iter().map(|(_, tally)| *tally);
        let mut all = near.chain(apart).chain(spread).chain(unwelcome);
        all.any(|tally| tally.changed() > revision) || self.fleet.tallies().vanished() > revision
    }

    /// The volumes that its claims are bound to; none for one that is gone.
    pub fn volumes(&self) -> impl Iterator<Item = Option<&'a Arc<Object<Volume>>>> {
        let claims =
            self.pod.body.claims.iter().filter_map(|claim| self.world.claims.at(&claim.of(self.pod)));
        let bound = claims.filter(|claim| is_bound(claim));
        bound.map(|claim| self.world.volumes.get("", &claim.body.volume_name))
    }

    /// The only names that its node may have.
    fn pins(&self) -> Option<BTreeSet<String>> {
        let selected = self.pod.body.node_selector.get(HOSTNAME).map(|name| BTreeSet::from([name.clone()]));
        let required = self.pod.body.affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
        let named = required.and_then(|terms| names(terms));
        let volumes = self.volumes().flatten().filter_map(|volume| names(volume.body.terms.as_ref()?));
        let chosen = self.unbound.iter().filter_map(|wish| wish.chosen);
        let chosen = chosen.map(|node| BTreeSet::from([node.to_owned()]));
        selected.into_iter().chain(named).chain(volumes).chain(chosen).reduce(|one, other| &one & &other)
    }
}

/// Whether a requirement of a node's labels or fields is about its name.
pub fn is_name(requirement: &Requirement) -> bool {
    requirement.key == HOSTNAME || requirement.key == "metadata.name"
}

/// Whether any of these terms is about a node's name.
pub fn mention_names(terms: &[NodeTerm]) -> bool {
    terms.iter().any(|term| !term.match_fields.is_empty() || term.match_expressions.iter().any(is_name))
}

/// The names that these terms leave; none if there is one that leaves others as well.
fn names(terms: &[NodeTerm]) -> Option<BTreeSet<String>> {
    let of = |term: &NodeTerm| {
        let mut all = term.match_fields.iter().chain(&term.match_expressions);
        all.find(|one| is_name(one) && one.operator == "In").map(|one| one.values.clone())
    };
    let each: Option<Vec<Vec<String>>> = terms.iter().map(of).collect();
    Some(each?.into_iter().flatten().collect())
}

//! How many Pods that a rule is about are in each place, kept as Pods and nodes come and go.
//!
//! A rule is kept only while a Pod has it, and counted from the beginning only when the first such Pod appears. So a
//! cluster in which nobody asks to be near, apart or spread keeps nothing, and no decision adds up Pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::mirror::index::Mirror;
use crate::mirror::object::{Meta, Object};
use crate::mirror::selector::Labels;
use crate::mirror::shape::{
    Namespace, Node, NodeTerm, Peers, Pod, PodTerm, Social, Spread, Toleration, tolerates,
};
use crate::mirror::tree::Tree;
use crate::mirror::waiting::{holds, waits};

/// What is counted in each place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Pods that are among all of these.
    Among(BTreeSet<Peers>),
    /// The same without those that are about to go, and only on nodes that count for the Pod that asks.
    Spread(Peers, Counted),
    /// Pods that have this rule themselves.
    Having(Peers, Role),
}

/// What a Pod that is there asks of those that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// None may come near.
    Apart,
    /// It had to be near such Pods itself.
    Near,
    /// It likes them near; 1 to 100.
    Liked(i64),
    /// It would rather not have them near; 1 to 100.
    Disliked(i64),
}

/// The nodes that count when a Pod is spread.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// They have all these labels,
    pub keys: BTreeSet<Arc<str>>,
    /// and these ones with these values,
    pub node_selector: Labels,
    /// and meet one of these terms, if there are any,
    pub terms: Option<Vec<NodeTerm>>,
    /// and their taints are put up with, if that matters.
    pub tolerations: Option<Arc<Vec<Toleration>>>,
}

impl Counted {
    fn includes(&self, node: &Object<Node>) -> bool {
        let labels = &node.meta.labels;
        let tolerated = |tolerations: &Arc<Vec<Toleration>>| {
            let mut hard = node.body.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
            hard.all(|taint| tolerates(tolerations, taint))
        };
        self.keys.iter().all(|key| labels.contains_key(&**key))
            && self.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.terms.as_ref().is_none_or(|terms| terms.iter().any(|term| term.matches(&node.meta)))
            && self.tolerations.as_ref().is_none_or(tolerated)
    }
}

/// A question about the places of a topology.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The label of nodes; those with the same value are one place.
    pub topology: Arc<str>,
    /// What is counted in each.
    pub question: Question,
}

impl Key {
    /// Counts the Pods that a term is about.
    pub fn among(term: &PodTerm) -> Key {
        Key {
            topology: term.topology.clone(),
            question: Question::Among(BTreeSet::from([term.peers.clone()])),
        }
    }

    /// For each topology of the terms that a Pod must be near, counts the Pods that all terms are about.
    pub fn near(social: &Social) -> impl Iterator<Item = Key> {
        let peers: BTreeSet<Peers> = social.near.iter().map(|term| term.peers.clone()).collect();
        let topologies: BTreeSet<&Arc<str>> = social.near.iter().map(|term| &term.topology).collect();
        topologies
            .into_iter()
            .map(move |topology| Key { topology: topology.clone(), question: Question::Among(peers.clone()) })
    }

    /// Counts what a Pod is spread by.
    pub fn spread(spread: &Spread, pod: &Pod) -> Key {
        let all = pod.social.iter().flat_map(|social| &social.spread);
        let alike = all.filter(|one| one.hard == spread.hard);
        let required = pod.affinity.as_ref().and_then(|affinity| affinity.required.clone());
        let counted = Counted {
            keys: alike.map(|one| one.topology.clone()).collect(),
            node_selector: if spread.by_affinity { pod.node_selector.clone() } else { Labels::new() },
            terms: required.filter(|_| spread.by_affinity),
            tolerations: spread.by_taints.then(|| pod.tolerations.clone()),
        };
        Key { topology: spread.topology.clone(), question: Question::Spread(spread.peers.clone(), counted) }
    }

    /// Every question that a Pod asks.
    fn asked_by(pod: &Pod) -> Vec<Key> {
        let Some(social) = &pod.social else { return Vec::new() };
        let mut keys: Vec<Key> = Key::near(social).collect();
        keys.extend(social.apart.iter().map(Key::among));
        keys.extend(social.liked.iter().chain(&social.disliked).map(|(_, term)| Key::among(term)));
        keys.extend(social.spread.iter().map(|spread| Key::spread(spread, pod)));
        keys
    }

    /// Every rule that a Pod has for those that come.
    fn had_by(pod: &Pod) -> Vec<Key> {
        let Some(social) = &pod.social else { return Vec::new() };
        let having = |term: &PodTerm, role: Role| Key {
            topology: term.topology.clone(),
            question: Question::Having(term.peers.clone(), role),
        };
        let mut keys: Vec<Key> = social.apart.iter().map(|term| having(term, Role::Apart)).collect();
        keys.extend(social.near.iter().map(|term| having(term, Role::Near)));
        keys.extend(social.liked.iter().map(|(weight, term)| having(term, Role::Liked(*weight))));
        keys.extend(social.disliked.iter().map(|(weight, term)| having(term, Role::Disliked(*weight))));
        keys
    }

    /// The place in which a node counts for this.
    fn place<'n>(&self, node: &'n Object<Node>) -> Option<&'n str> {
        let place = node.meta.labels.get(&*self.topology)?;
        match &self.question {
            Question::Spread(_, counted) if !counted.includes(node) => None,
            _ => Some(place),
        }
    }

    fn is_had(&self) -> bool {
        matches!(self.question, Question::Having(..))
    }

    fn counts_nodes(&self) -> bool {
        matches!(self.question, Question::Spread(..))
    }

    /// How much a Pod counts for this.
    fn weigh(&self, pod: &Object<Pod>, namespaces: &Mirror<Namespace>) -> i64 {
        let counts = match &self.question {
            Question::Among(all) => all.iter().all(|peers| peers.contain(&pod.meta, namespaces)),
            Question::Spread(peers, _) => !pod.meta.deleting() && peers.contain(&pod.meta, namespaces),
            Question::Having(..) => {
                return Key::had_by(&pod.body).iter().filter(|key| *key == self).count() as i64;
            }
        };
        i64::from(counts)
    }
}

/// One place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spot {
    nodes: i64,
    pods: i64,
}

/// The answer to one question.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    spots: Tree<Arc<str>, Spot>,
    /// Places with nodes by what they count.
    order: Tree<(i64, Arc<str>), ()>,
    users: usize,
    changed: u64,
}

impl Tally {
    /// What a place counts.
    pub fn count(&self, place: &str) -> i64 {
        self.spots.get(place).map_or(0, |spot| spot.pods)
    }

    /// What the emptiest place counts; of spreading only.
    pub fn least(&self) -> Option<i64> {
        self.order.first().map(|((count, _), ())| *count)
    }

    /// How many places there are; of spreading only.
    pub fn places(&self) -> usize {
        self.order.len()
    }

    /// The places that count anything.
    pub fn taken(&self) -> impl Iterator<Item = &Arc<str>> {
        self.spots.iter().filter(|(_, spot)| spot.pods > 0).map(|(place, _)| place)
    }

    /// Whether no place counts anything.
    pub fn is_empty(&self) -> bool {
        self.taken().next().is_none()
    }

    /// When it last changed.
    pub fn changed(&self) -> u64 {
        self.changed
    }

    fn add(&mut self, place: &str, nodes: i64, pods: i64, revision: u64) {
        if nodes == 0 && pods == 0 {
            return;
        }
        self.changed = revision;
        let place: Arc<str> = place.into();
        let before = self.spots.get(&place).copied().unwrap_or_default();
        let after = Spot { nodes: before.nodes + nodes, pods: before.pods + pods };
        if before.nodes > 0 {
            self.order.remove(&(before.pods, place.clone()));
        }
        if after.nodes > 0 {
            self.order.insert((after.pods, place.clone()), ());
        }
        if after == Spot::default() {
            self.spots.remove(&place);
        } else {
            self.spots.insert(place, after);
        }
    }
}

/// What counting from the beginning looks at.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    /// All Pods.
    pub pods: &'a Mirror<Pod>,
    /// All namespaces.
    pub namespaces: &'a Mirror<Namespace>,
}

/// All questions that are asked, with their answers.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    tallies: BTreeMap<Arc<Key>, Tally>,
    /// When a rule of a Pod that was there last went with it.
    vanished: u64,
}

impl Tallies {
    /// The answer to a question that some Pod asks.
    pub fn get(&self, key: &Key) -> Option<&Tally> {
        self.tallies.get(key)
    }

    /// What Pods that are there ask of those that come and are like this one.
    pub fn about<'a>(
        &'a self,
        pod: &'a Meta,
        namespaces: &'a Mirror<Namespace>,
    ) -> impl Iterator<Item = (&'a Arc<str>, Role, &'a Tally)> {
        self.tallies.iter().filter_map(move |(key, tally)| match &key.question {
            Question::Having(peers, role) if peers.contain(pod, namespaces) => {
                Some((&key.topology, *role, tally))
            }
            _ => None,
        })
    }

    /// Whether nobody asks anything.
    pub fn is_empty(&self) -> bool {
        self.tallies.is_empty()
    }

    /// When anything last changed.
    pub fn changed(&self) -> u64 {
        self.tallies.values().map(|tally| tally.changed).fold(self.vanished, u64::max)
    }

    /// When a rule of a Pod that was there last went with it.
    pub fn vanished(&self) -> u64 {
        self.vanished
    }

    /// Counts a Pod in or out, on a node as it is now.
    pub fn count(
        &mut self,
        pod: &Object<Pod>,
        node: Option<&Object<Node>>,
        sign: i64,
        namespaces: &Mirror<Namespace>,
        revision: u64,
    ) {
        if self.tallies.is_empty() && pod.body.social.is_none() {
            return;
        }
        if let Some(node) = node {
            for key in Key::had_by(&pod.body) {
                if let Some(place) = key.place(node) {
                    self.tallies.entry(Arc::new(key.clone())).or_default().add(place, 0, sign, revision);
                }
            }
            for (key, tally) in &mut self.tallies {
                if let (false, Some(place)) = (key.is_had(), key.place(node)) {
                    tally.add(place, 0, sign * key.weigh(pod, namespaces), revision);
                }
            }
        }
    }

    /// A Pod begins or ends to ask its questions, and to have its rules for those that come. After it was counted.
    pub fn ask(
        &mut self,
        before: Option<&Object<Pod>>,
        after: Option<&Object<Pod>>,
        nodes: &dyn Fn(&Key) -> Tally,
        revision: u64,
    ) {
        let keys = |pod: &Object<Pod>| match (waits(pod), holds(pod)) {
            (_, Some(_)) => [Key::asked_by(&pod.body), Key::had_by(&pod.body)].concat(),
            (true, None) => Key::asked_by(&pod.body),
            (false, None) => Vec::new(),
        };
        let (new, old) = (after.map(keys).unwrap_or_default(), before.map(keys).unwrap_or_default());
        if new == old {
            return;
        }
        for key in new {
            let tally = self.tallies.entry(Arc::new(key.clone())).or_insert_with(|| nodes(&key));
            tally.users += 1;
            tally.changed = tally.changed.max(revision);
        }
        for key in old {
            if let Some(tally) = self.tallies.get_mut(&key) {
                tally.users -= 1;
                if tally.users == 0 {
                    self.tallies.remove(&key);
                    if key.is_had() {
                        self.vanished = revision;
                    }
                }
            }
        }
    }

    /// A node comes, goes or becomes another one.
    pub fn node(
        &mut self,
        before: Option<&Object<Node>>,
        after: Option<&Object<Node>>,
        name: &str,
        sight: Sight<'_>,
        revision: u64,
    ) {
        for (key, tally) in &mut self.tallies {
            let old = before.and_then(|node| key.place(node));
            let new = after.and_then(|node| key.place(node));
            if old == new {
                continue;
            }
            let pods = sight.pods.on_node(name).filter(|pod| holds(pod).is_some());
            let weight: i64 = pods.map(|pod| key.weigh(pod, sight.namespaces)).sum();
            let nodes = i64::from(key.counts_nodes());
            if let Some(place) = old {
                tally.add(place, -nodes, -weight, revision);
            }
            if let Some(place) = new {
                tally.add(place, nodes, weight, revision);
            }
        }
    }

    /// The labels of a namespace have changed: whoever chose by them counts anew.
    pub fn recount(&mut self, count: &dyn Fn(&Key) -> Tally, revision: u64) {
        for (key, tally) in &mut self.tallies {
            let chooses = match &key.question {
                Question::Among(all) => all.iter().any(|peers| !peers.namespace_selector.is_nothing()),
                Question::Spread(..) | Question::Having(..) => false,
            };
            if chooses {
                *tally = Tally { users: tally.users, changed: revision, ..count(key) };
            }
        }
    }
}

/// Counts from the beginning. `node` finds nodes by name, `nodes` are all of them.
pub fn count<'a>(
    key: &Key,
    nodes: impl Iterator<Item = &'a Object<Node>>,
    node: impl Fn(&str) -> Option<&'a Object<Node>>,
    sight: Sight<'_>,
) -> Tally {
    let mut tally = Tally::default();
    if key.counts_nodes() {
        for place in nodes.filter_map(|node| key.place(node)) {
            tally.add(place, 1, 0, 0);
        }
    }
    let mut add = |pod: &Object<Pod>| {
        if let Some(place) = holds(pod).and_then(&node).and_then(|node| key.place(node)) {
            tally.add(place, 0, key.weigh(pod, sight.namespaces), 0);
        }
    };
    match &key.question {
        Question::Spread(peers, _) => among(peers, sight, &mut add),
        Question::Among(all) => all.iter().take(1).for_each(|peers| among(peers, sight, &mut add)),
        Question::Having(..) => {}
    }
    tally
}

/// Shows the Pods that `peers` may be about, by the labels' index where that is possible.
fn among(peers: &Peers, sight: Sight<'_>, show: &mut dyn FnMut(&Object<Pod>)) {
    if !peers.namespace_selector.is_nothing() {
        return sight.pods.all().for_each(|pod| show(pod));
    }
    for namespace in &peers.namespaces {
        sight.pods.selected(namespace, &peers.selector).into_iter().for_each(|pod| show(pod));
    }
}

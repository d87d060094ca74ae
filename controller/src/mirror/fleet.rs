//! The nodes as the scheduler sees them: what each has left, the alike together, in the order in which they are chosen.
//!
//! Nodes that no rule of a Pod tells apart but by their names and by what is left on them are one class, and a class is a
//! tree in the order of choice that knows of every branch the most and the least that is free in it. So finding the
//! best node that fits goes down the tree, and does not look at each. Kept as Pods and nodes come and go; a copy costs
//! next to nothing, so a plan can go on a copy, each Pod seeing where the ones before it went. Nothing is decided here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::mirror::object::Object;
use crate::mirror::selector::Labels;
use crate::mirror::shape::{Load, Node, Pod, Social, Taint};
use crate::mirror::tally::{Key, Sight, Tallies, Tally, count};
use crate::mirror::totals::Totals;
use crate::mirror::tree::{Sum, Tree};
use crate::mirror::waiting::{holds, meant, waits};

/// The label by which a node is told from all others.
pub const HOSTNAME: &str = "kubernetes.io/hostname";

/// Which nodes are filled first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// The fullest one that fits, so that others stay free or can be turned off.
    #[default]
    MostAllocated,
    /// The emptiest one.
    LeastAllocated,
}

/// What nodes have in common that no rule tells apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    labels: Labels,
    taints: Vec<Taint>,
    unschedulable: bool,
    images: Vec<(String, i64)>,
}

impl Class {
    /// Labels count that a rule has asked for. A hostname that is the node's name says no more than the name; any
    /// other stays.
    fn of(node: &Object<Node>, asked: &BTreeSet<String>) -> Class {
        let counts = |key: &String| *key == HOSTNAME || asked.contains(key);
        let labels = node.meta.labels.iter().filter(|(key, _)| counts(key));
        let mut labels: Labels = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
        if let Some(hostname) = labels.get_mut(HOSTNAME).filter(|hostname| ***hostname == *node.meta.name) {
            hostname.clear();
        }
        Class {
            labels,
            taints: node.body.taints.clone(),
            unschedulable: node.body.unschedulable,
            images: node.body.images.clone(),
        }
    }
}

/// A node with what its Pods take of it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The node.
    pub node: Arc<Object<Node>>,
    /// What is taken.
    pub taken: Totals,
    /// Pods for which others make room here.
    pub nominated: Vec<Arc<Object<Pod>>>,
    class: Arc<Class>,
    rank: i64,
    size: i64,
}

impl Place {
    /// Whether its hostname is another than its name; such a node is found by its labels only.
    pub fn is_named_otherwise(&self) -> bool {
        self.class.labels.get(HOSTNAME).is_some_and(|hostname| !hostname.is_empty())
    }

    /// What is free of CPU, memory, storage and places for Pods, in this order.
    pub fn free(&self) -> Amounts {
        let (have, taken) = (&self.node.body.allocatable, &self.taken.requests);
        [
            have.cpu.saturating_sub(taken.cpu),
            have.memory.saturating_sub(taken.memory),
            have.storage.saturating_sub(taken.storage),
            self.node.body.pods.saturating_sub(self.taken.pods),
        ]
    }

    fn key(&self) -> Rank {
        let [cpu, memory, _, pods] = self.free();
        let is_full = cpu <= 0 || memory <= 0 || pods <= 0;
        Rank { is_full, rank: self.rank, size: self.size, name: self.node.meta.name.clone() }
    }

    /// The same, where it stands now.
    fn ranked(self, packing: Packing) -> Place {
        let have = &self.node.body.allocatable;
        let (full, usual) =
            (share(self.taken.load, have.cpu, have.memory), share(USUAL, have.cpu, have.memory));
        let (rank, size) = match packing {
            Packing::MostAllocated => (-full, -usual),
            Packing::LeastAllocated => (full, usual),
        };
        Place { rank, size, ..self }
    }

    fn have(&self) -> Amounts {
        let have = &self.node.body.allocatable;
        [have.cpu, have.memory, have.storage, self.node.body.pods]
    }
}

/// Amounts of CPU, memory, storage and Pods.
pub type Amounts = [i64; 4];

/// What is known of the nodes of a branch.
#[derive(Clone, Debug)]
pub struct Extent {
    /// The most that is free on any of them, each amount for itself.
    pub most_free: Amounts,
    /// The least.
    pub least_free: Amounts,
    /// The most that any of them has.
    pub most_have: Amounts,
    /// The least.
    pub least_have: Amounts,
    /// The best rank.
    pub rank: i64,
    /// The best size.
    pub size: i64,
    /// The first by name.
    pub name: Arc<str>,
}

impl Sum<Arc<Place>> for Extent {
    fn of(place: &Arc<Place>) -> Extent {
        let (free, have) = (place.free(), place.have());
        Extent {
            most_free: free,
            least_free: free,
            most_have: have,
            least_have: have,
            rank: place.rank,
            size: place.size,
            name: place.node.meta.name.clone(),
        }
    }

    fn with(&mut self, others: &Extent) {
        for i in 0..4 {
            self.most_free[i] = self.most_free[i].max(others.most_free[i]);
            self.least_free[i] = self.least_free[i].min(others.least_free[i]);
            self.most_have[i] = self.most_have[i].max(others.most_have[i]);
            self.least_have[i] = self.least_have[i].min(others.least_have[i]);
        }
        self.rank = self.rank.min(others.rank);
        self.size = self.size.min(others.size);
        if others.name < self.name {
            self.name = others.name.clone();
        }
    }
}

/// The nodes of a class, those to be chosen first first: by rank, of equals by how much a Pod would be of them, which
/// keeps machines of a size together, and then by name. Full ones come last, where hardly anybody looks: the nodes that
/// change next are at the beginning, however many are full.
pub type Order = Tree<Rank, Arc<Place>, Extent>;

/// The key by which a node stands in its class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    is_full: bool,
    rank: i64,
    size: i64,
    name: Arc<str>,
}

/// By the name alone, which makes room in the tree for what changes: a node with one Pod more is mostly where it was.
impl Hash for Rank {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// What a Pod may well be, by which machines are sorted by size.
pub const USUAL: Load = Load { cpu: 1000, memory: 1 << 30 };

/// A billion: all of what a node has.
pub const WHOLE: i64 = 1_000_000_000;

/// What share of a node's CPU and memory is meant by a load, in billionths; the mean of the two.
pub fn share(load: Load, cpu: i64, memory: i64) -> i64 {
    let of = |load: i64, have: i64| match have {
        ..=0 => 0,
        have => {
            i64::try_from(i128::from(load) * i128::from(WHOLE) / i128::from(have)).unwrap_or(i64::MAX / 4)
        }
    };
    of(load.cpu, cpu).min(i64::MAX / 4) / 2 + of(load.memory, memory).min(i64::MAX / 4) / 2
}

/// All nodes.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    packing: Packing,
    places: Tree<Arc<str>, Arc<Place>>,
    classes: BTreeMap<Arc<Class>, Order>,
    /// Nodes by the priority of the least important Pod on them.
    least: Tree<(i64, Arc<str>), ()>,
    /// Pods that others make room for, by node.
    nominated: BTreeMap<Arc<str>, Vec<Arc<Object<Pod>>>>,
    tallies: Tallies,
    /// On how many nodes a large image is.
    images: Arc<BTreeMap<String, usize>>,
    /// Labels of nodes that a rule of any Pod has asked for so far.
    asked: Arc<BTreeSet<String>>,
}

impl Fleet {
    /// No nodes yet.
    pub fn new(packing: Packing) -> Fleet {
        Fleet { packing, ..Fleet::default() }
    }

    /// Which nodes are filled first.
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// A node.
    pub fn place(&self, name: &str) -> Option<&Arc<Place>> {
        self.places.get(name)
    }

    /// All nodes, by name.
    pub fn places(&self) -> impl Iterator<Item = &Arc<Place>> {
        self.places.iter().map(|(_, place)| place)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The nodes, the alike together.
    pub fn classes(&self) -> impl Iterator<Item = &Order> {
        self.classes.values()
    }

    /// What is counted for the rules of Pods.
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// The nodes with Pods less important than `priority`, those with the least important first.
    pub fn with_less_important(&self, priority: i64) -> impl Iterator<Item = &Arc<Place>> {
        let less = self.least.iter().take_while(move |((least, _), ())| *least < priority);
        less.filter_map(|((_, name), ())| self.places.get(name))
    }

    /// On how many nodes a large image is.
    pub fn nodes_with(&self, image: &str) -> usize {
        self.images.get(image).copied().unwrap_or(0)
    }

    /// Follows a Pod.
    pub fn pod(
        &mut self,
        before: Option<&Arc<Object<Pod>>>,
        after: Option<&Arc<Object<Pod>>>,
        sight: Sight<'_>,
        revision: u64,
    ) {
        if let (Some(old), Some(new)) = (before, after)
            && same(old, new)
        {
            return;
        }
        let nominated = |pod: &&Arc<Object<Pod>>| meant(pod).is_some();
        if let Some(new) = after.filter(|new| waits(new) || holds(new).is_some()) {
            self.learn(&new.body);
        }
        if let Some(old) = before {
            if let Some(node) = holds(old) {
                self.release(old, node, sight, revision);
            }
            if nominated(&old) {
                self.nominate(old, None);
            }
        }
        if let Some(new) = after {
            if let Some(node) = holds(new) {
                self.hold(new, node, sight, revision);
            }
            if nominated(&new) {
                self.nominate(new, meant(new));
            }
        }
        let counted = |key: &Key| Fleet::count(&self.places, key, sight);
        self.tallies.ask(before.map(|pod| &**pod), after.map(|pod| &**pod), &counted, revision);
    }

    /// Learns the labels that a Pod's rules ask for; with a new one nodes may be told apart that were alike.
    fn learn(&mut self, pod: &Pod) {
        let affinity = pod.affinity.as_deref();
        let required = affinity.and_then(|affinity| affinity.required.as_ref()).into_iter().flatten();
        let preferred = affinity.iter().flat_map(|affinity| &affinity.preferred).map(|term| &term.preference);
        let expressions = required.chain(preferred).flat_map(|term| &term.match_expressions);
        let social = pod.social.as_deref();
        let terms = social.into_iter().flat_map(Social::terms).map(|term| &*term.topology);
        let spread = social.into_iter().flat_map(|social| &social.spread).map(|rule| &*rule.topology);
        let keys = pod.node_selector.keys().map(String::as_str);
        let keys = keys.chain(expressions.map(|one| one.key.as_str())).chain(terms).chain(spread);
        let new: Vec<&str> = keys.filter(|key| !self.asked.contains(*key)).collect();
        if new.is_empty() {
            return;
        }
        Arc::make_mut(&mut self.asked).extend(new.into_iter().map(str::to_owned));
        let names: Vec<Arc<str>> = self.places.iter().map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(place) = self.take(&name) {
                let class = Arc::new(Class::of(&place.node, &self.asked));
                self.put(Place { class, ..Arc::unwrap_or_clone(place) });
            }
        }
    }

    /// Follows a node.
    pub fn node(
        &mut self,
        before: Option<&Arc<Object<Node>>>,
        after: Option<&Arc<Object<Node>>>,
        sight: Sight<'_>,
        revision: u64,
    ) {
        let there = |node: &&Arc<Object<Node>>| !node.meta.deleting();
        let (before, after) = (before.filter(there), after.filter(there));
        let Some(name) = before.or(after).map(|node| node.meta.name.clone()) else { return };
        self.tallies.node(before.map(|node| &**node), after.map(|node| &**node), &name, sight, revision);
        let images =
            |node: Option<&Arc<Object<Node>>>| node.map(|node| node.body.images.clone()).unwrap_or_default();
        self.count_images(&images(before), &images(after));
        let taken = match self.take(&name) {
            Some(place) => place.taken.clone(),
            None => {
                let mut taken = Totals::default();
                let pods = sight.pods.on_node(&name).filter(|pod| holds(pod).is_some());
                pods.for_each(|pod| taken.add(&pod.body));
                taken
            }
        };
        if let Some(node) = after {
            let nominated = self.nominated.get(&name).cloned().unwrap_or_default();
            let class = Arc::new(Class::of(node, &self.asked));
            self.put(Place { node: node.clone(), taken, nominated, class, rank: 0, size: 0 });
        }
    }

    /// Follows the labels of a namespace, by which rules may choose.
    pub fn namespace(&mut self, sight: Sight<'_>, revision: u64) {
        let places = self.places.clone();
        self.tallies.recount(&|key| Fleet::count(&places, key, sight), revision);
    }

    /// A Pod takes its room on a node.
    pub fn hold(&mut self, pod: &Arc<Object<Pod>>, node: &str, sight: Sight<'_>, revision: u64) {
        self.change(pod, node, 1, sight, revision);
    }

    /// A Pod leaves a node, which it was on.
    pub fn release(&mut self, pod: &Arc<Object<Pod>>, node: &str, sight: Sight<'_>, revision: u64) {
        self.change(pod, node, -1, sight, revision);
    }

    fn change(&mut self, pod: &Arc<Object<Pod>>, node: &str, sign: i64, sight: Sight<'_>, revision: u64) {
        let place = self.places.get(node).cloned();
        let seen = place.as_ref().map(|place| &*place.node);
        self.tallies.count(pod, seen, sign, sight.namespaces, revision);
        let Some(old) = place else { return };
        let mut new = Place::clone(&old);
        if sign > 0 {
            new.taken.add(&pod.body);
        } else {
            new.taken.subtract(&pod.body);
        }
        self.replace(&old, Arc::new(new.ranked(self.packing)));
    }

    /// Puts a node in its own place, with something else on it.
    fn replace(&mut self, old: &Place, new: Arc<Place>) {
        let name = &new.node.meta.name;
        let (before, after) = (old.taken.least_priority(), new.taken.least_priority());
        if before != after {
            if let Some(least) = before {
                self.least.remove(&(least, name.clone()));
            }
            if let Some(least) = after {
                self.least.insert((least, name.clone()), ());
            }
        }
        if let Some(order) = self.classes.get_mut(&old.class) {
            order.replace(&old.key(), new.key(), new.clone());
        }
        if let Some(place) = self.places.get_mut(name) {
            *place = new;
        }
    }

    /// Others make room for a Pod on a node, or no longer.
    pub fn nominate(&mut self, pod: &Arc<Object<Pod>>, node: Option<&str>) {
        let before =
            self.nominated.iter().find(|(_, pods)| pods.iter().any(|one| one.meta.uid == pod.meta.uid));
        let places: BTreeSet<Arc<str>> =
            before.map(|(name, _)| name.clone()).into_iter().chain(node.map(Arc::from)).collect();
        for name in places {
            let pods = self.nominated.entry(name.clone()).or_default();
            pods.retain(|one| one.meta.uid != pod.meta.uid);
            if node == Some(&*name) {
                pods.push(pod.clone());
            }
            let pods = pods.clone();
            if pods.is_empty() {
                self.nominated.remove(&name);
            }
            if let Some(old) = self.places.get(&name).cloned() {
                self.replace(&old, Arc::new(Place { nominated: pods, ..Place::clone(&old) }));
            }
        }
    }

    fn count(places: &Tree<Arc<str>, Arc<Place>>, key: &Key, sight: Sight<'_>) -> Tally {
        let nodes = places.iter().map(|(_, place)| &*place.node);
        count(key, nodes, |name: &str| places.get(name).map(|place| &*place.node), sight)
    }

    fn count_images(&mut self, before: &[(String, i64)], after: &[(String, i64)]) {
        if before == after {
            return;
        }
        let images = Arc::make_mut(&mut self.images);
        for (name, _) in after {
            *images.entry(name.clone()).or_default() += 1;
        }
        for (name, _) in before {
            if let Some(count) = images.get_mut(name) {
                *count -= 1;
            }
        }
        images.retain(|_, count| *count > 0);
    }

    fn take(&mut self, name: &str) -> Option<Arc<Place>> {
        let place = self.places.remove(name)?;
        let name = place.node.meta.name.clone();
        if let Some(order) = self.classes.get_mut(&place.class) {
            order.remove(&place.key());
            if order.is_empty() {
                self.classes.remove(&place.class);
            }
        }
        if let Some(least) = place.taken.least_priority() {
            self.least.remove(&(least, name));
        }
        Some(place)
    }

    fn put(&mut self, place: Place) {
        let place = Arc::new(place.ranked(self.packing));
        let name = place.node.meta.name.clone();
        if let Some(least) = place.taken.least_priority() {
            self.least.insert((least, name.clone()), ());
        }
        let order = self.classes.entry(place.class.clone()).or_default();
        order.insert(place.key(), place.clone());
        self.places.insert(name, place);
    }
}

/// How good a node is for a Pod of this load, beside all rules: higher is better; and its rank in a tree is the same
/// for a Pod that counts for nothing, the other way round.
pub fn goodness(packing: Packing, rank: i64, load: Load, have: [i64; 2]) -> i64 {
    let own = share(load, have[0], have[1]);
    match packing {
        Packing::MostAllocated => own.saturating_sub(rank),
        Packing::LeastAllocated => rank.saturating_add(own).saturating_neg(),
    }
}

/// A key by which the best comes last: goodness, then the size, which is in a tree's order, then the first by name.
pub type Standing = (i64, Reverse<i64>, Reverse<Arc<str>>);

impl Place {
    /// How good this node is for a Pod of this load.
    pub fn standing(&self, packing: Packing, load: Load) -> Standing {
        let have = &self.node.body.allocatable;
        let goodness = goodness(packing, self.rank, load, [have.cpu, have.memory]);
        (goodness, Reverse(self.size), Reverse(self.node.meta.name.clone()))
    }
}

impl Extent {
    /// No node of the branch is better than this for a Pod of this load.
    pub fn bound(&self, packing: Packing, load: Load) -> Standing {
        // A node without an amount counts as if it had no end of it.
        let have = [0, 1].map(|i| match packing {
            Packing::MostAllocated => self.least_have[i].max(1),
            Packing::LeastAllocated if self.least_have[i] <= 0 => 0,
            Packing::LeastAllocated => self.most_have[i],
        });
        let goodness = goodness(packing, self.rank, load, have);
        (goodness, Reverse(self.size), Reverse(self.name.clone()))
    }
}

/// Whether a Pod's change is none for the scheduler: most are a status.
fn same(old: &Object<Pod>, new: &Object<Pod>) -> bool {
    let (a, b) = (&old.body, &new.body);
    old.meta.uid == new.meta.uid
        && holds(old) == holds(new)
        && meant(old) == meant(new)
        && old.meta.deleting() == new.meta.deleting()
        && old.meta.labels == new.meta.labels
        && a.requests == b.requests
        && a.social == b.social
        && a.gated == b.gated
        && a.finished() == b.finished()
}

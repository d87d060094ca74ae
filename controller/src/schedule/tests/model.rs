//! The choice against a model that knows no index: it looks at every node and counts every Pod, for every decision.
//!
//! A seed is a whole history of a cluster; a failing one is printed.

use std::cell::Cell;
use std::cmp::Reverse;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::mirror::{
    HOSTNAME, Node, Object, Packing, Peers, Pod, PodTerm, Spread, Taint, USUAL, World, goodness, holds,
    share, tolerates,
};
use crate::schedule::ask::Ask;
use crate::schedule::choose;
use crate::schedule::explain::{Counted, Diagnosis};
use crate::schedule::plugins::check;
use crate::schedule::tests::*;

type Nodes<'a> = Vec<&'a Arc<Object<Node>>>;

/// A Pod with its node.
type Bound<'a> = (&'a Arc<Object<Pod>>, &'a Arc<Object<Node>>);

/// A cluster as the model sees it.
struct Model<'a> {
    world: &'a World,
    pod: &'a Object<Pod>,
    nodes: Nodes<'a>,
    pods: Vec<Bound<'a>>,
}

fn place<'a>(node: &'a Object<Node>, topology: &str) -> Option<&'a String> {
    node.meta.labels.get(topology)
}

impl<'a> Model<'a> {
    fn of(world: &'a World, pod: &'a Object<Pod>) -> Model<'a> {
        let nodes: Nodes<'a> = world.nodes.all().collect();
        let on = |pod: &'a Arc<Object<Pod>>| Some((pod, world.nodes.get("", holds(pod)?)?));
        Model { world, pod, nodes, pods: world.pods.all().filter_map(on).collect() }
    }

    fn among(&self, pod: &Object<Pod>, peers: &Peers) -> bool {
        peers.contain(&pod.meta, &self.world.namespaces)
    }

    /// How many Pods in the node's place `counts` counts.
    fn there(&self, node: &Object<Node>, topology: &str, counts: impl Fn(&Object<Pod>) -> i64) -> i64 {
        let Some(here) = place(node, topology) else { return 0 };
        let near = self.pods.iter().filter(|(_, other)| place(other, topology) == Some(here));
        near.map(|(pod, _)| counts(pod)).sum()
    }

    fn fits(&self, node: &Object<Node>) -> bool {
        let (pod, body) = (&self.pod.body, &node.body);
        let on: Vec<&Pod> =
            self.pods.iter().filter(|(_, n)| n.meta.name == node.meta.name).map(|(p, _)| &p.body).collect();
        let sum = |of: fn(&Pod) -> i64, have: i64| {
            of(pod) == 0 || on.iter().map(|p| of(p)).sum::<i64>() + of(pod) <= have
        };
        let cordon = Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        let mut taints = body.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
        let required = pod.affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
        let ports = |p: &Pod| -> Vec<(i64, String)> {
            let wanted = p.ports.iter().filter(|port| port.host_port != 0);
            wanted.map(|port| (port.host_port, port.protocol.clone())).collect()
        };
        let taken: Vec<_> = on.iter().flat_map(|p| ports(p)).collect();
        sum(|p| p.requests.cpu, body.allocatable.cpu)
            && sum(|p| p.requests.memory, body.allocatable.memory)
            && i64::try_from(on.len()).unwrap() < body.pods
            && (!body.unschedulable || tolerates(&pod.tolerations, &cordon))
            && taints.all(|taint| tolerates(&pod.tolerations, taint))
            && pod.node_selector.iter().all(|(key, value)| node.meta.labels.get(key) == Some(value))
            && required.is_none_or(|terms| terms.iter().any(|term| term.matches(&node.meta)))
            && ports(pod).iter().all(|port| !taken.contains(port))
            && self.may_be_near(node)
            && self.spreads(true).all(|rule| self.keeps_skew(rule, node))
    }

    fn may_be_near(&self, node: &Object<Node>) -> bool {
        let social = self.pod.body.social.as_deref().cloned().unwrap_or_default();
        let all_near = |pod: &Object<Pod>| social.near.iter().all(|term| self.among(pod, &term.peers));
        let has_places = social.near.iter().all(|term| place(node, &term.topology).is_some());
        let anybody = social.near.iter().any(|term| {
            self.pods.iter().any(|(pod, on)| all_near(pod) && place(on, &term.topology).is_some())
        });
        let near = |term: &PodTerm| self.there(node, &term.topology, |pod| i64::from(all_near(pod))) > 0;
        let together = social.near.iter().all(near) || (!anybody && all_near(self.pod));
        let meets = |term: &PodTerm| {
            self.there(node, &term.topology, |pod| i64::from(self.among(pod, &term.peers))) > 0
        };
        let kept_away = self.pods.iter().any(|(other, on)| {
            let rules = other.body.social.iter().flat_map(|social| &social.apart);
            let mut about = rules.filter(|term| self.among(self.pod, &term.peers));
            about.any(|term| {
                place(on, &term.topology).is_some_and(|here| place(node, &term.topology) == Some(here))
            })
        });
        has_places && together && !social.apart.iter().any(meets) && !kept_away
    }

    fn spreads(&self, hard: bool) -> impl Iterator<Item = &'a Spread> {
        let all = self.pod.body.social.iter().flat_map(|social| &social.spread);
        all.filter(move |rule| rule.hard == hard)
    }

    /// The nodes that count for a rule of spreading.
    fn counted(&self, rule: &Spread) -> Nodes<'a> {
        let body = &self.pod.body;
        let required = body.affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
        let counts = |node: &&&Arc<Object<Node>>| {
            let labels = &node.meta.labels;
            let mut taints = node.body.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
            self.spreads(rule.hard).all(|one| labels.contains_key(&*one.topology))
                && (!rule.by_affinity
                    || (body.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value))
                        && required.is_none_or(|terms| terms.iter().any(|term| term.matches(&node.meta)))))
                && (!rule.by_taints || taints.all(|taint| tolerates(&body.tolerations, taint)))
        };
        self.nodes.iter().filter(counts).copied().collect()
    }

    /// What the rule's places count.
    fn spread(&self, rule: &Spread) -> std::collections::BTreeMap<&'a str, i64> {
        let mut places = std::collections::BTreeMap::new();
        for node in self.counted(rule) {
            let on = self.pods.iter().filter(|(_, other)| other.meta.name == node.meta.name);
            let living = on.filter(|(pod, _)| !pod.meta.deleting() && self.among(pod, &rule.peers));
            *places.entry(node.meta.labels[&*rule.topology].as_str()).or_default() +=
                i64::try_from(living.count()).unwrap();
        }
        places
    }

    fn keeps_skew(&self, rule: &Spread, node: &Object<Node>) -> bool {
        let Some(here) = place(node, &rule.topology) else { return false };
        let places = self.spread(rule);
        let enough = i64::try_from(places.len()).unwrap() >= rule.min_domains;
        let least = if enough { places.values().min().copied().unwrap_or(i64::from(i32::MAX)) } else { 0 };
        let own = i64::from(rule.peers.selector.matches(&self.pod.meta.labels));
        places.get(here.as_str()).copied().unwrap_or(0) + own - least <= rule.max_skew
    }

    /// The names of the best node and of all that fit.
    fn best(&self, packing: Packing) -> Option<String> {
        let fitting: Nodes<'a> = self.nodes.iter().copied().filter(|node| self.fits(node)).collect();
        let most = |ratings: &[i64]| ratings.iter().copied().max().unwrap_or(0);
        let least = |ratings: &[i64]| ratings.iter().copied().min().unwrap_or(0);
        let rate =
            |of: &dyn Fn(&Object<Node>) -> i64| fitting.iter().map(|node| of(node)).collect::<Vec<i64>>();
        let taints = rate(&|node| {
            let soft = node.body.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
            soft.filter(|taint| !tolerates(&self.pod.body.tolerations, taint)).count() as i64
        });
        let liked = rate(&|node| {
            let liked = self.pod.body.affinity.iter().flat_map(|affinity| &affinity.preferred);
            liked.filter(|one| one.preference.matches(&node.meta)).map(|one| one.weight).sum()
        });
        let company = rate(&|node| self.company(node));
        let spread: Vec<Option<i64>> = fitting.iter().map(|node| self.evenness(node)).collect();
        let even: Vec<i64> = spread.iter().flatten().copied().collect();
        let goods = rate(&|node| self.goodness(node, packing));
        let scored = fitting.iter().enumerate().map(|(i, node)| {
            let mut sum = if most(&taints) == 0 { 300 } else { 3 * (100 - taints[i] * 100 / most(&taints)) };
            sum += if most(&liked) == 0 { 0 } else { 2 * (liked[i] * 100 / most(&liked)) };
            let range = most(&company) - least(&company);
            sum += if range == 0 { 0 } else { 2 * (100 * (company[i] - least(&company)) / range) };
            sum += match spread[i] {
                None => 0,
                Some(_) if most(&even) == 0 => 200,
                Some(one) => 2 * (100 * (most(&even) + least(&even) - one) / most(&even)),
            };
            let part = if packing == Packing::MostAllocated { goods[i] } else { 1_000_000_000 + goods[i] };
            sum += (part / 10_000_000).clamp(0, 100);
            let have = &node.body.allocatable;
            let usual = share(USUAL, have.cpu, have.memory);
            let size = if packing == Packing::MostAllocated { usual } else { -usual };
            (sum, goods[i], size, Reverse(node.meta.name.to_string()))
        });
        scored.max().map(|(_, _, _, Reverse(name))| name)
    }

    fn goodness(&self, node: &Object<Node>, packing: Packing) -> i64 {
        let mut load = crate::mirror::Load::default();
        for (pod, _) in self.pods.iter().filter(|(_, other)| other.meta.name == node.meta.name) {
            load.cpu += pod.body.load.cpu;
            load.memory += pod.body.load.memory;
        }
        let have = &node.body.allocatable;
        let full = share(load, have.cpu, have.memory);
        let rank = if packing == Packing::MostAllocated { -full } else { full };
        goodness(packing, rank, self.pod.body.load, [have.cpu, have.memory])
    }

    fn company(&self, node: &Object<Node>) -> i64 {
        let own = self.pod.body.social.as_deref().cloned().unwrap_or_default();
        let count =
            |term: &PodTerm| self.there(node, &term.topology, |pod| i64::from(self.among(pod, &term.peers)));
        let mut sum: i64 = own.liked.iter().map(|(weight, term)| weight * count(term)).sum();
        sum -= own.disliked.iter().map(|(weight, term)| weight * count(term)).sum::<i64>();
        for (other, on) in &self.pods {
            let Some(social) = other.body.social.as_deref() else { continue };
            let here = |term: &PodTerm| {
                let same =
                    place(on, &term.topology).is_some_and(|here| place(node, &term.topology) == Some(here));
                i64::from(same && self.among(self.pod, &term.peers))
            };
            sum += social.near.iter().map(here).sum::<i64>();
            sum += social.liked.iter().map(|(weight, term)| weight * here(term)).sum::<i64>();
            sum -= social.disliked.iter().map(|(weight, term)| weight * here(term)).sum::<i64>();
        }
        sum
    }

    fn evenness(&self, node: &Object<Node>) -> Option<i64> {
        let (mut sum, mut any) = (0.0, false);
        for rule in self.spreads(false) {
            any = true;
            let here = place(node, &rule.topology)?;
            let places = self.spread(rule);
            let count = places.get(here.as_str()).copied().unwrap_or(0);
            sum += count as f64 * (places.len() as f64 + 2.0).ln() + (rule.max_skew - 1) as f64;
        }
        any.then(|| sum.round() as i64)
    }
}

/// A cluster that things happen to.
struct History {
    rng: fastrand::Rng,
    world: World,
    packing: Packing,
    made: usize,
}

impl History {
    fn choose<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(..of.len())]
    }

    fn node(&mut self) -> Value {
        let name = format!("n{}", self.rng.usize(..9));
        let mut node = node(&name, json!({}));
        let labels = &mut node["metadata"]["labels"];
        match self.rng.usize(..8) {
            0 => drop(labels.as_object_mut().unwrap().remove(HOSTNAME)),
            1 => labels[HOSTNAME] = json!(format!("n{}", self.rng.usize(..9))),
            _ => {}
        }
        if self.rng.usize(..6) > 0 {
            labels["zone"] = json!(self.choose(&["x", "y", "z"]));
        }
        labels["disk"] = json!(self.choose(&["ssd", "hdd"]));
        labels["serial"] = json!(name);
        let effect = self.choose(&["NoSchedule", "PreferNoSchedule", "", "", ""]);
        if !effect.is_empty() {
            node["spec"]["taints"] = json!([{"key": "k", "value": "v", "effect": effect}]);
        }
        node["spec"]["unschedulable"] = json!(self.rng.usize(..10) == 0);
        let memory = self.choose(&["1Gi", "1Gi", "1025Mi", "3Gi"]);
        node["status"]["allocatable"] = json!({"cpu": self.choose(&["1", "2", "2", "4"]), "memory": memory, "pods": self.choose(&["3", "8"])});
        node
    }

    fn term(&mut self) -> Value {
        let mut term = json!({"labelSelector": {"matchLabels": {"app": self.choose(&["a", "b", "c"])}},
            "topologyKey": self.choose(&["zone", "zone", HOSTNAME])});
        match self.rng.usize(..6) {
            0 => term["namespaceSelector"] = json!({"matchLabels": {"team": "red"}}),
            1 => term["namespaceSelector"] = json!({}),
            2 => term["namespaces"] = json!(["other"]),
            _ => {}
        }
        term
    }

    fn spec(&mut self) -> Value {
        let mut spec = asks(self.choose(&["100m", "300m", "1"]), self.choose(&["1Mi", "100Mi", "500Mi"]));
        if self.rng.usize(..4) == 0 {
            spec["containers"] = json!([{"name": "c"}]);
        }
        if self.rng.usize(..5) == 0 {
            spec["tolerations"] = json!([{"key": "k", "operator": "Exists"}]);
        }
        match self.rng.usize(..8) {
            0 => spec["nodeSelector"] = json!({"disk": "ssd"}),
            1 => spec["nodeSelector"] = json!({HOSTNAME: format!("n{}", self.rng.usize(..9))}),
            2 => spec["containers"][0]["ports"] = json!([{"containerPort": 1, "hostPort": 80}]),
            _ => {}
        }
        let key = self.choose(&["zone", HOSTNAME, "disk", "serial"]);
        let value = self.choose(&["x", "n1", "ssd", "n2"]);
        let expression =
            json!({"key": key, "operator": self.choose(&["In", "NotIn", "Exists"]), "values": [value]});
        match self.rng.usize(..8) {
            0 => {
                spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] =
                    json!([{"weight": 5, "preference": {"matchExpressions": [expression]}}]);
            }
            1 => {
                spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
                    json!({"nodeSelectorTerms": [{"matchExpressions": [expression]}]});
            }
            _ => {}
        }
        for kind in ["podAffinity", "podAntiAffinity"] {
            match self.rng.usize(..7) {
                0 => {
                    spec["affinity"][kind]["requiredDuringSchedulingIgnoredDuringExecution"] =
                        json!([self.term()]);
                }
                1 => {
                    let weight = self.rng.i64(1..=100);
                    spec["affinity"][kind]["preferredDuringSchedulingIgnoredDuringExecution"] =
                        json!([{"weight": weight, "podAffinityTerm": self.term()}]);
                }
                _ => {}
            }
        }
        let mut rules = Vec::new();
        for topology in ["zone", HOSTNAME] {
            if self.rng.usize(..5) == 0 {
                rules.push(json!({
                    "maxSkew": self.rng.i64(1..3), "topologyKey": topology,
                    "whenUnsatisfiable": self.choose(&["DoNotSchedule", "ScheduleAnyway"]),
                    "labelSelector": {"matchLabels": {"app": self.choose(&["a", "b"])}},
                    "minDomains": self.choose(&[1, 1, 3]),
                    "nodeAffinityPolicy": self.choose(&["Honor", "Ignore"]),
                    "nodeTaintsPolicy": self.choose(&["Honor", "Ignore"]),
                }));
            }
        }
        spec["topologySpreadConstraints"] = json!(rules);
        spec
    }

    fn any_pod(&mut self) -> Option<Value> {
        let mut all: Vec<_> = self.world.pods.all().collect();
        all.sort_by_key(|pod| pod.key());
        let at = self.rng.usize(..all.len().max(1));
        all.get(at).map(|pod| pod.tree())
    }

    fn change(&mut self) {
        match self.rng.usize(..20) {
            0..3 => {
                let node = self.node();
                show(&mut self.world, &node);
            }
            3 => {
                let node = self.node();
                hide(&mut self.world, &node);
            }
            4 => {
                let team = self.choose(&["red", "blue"]);
                let name = self.choose(&["default", "other"]);
                show(&mut self.world, &namespace(name, team));
            }
            5..7 => {
                if let Some(pod) = self.any_pod() {
                    hide(&mut self.world, &pod);
                }
            }
            7..9 => {
                if let Some(mut pod) = self.any_pod() {
                    match self.rng.usize(..4) {
                        0 => pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
                        1 => pod["status"] = json!({"phase": "Succeeded"}),
                        _ => pod["metadata"]["labels"]["app"] = json!(self.choose(&["a", "b", "c"])),
                    }
                    show(&mut self.world, &pod);
                }
            }
            _ => self.come_and_be_placed(),
        }
    }

    fn come_and_be_placed(&mut self) {
        self.made += 1;
        let name = format!("p{}", self.made);
        let app = self.choose(&["a", "b", "c"]);
        let spec = self.spec();
        let mut pod = labelled(&name, app, spec);
        pod["metadata"]["namespace"] = json!(self.choose(&["default", "default", "other"]));
        let namespace = pod["metadata"]["namespace"].as_str().unwrap().to_owned();
        show(&mut self.world, &pod);
        let node = self.compare(&namespace, &name);
        if let Some(node) = node
            && self.rng.usize(..5) > 0
        {
            pod["spec"]["nodeName"] = json!(node);
            show(&mut self.world, &pod);
        }
    }

    /// Both choices and both explanations must be the same.
    fn compare(&self, namespace: &str, name: &str) -> Option<String> {
        let pod = self.world.pods.get(namespace, name).unwrap();
        let model = Model::of(&self.world, pod).best(self.packing);
        let looks = Cell::new(0);
        let ask = Ask::of(pod, &self.world.fleet, &self.world, &looks);
        let choice = choose::best(&ask).map(|place| place.node.meta.name.to_string());
        assert_eq!(choice, model, "{:#}", pod.tree());
        if choice.is_none() {
            self.compare_reasons(&ask);
        }
        choice
    }

    fn compare_reasons(&self, ask: &Ask<'_>) {
        let (mut reasons, mut resolvable) = (Counted::new(), 0);
        for (_, refusal) in ask.fleet.places().filter_map(|place| check(ask, place)) {
            resolvable += usize::from(refusal.resolvable);
            refusal.reasons.into_iter().for_each(|reason| *reasons.entry(reason).or_default() += 1);
        }
        let said = Diagnosis::of(ask);
        assert_eq!((said.reasons, said.resolvable), (reasons, resolvable));
        assert_eq!(ask.fleet.len(), self.world.nodes.len());
    }
}

fn run(seed: u64) {
    let packing = if seed.is_multiple_of(2) { Packing::MostAllocated } else { Packing::LeastAllocated };
    let world = match packing {
        Packing::MostAllocated => world(&[]),
        Packing::LeastAllocated => spreading_world(&[]),
    };
    let mut history = History { rng: fastrand::Rng::with_seed(seed), world, packing, made: 0 };
    for _ in 0..6 {
        let node = history.node();
        show(&mut history.world, &node);
    }
    for _ in 0..150 {
        history.change();
    }
}

#[test]
fn the_choice_is_the_one_of_who_looks_at_every_node_and_counts_every_pod() {
    for seed in 0..100 {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("seed {seed} failed");
            std::panic::resume_unwind(panic);
        }
    }
}

//! DaemonSets: one Pod on every node that suits.
//!
//! Reads the set, its Pods and revisions, and all nodes; writes Pods, revisions and the set's status. A Pod is made for
//! one node, which its affinity names; the scheduler binds it there like any other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use edge_api::kind::Kind;
use edge_api::kinds;
use edge_api::kinds::daemon_set::TEMPLATE_GENERATION;
use serde_json::{Value, json};

use crate::mirror::{
    DaemonSet, Delta, Detail, Name, Node, Object, Pod, Replacement, Toleration, World, tolerates,
};
use crate::reconcile::Controller;
use crate::reconcile::ownership::{claim, owner_key};
use crate::reconcile::plan::{Plan, Write};
use crate::reconcile::revision::{self, HASH, History};
use crate::reconcile::template;

const KIND: &Kind = &kinds::daemon_set::KIND;
const POD: &Kind = &kinds::pod::KIND;

/// The most Pods that one plan makes or deletes.
const BURST: usize = 250;
/// How long a Pod that failed stays at least, so that what fails at once is not made again and again.
const PAUSE: Duration = Duration::from_secs(10);
/// The label with how often the template had changed.
const GENERATION: &str = "pod-template-generation";

/// Taints that every Pod of a DaemonSet puts up with: it belongs to the node.
const TOLERATED: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
/// The taint of nodes without a network, which only Pods on the host's network put up with.
const NO_NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// The table's entry.
pub const CONTROLLER: Controller = Controller { name: "daemonset-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    match &delta.detail {
        Detail::DaemonSet(_) => wake(delta.key.clone()),
        Detail::Revision(_) => owner_key(KIND, delta.after.as_ref()).into_iter().for_each(wake),
        Detail::Node((before, after)) => {
            // A heartbeat changes nothing here.
            let same = before.as_ref().zip(after.as_ref()).is_some_and(|(old, new)| {
                old.meta.labels == new.meta.labels
                    && old.body.taints == new.body.taints
                    && old.body.unschedulable == new.body.unschedulable
            });
            if !same {
                world.daemon_sets.all().for_each(|set| wake(set.key()));
            }
        }
        Detail::Pod((_, after)) => {
            let old = owner_key(KIND, delta.before.as_ref());
            let new = owner_key(KIND, delta.after.as_ref());
            if let Some(pod) = after
                && pod.meta.controller().is_none()
            {
                let sets = world.daemon_sets.in_namespace(&pod.meta.namespace);
                sets.filter(|set| set.body.selector.matches(&pod.meta.labels))
                    .for_each(|set| wake(set.key()));
            }
            if old != new {
                old.into_iter().for_each(&mut *wake);
            }
            new.into_iter().for_each(wake);
        }
        _ => {}
    }
}

type Pods = Vec<Arc<Object<Pod>>>;

/// A set and what is there of it.
struct View<'a> {
    set: &'a Object<DaemonSet>,
    tree: Value,
    history: History,
    /// Its Pods by the node they are on or meant for, the oldest first.
    nodes: BTreeMap<String, Pods>,
    world: &'a World,
}

/// What a set and a node are to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// It is to run there.
    Runs,
    /// What runs there may stay.
    Stays,
    /// It may not run there.
    Leaves,
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let mut plan = Plan::nothing();
    let Some(set) = world.daemon_sets.at(key).filter(|set| !set.meta.deleting()) else { return plan };
    let claimed = claim(KIND, &set.meta, &set.body.selector, POD, &world.pods);
    if !claimed.writes.is_empty() {
        plan.together(claimed.writes);
        return plan;
    }
    let tree = set.tree();
    let mut history = revision::history(KIND, &set.meta, &set.body.selector, &tree, world);
    plan.together(std::mem::take(&mut history.writes));
    let mut nodes: BTreeMap<String, Pods> = BTreeMap::new();
    for pod in claimed.own {
        nodes.entry(place(&pod)).or_default().push(pod);
    }
    for pods in nodes.values_mut() {
        pods.sort_by_key(|pod| (pod.meta.creation_timestamp, pod.meta.name.clone()));
    }
    let view = View { set, tree, history, nodes, world };
    view.update_status(&mut plan);
    let mut gone = Vec::new();
    let mut made = Vec::new();
    view.keep(&mut made, &mut gone, &mut plan);
    if gone.is_empty() && made.is_empty() && set.body.replacement == Replacement::Rolling {
        view.replace(&mut made, &mut gone, &mut plan);
    }
    gone.truncate(BURST);
    made.truncate(BURST);
    let deletes =
        gone.iter().map(|pod| template::delete(KIND, &set.meta, &pod.meta).planned_on(pod.revision));
    plan.together(deletes.collect());
    plan.stages.extend(template::slowly(made.iter().map(|node| view.create(node)).collect()));
    let used = |name: &str| view.nodes.values().flatten().any(|pod| view.is_of(pod, name));
    plan.together(revision::truncate(&view.history, set.body.history_limit, used));
    plan
}

/// The node that a Pod is on or meant for; nothing if it is meant for none.
fn place(pod: &Object<Pod>) -> String {
    let terms = pod.body.affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    let fields = terms.into_iter().flatten().flat_map(|term| &term.match_fields);
    let mut named = fields.filter(|one| one.key == "metadata.name").filter_map(|one| one.values.first());
    pod.body.node.clone().or_else(|| named.next().cloned()).unwrap_or_default()
}

impl View<'_> {
    fn tolerations(&self) -> Vec<Toleration> {
        let more = self.set.body.host_network.then_some(&NO_NETWORK);
        let own = TOLERATED.iter().chain(more).map(|(key, effect)| Toleration {
            key: (*key).to_owned(),
            operator: "Exists".to_owned(),
            effect: (*effect).to_owned(),
            ..Toleration::default()
        });
        self.set.body.tolerations.iter().cloned().chain(own).collect()
    }

    fn fit(&self, node: &Object<Node>, tolerations: &[Toleration]) -> Fit {
        let body = &self.set.body;
        let labels = &node.meta.labels;
        let suits = (body.node_name.is_empty() || *body.node_name == *node.meta.name)
            && body.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            && body.node_terms.as_ref().is_none_or(|terms| terms.iter().any(|term| term.matches(&node.meta)));
        if !suits {
            return Fit::Leaves;
        }
        let hit = |effect: &str| {
            let mut taints = node.body.taints.iter();
            taints.any(|taint| taint.effect == effect && !tolerates(tolerations, taint))
        };
        match (hit("NoExecute"), hit("NoSchedule")) {
            (true, _) => Fit::Leaves,
            (_, true) => Fit::Stays,
            _ => Fit::Runs,
        }
    }

    /// Every node, by name, with what it and the set are to each other.
    fn fits(&self) -> BTreeMap<&str, Fit> {
        let tolerations = self.tolerations();
        self.world.nodes.all().map(|node| (&*node.meta.name, self.fit(node, &tolerations))).collect()
    }

    fn pods_on(&self, node: &str) -> &[Arc<Object<Pod>>] {
        self.nodes.get(node).map_or(&[], Vec::as_slice)
    }

    fn is_of(&self, pod: &Object<Pod>, revision: &str) -> bool {
        let hash = revision::hash(&self.set.meta, revision);
        pod.meta.labels.get(HASH).is_some_and(|label| label == hash)
    }

    fn is_new(&self, pod: &Object<Pod>) -> bool {
        self.is_of(pod, &self.history.present)
    }

    fn is_available(&self, pod: &Object<Pod>, plan: &mut Plan) -> bool {
        match pod.body.available(self.set.body.min_ready_seconds, self.world.now) {
            Ok(()) => !pod.meta.deleting(),
            Err(Some(then)) => {
                plan.wake(then);
                false
            }
            Err(None) => false,
        }
    }

    /// One Pod on each node that is to have one, none elsewhere.
    fn keep(&self, made: &mut Vec<String>, gone: &mut Pods, plan: &mut Plan) {
        let fits = self.fits();
        for (node, fit) in &fits {
            let pods = self.pods_on(node);
            let mut staying: Pods = Vec::new();
            for pod in pods.iter().filter(|pod| !pod.meta.deleting()) {
                if *fit == Fit::Leaves {
                    gone.push(pod.clone());
                } else if pod.body.finished() {
                    let then = pod.meta.creation_timestamp.map_or(self.world.now, |time| time.plus(PAUSE));
                    if then <= self.world.now {
                        gone.push(pod.clone());
                    } else {
                        plan.wake(then);
                    }
                } else {
                    staying.push(pod.clone());
                }
            }
            if *fit == Fit::Runs && pods.is_empty() {
                made.push((*node).to_owned());
            }
            // One new and one old may be there while they change places: one that serves, and of those the oldest.
            staying.sort_by_key(|pod| (!self.is_available(pod, plan), !pod.body.ready));
            for new in [true, false] {
                gone.extend(staying.iter().filter(|pod| self.is_new(pod) == new).skip(1).cloned());
            }
        }
        let lost = self.nodes.iter().filter(|(node, _)| !fits.contains_key(node.as_str()));
        let waiting = lost.flat_map(|(_, pods)| pods).filter(|pod| pod.body.node.is_none());
        gone.extend(waiting.filter(|pod| !pod.meta.deleting()).cloned());
    }

    /// Replaces Pods of old templates, as many at a time as the bounds allow.
    fn replace(&self, made: &mut Vec<String>, gone: &mut Pods, plan: &mut Plan) {
        let fits = self.fits();
        let wanted: Vec<&str> =
            fits.iter().filter(|(_, fit)| **fit == Fit::Runs).map(|(node, _)| *node).collect();
        let total = i64::try_from(wanted.len()).unwrap_or(i64::MAX);
        let most_missing = self.set.body.max_unavailable.up(total);
        let most_surplus = self.set.body.max_surge.up(total);
        let (mut missing, mut surplus, mut candidates) = (0, 0, Vec::new());
        for node in wanted {
            let pods = self.pods_on(node);
            let new = pods.iter().find(|pod| self.is_new(pod) && !pod.body.finished());
            let old = pods.iter().find(|pod| !self.is_new(pod) && !pod.meta.deleting());
            let new_serves = new.is_some_and(|pod| self.is_available(pod, plan));
            match old {
                None => missing += i64::from(!new_serves),
                Some(old) if most_surplus > 0 => {
                    // The old one goes when the new one serves.
                    surplus += i64::from(new.is_some());
                    if new_serves {
                        gone.push(old.clone());
                    } else if new.is_none() {
                        candidates.push((self.is_available(old, plan), node, old));
                    }
                }
                Some(old) => {
                    let serves = self.is_available(old, plan);
                    missing += i64::from(!serves);
                    candidates.push((serves, node, old));
                }
            }
        }
        // Those that do not serve anyway go first and cost nothing.
        candidates.sort_by_key(|(serves, _, _)| *serves);
        for (serves, node, old) in candidates {
            if most_surplus > 0 {
                if surplus < most_surplus || !serves {
                    made.push(node.to_owned());
                    surplus += i64::from(serves);
                }
            } else if !serves || missing < most_missing {
                gone.push(old.clone());
                missing += i64::from(serves);
            }
        }
    }

    fn create(&self, node: &str) -> Write {
        let meta = &self.set.meta;
        let prefix = format!("{}-", meta.name);
        let name = template::fresh_name(&prefix, meta, node, self.world);
        let pod_template = &self.tree["spec"]["template"];
        let mut pod = template::pod(KIND, meta, pod_template, &name, Some(&prefix));
        pod["metadata"]["labels"][HASH] = json!(revision::hash(meta, &self.history.present));
        if let Some(generation) = meta.annotations.get(TEMPLATE_GENERATION) {
            pod["metadata"]["labels"][GENERATION] = json!(generation);
        }
        bind(&mut pod, node);
        let tolerations = self.tolerations();
        let mut all = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
        for one in &tolerations[self.set.body.tolerations.len()..] {
            all.push(json!({"key": one.key, "operator": one.operator, "effect": one.effect}));
        }
        pod["spec"]["tolerations"] = json!(all);
        template::create(KIND, meta, pod)
    }

    fn update_status(&self, plan: &mut Plan) {
        let (mut desired, mut current, mut misplaced) = (0, 0, 0);
        let (mut ready, mut available, mut updated) = (0, 0, 0);
        for (node, fit) in self.fits() {
            let pods: Vec<&Arc<Object<Pod>>> = self
                .pods_on(node)
                .iter()
                .filter(|pod| !pod.body.finished() && !pod.meta.deleting())
                .collect();
            if fit != Fit::Runs {
                misplaced += i64::from(!pods.is_empty());
                continue;
            }
            desired += 1;
            current += i64::from(!pods.is_empty());
            updated += i64::from(pods.iter().any(|pod| self.is_new(pod)));
            ready += i64::from(pods.iter().any(|pod| pod.body.ready));
            available += i64::from(pods.iter().any(|pod| self.is_available(pod, plan)));
        }
        let mut status = json!({
            "currentNumberScheduled": current, "numberMisscheduled": misplaced, "desiredNumberScheduled": desired,
            "numberReady": ready, "observedGeneration": self.set.meta.generation,
        });
        for (field, number) in [
            ("updatedNumberScheduled", updated),
            ("numberAvailable", available),
            ("numberUnavailable", desired - available),
        ] {
            if number > 0 {
                status[field] = json!(number);
            }
        }
        if status != self.set.body.status {
            let mut tree = self.tree.clone();
            tree["status"] = status;
            plan.then(Write::status(KIND, self.set.key(), self.set.revision, tree));
        }
    }
}

/// Means a Pod for a node: every term of its affinity, or one of its own, names it.
fn bind(pod: &mut Value, node: &str) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let field = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
    for level in [&["affinity"][..], &["affinity", "nodeAffinity"], &["affinity", "nodeAffinity", REQUIRED]] {
        let here = level.iter().fold(&mut pod["spec"], |here, field| &mut here[*field]);
        if !here.is_object() {
            *here = json!({});
        }
    }
    pod["spec"]["affinity"]["nodeAffinity"][REQUIRED] =
        json!({"nodeSelectorTerms": [{ "matchFields": field }]});
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;
    use edge_api::time::Timestamp;

    fn node(name: &str, change: Value) -> Value {
        let mut node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"name": name}},
            "spec": {}, "status": {}});
        for (field, value) in change.as_object().into_iter().flatten() {
            node["spec"][field] = value.clone();
        }
        node
    }

    fn set(change: Value) -> Value {
        let mut set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "agent", "namespace": "default", "uid": "s"},
            "spec": {"selector": {"matchLabels": {"app": "agent"}}, "updateStrategy": {"type": "RollingUpdate"},
                "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}}}});
        for (field, value) in change.as_object().into_iter().flatten() {
            set["spec"][field] = value.clone();
        }
        set
    }

    struct Cluster(Ledger);

    impl Cluster {
        fn new(set: Value, nodes: &[Value]) -> Cluster {
            let ledger = Ledger::with(Timestamp::parse("2026-01-01T01:00:00Z").unwrap(), nodes);
            ledger.put(set);
            Cluster(ledger)
        }

        /// Carries out plans until there is nothing to do; answers the nodes on which something was done.
        fn settle(&self) -> Vec<String> {
            let mut done = Vec::new();
            for _ in 0..30 {
                let plan = reconcile(&Name::new("default", "agent"), &self.0.world());
                if plan.is_idle() {
                    done.sort();
                    return done;
                }
                for write in plan.writes().filter(|write| write.kind == POD) {
                    let world = self.0.world();
                    done.push(match &write.act {
                        Act::Create(pod) => {
                            let terms = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
                            let node = &terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0];
                            format!("create {}", node.as_str().unwrap())
                        }
                        _ => format!("delete {}", place(world.pods.at(&write.key).unwrap())),
                    });
                }
                self.0.carry_out(&plan);
            }
            panic!("does not settle: {done:?}");
        }

        fn pods(&self) -> Pods {
            self.0.world().pods.all().cloned().collect()
        }

        /// All Pods run; those that were deleted are gone.
        fn live(&self) {
            for pod in self.pods() {
                if pod.meta.deleting() {
                    self.0.remove(POD, "default", &pod.meta.name);
                    continue;
                }
                let node = place(&pod);
                self.0.edit(POD, "default", &pod.meta.name, |pod| {
                    pod["spec"]["nodeName"] = json!(node);
                    pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True",
                        "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
                });
            }
        }

        fn update(&self) {
            self.0.edit(KIND, "default", "agent", |set| {
                set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("v2");
            });
        }

        fn status(&self) -> Value {
            self.0.get(KIND, "default", "agent").unwrap()["status"].clone()
        }
    }

    fn taint(effect: &str) -> Value {
        json!({"taints": [{"key": "dedicated", "value": "x", "effect": effect}]})
    }

    #[test]
    fn every_node_that_suits_gets_one() {
        let nodes = [
            node("a", json!({})),
            node("b", taint("NoSchedule")),
            node(
                "c",
                json!({"taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}], "unschedulable": true}),
            ),
        ];
        let cluster = Cluster::new(set(json!({})), &nodes);
        assert_eq!(
            cluster.settle(),
            ["create a", "create c"],
            "unschedulable is no obstacle, other taints are"
        );
        cluster.live();
        assert_eq!(cluster.settle(), Vec::<String>::new());
        let status = cluster.status();
        assert_eq!((&status["desiredNumberScheduled"], &status["numberAvailable"]), (&json!(2), &json!(2)));
        let pod = cluster.pods()[0].tree();
        assert!(pod["spec"]["tolerations"].as_array().unwrap().len() == TOLERATED.len());
        assert!(pod["metadata"]["labels"]["controller-revision-hash"].is_string());
        cluster.0.put(node("d", json!({})));
        assert_eq!(cluster.settle(), ["create d"], "a new node gets one too");
    }

    #[test]
    fn node_selector_and_affinity_choose_nodes() {
        let nodes = [node("a", json!({})), node("b", json!({}))];
        let mut selected = set(json!({}));
        selected["spec"]["template"]["spec"]["nodeSelector"] = json!({"name": "b"});
        assert_eq!(Cluster::new(selected, &nodes).settle(), ["create b"]);
        let mut liked = set(json!({}));
        liked["spec"]["template"]["spec"]["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchExpressions": [{"key": "name", "operator": "NotIn", "values": ["b"]}]}]}}});
        assert_eq!(Cluster::new(liked, &nodes).settle(), ["create a"]);
    }

    #[test]
    fn the_taints_of_a_node_in_trouble_are_no_obstacle() {
        let network = [NO_NETWORK];
        for (key, effect) in TOLERATED.iter().chain(&network) {
            for host_network in [false, true] {
                let tainted = node("a", json!({"taints": [{"key": key, "effect": effect}]}));
                let mut set = set(json!({}));
                set["spec"]["template"]["spec"]["hostNetwork"] = json!(host_network);
                let runs = Cluster::new(set, &[tainted]).settle() == ["create a"];
                assert_eq!(runs, host_network || *key != NO_NETWORK.0, "{key} {effect} {host_network}");
            }
        }
        let mut tolerant = set(json!({}));
        tolerant["spec"]["template"]["spec"]["tolerations"] =
            json!([{"key": "dedicated", "operator": "Exists"}]);
        assert_eq!(Cluster::new(tolerant, &[node("a", taint("NoExecute"))]).settle(), ["create a"]);
    }

    #[test]
    fn a_node_gets_and_loses_its_pod_with_its_labels() {
        let mut selective = set(json!({}));
        selective["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "fast"});
        let cluster = Cluster::new(selective, &[node("a", json!({}))]);
        assert_eq!(cluster.settle(), Vec::<String>::new());
        cluster
            .0
            .edit(&kinds::node::KIND, "", "a", |node| node["metadata"]["labels"]["disk"] = json!("fast"));
        assert_eq!(cluster.settle(), ["create a"]);
        cluster.live();
        cluster
            .0
            .edit(&kinds::node::KIND, "", "a", |node| node["metadata"]["labels"]["disk"] = json!("slow"));
        assert_eq!(cluster.settle(), ["delete a"]);
    }

    #[test]
    fn a_pod_meant_for_a_node_that_is_gone_goes() {
        let cluster = Cluster::new(set(json!({})), &[node("a", json!({})), node("b", json!({}))]);
        cluster.settle();
        cluster.0.remove(&kinds::node::KIND, "", "b");
        assert_eq!(cluster.settle(), ["delete b"]);
        assert_eq!(cluster.status()["desiredNumberScheduled"], 1);
    }

    #[test]
    fn orphans_are_adopted_and_their_node_gets_no_second_pod() {
        let orphan = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": "a"}, "status": {},
            "metadata": {"name": "agent-x", "namespace": "default", "labels": {"app": "agent"}}});
        let cluster = Cluster::new(
            set(json!({"updateStrategy": {"type": "OnDelete"}})),
            &[node("a", json!({})), orphan],
        );
        assert!(!cluster.settle().contains(&"create a".to_owned()));
        assert_eq!(cluster.pods()[0].meta.owner_references[0].uid, "s");
    }

    #[test]
    fn an_update_goes_on_when_pods_have_been_ready_for_long_enough() {
        let nodes = ["a", "b"].map(|name| node(name, json!({})));
        let cluster = Cluster::new(set(json!({"minReadySeconds": 10})), &nodes);
        cluster.settle();
        cluster.live();
        cluster.settle();
        cluster.update();
        assert_eq!(cluster.settle(), ["delete a"]);
        cluster.live();
        assert_eq!(cluster.settle(), ["create a"]);
        cluster.live();
        let now = cluster.0.now();
        let new = cluster.pods().into_iter().find(|pod| place(pod) == "a").unwrap();
        cluster.0.edit(POD, "default", &new.meta.name, |pod| {
            pod["status"]["conditions"][0]["lastTransitionTime"] = json!(now);
        });
        assert_eq!(cluster.settle(), Vec::<String>::new());
        assert_eq!(
            (&cluster.status()["numberReady"], &cluster.status()["numberAvailable"]),
            (&json!(2), &json!(1))
        );
        cluster.0.pass(10.0);
        assert_eq!(cluster.settle(), ["delete b"]);
    }

    #[test]
    fn history_has_a_limit_and_going_back_brings_the_old_revision_to_the_front() {
        let cluster = Cluster::new(set(json!({"revisionHistoryLimit": 1})), &[node("a", json!({}))]);
        let image = |image: &str| {
            cluster.0.edit(KIND, "default", "agent", |set| {
                set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
            });
            for _ in 0..4 {
                cluster.settle();
                cluster.live();
            }
        };
        ["v1", "v2", "v3"].into_iter().for_each(image);
        let revisions = || cluster.0.all(&kinds::controller_revision::KIND);
        assert_eq!(revisions().len(), 2, "the present one and one before");
        image("v2");
        let all = revisions();
        let latest = all.iter().max_by_key(|revision| revision["revision"].as_i64()).unwrap();
        assert_eq!(latest["data"]["spec"]["template"]["spec"]["containers"][0]["image"], "v2");
        assert_eq!((all.len(), &latest["revision"]), (2, &json!(4)));
    }

    #[test]
    fn a_node_that_suits_no_more_loses_it_but_no_schedule_leaves_what_is_there() {
        let cluster = Cluster::new(set(json!({})), &[node("a", json!({})), node("b", json!({}))]);
        cluster.settle();
        cluster.live();
        cluster.0.put(node("a", taint("NoSchedule")));
        assert_eq!(cluster.settle(), Vec::<String>::new());
        assert_eq!(cluster.status()["numberMisscheduled"], 1);
        cluster.0.put(node("a", taint("NoExecute")));
        assert_eq!(cluster.settle(), ["delete a"]);
    }

    #[test]
    fn a_pod_that_failed_is_replaced() {
        let cluster = Cluster::new(set(json!({})), &[node("a", json!({}))]);
        cluster.settle();
        cluster.live();
        let name = cluster.pods()[0].meta.name.to_string();
        cluster.0.edit(POD, "default", &name, |pod| pod["status"]["phase"] = json!("Failed"));
        assert_eq!(cluster.settle(), Vec::<String>::new(), "not at once");
        cluster.0.pass(11.0);
        assert_eq!(cluster.settle(), ["delete a"]);
        cluster.live();
        assert_eq!(cluster.settle(), ["create a"]);
    }

    fn three(strategy: Value) -> Cluster {
        let nodes = ["a", "b", "c"].map(|name| node(name, json!({})));
        let cluster = Cluster::new(set(json!({ "updateStrategy": strategy })), &nodes);
        cluster.settle();
        cluster.live();
        cluster.settle();
        cluster.update();
        cluster
    }

    #[test]
    fn a_rolling_update_keeps_all_but_max_unavailable() {
        let cluster =
            three(json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}));
        for node in ["a", "b", "c"] {
            assert_eq!(cluster.settle(), [format!("delete {node}")]);
            cluster.live();
            assert_eq!(cluster.settle(), [format!("create {node}")]);
            cluster.live();
        }
        assert_eq!(cluster.settle(), Vec::<String>::new());
        assert_eq!(cluster.status()["updatedNumberScheduled"], 3);
        let half = three(json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}}));
        assert_eq!(half.settle(), ["delete a", "delete b"], "a share is rounded up");
    }

    #[test]
    fn with_a_surge_the_new_one_comes_before_the_old_one_goes() {
        let cluster =
            three(json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}));
        for node in ["a", "b", "c"] {
            assert_eq!(cluster.settle(), [format!("create {node}")]);
            cluster.live();
            let next = cluster.settle();
            assert!(next.contains(&format!("delete {node}")), "{next:?}");
            cluster.live();
            if next.len() > 1 {
                break;
            }
        }
        for _ in 0..6 {
            cluster.settle();
            cluster.live();
        }
        assert_eq!(cluster.pods().len(), 3);
        assert_eq!(cluster.status()["updatedNumberScheduled"], 3);
    }

    #[test]
    fn when_the_template_changes_again_the_pod_that_serves_stays_until_the_newest_one_does() {
        let cluster =
            three(json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 3}}));
        assert_eq!(cluster.settle(), ["create a", "create b", "create c"]);
        let serving = |pods: Pods| {
            let mut nodes: Vec<String> = pods
                .iter()
                .filter(|pod| pod.body.ready && !pod.meta.deleting())
                .map(|pod| place(pod))
                .collect();
            nodes.sort();
            nodes
        };
        // By the clock, the Pods that serve may be the younger ones.
        for pod in cluster.pods().iter().filter(|pod| pod.body.ready) {
            cluster.0.edit(POD, "default", &pod.meta.name, |pod| {
                pod["metadata"]["creationTimestamp"] = json!("2026-01-01T02:00:00Z");
            });
        }
        cluster.0.edit(KIND, "default", "agent", |set| {
            set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("v3");
        });
        let done = cluster.settle();
        assert_eq!(serving(cluster.pods()), ["a", "b", "c"], "{done:?}");
        for _ in 0..6 {
            cluster.live();
            cluster.settle();
        }
        assert_eq!((cluster.pods().len(), &cluster.status()["updatedNumberScheduled"]), (3, &json!(3)));
    }

    #[test]
    fn on_delete_waits_for_somebody_to_delete() {
        let cluster = three(json!({"type": "OnDelete"}));
        assert_eq!(cluster.settle(), Vec::<String>::new());
        let pod = cluster.pods().into_iter().find(|pod| place(pod) == "b").unwrap();
        cluster.0.remove(POD, "default", &pod.meta.name);
        assert_eq!(cluster.settle(), ["create b"]);
        let new = cluster.pods().into_iter().find(|pod| place(pod) == "b").unwrap();
        assert_eq!(new.tree()["spec"]["containers"][0]["image"], "v2");
    }
}

//! What a Pod asks of the Pods around it: affinity, anti-affinity, spreading.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;

use crate::mirror::index::Mirror;
use crate::mirror::object::Meta;
use crate::mirror::selector::{LabelSelector, Labels, Requirement, Selector};
use crate::mirror::shape::Namespace;

/// The Pods that a rule is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peers {
    /// In these namespaces,
    pub namespaces: BTreeSet<String>,
    /// or in those with these labels,
    pub namespace_selector: Selector,
    /// the ones with these labels.
    pub selector: Selector,
}

impl Peers {
    /// Whether a Pod is among them.
    pub fn contain(&self, pod: &Meta, namespaces: &Mirror<Namespace>) -> bool {
        let here = || {
            self.namespaces.contains(&*pod.namespace)
                || self.namespace_selector.is_everything()
                || (!self.namespace_selector.is_nothing()
                    && namespaces
                        .get("", &pod.namespace)
                        .is_some_and(|one| self.namespace_selector.matches(&one.meta.labels)))
        };
        self.selector.matches(&pod.labels) && here()
    }
}

/// To be near, or apart from, some Pods; what is near a topology's label says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodTerm {
    /// Which Pods.
    pub peers: Peers,
    /// The label of nodes; those with the same value are one place.
    pub topology: Arc<str>,
}

/// To be spread over places.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spread {
    /// The Pods that are counted.
    pub peers: Peers,
    /// The label of nodes; those with the same value are one place.
    pub topology: Arc<str>,
    /// How many more than in the emptiest place there may be.
    pub max_skew: i64,
    /// Whether a place that has more is refused, or liked less.
    pub hard: bool,
    /// With fewer places than this the emptiest counts as empty.
    pub min_domains: i64,
    /// Whether only nodes count that the Pod's selector and affinity match.
    pub by_affinity: bool,
    /// Whether only nodes count whose taints the Pod puts up with.
    pub by_taints: bool,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Social {
    /// It must be near Pods that match all of these.
    pub near: Vec<PodTerm>,
    /// It must not be near any of these; nor they near it, once it is there.
    pub apart: Vec<PodTerm>,
    /// It would like to be near these; 1 to 100.
    pub liked: Vec<(i64, PodTerm)>,
    /// It would rather not be near these; 1 to 100.
    pub disliked: Vec<(i64, PodTerm)>,
    /// How it is to be spread.
    pub spread: Vec<Spread>,
}

/// `podAffinity` or `podAntiAffinity`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodTermsForm {
    required_during_scheduling_ignored_during_execution: Vec<TermForm>,
    preferred_during_scheduling_ignored_during_execution: Vec<WeightedForm>,
}

impl PodTermsForm {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.required_during_scheduling_ignored_during_execution.is_empty()
            && self.preferred_during_scheduling_ignored_during_execution.is_empty()
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TermForm {
    label_selector: Option<LabelSelector>,
    namespaces: BTreeSet<String>,
    namespace_selector: Option<LabelSelector>,
    topology_key: String,
    match_label_keys: Vec<String>,
    mismatch_label_keys: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WeightedForm {
    weight: i64,
    pod_affinity_term: TermForm,
}

/// An entry of `topologySpreadConstraints`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SpreadForm {
    max_skew: i64,
    topology_key: String,
    when_unsatisfiable: String,
    label_selector: Option<LabelSelector>,
    min_domains: Option<i64>,
    node_affinity_policy: String,
    node_taints_policy: String,
    match_label_keys: Vec<String>,
}

impl Social {
    /// All terms, whatever their weight.
    pub fn terms(&self) -> impl Iterator<Item = &PodTerm> {
        let soft = self.liked.iter().chain(&self.disliked).map(|(_, term)| term);
        self.near.iter().chain(&self.apart).chain(soft)
    }

    /// Reads the rules of a Pod with these labels; none if there is no rule.
    pub fn of(
        near: PodTermsForm,
        apart: PodTermsForm,
        spread: Vec<SpreadForm>,
        namespace: &str,
        labels: &Labels,
    ) -> Option<Box<Social>> {
        let term = |form: TermForm| form.read(namespace, labels);
        let weighted = |form: WeightedForm| (form.weight, term(form.pod_affinity_term));
        let of = |forms: Vec<TermForm>| forms.into_iter().map(term).collect();
        let weigh = |forms: Vec<WeightedForm>| forms.into_iter().map(weighted).collect();
        let social = Social {
            near: of(near.required_during_scheduling_ignored_during_execution),
            apart: of(apart.required_during_scheduling_ignored_during_execution),
            liked: weigh(near.preferred_during_scheduling_ignored_during_execution),
            disliked: weigh(apart.preferred_during_scheduling_ignored_during_execution),
            spread: spread.into_iter().map(|form| form.read(namespace, labels)).collect(),
        };
        (social != Social::default()).then(|| Box::new(social))
    }
}

/// A selector that also demands the Pod's own values of some labels, or other ones.
fn narrowed(selector: Selector, keys: &[String], operator: &str, labels: &Labels) -> Selector {
    let own = |key: &String| {
        let values = vec![labels.get(key)?.clone()];
        Some(Requirement { key: key.clone(), operator: operator.to_owned(), values })
    };
    keys.iter().filter_map(own).fold(selector, Selector::and)
}

impl TermForm {
    fn read(self, namespace: &str, labels: &Labels) -> PodTerm {
        let matching = narrowed(Selector::of(self.label_selector), &self.match_label_keys, "In", labels);
        let selector = narrowed(matching, &self.mismatch_label_keys, "NotIn", labels);
        let namespace_selector = Selector::of(self.namespace_selector);
        let mut namespaces = self.namespaces;
        if namespaces.is_empty() && namespace_selector.is_nothing() {
            namespaces.insert(namespace.to_owned());
        }
        PodTerm {
            peers: Peers { namespaces, namespace_selector, selector },
            topology: self.topology_key.into(),
        }
    }
}

impl SpreadForm {
    fn read(self, namespace: &str, labels: &Labels) -> Spread {
        let selector = narrowed(Selector::of(self.label_selector), &self.match_label_keys, "In", labels);
        let namespaces = BTreeSet::from([namespace.to_owned()]);
        Spread {
            peers: Peers { namespaces, namespace_selector: Selector::default(), selector },
            topology: self.topology_key.into(),
            max_skew: self.max_skew,
            hard: self.when_unsatisfiable != "ScheduleAnyway",
            min_domains: self.min_domains.unwrap_or(1),
            by_affinity: self.node_affinity_policy != "Ignore",
            by_taints: self.node_taints_policy == "Honor",
        }
    }
}

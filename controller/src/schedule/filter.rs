//! Which nodes can take a Pod. One entry for each rule; the first rule that refuses a node says why.

use crate::mirror::{NodeTerm, Pod, Taint, tolerates};
use crate::schedule::Place;

/// Why a node cannot take a Pod.
pub struct Refusal {
    /// In Kubernetes' words; several where several resources are short.
    pub reasons: Vec<String>,
    /// Whether the node could take it if others left.
    pub preemption_helps: bool,
}

/// One rule.
struct Filter {
    /// Kubernetes' name of it.
    #[allow(dead_code, reason = "read by people, and by `why` once it is there")]
    name: &'static str,
    /// Whether Pods that leave can change the answer.
    preemption_helps: bool,
    /// Everything that is wrong; nothing if the node can take the Pod.
    refuse: fn(&Pod, &Place<'_>) -> Vec<String>,
}

/// All rules, in the order in which Kubernetes asks them.
const FILTERS: &[Filter] = &[
    Filter { name: "NodeUnschedulable", preemption_helps: false, refuse: unschedulable },
    Filter { name: "TaintToleration", preemption_helps: false, refuse: taints },
    Filter { name: "NodeAffinity", preemption_helps: false, refuse: affinity },
    Filter { name: "NodePorts", preemption_helps: true, refuse: ports },
    Filter { name: "NodeResourcesFit", preemption_helps: true, refuse: resources },
];

/// Whether a node can take a Pod.
pub fn check(pod: &Pod, place: &Place<'_>) -> Result<(), Refusal> {
    for filter in FILTERS {
        let reasons = (filter.refuse)(pod, place);
        if !reasons.is_empty() {
            return Err(Refusal { reasons, preemption_helps: filter.preemption_helps });
        }
    }
    Ok(())
}

fn unschedulable(pod: &Pod, place: &Place<'_>) -> Vec<String> {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    if place.node.body.unschedulable && !tolerates(&pod.tolerations, &taint) {
        return vec!["node(s) were unschedulable".to_owned()];
    }
    Vec::new()
}

fn taints(pod: &Pod, place: &Place<'_>) -> Vec<String> {
    let keeps_out = |taint: &&Taint| {
        matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute") && !tolerates(&pod.tolerations, taint)
    };
    let taint = place.node.body.taints.iter().find(keeps_out);
    taint
        .map(|taint| format!("node(s) had untolerated taint {{{}: {}}}", taint.key, taint.value))
        .into_iter()
        .collect()
}

fn affinity(pod: &Pod, place: &Place<'_>) -> Vec<String> {
    let labels = &place.node.meta.labels;
    let selected = pod.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    let required = pod.affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    if selected && required.is_none_or(|terms| terms.iter().any(|term| term_matches(term, place))) {
        return Vec::new();
    }
    vec!["node(s) didn't match Pod's node affinity/selector".to_owned()]
}

/// Whether a node meets all of a term; a term that demands nothing matches nothing.
pub fn term_matches(term: &NodeTerm, place: &Place<'_>) -> bool {
    term.matches(&place.node.meta)
}

fn ports(pod: &Pod, place: &Place<'_>) -> Vec<String> {
    if pod.ports.iter().any(|port| port.host_port != 0 && place.taken.taken(port)) {
        return vec!["node(s) didn't have free ports for the requested pod ports".to_owned()];
    }
    Vec::new()
}

fn resources(pod: &Pod, place: &Place<'_>) -> Vec<String> {
    let (have, taken, want) = (&place.node.body.allocatable, &place.taken.requests, &pod.requests);
    let mut short = Vec::new();
    if place.taken.pods + 1 > place.node.body.pods {
        short.push("Too many pods".to_owned());
    }
    let mut check = |name: &str, want: i64, have: i64, taken: i64| {
        if want > 0 && want > have.saturating_sub(taken) {
            short.push(format!("Insufficient {name}"));
        }
    };
    check("cpu", want.cpu, have.cpu, taken.cpu);
    check("memory", want.memory, have.memory, taken.memory);
    check("ephemeral-storage", want.storage, have.storage, taken.storage);
    let amount =
        |map: &std::collections::BTreeMap<String, i64>, name: &str| map.get(name).copied().unwrap_or(0);
    for (name, want) in &want.other {
        check(name, *want, amount(&have.other, name), amount(&taken.other, name));
    }
    short
}

//! Why no node can take a Pod, in the words in which Kubernetes says it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::mirror::{Amounts, Order};
use crate::schedule::ask::Ask;
use crate::schedule::plugins::{AMOUNT_REASONS, Reach, Refusal, bars, check, fields_name, filters, wanted};

/// Reasons with the number of nodes each is true of.
pub type Counted = BTreeMap<Cow<'static, str>, usize>;

/// Why no node can take a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// How many nodes there are.
    pub nodes: usize,
    /// What keeps the Pod from all of them.
    pub bar: Option<String>,
    /// What each of them said.
    pub reasons: Counted,
    /// How many of them could take it if others left.
    pub resolvable: usize,
}

impl Diagnosis {
    /// Asks all nodes: the alike once, and a branch of which all say the same once.
    pub fn of(ask: &Ask<'_>) -> Diagnosis {
        let mut diagnosis = Diagnosis { nodes: ask.fleet.len(), ..Diagnosis::default() };
        diagnosis.bar = bars(ask).map(|(_, why)| why);
        if diagnosis.bar.is_some() {
            return diagnosis;
        }
        if let Some(names) = fields_name(ask) {
            let named: Vec<_> = names.iter().filter_map(|name| ask.fleet.place(name)).collect();
            for refusal in named.iter().filter_map(|place| check(ask, place)) {
                diagnosis.add(refusal.1, 1);
            }
            let rest = diagnosis.nodes - named.len();
            if rest > 0 {
                diagnosis.reasons.insert("node(s) didn't satisfy plugin(s) [NodeAffinity]".into(), rest);
            }
            return diagnosis;
        }
        for order in ask.fleet.classes() {
            diagnosis.class(ask, order);
        }
        diagnosis
    }

    fn class(&mut self, ask: &Ask<'_>, order: &Order) {
        let Some((_, any)) = order.first() else { return };
        for (_, filter) in filters() {
            match (filter.reach)(ask) {
                Reach::Nothing => {}
                Reach::Class => {
                    ask.looks.set(ask.looks.get() + 1);
                    if let Some(refusal) = (filter.refuse)(ask, any) {
                        return self.add(refusal, order.len());
                    }
                }
                Reach::Node => return self.each(ask, order),
                Reach::Amounts if ask.pod.body.requests.other.is_empty() => {
                    return self.branch(ask, order, &wanted(ask));
                }
                Reach::Amounts => return self.each(ask, order),
            }
        }
    }

    fn each(&mut self, ask: &Ask<'_>, order: &Order) {
        for (_, refusal) in order.iter().filter_map(|(_, place)| check(ask, place)) {
            self.add(refusal, 1);
        }
    }

    /// Counts a branch at once if all its nodes lack the same, and looks into it otherwise.
    fn branch(&mut self, ask: &Ask<'_>, order: &Order, wanted: &Amounts) {
        let Some(branch) = order.top() else { return };
        let sum = &branch.sum;
        let asked = |i: &usize| wanted[*i] > 0;
        let alike = (0..4).filter(asked).all(|i| {
            let short = wanted[i] > sum.most_free[i];
            let same = short || wanted[i] <= sum.least_free[i];
            // Places for Pods come back whatever a node has.
            let whole = i == 3 || wanted[i] > sum.most_have[i] || wanted[i] <= sum.least_have[i];
            same && (!short || whole)
        });
        let short: Vec<usize> =
            [3, 0, 1, 2].into_iter().filter(asked).filter(|i| wanted[*i] > sum.most_free[*i]).collect();
        if alike && !short.is_empty() {
            ask.looks.set(ask.looks.get() + 1);
            let reasons = short.iter().map(|i| AMOUNT_REASONS[*i].into()).collect();
            let resolvable = short.iter().all(|i| *i == 3 || wanted[*i] <= sum.least_have[*i]);
            return self.add(Refusal { reasons, resolvable }, branch.size);
        }
        self.branch(ask, &branch.left, wanted);
        if let Some((_, refusal)) = check(ask, &branch.value) {
            self.add(refusal, 1);
        }
        self.branch(ask, &branch.right, wanted);
    }

    fn add(&mut self, refusal: Refusal, nodes: usize) {
        for reason in refusal.reasons {
            *self.reasons.entry(reason).or_default() += nodes;
        }
        if refusal.resolvable {
            self.resolvable += nodes;
        }
    }

    /// The whole sentence; `preemption` is what came of asking others to leave, or nothing if they will.
    pub fn message(&self, preemption: &str) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut message = format!("0/{} nodes are available:", self.nodes);
        if let Some(bar) = &self.bar {
            message.push_str(&format!(" {bar}."));
        } else if !self.reasons.is_empty() {
            message.push_str(&format!(" {}.", counted(&self.reasons)));
        }
        if !preemption.is_empty() {
            message.push_str(&format!(" preemption: {preemption}"));
        }
        message
    }
}

/// Reasons with their numbers, sorted as texts.
pub fn counted(reasons: &Counted) -> String {
    let mut all: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    all.sort();
    all.join(", ")
}

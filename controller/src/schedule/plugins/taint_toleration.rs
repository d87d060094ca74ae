//! TaintToleration: nodes keep Pods away that do not put up with their taints, and would rather not have others.

use crate::mirror::{Place, Taint, tolerates};
use crate::schedule::ask::Ask;
use crate::schedule::plugins::{Filter, Plugin, Reach, Refusal, Scale, Score};

/// The table's entry.
pub const PLUGIN: Plugin = Plugin {
    name: "TaintToleration",
    filter: Some(Filter { reach: |_| Reach::Class, refuse, help }),
    score: Some(Score { weight: 3, scale: Scale::Lowest, rate, special: None }),
    ..Plugin::NOTHING
};

fn in_the_way<'a>(ask: &Ask<'_>, place: &'a Place) -> impl Iterator<Item = &'a Taint> {
    let tolerations = &ask.pod.body.tolerations;
    let taints = place.node.body.taints.iter();
    taints.filter(move |taint| taint.effect != "PreferNoSchedule" && !tolerates(tolerations, taint))
}

fn refuse(ask: &Ask<'_>, place: &Place) -> Option<Refusal> {
    let taint = in_the_way(ask, place).next()?;
    Refusal::for_good(format!("node(s) had untolerated taint {{{}: {}}}", taint.key, taint.value))
}

fn help(ask: &Ask<'_>, place: &Place) -> (i64, Vec<String>) {
    let one = |taint: &Taint| match taint.value.as_str() {
        "" => format!("toleration for {}:{}", taint.key, taint.effect),
        value => format!("toleration for {}={value}:{}", taint.key, taint.effect),
    };
    let all: Vec<String> = in_the_way(ask, place).map(one).collect();
    (all.len() as i64, all)
}

fn rate(ask: &Ask<'_>, place: &Place) -> Option<i64> {
    let soft = place.node.body.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
    Some(soft.filter(|taint| !tolerates(&ask.pod.body.tolerations, taint)).count() as i64)
}

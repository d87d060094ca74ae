//! NodeUnschedulable: new Pods stay away from a cordoned node, unless they put up with that.

use crate::mirror::{Place, Taint, tolerates};
use crate::schedule::ask::Ask;
use crate::schedule::plugins::{Filter, Plugin, Reach, Refusal};

/// The table's entry.
pub const PLUGIN: Plugin = Plugin {
    name: "NodeUnschedulable",
    filter: Some(Filter { reach: |_| Reach::Class, refuse, help }),
    ..Plugin::NOTHING
};

fn refuse(ask: &Ask<'_>, place: &Place) -> Option<Refusal> {
    if !place.node.body.unschedulable {
        return None;
    }
    let key = "node.kubernetes.io/unschedulable".to_owned();
    let taint = Taint { key, effect: "NoSchedule".to_owned(), ..Taint::default() };
    if tolerates(&ask.pod.body.tolerations, &taint) {
        return None;
    }
    Refusal::for_good("node(s) were unschedulable")
}

fn help(_: &Ask<'_>, place: &Place) -> (i64, Vec<String>) {
    (0, vec![format!("uncordon node {}", place.node.meta.name)])
}

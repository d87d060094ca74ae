//! NodeName: a Pod that names its node goes there or nowhere.
//!
//! Such a Pod is bound from the beginning and never waits; the rule is here for whoever asks why.

use crate::mirror::Place;
use crate::schedule::ask::Ask;
use crate::schedule::plugins::{Filter, Plugin, Reach, Refusal, no_help};

/// The table's entry.
pub const PLUGIN: Plugin =
    Plugin { name: "NodeName", filter: Some(Filter { reach, refuse, help: no_help }), ..Plugin::NOTHING };

fn reach(ask: &Ask<'_>) -> Reach {
    if ask.pod.body.node.is_some() { Reach::Node } else { Reach::Nothing }
}

fn refuse(ask: &Ask<'_>, place: &Place) -> Option<Refusal> {
    let named = ask.pod.body.node.as_deref()?;
    if named == &*place.node.meta.name {
        return None;
    }
    Refusal::for_good("node(s) didn't match the requested node name")
}

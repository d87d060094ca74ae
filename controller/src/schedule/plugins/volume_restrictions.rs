//! VolumeRestrictions: a claim of mode ReadWriteOncePod is one Pod's.

use crate::mirror::Place;
use crate::schedule::ask::Ask;
use crate::schedule::plugins::{Filter, Plugin, Reach, Refusal, no_help};

/// The table's entry.
pub const PLUGIN: Plugin = Plugin {
    name: "VolumeRestrictions",
    filter: Some(Filter { reach, refuse, help: no_help }),
    ..Plugin::NOTHING
};

fn reach(ask: &Ask<'_>) -> Reach {
    if taken(ask) { Reach::Class } else { Reach::Nothing }
}

fn taken(ask: &Ask<'_>) -> bool {
    let claims = ask.pod.body.claims.iter().map(|claim| claim.of(ask.pod));
    let alone = |claim: &crate::mirror::Name| {
        let claim = ask.world.claims.at(claim);
        claim.is_some_and(|claim| claim.body.modes.iter().any(|mode| mode == "ReadWriteOncePod"))
    };
    claims.filter(alone).any(|claim| {
        let mut pods = ask.world.storage.claimants(&claim).filter_map(|pod| ask.world.pods.at(pod));
        pods.any(|pod| pod.body.node.is_some() && !pod.body.finished() && pod.meta.uid != ask.pod.meta.uid)
    })
}

fn refuse(_: &Ask<'_>, _: &Place) -> Option<Refusal> {
    Refusal::for_good(
        "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
    )
}

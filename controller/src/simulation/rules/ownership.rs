//! Owners: what is owned goes with its owner or stays without it, as the deletion asked; nothing that has an owner goes
//! as garbage, and nothing without one is left behind unless it was set free.

use std::collections::BTreeSet;

use crate::mirror::{Meta, World};
use crate::simulation::rule::{Rule, Step};

/// See the module.
#[derive(Default)]
pub struct Ownership {
    /// Objects whose owner went without them, by uid.
    freed: BTreeSet<String>,
}

/// An owner that is there and does not wait for its dependents to go.
fn stands(meta: &Meta, truth: &World) -> Option<String> {
    let owners = meta.owner_references.iter();
    let mut found = owners.filter_map(|owner| truth.graph.get(&owner.uid));
    let waits = |meta: &Meta| meta.deleting() && meta.has_finalizer("foregroundDeletion");
    found.find(|entry| !waits(&entry.meta)).map(|entry| format!("{} {}", entry.kind.kind, entry.meta.key()))
}

impl Rule for Ownership {
    fn promise(&self) -> &'static str {
        "no orphan is left behind, and nothing that has an owner is garbage"
    }

    fn see(&mut self, step: &Step<'_>) -> Result<(), String> {
        let (before, after) = (&step.delta.before, &step.delta.after);
        let Some(before) = before else { return Ok(()) };
        if !step.is_by("generic-garbage-collector") {
            return Ok(());
        }
        let ended = !before.deleting() && after.as_ref().is_none_or(|after| after.deleting());
        if ended && let Some(owner) = stands(before, step.truth) {
            return Err(format!("{} goes as garbage, but {owner} is there", step.delta.key));
        }
        if ended && before.owner_references.is_empty() {
            return Err(format!("{} goes as garbage, but nobody ever owned it", step.delta.key));
        }
        if let Some(after) = after
            && !before.owner_references.is_empty()
            && after.owner_references.is_empty()
        {
            self.freed.insert(after.uid.to_string());
        }
        Ok(())
    }

    fn settled(&self, truth: &World) -> Result<(), String> {
        for uid in truth.graph.uids() {
            let Some(entry) = truth.graph.get(uid) else { continue };
            let what = format!("{} {}", entry.kind.kind, entry.meta.key());
            if entry.meta.deleting() {
                return Err(format!("{what} is still going: {:?}", entry.meta.finalizers));
            }
            if !entry.meta.owner_references.is_empty() && stands(&entry.meta, truth).is_none() {
                return Err(format!("the owner of {what} is gone"));
            }
            let kept = !entry.meta.owner_references.is_empty() || self.freed.contains(&**uid);
            if entry.kind.kind == "Pod" && !kept {
                return Err(format!("{what} has no owner"));
            }
        }
        Ok(())
    }
}

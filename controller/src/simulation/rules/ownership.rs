//! Owners: what is owned goes with its owner or stays without it, as the deletion asked; nothing that has an owner goes
//! as garbage, and nothing without one is left behind unless it was set free.

use std::collections::BTreeSet;

use crate::mirror::{Entry, Meta, World};
use crate::simulation::rule::{Rule, Step};

/// See the module.
#[derive(Default)]
pub struct Ownership {
    /// Objects whose owner went without them, by uid.
    freed: BTreeSet<String>,
    /// Owners that waited for their dependents to go at some time since the control plane was quiet, by uid.
    waited: BTreeSet<String>,
}

/// Whether an owner waits for its dependents to go.
fn waits(owner: &Meta) -> bool {
    owner.deleting() && owner.has_finalizer("foregroundDeletion")
}

/// An owner that is there and does not wait for its dependents to go.
fn stands<'a>(meta: &Meta, truth: &'a World) -> Option<&'a Entry> {
    let owners = meta.owner_references.iter();
    let mut found = owners.filter_map(|owner| truth.graph.get(&owner.uid));
    found.find(|entry| !waits(&entry.meta))
}

impl Rule for Ownership {
    fn promise(&self) -> &'static str {
        "no orphan is left behind, and nothing that has an owner is garbage"
    }

    fn see(&mut self, step: &Step<'_>) -> Result<(), String> {
        let (before, after) = (&step.delta.before, &step.delta.after);
        if let Some(owner) = after.as_ref().filter(|owner| waits(owner)) {
            self.waited.insert(owner.uid.to_string());
        }
        let Some(before) = before else { return Ok(()) };
        if !step.is_by("generic-garbage-collector") {
            return Ok(());
        }
        let ended = !before.deleting() && after.as_ref().is_none_or(|after| after.deleting());
        if ended
            && let Some(owner) = stands(before, step.truth)
            && !self.waited.contains(&*owner.meta.uid)
        {
            let (kind, key) = (owner.kind.kind, owner.meta.key());
            return Err(format!("{} goes as garbage, but {kind} {key} is there", step.delta.key));
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

    fn quiet(&mut self, truth: &World) {
        self.waited.retain(|uid| truth.graph.get(uid).is_some_and(|owner| waits(&owner.meta)));
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::simulation::rule::Author;
    use crate::simulation::rules::history::{
        Event, check, controller, going, managed, object, pod, user, with,
    };

    const COLLECTOR: &str = "generic-garbage-collector";

    fn owner() -> Value {
        object("apps/v1", "ReplicaSet", "r")
    }

    fn owned() -> Value {
        with(pod("a"), managed("apps/v1", "ReplicaSet", "r"))
    }

    fn gone(object: Value) -> Event {
        Event::Gone(Author::Controller(COLLECTOR), object)
    }

    #[test]
    fn what_has_an_owner_can_go_as_garbage() {
        let both = || vec![user(owner()), user(owned())];
        let then = |more: Vec<Event>| [both(), more].concat();
        let left = || Event::Gone(Author::User, owner());
        let waits =
            |finalizer: &str| user(with(going(owner()), json!({"metadata": {"finalizers": [finalizer]}})));
        check::<Ownership>(&[
            ("its owner is gone", then(vec![left(), gone(owned())]), None),
            (
                "its owner is there",
                then(vec![gone(owned())]),
                Some("default/a goes as garbage, but ReplicaSet default/r is there"),
            ),
            (
                "its owner is there, and it is told to go",
                then(vec![controller(COLLECTOR, going(owned()))]),
                Some("goes as garbage"),
            ),
            ("its owner waits for it", then(vec![waits("foregroundDeletion"), gone(owned())]), None),
            (
                "its owner waited for it a moment ago",
                then(vec![waits("foregroundDeletion"), waits("orphan"), gone(owned())]),
                None,
            ),
            (
                "its owner waited for it once",
                then(vec![waits("foregroundDeletion"), waits("orphan"), Event::Quiet, gone(owned())]),
                Some("goes as garbage"),
            ),
            (
                "its owner waits for something else",
                then(vec![waits("example.com/other"), gone(owned())]),
                Some("goes as garbage"),
            ),
            ("somebody else takes it", then(vec![Event::Gone(Author::User, owned())]), None),
            (
                "nobody owns it",
                vec![user(pod("a")), gone(pod("a"))],
                Some("default/a goes as garbage, but nobody ever owned it"),
            ),
        ]);
    }

    #[test]
    fn something_can_be_left_behind() {
        let then = |events: Vec<Event>| [events, vec![Event::Settled]].concat();
        let freed = || controller(COLLECTOR, with(owned(), json!({"metadata": {"ownerReferences": null}})));
        let held =
            with(going(owned()), json!({"metadata": {"finalizers": ["batch.kubernetes.io/job-tracking"]}}));
        check::<Ownership>(&[
            ("owner and owned", then(vec![user(owner()), user(owned())]), None),
            ("the owner is gone", then(vec![user(owned())]), Some("the owner of Pod default/a is gone")),
            ("it is set free", then(vec![user(owned()), freed()]), None),
            ("it is held", then(vec![user(owner()), user(held)]), Some("Pod default/a is still going")),
            ("nobody ever owned it", then(vec![user(pod("a"))]), Some("Pod default/a has no owner")),
        ]);
    }
}

//! Who uses which claim, and what is not bound yet, so that nobody looks at what is.
//!
//! A cluster has as many claims and volumes as it has had Pods with data; those that wait are few.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use edge_api::kinds::persistent_volume_claim::BIND_COMPLETED;

use crate::mirror::object::{Name, Object};
use crate::mirror::shape::{Binding, Claim, Pod, Volume};

/// Claims by their Pods, and claims and volumes that have nobody.
#[derive(Debug, Default)]
pub struct Storage {
    claimants: HashMap<Name, BTreeSet<Name>>,
    waiting: BTreeSet<Name>,
    free: BTreeSet<Name>,
}

impl Storage {
    /// The Pods that use a claim, by name; those without a node and those that have ended too.
    pub fn claimants(&self, claim: &Name) -> impl Iterator<Item = &Name> {
        self.claimants.get(claim).into_iter().flatten()
    }

    /// The claims that are not bound.
    pub fn waiting(&self) -> impl Iterator<Item = &Name> {
        self.waiting.iter()
    }

    /// The volumes that no claim is bound to.
    pub fn free(&self) -> impl Iterator<Item = &Name> {
        self.free.iter()
    }

    /// Follows a Pod.
    pub fn pod(&mut self, before: Option<&Object<Pod>>, after: Option<&Object<Pod>>) {
        let claims = |pod: Option<&Object<Pod>>| -> Vec<Name> {
            pod.map(|pod| pod.body.claims.iter().map(|claim| claim.of(pod)).collect()).unwrap_or_default()
        };
        let (old, new) = (claims(before), claims(after));
        if old == new {
            return;
        }
        for (claim, pod) in old.into_iter().zip(before.map(Object::key).into_iter().cycle()) {
            if let Some(pods) = self.claimants.get_mut(&claim) {
                pods.remove(&pod);
                if pods.is_empty() {
                    self.claimants.remove(&claim);
                }
            }
        }
        for (claim, pod) in new.into_iter().zip(after.map(Object::key).into_iter().cycle()) {
            self.claimants.entry(claim).or_default().insert(pod);
        }
    }

    /// Follows a claim.
    pub fn claim(&mut self, before: Option<&Arc<Object<Claim>>>, after: Option<&Arc<Object<Claim>>>) {
        if let Some(old) = before {
            self.waiting.remove(&old.key());
        }
        if let Some(new) = after.filter(|new| !is_bound(new)) {
            self.waiting.insert(new.key());
        }
    }

    /// Follows a volume.
    pub fn volume(&mut self, before: Option<&Arc<Object<Volume>>>, after: Option<&Arc<Object<Volume>>>) {
        if let Some(old) = before {
            self.free.remove(&old.key());
        }
        if let Some(new) = after.filter(|new| new.body.phase != Binding::Bound) {
            self.free.insert(new.key());
        }
    }
}

/// Whether a claim has been bound to the volume that it names.
pub fn is_bound(claim: &Object<Claim>) -> bool {
    !claim.body.volume_name.is_empty() && claim.meta.annotations.contains_key(BIND_COMPLETED)
}

//! NodeRestriction: what a node may not do to its own Node, beside what it may not do at all: say that it is of a kind
//! that people place Pods by, lift its taints, or give itself to an owner. Of its volumes it may take finalizers away,
//! and nothing else.

use edge_api::meta;
use serde_json::Value;

use crate::registry::ApiError;
use crate::registry::admit::{Mutation, Operation, Plugin, Request, Validation};

/// Labels of Kubernetes' own that a node sets itself.
const OWN_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
/// Groups of labels of Kubernetes' own that a node sets itself.
const OWN_GROUPS: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

/// The table's entry.
pub(super) const PLUGIN: Plugin = Plugin {
    name: "NodeRestriction",
    concerns: |request| {
        (request.is_part_of("", "nodes") || request.is_part_of("", "persistentvolumes"))
            && request.cx.user.node_name().is_some()
    },
    mutate: Mutation::Never,
    validate: Validation::Now(validate),
};

fn validate(request: &Request<'_>, node: &Value) -> Result<(), ApiError> {
    let name = request.cx.user.node_name().unwrap_or_default();
    if request.operation == Operation::Delete {
        return Ok(());
    }
    let old = request.old;
    if request.kind().plural == "persistentvolumes" {
        return match meta::equal_but(node, old, &[&["metadata", "finalizers"]]) {
            true => Ok(()),
            false => Err(request.forbidden(&format!("node {name:?} may only change finalizers"))),
        };
    }
    let labels = restricted(node, old);
    if !labels.is_empty() {
        let what = match request.operation {
            Operation::Create => "set the following labels",
            _ => "modify labels",
        };
        return Err(request.forbidden(&format!("node {name:?} is not allowed to {what}: {labels}")));
    }
    let changed = |path: &[&str]| meta::at(node, path) != meta::at(old, path);
    if request.operation == Operation::Update && changed(&["spec", "taints"]) {
        return Err(request.forbidden(&format!("node {name:?} is not allowed to modify taints")));
    }
    if request.operation == Operation::Update && changed(&["metadata", "ownerReferences"]) {
        return Err(request.forbidden(&format!("node {name:?} is not allowed to modify ownerReferences")));
    }
    Ok(())
}

/// Labels that differ and that are not the node's to set.
fn restricted(node: &Value, old: &Value) -> String {
    let (new, old) = (meta::labels(node), meta::labels(old));
    let mut keys: Vec<&str> = new.keys().chain(old.keys()).map(String::as_str).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|key| new.get(*key) != old.get(*key) && !is_own(key));
    keys.join(", ")
}

fn is_own(label: &str) -> bool {
    let group = label.split_once('/').map_or("", |(group, _)| group);
    let within = |parent: &str| group == parent || group.ends_with(&format!(".{parent}"));
    if within("node-restriction.kubernetes.io") {
        return false;
    }
    let kubernetes = within("kubernetes.io") || within("k8s.io");
    !kubernetes || OWN_LABELS.contains(&label) || OWN_GROUPS.iter().any(|own| within(own))
}

#[cfg(test)]
mod tests {
    use super::is_own;

    #[test]
    fn a_node_sets_labels_that_nobody_places_pods_by() {
        for (label, own) in [
            ("mine", true),
            ("example.com/rack", true),
            ("kubernetes.io/hostname", true),
            ("node.kubernetes.io/anything", true),
            ("topology.kubernetes.io/zone", true),
            ("node-role.kubernetes.io/control-plane", false),
            ("node-restriction.kubernetes.io/pci", false),
            ("example.node-restriction.kubernetes.io/pci", false),
            ("example.k8s.io/x", false),
        ] {
            assert_eq!(is_own(label), own, "{label}");
        }
    }
}

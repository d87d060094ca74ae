//! What a node may do: one table and the questions that it cannot answer: is the Pod bound to this node, does such a
//! Pod use this Secret, is the volume a directory of this node.

use edge_api::kinds::persistent_volume::NODE_LABEL;
use edge_api::meta;
use memchr::memmem::Finder;
use serde_json::Value;

use crate::registry::authorise::action::Access;
use crate::registry::references::{self, Used};
use crate::registry::{Object, Registry};
use crate::store::Key;

const READ: &[&str] = &["get", "list", "watch"];

/// Under which condition a node may.
#[derive(Clone, Copy)]
enum When {
    /// Always.
    Always,
    /// If the object has the node's own name, in this namespace if one is given.
    Itself(&'static str),
    /// If the Pod is bound to the node.
    BoundPod,
    /// If a Pod bound to the node uses the object, or an Ingress names it.
    UsedByPod,
    /// If the volume is a directory of the node.
    OwnVolume,
}

/// Resource with group, subresource, verbs, condition.
type Rule = (&'static str, &'static str, &'static [&'static str], When);

/// What a node may do.
const NODE_RULES: &[Rule] = &[
    ("nodes", "", READ, When::Always),
    ("nodes", "", &["create", "update", "patch"], When::Itself("")),
    ("nodes", "status", &["get", "update", "patch"], When::Itself("")),
    ("pods", "", READ, When::Always),
    ("pods", "", &["delete"], When::BoundPod),
    ("pods", "status", &["get", "update", "patch"], When::BoundPod),
    ("namespaces", "", READ, When::Always),
    ("services", "", READ, When::Always),
    ("endpoints", "", READ, When::Always),
    ("endpointslices.discovery.k8s.io", "", READ, When::Always),
    ("ingresses.networking.k8s.io", "", READ, When::Always),
    ("ingresses.networking.k8s.io", "status", &["get", "update", "patch"], When::Always),
    ("ingressclasses.networking.k8s.io", "", READ, When::Always),
    ("horizontalpodautoscalers.autoscaling", "", READ, When::Always),
    ("configmaps", "", READ, When::UsedByPod),
    ("secrets", "", READ, When::UsedByPod),
    ("persistentvolumeclaims", "", &["get"], When::UsedByPod),
    ("persistentvolumes", "", READ, When::Always),
    ("persistentvolumes", "", &["update", "patch"], When::OwnVolume),
    ("serviceaccounts", "", READ, When::UsedByPod),
    ("serviceaccounts", "token", &["create"], When::UsedByPod),
    ("events", "", &["create", "update", "patch"], When::Always),
    ("events.events.k8s.io", "", &["create", "update", "patch"], When::Always),
    (
        "leases.coordination.k8s.io",
        "",
        &["get", "list", "watch", "create", "update", "patch", "delete"],
        When::Itself("kube-node-lease"),
    ),
];

impl Registry {
    /// Whether the node may, by being a node.
    pub(super) fn node_may(&self, node: &str, access: &Access<'_>) -> bool {
        let Access { verb, subresource, namespace, name, .. } = *access;
        let resource = access.qualified();
        let rules = NODE_RULES
            .iter()
            .filter(|(of, sub, verbs, _)| *of == resource && *sub == subresource && verbs.contains(&verb));
        rules.map(|rule| rule.3).any(|when| match when {
            When::Always => true,
            When::Itself(home) => name == node && namespace == home,
            When::BoundPod => self.is_bound(node, namespace, name),
            When::OwnVolume => self.is_own_volume(node, name),
            When::UsedByPod => !name.is_empty() && self.is_used(node, &resource, namespace, name),
        })
    }

    fn is_own_volume(&self, node: &str, name: &str) -> bool {
        let volume = self.store().get(&Key::of("core", "persistentvolumes", "", name));
        volume.is_some_and(|volume| {
            let volume = Object { revision: volume.revision, stored: volume.value }.value();
            meta::label(&volume, NODE_LABEL) == Some(node)
        })
    }

    fn is_bound(&self, node: &str, namespace: &str, name: &str) -> bool {
        let pod = self.store().get(&Key::of("core", "pods", namespace, name));
        // A Pod that is gone may be asked for by anyone: the answer is that it is gone.
        pod.is_none_or(|pod| node_of(&Object { revision: pod.revision, stored: pod.value }.value()) == node)
    }

    fn is_used(&self, node: &str, resource: &str, namespace: &str, name: &str) -> bool {
        let used = Used { resource, name };
        if resource == "persistentvolumeclaims" && self.is_owned(node, namespace, name) {
            return true;
        }
        let by_pod = |pod: &Value| node_of(pod) == node && references::of_pod(pod, &used);
        let by_ingress = |ingress: &Value| {
            let tls = meta::items(ingress, &["spec", "tls"]);
            tls.iter().any(|entry| meta::text(entry, &["secretName"]) == name)
        };
        self.any_mentioning("/core/pods", namespace, &[node, name], by_pod)
            || resource == "secrets"
                && self.any_mentioning("/networking.k8s.io/ingresses", namespace, &[name], by_ingress)
    }

    /// Whether a claim was made for a Pod bound to the node, which does not name it.
    fn is_owned(&self, node: &str, namespace: &str, claim: &str) -> bool {
        let claim = self.store().get(&Key::of("core", "persistentvolumeclaims", namespace, claim));
        let claim = claim.map(|claim| Object { revision: claim.revision, stored: claim.value }.value());
        let owner = claim.as_ref().and_then(meta::controller_of).filter(|owner| owner.kind == "Pod");
        owner.is_some_and(|owner| self.is_bound(node, namespace, &owner.name))
    }

    /// Looks only into objects whose bytes mention all words, and no further than to the first that holds: a node asks
    /// for every Pod that it starts.
    fn any_mentioning(
        &self,
        of: &str,
        namespace: &str,
        words: &[&str],
        holds: impl Fn(&Value) -> bool,
    ) -> bool {
        let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        let finders: Vec<Finder<'_>> = quoted.iter().map(Finder::new).collect();
        let found = self.store().any(&format!("{of}/{namespace}/"), &mut |stored| {
            finders.iter().all(|word| word.find(&stored.value).is_some())
                && serde_json::from_slice(&stored.value).is_ok_and(|object: Value| holds(&object))
        });
        // A history that cannot be read tells of no use.
        found.unwrap_or(false)
    }
}

fn node_of(pod: &Value) -> &str {
    meta::text(pod, &["spec", "nodeName"])
}

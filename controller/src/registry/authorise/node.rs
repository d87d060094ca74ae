//! What a node may do: one table and the two questions that it cannot answer: is the Pod bound to this node, and does
//! such a Pod use this Secret.

use edge_api::meta;
use serde_json::Value;

use crate::registry::authorise::action::Access;
use crate::registry::references::{self, Used};
use crate::registry::{Object, Registry};
use crate::store::{Key, RangeOptions};

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
            When::UsedByPod => !name.is_empty() && self.is_used(node, &resource, namespace, name),
        })
    }

    fn is_bound(&self, node: &str, namespace: &str, name: &str) -> bool {
        let pod = self.store().get(&Key::of("core", "pods", namespace, name));
        // A Pod that is gone may be asked for by anyone: the answer is that it is gone.
        pod.is_none_or(|pod| node_of(&Object { revision: pod.revision, stored: pod.value }.value()) == node)
    }

    /// Looks only into objects whose bytes mention both names, so that a large namespace costs little.
    fn is_used(&self, node: &str, resource: &str, namespace: &str, name: &str) -> bool {
        let used = Used { resource, name };
        let pods = self.mentioning("pods", "core", namespace, &[node, name]);
        if pods.iter().any(|pod| node_of(pod) == node && references::of_pod(pod, &used)) {
            return true;
        }
        resource == "secrets"
            && self.mentioning("ingresses", "networking.k8s.io", namespace, &[name]).iter().any(|ingress| {
                let tls = meta::items(ingress, &["spec", "tls"]);
                tls.iter().any(|entry| meta::text(entry, &["secretName"]) == name)
            })
    }

    fn mentioning(&self, plural: &str, group: &str, namespace: &str, words: &[&str]) -> Vec<Value> {
        let prefix = format!("/{group}/{plural}/{namespace}/");
        let Ok(page) = self.store().range(&prefix, &RangeOptions::default()) else { return Vec::new() };
        let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        let mentions = |bytes: &[u8]| quoted.iter().all(|word| contains(bytes, word.as_bytes()));
        let found = page.items.into_iter().filter(|(_, stored)| mentions(&stored.value));
        found.filter_map(|(_, stored)| serde_json::from_slice(&stored.value).ok()).collect()
    }
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

fn node_of(pod: &Value) -> &str {
    meta::text(pod, &["spec", "nodeName"])
}

//! Namespaces on their way out: first their Pods go, then everything else, then the finalizer `kubernetes`.

use std::collections::BTreeMap;

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::json;

use crate::mirror::{Condition, Delta, Detail, Entry, Name, Namespace, Object, World};
use crate::reconcile::Controller;
use crate::reconcile::condition;
use crate::reconcile::plan::{Plan, Write};

const KIND: &Kind = &kinds::namespace::KIND;
const FINALIZER: &str = "kubernetes";
/// How many objects one plan deletes.
const BATCH: usize = 500;

/// The table's entry.
pub const CONTROLLER: Controller = Controller { name: "namespace-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    if matches!(delta.detail, Detail::Namespace(_)) {
        return wake(delta.key.clone());
    }
    if let Some(namespace) = world.namespaces.get("", &delta.key.namespace)
        && namespace.meta.deleting()
    {
        wake(namespace.key());
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let Some(namespace) = world.namespaces.at(key) else { return Plan::nothing() };
    if !namespace.meta.deleting() || !namespace.body.finalizers.iter().any(|f| f == FINALIZER) {
        return Plan::nothing();
    }
    let mut rest: Vec<&Entry> = world.graph.in_namespace(&key.name);
    rest.sort_by(|a, b| (a.kind.plural, &a.meta.name).cmp(&(b.kind.plural, &b.meta.name)));
    let events: Vec<Name> = world.events.in_namespace(&key.name).collect();
    let mut plan = Plan::nothing();
    if rest.is_empty() && events.is_empty() {
        plan.then(finalize(namespace));
        return plan;
    }
    // What Pods use is still there while they end.
    let pods: Vec<&Entry> = rest.iter().copied().filter(|e| e.kind == &kinds::pod::KIND).collect();
    let first = if pods.is_empty() { &rest } else { &pods };
    let doomed = first.iter().filter(|entry| !entry.meta.deleting()).take(BATCH);
    plan.together(doomed.map(|entry| Write::delete(entry.kind, &entry.meta)).collect());
    if pods.is_empty() {
        let events = events.into_iter().take(BATCH);
        plan.together(events.map(|key| Write::expire(&kinds::event::KIND, key)).collect());
    }
    update_status(namespace, &rest, world, &mut plan);
    plan
}

fn finalize(namespace: &Object<Namespace>) -> Write {
    let mut tree = namespace.tree();
    let rest: Vec<&String> = namespace.body.finalizers.iter().filter(|f| *f != FINALIZER).collect();
    tree["spec"]["finalizers"] = json!(rest);
    Write::finalize(KIND, namespace.key(), namespace.revision, tree)
}

fn update_status(namespace: &Object<Namespace>, rest: &[&Entry], world: &World, plan: &mut Plan) {
    let mut tree = namespace.tree();
    let list = tree["status"]["conditions"].clone();
    let mut conditions: Vec<Condition> = serde_json::from_value(list).unwrap_or_default();
    let before = conditions.clone();
    let mut set = |kind: &str, status: &str, reason: &str, message: String| {
        let same = conditions.iter_mut().find(|c| c.kind == kind && c.status == status && c.reason == reason);
        match same {
            Some(found) => found.message = message,
            None => condition::set(&mut conditions, kind, status, reason, message, world.now),
        }
    };
    let say = str::to_owned;
    set(
        "NamespaceDeletionDiscoveryFailure",
        "False",
        "ResourcesDiscovered",
        say("All resources successfully discovered"),
    );
    set(
        "NamespaceDeletionGroupVersionParsingFailure",
        "False",
        "ParsedGroupVersions",
        say("All legacy kube types successfully parsed"),
    );
    set(
        "NamespaceDeletionContentFailure",
        "False",
        "ContentDeleted",
        say("All content successfully deleted, may be waiting on finalization"),
    );
    let (content, finalizers) = remaining(rest);
    if content.is_empty() {
        set("NamespaceContentRemaining", "False", "ContentRemoved", say("All content successfully removed"));
    } else {
        let message = format!("Some resources are remaining: {content}");
        set("NamespaceContentRemaining", "True", "SomeResourcesRemain", message);
    }
    if finalizers.is_empty() {
        let message = say("All content-preserving finalizers finished");
        set("NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", message);
    } else {
        let message = format!("Some content in the namespace has finalizers remaining: {finalizers}");
        set("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", message);
    }
    if conditions != before || namespace.body.phase != "Terminating" {
        tree["status"] =
            json!({"phase": "Terminating", "conditions": condition::to_json(&conditions, false)});
        plan.then(Write::status(KIND, namespace.key(), namespace.revision, tree));
    }
}

/// What is left, by resource and by finalizer, in Kubernetes' words.
fn remaining(rest: &[&Entry]) -> (String, String) {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in rest {
        *kinds.entry(format!("{}.{}", entry.kind.plural, entry.kind.group)).or_default() += 1;
        for finalizer in &entry.meta.finalizers {
            *finalizers.entry(finalizer).or_default() += 1;
        }
    }
    let kinds = kinds.iter().map(|(kind, count)| format!("{kind} has {count} resource instances"));
    let finalizers = finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances"));
    (kinds.collect::<Vec<_>>().join(", "), finalizers.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use edge_api::time::Timestamp;
    use serde_json::Value;

    use super::*;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;

    fn plan(objects: &[Value]) -> Plan {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "gone", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"finalizers": ["kubernetes", "mine"]}, "status": {"phase": "Terminating"}});
        let all = [&[namespace], objects].concat();
        reconcile(&Name::new("", "gone"), &Ledger::with(Timestamp::from_seconds(0), &all).world())
    }

    fn object(kind: &str, name: &str, finalizers: Value) -> Value {
        json!({"apiVersion": "v1", "kind": kind,
            "metadata": {"name": name, "namespace": "gone", "finalizers": finalizers}})
    }

    fn deleted(plan: &Plan) -> Vec<String> {
        let deletes = plan.writes().filter(|write| matches!(write.act, Act::Delete { .. }));
        deletes.map(|write| write.key.name.to_string()).collect()
    }

    #[test]
    fn pods_go_first_then_everything_else_then_the_finalizer() {
        let (pod, map) = (object("Pod", "p", json!([])), object("ConfigMap", "m", json!([])));
        let event = object("Event", "e", json!([]));
        assert_eq!(deleted(&plan(&[pod, map.clone(), event.clone()])), ["p"]);
        assert_eq!(deleted(&plan(&[map, event])), ["m", "e"]);
        let last = plan(&[]);
        let Act::Finalize(namespace) = &last.writes().next().unwrap().act else { panic!("{last:#?}") };
        assert_eq!(namespace["spec"]["finalizers"], json!(["mine"]));
    }

    #[test]
    fn what_remains_is_said() {
        let plan = plan(&[object("ConfigMap", "m", json!(["example.com/keep"]))]);
        let status = plan.writes().find_map(|write| match &write.act {
            Act::Status(object) => Some(object["status"]["conditions"].clone()),
            _ => None,
        });
        let all = status.unwrap();
        let message = |kind: &str| {
            all.as_array().unwrap().iter().find(|c| c["type"] == kind).unwrap()["message"].clone()
        };
        assert_eq!(
            message("NamespaceContentRemaining"),
            "Some resources are remaining: configmaps. has 1 resource instances"
        );
        assert_eq!(
            message("NamespaceFinalizersRemaining"),
            "Some content in the namespace has finalizers remaining: example.com/keep in 1 resource instances"
        );
    }
}

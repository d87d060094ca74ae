//! ConfigMaps and Secrets that restart Pods: a workload that asks for it has their digests in its Pod template, so that
//! a change rolls it out as `kubectl rollout restart` does, once.
//!
//! What Pods have from the beginning is noted on the workload instead, which restarts nothing. It is known that Pods
//! have an object as it is if they were made after it was last changed, which `managedFields` tell, or have no node
//! yet. If it cannot be known, the Pods are restarted once. An object that is missing is passed over and keeps its
//! last digest, so that Pods outlive it; when it comes for the first time it counts as changed. The digest of a Secret
//! is made with its uid: who may read workloads but not Secrets cannot try what is in it.
//!
//! A template that was rolled back is not made again for the same objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use edge_api::kind::Kind;
use edge_api::kinds;
use edge_api::meta::{items, text};
use edge_api::rollout::{CONFIG_DIGEST, REFUSED_TEMPLATE, RESTART_ON_CHANGE, Source, Watched};
use edge_api::time::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::mirror::{Bare, Delta, Detail, Meta, Name, Object, Pod, TEMPLATE_HASH, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Note, Plan, Write};

/// The table's entry. Its keys are workloads, with their resource: `deployments/web`.
pub const CONTROLLER: Controller =
    Controller { name: "config-digest-controller", begins: &[], wakes, reconcile };

const DEPLOYMENT: &Kind = &kinds::deployment::KIND;
const STATEFUL_SET: &Kind = &kinds::stateful_set::KIND;
const DAEMON_SET: &Kind = &kinds::daemon_set::KIND;

/// Digests by the text of their [`Source`].
type Digests = BTreeMap<String, String>;

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    let namespace = &delta.key.namespace;
    let mut ask = |kind: &Kind, meta: &Meta| {
        if meta.annotations.contains_key(RESTART_ON_CHANGE) {
            wake(Name::new(namespace, &format!("{}/{}", kind.plural, meta.name)));
        }
    };
    match &delta.detail {
        Detail::Deployment(_) | Detail::StatefulSet(_) | Detail::DaemonSet(_) => {
            delta.after.iter().for_each(|meta| ask(delta.kind, meta));
        }
        Detail::ConfigMap(_) | Detail::Secret(_) => {
            world.deployments.in_namespace(namespace).for_each(|one| ask(DEPLOYMENT, &one.meta));
            world.stateful_sets.in_namespace(namespace).for_each(|one| ask(STATEFUL_SET, &one.meta));
            world.daemon_sets.in_namespace(namespace).for_each(|one| ask(DAEMON_SET, &one.meta));
        }
        _ => {}
    }
}

/// A Deployment, StatefulSet or DaemonSet.
struct Workload<'a> {
    kind: &'static Kind,
    meta: &'a Arc<Meta>,
    revision: u64,
    tree: Value,
    world: &'a World,
}

impl<'a> Workload<'a> {
    fn at(key: &Name, world: &'a World) -> Option<Workload<'a>> {
        fn of<'a, T>(kind: &'static Kind, object: &'a Object<T>, world: &'a World) -> Workload<'a> {
            Workload { kind, meta: &object.meta, revision: object.revision, tree: object.tree(), world }
        }
        let (plural, name) = key.name.split_once('/')?;
        match plural {
            "deployments" => Some(of(DEPLOYMENT, world.deployments.get(&key.namespace, name)?, world)),
            "statefulsets" => Some(of(STATEFUL_SET, world.stateful_sets.get(&key.namespace, name)?, world)),
            "daemonsets" => Some(of(DAEMON_SET, world.daemon_sets.get(&key.namespace, name)?, world)),
            _ => None,
        }
    }

    /// The digests in its template.
    fn in_template(&self) -> Option<&str> {
        digest_of_template(&self.tree)
    }

    fn source(&self, source: &Source) -> Option<&'a Arc<Object<Bare>>> {
        match source {
            Source::ConfigMap(name) => self.world.config_maps.get(&self.meta.namespace, name),
            Source::Secret(name) => self.world.secrets.get(&self.meta.namespace, name),
        }
    }

    fn pods(&self) -> Vec<&'a Arc<Object<Pod>>> {
        let world = self.world;
        if *self.kind != *DEPLOYMENT {
            return world.pods.owned_by(&self.meta.uid).collect();
        }
        let sets = world.replica_sets.owned_by(&self.meta.uid);
        sets.flat_map(|set| world.pods.owned_by(&set.meta.uid)).collect()
    }

    /// Whether every Pod that runs is known to have these objects as they are.
    fn pods_have(&self, sources: &[&Source]) -> bool {
        let changes: Option<Vec<Timestamp>> = sources
            .iter()
            .filter_map(|source| self.source(source))
            .map(|object| last_change(object))
            .collect();
        let last = changes.and_then(|changes| changes.into_iter().max());
        let has = |pod: &&Arc<Object<Pod>>| {
            let made = pod.meta.creation_timestamp;
            pod.body.finished() || pod.body.node.is_none() || last.is_some_and(|last| made > Some(last))
        };
        self.pods().iter().all(has)
    }

    /// Whether the template with these digests is the one that was rolled back.
    fn was_refused(&self, digests: &str) -> bool {
        let Some(hash) = self.meta.annotations.get(REFUSED_TEMPLATE) else { return false };
        let mut sets = self.world.replica_sets.owned_by(&self.meta.uid);
        let refused = sets.find(|set| set.meta.labels.get(TEMPLATE_HASH) == Some(hash));
        refused.is_some_and(|set| digest_of_template(&set.tree()) == Some(digests))
    }
}

fn digest_of_template(workload: &Value) -> Option<&str> {
    workload.pointer("/spec/template/metadata/annotations")?.get(CONFIG_DIGEST)?.as_str()
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let Some(workload) = Workload::at(key, world) else { return Plan::nothing() };
    let meta = workload.meta;
    let Some(watched) = Watched::of(&meta.annotations).filter(|_| !meta.deleting()) else {
        return Plan::nothing();
    };
    let mut sources = watched.named;
    if watched.template {
        sources.extend(named_by(&workload.tree));
    }
    let in_template = workload.in_template();
    let recorded = read(in_template.or(meta.annotations.get(CONFIG_DIGEST).map(String::as_str)));
    let (mut digests, mut changed) = (Digests::new(), Vec::new());
    for source in &sources {
        let (text, present) =
            (source.to_string(), workload.source(source).map(|object| digest(source, object)));
        let before = recorded.get(&text);
        if present.is_some() && present.as_ref() != before {
            changed.push(source);
        }
        if let Some(digest) = present.or_else(|| before.cloned()) {
            digests.insert(text, digest);
        }
    }
    if changed.is_empty() {
        return Plan::nothing();
    }
    let digests = write(&digests);
    let (name, revision) = (meta.key(), workload.revision);
    if in_template.is_none() && workload.pods_have(&changed) {
        let noted = json!({"metadata": {"annotations": {CONFIG_DIGEST: digests}}});
        return Plan::of(Write::patch(workload.kind, name, revision, noted));
    }
    if workload.was_refused(&digests) {
        return Plan::nothing();
    }
    let template = json!({"metadata": {"annotations": {CONFIG_DIGEST: digests}}});
    let patch = json!({"metadata": {"annotations": {CONFIG_DIGEST: null}}, "spec": {"template": template}});
    let names: Vec<String> = changed.iter().map(ToString::to_string).collect();
    let message = format!("Restarting Pods for {}", names.join(", "));
    let note = Note::normal(workload.kind, meta, "ConfigChanged", message);
    Plan::of(Write::patch(workload.kind, name, revision, patch).saying(note))
}

/// The ConfigMaps and Secrets that the variables and volumes of a workload's template name.
fn named_by(workload: &Value) -> BTreeSet<Source> {
    let mut found = BTreeSet::new();
    let mut add = |map: &str, secret: &str| {
        found.extend((!map.is_empty()).then(|| Source::ConfigMap(map.to_owned())));
        found.extend((!secret.is_empty()).then(|| Source::Secret(secret.to_owned())));
    };
    let pod = &workload["spec"]["template"]["spec"];
    for volume in items(pod, &["volumes"]) {
        add(text(volume, &["configMap", "name"]), text(volume, &["secret", "secretName"]));
        for source in items(volume, &["projected", "sources"]) {
            add(text(source, &["configMap", "name"]), text(source, &["secret", "name"]));
        }
    }
    for container in ["initContainers", "containers"].iter().flat_map(|list| items(pod, &[list])) {
        for variable in items(container, &["env"]) {
            let name = |kind: &str| text(variable, &["valueFrom", kind, "name"]);
            add(name("configMapKeyRef"), name("secretKeyRef"));
        }
        for all in items(container, &["envFrom"]) {
            add(text(all, &["configMapRef", "name"]), text(all, &["secretRef", "name"]));
        }
    }
    found
}

/// A digest of what Pods see of an object.
fn digest(source: &Source, object: &Object<Bare>) -> String {
    let tree = object.tree();
    let mut hash = Sha256::new();
    if let Source::Secret(_) = source {
        hash.update(object.meta.uid.as_bytes());
    }
    for field in ["data", "binaryData"] {
        let data = tree.get(field).filter(|data| data.as_object().is_some_and(|data| !data.is_empty()));
        hash.update(data.map(Value::to_string).unwrap_or_default());
        hash.update([0]);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// When an object was last changed; none if nobody noted it.
fn last_change(object: &Object<Bare>) -> Option<Timestamp> {
    let tree = object.tree();
    let times = items(&tree, &["metadata", "managedFields"]).iter().map(|entry| text(entry, &["time"]));
    times.filter_map(|time| Timestamp::parse(time).ok()).max()
}

fn read(noted: Option<&str>) -> Digests {
    let all = noted.unwrap_or_default().split(',').filter_map(|one| one.split_once('='));
    all.map(|(source, digest)| (source.to_owned(), digest.to_owned())).collect()
}

fn write(digests: &Digests) -> String {
    digests.iter().map(|(source, digest)| format!("{source}={digest}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;

    const EARLY: &str = "2026-01-01T00:00:00Z";
    const LATER: &str = "2026-01-01T00:05:00Z";
    const NOW: &str = "2026-01-01T01:00:00Z";

    fn config(name: &str, value: &str, changed: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": value},
            "metadata": {"name": name, "namespace": "n", "managedFields": [{"time": changed}]}})
    }

    fn secret(name: &str, value: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": value},
            "metadata": {"name": name, "namespace": "n", "uid": format!("uid of {name}")}})
    }

    fn set(watched: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "web", "namespace": "n", "uid": "w", "annotations": {RESTART_ON_CHANGE: watched}},
        "spec": {"template": {"metadata": {}, "spec": {
            "volumes": [{"configMap": {"name": "c"}}, {"projected": {"sources": [{"secret": {"name": "s"}}]}}],
            "containers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "e"}}}]}],
        }}}})
    }

    fn pod(made: &str, node: Option<&str>) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": node}, "metadata": {"name": "web-0",
            "namespace": "n", "creationTimestamp": made, "ownerReferences":
            [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "w", "controller": true}]}})
    }

    struct Story(Ledger);

    impl Story {
        fn of(objects: &[Value]) -> Story {
            Story(Ledger::with(Timestamp::parse(NOW).unwrap(), objects))
        }

        /// What is done about the set, and what is told.
        fn act(&self) -> Option<&'static str> {
            let plan = reconcile(&Name::new("n", "statefulsets/web"), &self.0.world());
            self.0.carry_out(&plan);
            let write = plan.writes().next()?;
            let Act::Patch(patch) = &write.act else { panic!("{write:?}") };
            Some(if patch["spec"].is_null() { "noted" } else { "restarted" })
        }

        fn sources(&self) -> Vec<String> {
            let set = self.0.get(STATEFUL_SET, "n", "web").unwrap();
            let noted = set["metadata"]["annotations"][CONFIG_DIGEST].as_str();
            read(digest_of_template(&set).or(noted)).into_keys().collect()
        }
    }

    #[test]
    fn what_pods_have_when_it_is_asked_for_is_noted_and_what_they_may_lack_restarts_them() {
        let unsigned = {
            let mut map = config("c", "1", EARLY);
            map["metadata"].as_object_mut().unwrap().remove("managedFields");
            map
        };
        let cases = [
            ("there are no Pods yet", vec![config("c", "1", LATER)], "noted"),
            ("a Pod has no node yet", vec![config("c", "1", LATER), pod(EARLY, None)], "noted"),
            ("Pods are younger", vec![config("c", "1", EARLY), pod(LATER, Some("a"))], "noted"),
            ("Pods are older", vec![config("c", "1", LATER), pod(EARLY, Some("a"))], "restarted"),
            ("Pods are as old", vec![config("c", "1", EARLY), pod(EARLY, Some("a"))], "restarted"),
            ("nobody knows", vec![unsigned, pod(LATER, Some("a"))], "restarted"),
        ];
        for (name, mut objects, expected) in cases {
            objects.push(set("configmap/c"));
            let story = Story::of(&objects);
            assert_eq!(story.act(), Some(expected), "{name}");
            assert_eq!(story.act(), None, "{name}: once");
        }
    }

    #[test]
    fn a_change_restarts_once_and_what_is_no_change_does_not() {
        let story = Story::of(&[config("c", "1", EARLY), pod(LATER, Some("a")), set("configmap/c")]);
        assert_eq!(story.act(), Some("noted"));
        story.0.edit(&kinds::config_map::KIND, "n", "c", |map| map["metadata"]["labels"] = json!({"a": "b"}));
        assert_eq!(story.act(), None);
        story.0.put(config("c", "2", NOW));
        assert_eq!(story.act(), Some("restarted"));
        assert_eq!(story.act(), None);
        let set = story.0.get(STATEFUL_SET, "n", "web").unwrap();
        assert_eq!(set["metadata"]["annotations"].get(CONFIG_DIGEST), None, "it is in the template now");
        story.0.put(config("c", "3", NOW));
        assert_eq!(story.act(), Some("restarted"));
    }

    #[test]
    fn all_is_what_variables_and_volumes_name() {
        let objects =
            [config("c", "1", EARLY), config("e", "1", EARLY), config("x", "1", EARLY), secret("s", "MQ==")];
        let story = Story::of(&[&objects[..], &[set("all")]].concat());
        story.act();
        assert_eq!(story.sources(), ["configmap/c", "configmap/e", "secret/s"]);
        let story = Story::of(&[&objects[..], &[set("all,configmap/x")]].concat());
        story.act();
        assert_eq!(story.sources(), ["configmap/c", "configmap/e", "configmap/x", "secret/s"]);
    }

    #[test]
    fn a_missing_object_is_passed_over_and_counts_when_it_comes() {
        let running = pod(LATER, Some("a"));
        let story = Story::of(&[config("c", "1", EARLY), running, set("configmap/c,configmap/late")]);
        assert_eq!((story.act(), story.sources()), (Some("noted"), vec!["configmap/c".to_owned()]));
        story.0.put(config("late", "1", NOW));
        assert_eq!(story.act(), Some("restarted"));
        assert_eq!(story.sources(), ["configmap/c", "configmap/late"]);
        story.0.remove(&kinds::config_map::KIND, "n", "c");
        assert_eq!(story.act(), None, "Pods outlive it");
        story.0.put(config("c", "1", NOW));
        assert_eq!(story.act(), None, "it is what it was");
    }

    #[test]
    fn the_digest_of_a_secret_does_not_tell_what_is_in_it() {
        let digest_of = |secret: Value| {
            let story = Story::of(&[secret, set("secret/s")]);
            story.act();
            story.0.get(STATEFUL_SET, "n", "web").unwrap()["metadata"]["annotations"][CONFIG_DIGEST].clone()
        };
        let first = secret("s", "MQ==");
        let mut other = first.clone();
        other["metadata"]["uid"] = json!("another");
        assert_ne!(digest_of(first.clone()), digest_of(other));
        assert_eq!(digest_of(first.clone()), digest_of(first));
    }

    #[test]
    fn changes_wake_the_workloads_that_ask() {
        let world = Ledger::with(Timestamp::parse(NOW).unwrap(), &[set("all")]).world();
        let woken = |kind: &'static Kind, detail: Detail| {
            let key = Name::new("n", "c");
            let delta = Delta { kind, key, before: None, after: None, detail };
            let mut all = Vec::new();
            wakes(&delta, &world, &mut |key| all.push(key.to_string()));
            all
        };
        assert_eq!(woken(&kinds::config_map::KIND, Detail::ConfigMap((None, None))), ["n/statefulsets/web"]);
        assert_eq!(woken(&kinds::secret::KIND, Detail::Secret((None, None))), ["n/statefulsets/web"]);
        assert_eq!(woken(&kinds::pod::KIND, Detail::Pod((None, None))), [""; 0]);
    }

    #[test]
    fn a_refused_template_is_not_made_again_for_the_same_objects() {
        let mut web = set("configmap/c");
        web["kind"] = json!("Deployment");
        let story = Story::of(&[config("c", "2", LATER), web]);
        let key = Name::new("n", "deployments/web");
        let Plan { stages, .. } = reconcile(&key, &story.0.world());
        let Act::Patch(noted) = &stages[0][0].act else { panic!("{stages:?}") };
        let digests = noted["metadata"]["annotations"][CONFIG_DIGEST].clone();
        let owned = |kind: &str, name: &str, of: &str, by: &str, uid: &str| {
            json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "n", "uid": uid,
                "creationTimestamp": EARLY, "labels": {TEMPLATE_HASH: "bad"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": of, "name": "web", "uid": by, "controller": true}]}})
        };
        let mut refused = owned("ReplicaSet", "web-bad", "Deployment", "w", "r");
        refused["spec"]["template"]["metadata"]["annotations"] = json!({CONFIG_DIGEST: digests});
        let mut running = owned("Pod", "web-1", "ReplicaSet", "r", "p");
        running["apiVersion"] = json!("v1");
        running["spec"]["nodeName"] = json!("a");
        story.0.put(refused);
        story.0.put(running);
        story.0.edit(DEPLOYMENT, "n", "web", |web| {
            web["metadata"]["annotations"][REFUSED_TEMPLATE] = json!("bad");
        });
        assert_eq!(reconcile(&key, &story.0.world()), Plan::nothing());
        story.0.put(config("c", "3", NOW));
        assert_eq!(reconcile(&key, &story.0.world()).writes().count(), 1, "another change is another chance");
    }
}

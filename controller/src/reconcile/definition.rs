//! Definitions of custom resources: their names are accepted or refused, then they are established; on their way out
//! the objects of their kind go first.
//!
//! Whoever came first has a name. What a definition says of objects is not looked at here.

use std::collections::BTreeSet;

use edge_api::kind::Kind;
use edge_api::kinds::KINDS;
use edge_api::kinds::custom_resource_definition::{self, CLEANUP, Definition, Names};
use serde_json::{Value, json};

use crate::mirror::{Condition, Delta, Detail, Entry, Name, Object, World};
use crate::reconcile::Controller;
use crate::reconcile::condition;
use crate::reconcile::plan::{Plan, Write};

const KIND: &Kind = &custom_resource_definition::KIND;
/// How many objects one plan deletes.
const BATCH: usize = 500;

/// The table's entry.
pub const CONTROLLER: Controller =
    Controller { name: "customresourcedefinition-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    if let Detail::Definition((before, after)) = &delta.detail {
        wake(delta.key.clone());
        let named = |object: &Option<std::sync::Arc<Object<Definition>>>| {
            object
                .as_ref()
                .map(|object| (object.body.spec.names.clone(), object.body.status.accepted_names.clone()))
        };
        // Names that become free or taken concern the others of the group.
        if named(before) != named(after) {
            let group = before.iter().chain(after).map(|object| &object.body.spec.group).next();
            let others = world.definitions.all().filter(|other| Some(&other.body.spec.group) == group);
            others.for_each(|other| wake(other.key()));
        }
        return;
    }
    if delta.kind.custom.is_some() {
        let definition = Name::new("", &format!("{}.{}", delta.kind.plural, delta.kind.group));
        if world.definitions.at(&definition).is_some_and(|definition| definition.meta.deleting()) {
            wake(definition);
        }
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let Some(definition) = world.definitions.at(key) else { return Plan::nothing() };
    if definition.meta.deleting() {
        return if definition.meta.has_finalizer(CLEANUP) {
            clean_up(definition, world)
        } else {
            Plan::nothing()
        };
    }
    accept(definition, world)
}

/// Deletes the objects, then lets the definition go.
fn clean_up(definition: &Object<Definition>, world: &World) -> Plan {
    let spec = &definition.body.spec;
    let objects: Vec<&Entry> = world.graph.of_custom(&spec.group, &spec.names.plural);
    let mut plan = Plan::nothing();
    if objects.is_empty() {
        let rest: Vec<&String> = definition.meta.finalizers.iter().filter(|f| *f != CLEANUP).collect();
        let patch = json!({"metadata": {"uid": &*definition.meta.uid, "finalizers": rest}});
        plan.then(Write::patch(KIND, definition.key(), definition.revision, patch));
        return plan;
    }
    let mut tree = definition.tree();
    let mut conditions = conditions_of(&tree);
    let message = "CustomResource deletion is in progress".to_owned();
    let before = conditions.clone();
    condition::set(&mut conditions, "Terminating", "True", "InstanceDeletionInProgress", message, world.now);
    if conditions != before {
        tree["status"]["conditions"] = condition::to_json(&conditions, false);
        plan.then(Write::status(KIND, definition.key(), definition.revision, tree));
    }
    let doomed = objects.into_iter().filter(|entry| !entry.meta.deleting()).take(BATCH);
    plan.together(doomed.map(|entry| Write::delete(entry.kind, &entry.meta)).collect());
    plan
}

/// The names that others of the group have, or had wished for before.
struct Taken {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

impl Taken {
    fn of(definition: &Object<Definition>, world: &World) -> Taken {
        let group = &definition.body.spec.group;
        let mut taken = Taken { resources: BTreeSet::new(), kinds: BTreeSet::new() };
        for kind in KINDS.iter().filter(|kind| kind.group == *group) {
            taken.resources.extend([kind.plural.to_owned(), kind.singular.to_owned()]);
            taken.kinds.insert(kind.kind.to_owned());
        }
        let age = |object: &Object<Definition>| (object.meta.creation_timestamp, object.meta.name.clone());
        let others = world.definitions.all().filter(|other| other.body.spec.group == *group);
        for other in others.filter(|other| other.meta.name != definition.meta.name) {
            let accepted = &other.body.status.accepted_names;
            taken.add(accepted);
            if accepted.plural.is_empty() && age(other) < age(definition) {
                taken.add(&other.body.spec.names);
            }
        }
        taken
    }

    fn add(&mut self, names: &Names) {
        self.resources.extend([names.plural.clone(), names.singular.clone()]);
        self.resources.extend(names.short_names.iter().cloned());
        self.kinds.extend([names.kind.clone(), names.list_kind.clone()]);
    }
}

/// What of the wished names can be had, and the last reason why not all can, as Kubernetes tells.
fn names(definition: &Definition, taken: &Taken) -> (Names, Option<(&'static str, String)>) {
    let (wished, mut names) = (&definition.spec.names, definition.status.accepted_names.clone());
    let mut refused = None;
    let mut refuse = |reason: &'static str, name: &str| {
        refused = Some((reason, format!("{name:?} is already in use")));
    };
    if taken.resources.contains(&wished.plural) {
        refuse("PluralConflict", &wished.plural);
    } else {
        names.plural.clone_from(&wished.plural);
    }
    if taken.resources.contains(&wished.singular) {
        refuse("SingularConflict", &wished.singular);
    } else {
        names.singular.clone_from(&wished.singular);
    }
    let (bad, good): (Vec<&String>, Vec<&String>) =
        wished.short_names.iter().partition(|name| taken.resources.contains(*name));
    match bad.first() {
        Some(name) => refuse("ShortNamesConflict", name),
        None => names.short_names = good.into_iter().cloned().collect(),
    }
    if taken.kinds.contains(&wished.kind) {
        refuse("KindConflict", &wished.kind);
    } else {
        names.kind.clone_from(&wished.kind);
    }
    if taken.kinds.contains(&wished.list_kind) {
        refuse("ListKindConflict", &wished.list_kind);
    } else {
        names.list_kind.clone_from(&wished.list_kind);
    }
    names.categories.clone_from(&wished.categories);
    (names, refused)
}

fn conditions_of(tree: &Value) -> Vec<Condition> {
    serde_json::from_value(tree["status"]["conditions"].clone()).unwrap_or_default()
}

fn accept(definition: &Object<Definition>, world: &World) -> Plan {
    let (accepted, refused) = names(&definition.body, &Taken::of(definition, world));
    let mut tree = definition.tree();
    let mut conditions = conditions_of(&tree);
    let before = (conditions.clone(), definition.body.status.accepted_names.clone());
    let mut set = |kind: &str, status: &str, reason: &str, message: &str| {
        condition::set(&mut conditions, kind, status, reason, message.to_owned(), world.now);
    };
    match &refused {
        None => {
            set("NamesAccepted", "True", "NoConflicts", "no conflicts found");
            set("Established", "True", "InitialNamesAccepted", "the initial names have been accepted");
        }
        Some((reason, message)) => {
            set("NamesAccepted", "False", reason, message);
            let established = condition::find(&before.0, "Established").is_some_and(|c| c.status == "True");
            if !established {
                set("Established", "False", "NotAccepted", "not all names are accepted");
            }
        }
    }
    if before == (conditions.clone(), accepted.clone()) {
        return Plan::nothing();
    }
    tree["status"]["acceptedNames"] = json!(accepted);
    tree["status"]["conditions"] = condition::to_json(&conditions, false);
    Plan::of(Write::status(KIND, definition.key(), definition.revision, tree))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use edge_api::time::Timestamp;

    use super::*;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;

    fn definition(plural: &str, kind: &str, short: &[&str], second: u32) -> Value {
        let mut definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.example.com"), "uid": plural,
                "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
            "spec": {"group": "example.com", "scope": "Namespaced",
                "names": {"plural": plural, "kind": kind, "shortNames": short},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
            "status": {"storedVersions": ["v1"]},
        });
        KIND.default(&mut definition);
        definition
    }

    fn status(name: &str, objects: &[Value]) -> Value {
        let world = Ledger::with(Timestamp::from_seconds(0), objects).world();
        let plan = reconcile(&Name::new("", &format!("{name}.example.com")), &world);
        let status = plan.writes().find_map(|write| match &write.act {
            Act::Status(object) => Some(object["status"].clone()),
            _ => None,
        });
        status.unwrap_or_default()
    }

    fn condition<'a>(status: &'a Value, kind: &str) -> (&'a str, &'a str, &'a str) {
        let all = status["conditions"].as_array().unwrap();
        let found = all.iter().find(|condition| condition["type"] == kind).unwrap();
        let text = |field: &str| found[field].as_str().unwrap();
        (text("status"), text("reason"), text("message"))
    }

    #[test]
    fn names_that_nobody_has_are_accepted() {
        let widgets = definition("widgets", "Widget", &["wd"], 1);
        let status = status("widgets", std::slice::from_ref(&widgets));
        assert_eq!(condition(&status, "NamesAccepted"), ("True", "NoConflicts", "no conflicts found"));
        let established = ("True", "InitialNamesAccepted", "the initial names have been accepted");
        assert_eq!(condition(&status, "Established"), established);
        assert_eq!(status["acceptedNames"]["listKind"], "WidgetList");
        assert_eq!(status["storedVersions"], json!(["v1"]));
        let mut done = widgets;
        done["status"] = status;
        assert_eq!(self::status("widgets", &[done]), Value::Null, "nothing is left to do");
    }

    #[test]
    fn who_came_first_has_the_name() {
        let first = definition("widgets", "Widget", &["wd"], 1);
        let second = definition("gadgets", "Widget", &["wd"], 2);
        let refused = status("gadgets", &[first.clone(), second.clone()]);
        assert_eq!(
            condition(&refused, "NamesAccepted"),
            ("False", "ListKindConflict", "\"WidgetList\" is already in use")
        );
        assert_eq!(
            condition(&refused, "Established"),
            ("False", "NotAccepted", "not all names are accepted")
        );
        assert_eq!(refused["acceptedNames"]["plural"], "gadgets");
        assert_eq!(refused["acceptedNames"].get("kind"), None);
        assert_eq!(condition(&status("widgets", &[first, second]), "NamesAccepted").0, "True");
    }

    #[test]
    fn objects_go_before_their_definition() {
        let mut widgets = definition("widgets", "Widget", &[], 1);
        widgets["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
        widgets["metadata"]["finalizers"] = json!([CLEANUP]);
        let ledger = Ledger::with(Timestamp::from_seconds(0), &[widgets]);
        let key = Name::new("", "widgets.example.com");
        let mut world = ledger.world();
        let object = json!({"apiVersion": "example.com/v1", "kind": "Widget",
            "metadata": {"name": "w", "namespace": "default", "uid": "w"}});
        let bytes = bytes::Bytes::from(object.to_string());
        let delta = world.apply("/example.com/widgets/default/w", 9, Some(&bytes)).unwrap();
        let mut woken = Vec::new();
        wakes(&delta, &world, &mut |name| woken.push(name));
        assert_eq!(woken, std::slice::from_ref(&key));
        let plan = reconcile(&key, &world);
        let deleted: Vec<&Write> =
            plan.writes().filter(|write| matches!(write.act, Act::Delete { .. })).collect();
        assert_eq!((deleted.len(), deleted[0].kind.kind, &*deleted[0].key.name), (1, "Widget", "w"));
        world.apply("/example.com/widgets/default/w", 10, None);
        let last = reconcile(&key, &world);
        let Act::Patch(patch) = &last.writes().next().unwrap().act else { panic!("{last:#?}") };
        assert_eq!(patch["metadata"]["finalizers"], json!([]));
    }

    #[test]
    fn a_definition_that_was_never_served_takes_nobody_elses_objects_with_it() {
        let mut leases = definition("leases", "Lease", &[], 1);
        leases["metadata"]["name"] = json!("leases.coordination.k8s.io");
        leases["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
        leases["metadata"]["finalizers"] = json!([CLEANUP]);
        leases["spec"]["group"] = json!("coordination.k8s.io");
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "l", "namespace": "default", "uid": "l"}});
        let world = Ledger::with(Timestamp::from_seconds(0), &[leases, lease]).world();
        let plan = reconcile(&Name::new("", "leases.coordination.k8s.io"), &world);
        let Act::Patch(patch) = &plan.writes().next().unwrap().act else { panic!("{plan:#?}") };
        assert_eq!((&patch["metadata"]["finalizers"], plan.writes().count()), (&json!([]), 1));
    }
}

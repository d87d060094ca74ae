//! Server-side apply: every field has owners, and an applied configuration changes only its own.
//!
//! Two pure functions. [`apply`] lays a configuration over the live object, removes what the
//! manager applied before and no longer does, and refuses to change what others own unless it is
//! forced. [`record`] notes who changed what in every other write. Both keep
//! `metadata.managedFields`. One version of each kind is assumed: fields are not converted.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::custom::Structural;
use crate::patch::field_set::FieldSet;
use crate::patch::granular::{
    Changes, Form, check_keys, compare, fields_of, merge, remove, with_named_fields,
};
use crate::schema::definition;

/// Managers that updated are merged into one beyond this many, the oldest first.
const MOST_UPDATERS: usize = 10;
/// The one they are merged into.
const ANCIENT: &str = "ancient-changes";
/// Who owned an object's fields before anybody applied or was recorded.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Metadata that belongs to the system, not to a manager.
const SYSTEM_METADATA: &[&str] = &[
    "f:name",
    "f:namespace",
    "f:creationTimestamp",
    "f:selfLink",
    "f:uid",
    "f:clusterName",
    "f:generation",
    "f:managedFields",
    "f:resourceVersion",
];

/// Who writes, what and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The field manager's name.
    pub manager: &'a str,
    /// The subresource written to, or the empty string.
    pub subresource: &'a str,
    /// The version the object is written in, e.g. `apps/v1`.
    pub api_version: &'a str,
    /// Now, in RFC 3339.
    pub now: &'a str,
    /// Fields of the object that this endpoint does not write, e.g. `status`.
    pub ignored: &'a [&'a str],
}

/// A field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The owner as Kubernetes prints it, e.g. `"kubectl-edit" using apps/v1 at 2026-…`.
    pub manager: String,
    /// The field, e.g. `.spec.replicas`.
    pub field: String,
}

/// What is known of the type of an object.
#[derive(Clone, Copy, Debug)]
pub enum Schema<'a> {
    /// A definition of the table, by its name.
    Named(&'a str),
    /// The schema of a custom resource.
    Custom(&'a Structural),
}

impl<'a> From<&'a str> for Schema<'a> {
    fn from(name: &'a str) -> Schema<'a> {
        Schema::Named(name)
    }
}

/// Why a configuration is not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Others own fields that would change: a reply 409 with a cause for each.
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// The configuration says who owns what, which is not its to say.
    #[error("metadata.managedFields must be nil")]
    ManagedFields,
    /// Items of a list cannot be told apart.
    #[error("{path}: {reason}")]
    Ambiguous {
        /// The list.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// No definition of this name.
    #[error("there is no schema {0:?}")]
    UnknownSchema(String),
    /// The configuration is not an object.
    #[error("an applied configuration is an object")]
    NotAnObject,
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [conflict] = conflicts {
        return format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            conflict.manager, conflict.field
        );
    }
    let mut by_manager: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for conflict in conflicts {
        by_manager.entry(&conflict.manager).or_default().push(&conflict.field);
    }
    let list = |(manager, fields): (&&str, &Vec<&str>)| {
        let fields: String = fields.iter().map(|field| format!("\n- {field}")).collect();
        format!("conflicts with {manager}:{fields}")
    };
    let messages: Vec<String> = by_manager.iter().map(list).collect();
    format!("Apply failed with {} conflicts: {}", conflicts.len(), messages.join("\n"))
}

/// The live object (`None`: there is none yet) after `config` was applied to it, with its
/// `managedFields`. Defaults are for the caller to fill in afterwards; nobody owns them.
pub fn apply<'s>(
    live: Option<&Value>,
    config: &Value,
    schema: impl Into<Schema<'s>>,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    let form = form_of(schema.into())?;
    if config.pointer("/metadata/managedFields").is_some_and(|given| !given.is_null()) {
        return Err(ApplyError::ManagedFields);
    }
    let config = configuration(config, writer)?;
    check_keys(&config, form).map_err(|fault| {
        let mut set = FieldSet::default();
        let path: Vec<String> = fault.path.into_iter().rev().collect();
        set.insert(&path, FieldSet::leaf());
        ApplyError::Ambiguous { path: set.paths().concat(), reason: fault.reason }
    })?;
    let mut managers = live.map(|live| Managers::before(live, form, writer)).unwrap_or_default();
    let me = Identity::applier(writer);
    let mut set = fields_of(&config, form);
    strip(&mut set, writer);
    let merged = live.map_or_else(|| config.clone(), |live| merge(live, &config, form));
    let last = managers.0.insert(me.clone(), Owned { set: set.clone(), time: Some(writer.now.to_owned()) });
    let mut object = match &last {
        // What is emptied by the removal may be wanted empty, hence the second merge.
        Some(last) => merge(&prune(&merged, form, &last.set, &managers), &config, form),
        None => merged,
    };
    if let Some(last) = last.filter(|last| last.set == set) {
        managers.0.insert(me.clone(), last);
    }
    managers.settle(&changes(live, &object, form, writer), &me, force)?;
    managers.write(&mut object);
    Ok(object)
}

/// Notes in `new` what this write changed and who did it. Not for apply. A client may write
/// `managedFields` itself; an empty list, or one empty entry, forgets all owners.
pub fn record<'s>(
    old: Option<&Value>,
    new: &mut Value,
    schema: impl Into<Schema<'s>>,
    writer: &Writer<'_>,
) -> Result<(), ApplyError> {
    let form = form_of(schema.into())?;
    let given = new.pointer("/metadata/managedFields").and_then(Value::as_array);
    if old.is_some() && given.is_some_and(|entries| entries.is_empty() || *entries == [json!({})]) {
        Managers::default().write(new);
        return Ok(());
    }
    let given = Managers::read(new).filter(|_| writer.subresource.is_empty());
    let mut managers = given.or_else(|| old.and_then(Managers::read)).unwrap_or_default();
    let me = Identity::updater(writer);
    let changes = changes(old, new, form, writer);
    // Updates take fields over without asking.
    managers.settle(&changes, &me, true).expect("what is forced does not conflict");
    let before = managers.0.get(&me).cloned();
    let mut set = before.as_ref().map(|owned| owned.set.without(&changes.removed)).unwrap_or_default();
    set.add(changes.set);
    let time = match before {
        Some(before) if before.set == set => before.time,
        _ => Some(writer.now.to_owned()),
    };
    managers.0.insert(me, Owned { set, time });
    managers.cap();
    managers.write(new);
    Ok(())
}

fn form_of(schema: Schema<'_>) -> Result<Form<'_>, ApplyError> {
    match schema {
        Schema::Custom(schema) => Ok(Form::Custom(schema)),
        Schema::Named(name) => definition(name)
            .map(Form::of_definition)
            .ok_or_else(|| ApplyError::UnknownSchema(name.to_owned())),
    }
}

/// The configuration without nulls and without what this endpoint does not write.
fn configuration(config: &Value, writer: &Writer<'_>) -> Result<Value, ApplyError> {
    let mut config = config.clone();
    let fields = config.as_object_mut().ok_or(ApplyError::NotAnObject)?;
    fields.retain(|name, _| !writer.ignored.contains(&name.as_str()));
    drop_nulls(fields);
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in ["creationTimestamp", "generation", "resourceVersion", "selfLink", "uid"] {
            metadata.remove(name);
        }
    }
    Ok(config)
}

fn drop_nulls(fields: &mut Map<String, Value>) {
    fields.retain(|_, value| !value.is_null());
    for value in fields.values_mut() {
        match value {
            Value::Object(fields) => drop_nulls(fields),
            Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).for_each(drop_nulls),
            _ => {}
        }
    }
}

/// What a write changes of what can be owned.
fn changes(old: Option<&Value>, new: &Value, form: Form<'_>, writer: &Writer<'_>) -> Changes {
    let mut changes = compare(old, Some(new), form);
    strip(&mut changes.set, writer);
    strip(&mut changes.removed, writer);
    changes
}

/// Takes out what nobody owns.
fn strip(set: &mut FieldSet, writer: &Writer<'_>) {
    set.member = false;
    for name in ["f:apiVersion", "f:kind"] {
        set.children.remove(name);
    }
    for name in writer.ignored {
        set.children.remove(&format!("f:{name}"));
    }
    if let Some(metadata) = set.children.get_mut("f:metadata") {
        metadata.member = false;
        metadata.children.retain(|name, _| !SYSTEM_METADATA.contains(&name.as_str()));
        if metadata.children.is_empty() {
            set.children.remove("f:metadata");
        }
    }
}

/// Removes what the manager applied last time, and nobody applies or owns now.
fn prune(merged: &Value, form: Form<'_>, last: &FieldSet, managers: &Managers) -> Value {
    let mut owned = FieldSet::default();
    for other in managers.0.values() {
        owned.add(with_named_fields(&other.set, form));
    }
    let mut gone = with_named_fields(last, form).without(&owned);
    // Metadata as a whole always stays: it has the object's name.
    if let Some(metadata) = gone.children.get_mut("f:metadata") {
        metadata.member = false;
    }
    remove(merged, form, &gone).unwrap_or_else(|| merged.clone())
}

/// What tells managers apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    /// `Apply` sorts before `Update`.
    operation: String,
    manager: String,
    subresource: String,
    api_version: String,
}

impl Identity {
    fn applier(writer: &Writer<'_>) -> Identity {
        Identity { operation: "Apply".to_owned(), ..Identity::updater(writer) }
    }

    fn updater(writer: &Writer<'_>) -> Identity {
        Identity {
            operation: "Update".to_owned(),
            manager: writer.manager.to_owned(),
            subresource: writer.subresource.to_owned(),
            api_version: writer.api_version.to_owned(),
        }
    }

    fn printed(&self, time: Option<&str>) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == "Update" {
            text.push_str(&format!(" using {}", self.api_version));
            if let Some(time) = time {
                text.push_str(&format!(" at {time}"));
            }
        }
        text
    }
}

#[derive(Clone, Debug)]
struct Owned {
    set: FieldSet,
    time: Option<String>,
}

#[derive(Default)]
struct Managers(BTreeMap<Identity, Owned>);

impl Managers {
    /// The owners of a live object's fields; if none were noted, one for all that there is.
    fn before(live: &Value, form: Form<'_>, writer: &Writer<'_>) -> Managers {
        if let Some(managers) = Managers::read(live) {
            return managers;
        }
        let mut set = fields_of(live, form);
        strip(&mut set, writer);
        let identity = Identity {
            operation: "Update".to_owned(),
            manager: BEFORE_FIRST_APPLY.to_owned(),
            subresource: String::new(),
            api_version: writer.api_version.to_owned(),
        };
        Managers([(identity, Owned { set, time: Some(writer.now.to_owned()) })].into())
    }

    fn read(object: &Value) -> Option<Managers> {
        let entries =
            object.pointer("/metadata/managedFields")?.as_array().filter(|entries| !entries.is_empty())?;
        let mut managers = Managers::default();
        for entry in entries {
            let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let identity = Identity {
                operation: text("operation"),
                manager: text("manager"),
                subresource: text("subresource"),
                api_version: text("apiVersion"),
            };
            let set = entry.get("fieldsV1").map(FieldSet::from_json).unwrap_or_default();
            let time = entry.get("time").and_then(Value::as_str).map(str::to_owned);
            let owned =
                managers.0.entry(identity).or_insert_with(|| Owned { set: FieldSet::default(), time: None });
            owned.set.add(set);
            owned.time = owned.time.take().max(time);
        }
        Some(managers)
    }

    /// Takes from the others what the writer changes and what is gone, or says why it must not.
    fn settle(&mut self, changes: &Changes, me: &Identity, force: bool) -> Result<(), ApplyError> {
        let mut conflicts = Vec::new();
        for (identity, owned) in &mut self.0 {
            if identity == me {
                continue;
            }
            let taken = owned.set.intersection(&changes.set);
            if !force {
                let manager = identity.printed(owned.time.as_deref());
                let conflict = |field| Conflict { manager: manager.clone(), field };
                conflicts.extend(taken.paths().into_iter().map(conflict));
            }
            owned.set = owned.set.without(&taken).without_subtrees(&changes.removed);
        }
        if conflicts.is_empty() { Ok(()) } else { Err(ApplyError::Conflicts(conflicts)) }
    }

    /// Merges the oldest updaters into one when there are many.
    fn cap(&mut self) {
        let mut updaters: Vec<(Option<String>, Identity)> = self
            .0
            .iter()
            .filter(|(identity, owned)| identity.operation == "Update" && !owned.set.is_empty())
            .map(|(identity, owned)| (owned.time.clone(), identity.clone()))
            .collect();
        if updaters.len() <= MOST_UPDATERS {
            return;
        }
        updaters.sort();
        let surplus = updaters.len() - MOST_UPDATERS + 1;
        for (_, identity) in updaters.into_iter().take(surplus) {
            let Some(owned) = self.0.remove(&identity) else { continue };
            let ancient = Identity { manager: ANCIENT.to_owned(), subresource: String::new(), ..identity };
            let bucket =
                self.0.entry(ancient).or_insert_with(|| Owned { set: FieldSet::default(), time: None });
            bucket.set.add(owned.set);
            bucket.time = bucket.time.take().max(owned.time);
        }
    }

    fn write(self, object: &mut Value) {
        let mut entries: Vec<_> = self.0.into_iter().filter(|(_, owned)| !owned.set.is_empty()).collect();
        entries.sort_by(|a, b| (&a.0.operation, &a.1.time, &a.0).cmp(&(&b.0.operation, &b.1.time, &b.0)));
        let entries: Vec<Value> =
            entries.into_iter().map(|(identity, owned)| entry(identity, &owned)).collect();
        let Some(fields) = object.as_object_mut() else { return };
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            if entries.is_empty() {
                metadata.remove("managedFields");
            } else {
                metadata.insert("managedFields".to_owned(), entries.into());
            }
        }
    }
}

fn entry(identity: Identity, owned: &Owned) -> Value {
    let mut entry = json!({
        "manager": identity.manager,
        "operation": identity.operation,
        "apiVersion": identity.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned.set.to_json(),
    });
    if let Some(time) = &owned.time {
        entry["time"] = time.as_str().into();
    }
    if !identity.subresource.is_empty() {
        entry["subresource"] = identity.subresource.into();
    }
    entry
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::schema::{Definition, ListType, Node, Shape};

    const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";

    fn by<'a>(manager: &'a str, now: &'a str) -> Writer<'a> {
        Writer { manager, subresource: "", api_version: "apps/v1", now, ignored: &["status"] }
    }

    fn config(spec: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec})
    }

    fn containers(items: Value) -> Value {
        config(json!({"template": {"spec": {"containers": items}}}))
    }

    #[track_caller]
    fn applied(live: Option<&Value>, config: &Value, manager: &str) -> Value {
        apply(live, config, DEPLOYMENT, &by(manager, "T1"), false).unwrap()
    }

    #[track_caller]
    fn recorded(old: Option<&Value>, mut new: Value, manager: &str) -> Value {
        record(old, &mut new, DEPLOYMENT, &by(manager, "T1")).unwrap();
        new
    }

    fn bare(object: &Value) -> Value {
        let mut object = object.clone();
        object["metadata"].as_object_mut().unwrap().remove("managedFields");
        object
    }

    fn owner<'a>(object: &'a Value, manager: &str) -> Option<&'a Value> {
        let entries = object["metadata"]["managedFields"].as_array()?;
        entries.iter().find(|entry| entry["manager"] == manager).map(|entry| &entry["fieldsV1"])
    }

    #[test]
    fn applying_creates_and_notes_the_owner() {
        let object = applied(
            None,
            &config(json!({"replicas": 2, "paused": null, "selector": {"matchLabels": {"a": "b"}}})),
            "me",
        );
        assert_eq!(
            object["metadata"]["managedFields"],
            json!([{
                "manager": "me", "operation": "Apply", "apiVersion": "apps/v1", "time": "T1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:replicas": {}, "f:selector": {}}},
            }]),
        );
        assert_eq!(bare(&object), config(json!({"replicas": 2, "selector": {"matchLabels": {"a": "b"}}})));
    }

    #[test]
    fn what_is_no_longer_applied_is_removed() {
        let first = applied(
            None,
            &config(json!({"replicas": 2, "paused": true, "strategy": {"type": "Recreate"}})),
            "me",
        );
        let mut live = first.clone();
        live["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": 1});
        live["spec"]["minReadySeconds"] = json!(3);
        let second = applied(Some(&live), &config(json!({"replicas": 2})), "me");
        assert_eq!(bare(&second), config(json!({"replicas": 2, "minReadySeconds": 3})));
        assert_eq!(owner(&second, "me"), Some(&json!({"f:spec": {"f:replicas": {}}})));
        let nothing = applied(Some(&second), &json!({"metadata": {"name": "d"}}), "me");
        assert_eq!(nothing["metadata"], json!({"name": "d"}));
        // A struct in which nobody owns anything any more goes with all that is in it.
        assert_eq!(nothing.get("spec"), None);
    }

    #[test]
    fn shared_fields_stay_as_long_as_somebody_applies_them() {
        let one = applied(None, &config(json!({"replicas": 2, "paused": true})), "one");
        let both = applied(Some(&one), &config(json!({"replicas": 2})), "two");
        let left = applied(Some(&both), &config(json!({"paused": true})), "one");
        assert_eq!(left["spec"], json!({"replicas": 2, "paused": true}));
        let gone = applied(Some(&left), &json!({"metadata": {"name": "d"}}), "two");
        assert_eq!(gone["spec"], json!({"paused": true}));
    }

    #[test]
    fn conflicts_are_named_and_force_wins() {
        let one = applied(None, &config(json!({"replicas": 2, "paused": true})), "one");
        let mut scaled = one.clone();
        scaled["spec"]["minReadySeconds"] = json!(5);
        record(Some(&one), &mut scaled, DEPLOYMENT, &by("two", "2026-11-22T23:00:00Z")).unwrap();
        let refuse = |spec: Value| {
            apply(Some(&scaled), &config(spec), DEPLOYMENT, &by("three", "T3"), false).unwrap_err()
        };
        assert_eq!(
            refuse(json!({"replicas": 3})).to_string(),
            r#"Apply failed with 1 conflict: conflict with "one": .spec.replicas"#
        );
        assert_eq!(
            refuse(json!({"replicas": 3, "paused": false, "minReadySeconds": 6})).to_string(),
            "Apply failed with 3 conflicts: conflicts with \"one\":\n- .spec.paused\n- .spec.replicas\n\
             conflicts with \"two\" using apps/v1 at 2026-11-22T23:00:00Z:\n- .spec.minReadySeconds",
        );
        let forced =
            apply(Some(&scaled), &config(json!({"replicas": 3})), DEPLOYMENT, &by("three", "T3"), true)
                .unwrap();
        assert_eq!(forced["spec"], json!({"replicas": 3, "paused": true, "minReadySeconds": 5}));
        assert_eq!(owner(&forced, "one"), Some(&json!({"f:spec": {"f:paused": {}}})));
        assert_eq!(owner(&forced, "three"), Some(&json!({"f:spec": {"f:replicas": {}}})));
    }

    #[test]
    fn list_items_have_owners_of_their_own() {
        let one = applied(
            None,
            &containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}])),
            "one",
        );
        let two = applied(
            Some(&one),
            &containers(json!([{"name": "side", "image": "s"}, {"name": "b", "tty": true}])),
            "two",
        );
        let names = |object: &Value| -> Vec<String> {
            let items = object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
            items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&two), ["side", "a", "b"]);
        let three = applied(Some(&two), &containers(json!([{"name": "c"}])), "one");
        assert_eq!(names(&three), ["c", "side", "b"]);
        assert_eq!(three["spec"]["template"]["spec"]["containers"][2], json!({"name": "b", "tty": true}));
        assert_eq!(
            owner(&three, "two").unwrap()["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"b\"}"],
            json!({".": {}, "f:name": {}, "f:tty": {}}),
        );
    }

    #[test]
    fn ports_have_a_default_protocol_in_their_key() {
        let ports = |ports: Value| containers(json!([{"name": "a", "ports": ports}]));
        let one = applied(None, &ports(json!([{"containerPort": 80}])), "one");
        let mut live = one.clone();
        live["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"] = json!("TCP");
        let two = applied(
            Some(&live),
            &ports(json!([{"containerPort": 80, "name": "web"}, {"containerPort": 80, "protocol": "UDP"}])),
            "one",
        );
        assert_eq!(
            two["spec"]["template"]["spec"]["containers"][0]["ports"],
            json!([{"containerPort": 80, "name": "web", "protocol": "TCP"}, {"containerPort": 80, "protocol": "UDP"}]),
        );
    }

    #[test]
    fn sets_are_joined_and_atomic_fields_replaced() {
        let with = |finalizers: Value, selector: Value, args: Value| {
            let mut object = containers(json!([{"name": "a", "args": args}]));
            object["metadata"]["finalizers"] = finalizers;
            object["spec"]["selector"] = selector;
            object
        };
        let one = applied(
            None,
            &with(json!(["x", "y"]), json!({"matchLabels": {"a": "1"}}), json!(["1", "2"])),
            "one",
        );
        let refused = apply(
            Some(&one),
            &with(json!(["z"]), json!({"matchLabels": {"b": "1"}}), json!(["3"])),
            DEPLOYMENT,
            &by("two", "T"),
            false,
        );
        let ApplyError::Conflicts(conflicts) = refused.unwrap_err() else { panic!() };
        let fields: Vec<&str> = conflicts.iter().map(|conflict| conflict.field.as_str()).collect();
        assert_eq!(fields, [".spec.selector", ".spec.template.spec.containers[name=\"a\"].args"]);
        let two = apply(
            Some(&one),
            &with(json!(["z"]), json!({"matchLabels": {"b": "1"}}), json!(["3"])),
            DEPLOYMENT,
            &by("two", "T"),
            true,
        )
        .unwrap();
        assert_eq!(two["metadata"]["finalizers"], json!(["z", "x", "y"]));
        assert_eq!(two["spec"]["selector"], json!({"matchLabels": {"b": "1"}}));
        let third =
            applied(Some(&two), &with(json!(["x"]), json!({"matchLabels": {"b": "1"}}), json!(["3"])), "one");
        assert_eq!(third["metadata"]["finalizers"], json!(["z", "x"]));
    }

    #[test]
    fn updates_are_recorded() {
        let made = recorded(None, config(json!({"replicas": 1, "paused": true})), "creator");
        assert_eq!(owner(&made, "creator"), Some(&json!({"f:spec": {"f:paused": {}, "f:replicas": {}}})));
        let mut change = made.clone();
        change["spec"]["replicas"] = json!(5);
        let scaler = Writer { subresource: "scale", ..by("scaler", "T2") };
        record(Some(&made), &mut change, DEPLOYMENT, &scaler).unwrap();
        assert_eq!(owner(&change, "creator"), Some(&json!({"f:spec": {"f:paused": {}}})));
        assert_eq!(owner(&change, "scaler"), Some(&json!({"f:spec": {"f:replicas": {}}})));
        assert_eq!(change["metadata"]["managedFields"][1]["subresource"], "scale");
        let mut removed = change.clone();
        removed["spec"].as_object_mut().unwrap().remove("paused");
        removed["metadata"].as_object_mut().unwrap().remove("managedFields");
        let removed = recorded(Some(&change), removed, "other");
        assert_eq!(owner(&removed, "creator"), None);
        assert_eq!(owner(&removed, "other"), None);
        let same = recorded(Some(&removed), bare(&removed), "other");
        assert_eq!(same, removed);
        let mut reset = removed.clone();
        reset["metadata"]["managedFields"] = json!([{}]);
        assert!(recorded(Some(&removed), reset, "other")["metadata"].get("managedFields").is_none());
    }

    #[test]
    fn an_autoscaler_keeps_its_replicas() {
        let first = applied(None, &config(json!({"replicas": 2, "paused": false})), "me");
        let mut scaled = first.clone();
        scaled["spec"]["replicas"] = json!(7);
        let scaled = recorded(Some(&first), scaled, "hpa");
        let second = applied(Some(&scaled), &config(json!({"paused": false})), "me");
        assert_eq!(second["spec"], json!({"paused": false, "replicas": 7}));
        assert!(
            apply(Some(&second), &config(json!({"replicas": 2})), DEPLOYMENT, &by("me", "T"), false).is_err()
        );
    }

    #[test]
    fn objects_without_owners_belong_to_the_time_before() {
        let live = config(json!({"replicas": 1, "paused": true}));
        let error = apply(Some(&live), &config(json!({"replicas": 2})), DEPLOYMENT, &by("me", "T"), false)
            .unwrap_err();
        assert!(error.to_string().contains(r#""before-first-apply" using apps/v1"#), "{error}");
        let same = applied(Some(&live), &config(json!({"replicas": 1})), "me");
        assert_eq!(bare(&same), live);
    }

    #[test]
    fn configurations_that_are_not_clear_are_refused() {
        let refuse =
            |config: Value| apply(None, &config, DEPLOYMENT, &by("me", "T"), true).unwrap_err().to_string();
        let mut with_fields = config(json!({}));
        with_fields["metadata"]["managedFields"] = json!([{"manager": "x"}]);
        assert_eq!(refuse(with_fields), "metadata.managedFields must be nil");
        assert_eq!(
            refuse(containers(json!([{"name": "a"}, {"name": "a"}]))),
            ".spec.template.spec.containers[name=\"a\"]: duplicate entries for key",
        );
        assert!(
            refuse(containers(json!([{"image": "a"}])))
                .starts_with(".spec.template.spec.containers: element 0: ")
        );
        assert_eq!(refuse(json!([])), "an applied configuration is an object");
    }

    #[test]
    fn updaters_are_capped() {
        let mut object = recorded(None, config(json!({})), "m0");
        for i in 1..30 {
            let mut next = object.clone();
            next["metadata"]["labels"][format!("l{i}")] = json!("x");
            record(Some(&object), &mut next, DEPLOYMENT, &by(&format!("m{i}"), &format!("T{i:02}"))).unwrap();
            object = next;
        }
        let entries = object["metadata"]["managedFields"].as_array().unwrap();
        assert_eq!(entries.len(), MOST_UPDATERS);
        assert_eq!(owner(&object, ANCIENT).unwrap()["f:metadata"]["f:labels"].as_object().unwrap().len(), 20);
    }

    /// A random configuration, without empty parts, whose list items can be told apart.
    fn random(rng: &mut fastrand::Rng, definition: Definition, depth: u32) -> Value {
        let mut fields = Map::new();
        let all: Vec<_> = definition.fields().collect();
        for _ in 0..rng.usize(1..5) {
            let Some(field) = rng.choice(&all) else { break };
            if let Some(value) = random_node(rng, field.node(), depth) {
                fields.insert(field.name().to_owned(), value);
            }
        }
        Value::Object(fields)
    }

    fn random_node(rng: &mut fastrand::Rng, node: Node, depth: u32) -> Option<Value> {
        let nothing = |value: &Value| value.as_object().is_some_and(Map::is_empty);
        let value = match node.shape() {
            Shape::Struct(definition) if depth > 0 => random(rng, definition, depth - 1),
            Shape::Map(item) => {
                let values = (0..2).filter_map(|_| {
                    let key = (*rng.choice(["a", "b", "c"])?).to_owned();
                    Some((key, random_node(rng, item, depth.saturating_sub(1))?))
                });
                Value::Object(values.collect())
            }
            Shape::Array(item) => return random_list(rng, node, item, depth),
            Shape::Struct(_) => return None,
            Shape::Int32 | Shape::Int64 => json!(rng.u8(0..3)),
            _ => json!(rng.choice(["x", "y"])),
        };
        (!nothing(&value)).then_some(value)
    }

    fn random_list(rng: &mut fastrand::Rng, node: Node, item: Node, depth: u32) -> Option<Value> {
        let mut items: BTreeMap<String, Value> = BTreeMap::new();
        for _ in 0..rng.usize(1..4) {
            let mut value = random_node(rng, item, depth.saturating_sub(1)).unwrap_or_else(|| json!({}));
            if let (Value::Object(fields), Some(ListType::Map)) = (&mut value, node.list_type()) {
                for key in node.list_map_keys() {
                    fields.insert(key.to_owned(), json!(rng.choice(["p", "q", "r"])));
                }
            }
            let keys: Vec<&Value> = node.list_map_keys().map(|key| &value[key]).collect();
            let identity = if keys.is_empty() { value.to_string() } else { format!("{keys:?}") };
            items.insert(identity, value);
        }
        Some(items.into_values().collect())
    }

    fn named(rng: &mut fastrand::Rng, schema: &str) -> Value {
        let mut config = random(rng, definition(schema).unwrap(), 6);
        config["metadata"] = json!({"name": "d", "labels": {"l": rng.choice(["1", "2"])}});
        for name in ["apiVersion", "kind", "status"] {
            config.as_object_mut().unwrap().remove(name);
        }
        config
    }

    #[test]
    fn a_sole_manager_gets_what_it_applies() {
        let mut rng = fastrand::Rng::with_seed(17);
        let kinds = [
            DEPLOYMENT,
            "io.k8s.api.core.v1.Pod",
            "io.k8s.api.core.v1.Service",
            "io.k8s.api.networking.v1.Ingress",
        ];
        for round in 0..3000 {
            let schema = kinds[round % kinds.len()];
            let (first, second) = (named(&mut rng, schema), named(&mut rng, schema));
            let one = apply(None, &first, schema, &by("me", "T1"), false).unwrap();
            assert_eq!(bare(&one), first);
            let again = apply(Some(&one), &first, schema, &by("me", "T2"), false).unwrap();
            assert_eq!(again, one, "applying again changes nothing, not even the time");
            let two = apply(Some(&one), &second, schema, &by("me", "T3"), false).unwrap();
            assert_eq!(bare(&two), second, "round {round} from {first}");
        }
    }

    #[test]
    fn a_second_manager_leaves_as_it_came() {
        let mut rng = fastrand::Rng::with_seed(18);
        for round in 0..3000 {
            let (mine, theirs) = (named(&mut rng, DEPLOYMENT), named(&mut rng, DEPLOYMENT));
            let one = apply(None, &mine, DEPLOYMENT, &by("me", "T1"), false).unwrap();
            let two = match apply(Some(&one), &theirs, DEPLOYMENT, &by("you", "T2"), false) {
                Ok(two) => two,
                Err(ApplyError::Conflicts(conflicts)) => {
                    assert!(!conflicts.is_empty());
                    let forced = apply(Some(&one), &theirs, DEPLOYMENT, &by("you", "T2"), true).unwrap();
                    let again = apply(Some(&forced), &theirs, DEPLOYMENT, &by("you", "T4"), false).unwrap();
                    assert_eq!(again, forced, "round {round}");
                    continue;
                }
                Err(other) => panic!("{other}"),
            };
            let name = json!({"metadata": {"name": "d"}});
            let back = apply(Some(&two), &name, DEPLOYMENT, &by("you", "T3"), false).unwrap();
            assert_eq!(sorted(&back), sorted(&one), "round {round}: {mine} and {theirs}");
        }
    }

    /// Lists without regard to order, which a second manager may have changed.
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Array(items) => {
                let mut items: Vec<Value> = items.iter().map(sorted).collect();
                items.sort_by_key(Value::to_string);
                Value::Array(items)
            }
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), sorted(value))).collect()
            }
            other => other.clone(),
        }
    }
}

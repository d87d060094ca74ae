//! Metadata of objects: readers and writers over `Value`, and the small typed parts that every
//! kind shares.
//!
//! Readers never fail: what is absent or of the wrong type is empty. The schema check has refused
//! wrong types before anything here sees them.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// Group, version and kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gvk {
    /// Empty for the core group.
    pub group: String,
    /// Such as `v1`.
    pub version: String,
    /// Such as `Pod`.
    pub kind: String,
}

impl Gvk {
    /// From `apiVersion` and `kind` as objects carry them.
    pub fn new(api_version: &str, kind: &str) -> Gvk {
        let (group, version) = split_api_version(api_version);
        Gvk { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Kind={}", join_api_version(&self.group, &self.version), self.kind)
    }
}

/// Group, version and resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gvr {
    /// Empty for the core group.
    pub group: String,
    /// Such as `v1`.
    pub version: String,
    /// Such as `pods`.
    pub resource: String,
}

/// `apps/v1` → `("apps", "v1")`, `v1` → `("", "v1")`.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// `("apps", "v1")` → `apps/v1`, `("", "v1")` → `v1`.
pub fn join_api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Which of two versions clients should prefer, the preferred one first: stable before beta before alpha, and
/// higher before lower.
pub fn prefer(a: &str, b: &str) -> std::cmp::Ordering {
    rank(b).cmp(&rank(a)).then_with(|| a.cmp(b))
}

/// Stability, major and minor of a version such as `v2beta1`; nothing for other names, which come last.
fn rank(version: &str) -> Option<(u8, u32, u32)> {
    let rest = version.strip_prefix('v')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, stage) = rest.split_at(end);
    let major = major.parse().ok()?;
    for (name, stability) in [("beta", 1), ("alpha", 0)] {
        if let Some(minor) = stage.strip_prefix(name) {
            return Some((stability, major, minor.parse().ok()?));
        }
    }
    stage.is_empty().then_some((2, major, 0))
}

/// The value at a path of field names, if it is there.
pub fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, name| value.get(name))
}

/// The text at a path, or nothing.
pub fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or("")
}

/// The whole number at a path.
pub fn number(object: &Value, path: &[&str]) -> Option<i64> {
    at(object, path).and_then(Value::as_i64)
}

/// The items of the list at a path; none if it is absent.
pub fn items<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The map at a path, if it is there.
pub fn map<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Map<String, Value>> {
    at(object, path).and_then(Value::as_object)
}

/// The object at a field, made if it is absent or null.
pub fn object_mut<'a>(object: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let slot = &mut object[field];
    if !slot.is_object() {
        *slot = json!({});
    }
    slot.as_object_mut().expect("it was made an object above")
}

/// `metadata.name`
pub fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"])
}

/// `metadata.generateName`
pub fn generate_name(object: &Value) -> &str {
    text(object, &["metadata", "generateName"])
}

/// `metadata.namespace`
pub fn namespace(object: &Value) -> &str {
    text(object, &["metadata", "namespace"])
}

/// `metadata.uid`
pub fn uid(object: &Value) -> &str {
    text(object, &["metadata", "uid"])
}

/// `apiVersion`
pub fn api_version(object: &Value) -> &str {
    text(object, &["apiVersion"])
}

/// `kind`
pub fn kind(object: &Value) -> &str {
    text(object, &["kind"])
}

fn string_map(object: &Value, path: &[&str]) -> BTreeMap<String, String> {
    let pairs = map(object, path).into_iter().flatten();
    pairs.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

/// `metadata.labels`
pub fn labels(object: &Value) -> BTreeMap<String, String> {
    string_map(object, &["metadata", "labels"])
}

/// One label, if it is set.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, &["metadata", "labels", key]).and_then(Value::as_str)
}

/// `metadata.annotations`
pub fn annotations(object: &Value) -> BTreeMap<String, String> {
    string_map(object, &["metadata", "annotations"])
}

/// One annotation, if it is set.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, &["metadata", "annotations", key]).and_then(Value::as_str)
}

/// `metadata.ownerReferences`; malformed ones are left out.
pub fn owner_references(object: &Value) -> Vec<OwnerReference> {
    let references = items(object, &["metadata", "ownerReferences"]);
    references.iter().filter_map(|r| OwnerReference::deserialize(r).ok()).collect()
}

/// The owner with `controller: true`, if there is one.
pub fn controller_of(object: &Value) -> Option<OwnerReference> {
    owner_references(object).into_iter().find(|owner| owner.controller == Some(true))
}

/// `metadata.finalizers`
pub fn finalizers(object: &Value) -> Vec<&str> {
    items(object, &["metadata", "finalizers"]).iter().filter_map(Value::as_str).collect()
}

/// `metadata.creationTimestamp`
pub fn creation_timestamp(object: &Value) -> Option<Timestamp> {
    Timestamp::parse(text(object, &["metadata", "creationTimestamp"])).ok()
}

/// `metadata.deletionTimestamp`
pub fn deletion_timestamp(object: &Value) -> Option<Timestamp> {
    Timestamp::parse(text(object, &["metadata", "deletionTimestamp"])).ok()
}

/// `metadata.deletionGracePeriodSeconds`
pub fn deletion_grace_period_seconds(object: &Value) -> Option<i64> {
    number(object, &["metadata", "deletionGracePeriodSeconds"])
}

/// `metadata.generation`, zero if absent.
pub fn generation(object: &Value) -> i64 {
    number(object, &["metadata", "generation"]).unwrap_or(0)
}

/// `metadata.resourceVersion`
pub fn resource_version(object: &Value) -> &str {
    text(object, &["metadata", "resourceVersion"])
}

/// Sets a field of `metadata`.
pub fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    object_mut(object, "metadata").insert(field.to_owned(), value.into());
}

/// Removes a field of `metadata`; an absent one is left absent.
pub fn unset(object: &mut Value, field: &str) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove(field)
}

/// Sets one label.
pub fn set_label(object: &mut Value, key: &str, value: &str) {
    set_in(object, "labels", key, value);
}

/// Sets one annotation.
pub fn set_annotation(object: &mut Value, key: &str, value: &str) {
    set_in(object, "annotations", key, value);
}

fn set_in(object: &mut Value, field: &str, key: &str, value: &str) {
    object_mut(object, "metadata");
    object_mut(&mut object["metadata"], field).insert(key.to_owned(), value.into());
}

/// The part of `metadata` that controllers and the node read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectMeta {
    /// Name, unique in the namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Prefix of a generated name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub generate_name: String,
    /// Namespace; empty for objects of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Identity over time.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The revision as text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Counts changes of the spec.
    #[serde(skip_serializing_if = "is_zero")]
    pub generation: i64,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Timestamp>,
    /// When it is to be gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<Timestamp>,
    /// Seconds granted to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_grace_period_seconds: Option<i64>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Owners.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<OwnerReference>,
    /// What must happen before it may go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
}

impl ObjectMeta {
    /// The metadata of an object; empty if it has none or it is malformed.
    pub fn of(object: &Value) -> ObjectMeta {
        object.get("metadata").and_then(|m| ObjectMeta::deserialize(m).ok()).unwrap_or_default()
    }

    /// The owner with `controller: true`.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller == Some(true))
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// One owner of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OwnerReference {
    /// Such as `apps/v1`.
    pub api_version: String,
    /// Such as `ReplicaSet`.
    pub kind: String,
    /// Its name, in the same namespace.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// Whether it is the managing controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether a foreground deletion of the owner waits for this object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

/// A selector over labels as objects carry it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must have exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements, all of which must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

impl LabelSelector {
    /// The selector at a path of an object, if it is there and well formed. A plain map of labels, as
    /// ReplicationControllers have it, is one too.
    pub fn at(object: &Value, path: &[&str]) -> Option<LabelSelector> {
        let value = at(object, path)?;
        let plain =
            value.as_object().is_some_and(|map| !map.is_empty() && map.values().all(Value::is_string));
        if plain {
            let match_labels = BTreeMap::deserialize(value).ok()?;
            return Some(LabelSelector { match_labels, ..LabelSelector::default() });
        }
        LabelSelector::deserialize(value).ok()
    }

    /// Whether nothing is required, so that everything matches.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }
}

/// One requirement of a [`LabelSelector`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LabelSelectorRequirement {
    /// The label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// The values of `In` and `NotIn`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// One condition of a status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// Such as `Ready`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word for machines.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// One sentence for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When `status` last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Timestamp>,
    /// When the condition was last looked at (Node).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_heartbeat_time: Option<Timestamp>,
    /// When the condition was last updated (Deployment).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Timestamp>,
    /// When the condition was last probed (Pod).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Timestamp>,
    /// The generation the condition speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The status (`True`, `False`, `Unknown`) of a condition of an object, if it is there.
pub fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    items(object, &["status", "conditions"]).iter().find(|c| text(c, &["type"]) == type_)
}

/// Reads a typed object, or a typed part of one, from a tree.
pub fn read<'a, T: Deserialize<'a>>(value: &'a Value) -> Result<T, serde_json::Error> {
    T::deserialize(value)
}

/// Whether two objects are equal but for what is at some paths, and for the bookkeeping of writes
/// (`resourceVersion`, `managedFields`).
pub fn equal_but(a: &Value, b: &Value, paths: &[&[&str]]) -> bool {
    fn same(a: &Value, b: &Value, paths: &[&[&str]]) -> bool {
        let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return a == b };
        let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
        keys.into_iter().all(|key| {
            if paths.iter().any(|path| path.len() == 1 && path[0] == key) {
                return true;
            }
            let below: Vec<&[&str]> = paths
                .iter()
                .filter(|path| path.first() == Some(&key.as_str()))
                .map(|path| &path[1..])
                .collect();
            match (a.get(key), b.get(key)) {
                (Some(a), Some(b)) if below.is_empty() => a == b,
                (Some(a), Some(b)) => same(a, b, &below),
                _ => false,
            }
        })
    }
    let bookkeeping: [&[&str]; 2] = [&["metadata", "resourceVersion"], &["metadata", "managedFields"]];
    let all: Vec<&[&str]> = paths.iter().copied().chain(bookkeeping).collect();
    same(a, b, &all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_or_odd_reads_as_empty() {
        for object in [
            json!(null),
            json!(1),
            json!({}),
            json!({"metadata": []}),
            json!({"metadata": {"name": 1, "labels": [1]}}),
        ] {
            assert_eq!(name(&object), "");
            assert!(labels(&object).is_empty());
            assert!(owner_references(&object).is_empty());
            assert_eq!(generation(&object), 0);
            assert_eq!(ObjectMeta::of(&object), ObjectMeta::default());
        }
    }

    #[test]
    fn stable_and_higher_versions_are_preferred() {
        let mut versions = ["foo", "v1alpha1", "v1", "v10beta3", "v2", "v3beta1", "v12alpha1", "v10", "bar"];
        versions.sort_by(|a, b| prefer(a, b));
        assert_eq!(
            versions,
            ["v10", "v2", "v1", "v10beta3", "v3beta1", "v12alpha1", "v1alpha1", "bar", "foo"]
        );
    }

    #[test]
    fn a_plain_map_is_a_selector_too() {
        let spec = json!({"selector": {"app": "web"}, "other": {"matchLabels": {"app": "web"}}, "empty": {}});
        assert_eq!(LabelSelector::at(&spec, &["selector"]), LabelSelector::at(&spec, &["other"]));
        assert!(LabelSelector::at(&spec, &["empty"]).is_some_and(|selector| selector.is_empty()));
    }

    #[test]
    fn metadata_is_written_where_there_was_none() {
        let mut object = json!(null);
        set_label(&mut object, "a/b", "c");
        set(&mut object, "generation", 3);
        assert_eq!(object, json!({"metadata": {"labels": {"a/b": "c"}, "generation": 3}}));
        assert_eq!(label(&object, "a/b"), Some("c"));
        assert_eq!(unset(&mut object, "generation"), Some(json!(3)));
        assert_eq!(unset(&mut json!({}), "generation"), None);
    }

    #[test]
    fn the_controller_is_the_owner_that_says_so() {
        let object = json!({"metadata": {"ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1"},
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "b", "uid": "2", "controller": true}]}});
        assert_eq!(controller_of(&object).map(|owner| owner.name), Some("b".to_owned()));
        assert_eq!(ObjectMeta::of(&object).controller().map(|owner| owner.uid.as_str()), Some("2"));
    }

    #[test]
    fn api_versions_split_and_join() {
        assert_eq!(split_api_version("apps/v1"), ("apps", "v1"));
        assert_eq!(split_api_version("v1"), ("", "v1"));
        assert_eq!(join_api_version("apps", "v1"), "apps/v1");
        assert_eq!(join_api_version("", "v1"), "v1");
        assert_eq!(Gvk::new("apps/v1", "Deployment").to_string(), "apps/v1, Kind=Deployment");
    }

    #[test]
    fn objects_are_equal_but_for_paths() {
        let a = json!({"metadata": {"name": "a", "resourceVersion": "1"}, "spec": {"x": 1, "y": 1}});
        let b = json!({"metadata": {"name": "a", "resourceVersion": "2", "managedFields": []}, "spec": {"x": 2, "y": 1}});
        assert!(equal_but(&a, &b, &[&["spec", "x"]]));
        assert!(!equal_but(&a, &b, &[&["spec", "y"]]));
        assert!(!equal_but(&a, &json!({"metadata": {"name": "a"}}), &[&["spec", "x"]]));
        assert!(equal_but(&a, &json!({"metadata": {"name": "a"}}), &[&["spec"]]));
    }
}

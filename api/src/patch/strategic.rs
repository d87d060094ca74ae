//! Strategic merge patch: a merge patch in which lists are merged item by item.
//!
//! The schema says by which key items are told apart; directives inside the patch say what a
//! merge cannot: `$patch` (replace, delete, merge), `$retainKeys`, `$setElementOrder/<list>`,
//! `$deleteFromPrimitiveList/<list>`. Fields the schema does not know are merged as by a JSON
//! merge patch; whether they are allowed is decided by [`crate::schema::check`] afterwards.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::patch::PatchError;
use crate::schema::{Node, PatchStrategy, Shape, definition};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList/";

/// Applies a strategic merge patch to an object of the type `schema`
/// (e.g. `io.k8s.api.apps.v1.Deployment`).
pub fn strategic(doc: &mut Value, patch: &Value, schema: &str) -> Result<(), PatchError> {
    let Value::Object(changes) = patch else {
        return Err(PatchError::Malformed("a strategic merge patch is an object".to_owned()));
    };
    let shape = definition(schema).map_or(Shape::Any, |definition| definition.shape());
    let mut target = doc.as_object().cloned().unwrap_or_default();
    merge_map(&mut target, changes, shape).map_err(|fault| fault.into_error())?;
    *doc = Value::Object(target);
    Ok(())
}

/// What is wrong, and where: the path is put together on the way out.
struct Fault {
    path: Vec<String>,
    reason: String,
}

impl Fault {
    fn new(reason: impl Into<String>) -> Fault {
        Fault { path: Vec::new(), reason: reason.into() }
    }

    fn under(mut self, name: &str) -> Fault {
        self.path.push(name.to_owned());
        self
    }

    fn into_error(mut self) -> PatchError {
        self.path.reverse();
        PatchError::Strategic { path: self.path.join("."), reason: self.reason }
    }
}

enum Directive {
    Replace,
    Delete,
    Merge,
}

fn directive(patch: &Map<String, Value>) -> Result<Directive, Fault> {
    match patch.get(PATCH) {
        None => Ok(Directive::Merge),
        Some(Value::String(word)) if word == "merge" => Ok(Directive::Merge),
        Some(Value::String(word)) if word == "replace" => Ok(Directive::Replace),
        Some(Value::String(word)) if word == "delete" => Ok(Directive::Delete),
        Some(other) => Err(Fault::new(format!("unknown patch type found: {other}"))),
    }
}

fn merge_map(target: &mut Map<String, Value>, patch: &Map<String, Value>, shape: Shape) -> Result<(), Fault> {
    match directive(patch)? {
        Directive::Replace => {
            *target = plain_map(patch);
            return Ok(());
        }
        Directive::Delete => {
            target.clear();
            return Ok(());
        }
        Directive::Merge => {}
    }
    retain_keys(target, patch)?;
    for (key, value) in patch {
        match key.strip_prefix(SET_ELEMENT_ORDER) {
            Some(name) => {
                set_element_order(target, name, patch.get(name), value, shape).map_err(|f| f.under(name))?
            }
            None if key.starts_with('$') && is_directive(key) => {}
            None if is_list_with_order(patch, key, value) => {}
            None => merge_field(target, key, value, shape).map_err(|fault| fault.under(key))?,
        }
    }
    for (key, value) in patch {
        if let Some(name) = key.strip_prefix(DELETE_FROM_PRIMITIVE_LIST) {
            delete_from_list(target, name, value).map_err(|fault| fault.under(name))?;
        }
    }
    Ok(())
}

fn is_directive(key: &str) -> bool {
    key == PATCH
        || key == RETAIN_KEYS
        || key.starts_with(SET_ELEMENT_ORDER)
        || key.starts_with(DELETE_FROM_PRIMITIVE_LIST)
}

/// Such a list is merged together with its order, not on its own.
fn is_list_with_order(patch: &Map<String, Value>, key: &str, value: &Value) -> bool {
    value.is_array() && patch.contains_key(&format!("{SET_ELEMENT_ORDER}{key}"))
}

fn retain_keys(target: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), Fault> {
    let Some(keys) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let keys: Option<Vec<&str>> = keys.as_array().and_then(|keys| keys.iter().map(Value::as_str).collect());
    let Some(keys) = keys else { return Err(Fault::new("$retainKeys must be a list of field names")) };
    for (key, value) in patch {
        if !value.is_null() && !is_directive(key) && !keys.contains(&key.as_str()) {
            return Err(Fault::new(format!("the patch sets {key:?}, which its $retainKeys does not list")));
        }
    }
    target.retain(|key, _| keys.contains(&key.as_str()));
    Ok(())
}

fn merge_field(target: &mut Map<String, Value>, key: &str, value: &Value, shape: Shape) -> Result<(), Fault> {
    if value.is_null() {
        target.remove(key);
        return Ok(());
    }
    let place = Place::of(shape, key);
    match (target.get_mut(key), value) {
        (Some(Value::Object(old)), Value::Object(new)) if !place.strategy.replace() => {
            merge_map(old, new, place.shape)
        }
        (Some(Value::Array(old)), Value::Array(new)) if place.strategy.merge() => {
            *old = merge_list(old, new, &place)?;
            Ok(())
        }
        (Some(Value::Array(_)), Value::Array(new)) => {
            let list = replace_list(new)?;
            target.insert(key.to_owned(), list);
            Ok(())
        }
        (_, Value::Object(new)) if matches!(directive(new)?, Directive::Delete) => {
            target.remove(key);
            Ok(())
        }
        (_, value) => {
            target.insert(key.to_owned(), plain(value));
            Ok(())
        }
    }
}

/// What the schema says of a field: nothing, if it does not know it.
struct Place {
    shape: Shape,
    strategy: PatchStrategy,
    merge_key: Option<&'static str>,
}

impl Place {
    fn of(shape: Shape, key: &str) -> Place {
        let node = match shape {
            Shape::Struct(definition) => definition.field(key).map(|field| field.node()),
            Shape::Map(values) => Some(values),
            _ => None,
        };
        Place {
            shape: node.map_or(Shape::Any, Node::shape),
            strategy: node.map(Node::patch_strategy).unwrap_or_default(),
            merge_key: node.and_then(Node::patch_merge_key),
        }
    }

    fn item(&self) -> Shape {
        match self.shape {
            Shape::Array(item) => item.shape(),
            _ => Shape::Any,
        }
    }
}

/// A list without a merge strategy is replaced; it has no items to delete by key.
fn replace_list(new: &[Value]) -> Result<Value, Fault> {
    for item in new.iter().filter_map(Value::as_object) {
        if matches!(directive(item)?, Directive::Delete) {
            return Err(Fault::new(
                "the list has no merge key, so no item of it can be deleted by a directive",
            ));
        }
    }
    Ok(plain_list(new))
}

fn merge_list(old: &[Value], new: &[Value], place: &Place) -> Result<Vec<Value>, Fault> {
    if new.is_empty() {
        return Ok(old.to_vec());
    }
    let objects = old.iter().chain(new).filter(|item| item.is_object()).count();
    if objects == 0 {
        return Ok(union(old, new));
    }
    if objects < old.len() + new.len() {
        return Err(Fault::new(
            "the items of the list and of its patch must all be objects or all be scalars",
        ));
    }
    let key = place
        .merge_key
        .ok_or_else(|| Fault::new("cannot merge lists without a merge key: the schema names none"))?;
    let (mut merged, changes) = match special_items(old, new, key)? {
        Special::Replaced(items) => return Ok(items.into_iter().map(plain).collect()),
        Special::Merge(kept, changes) => (kept, changes),
    };
    let mut index = BTreeMap::new();
    for (at, item) in merged.iter().enumerate() {
        index.entry(identity(item, Some(key))).or_insert(at);
    }
    for change in &changes {
        let id = identity_of_change(change, key)?;
        match index.get(&id) {
            Some(at) => {
                let item =
                    merged[*at].as_object_mut().ok_or_else(|| Fault::new("an item is not an object"))?;
                merge_map(item, change.as_object().expect("checked above"), place.item())
                    .map_err(|fault| fault.under(&format!("[{key}={id}]")))?;
            }
            None => {
                index.insert(id, merged.len());
                merged.push(plain(change));
            }
        }
    }
    let wanted: Vec<Value> = changes.into_iter().cloned().collect();
    Ok(in_order(merged, &wanted, old, Some(key)))
}

enum Special<'a> {
    /// The list becomes these items.
    Replaced(Vec<&'a Value>),
    /// These items are left of the old list, and these changes are to be merged into them.
    Merge(Vec<Value>, Vec<&'a Value>),
}

/// Carries out the items that are directives: deletions by key, replacement of the list.
fn special_items<'a>(old: &[Value], new: &'a [Value], key: &str) -> Result<Special<'a>, Fault> {
    let mut kept = old.to_vec();
    let mut changes = Vec::new();
    let mut replaced = false;
    for item in new {
        let fields = item.as_object().ok_or_else(|| Fault::new("an item is not an object"))?;
        match directive(fields)? {
            Directive::Replace => replaced = true,
            Directive::Delete => {
                let id = identity_of_change(item, key)?;
                kept.retain(|item| identity(item, Some(key)) != id);
            }
            Directive::Merge => changes.push(item),
        }
    }
    Ok(if replaced { Special::Replaced(changes) } else { Special::Merge(kept, changes) })
}

fn identity_of_change(item: &Value, key: &str) -> Result<String, Fault> {
    match item.get(key) {
        Some(value) => Ok(value.to_string()),
        None => Err(Fault::new(format!("an item of the patch does not contain the merge key {key:?}"))),
    }
}

/// What tells an item from others: the value of its merge key, or itself.
fn identity(item: &Value, key: Option<&str>) -> String {
    match key {
        Some(key) => item.get(key).unwrap_or(&Value::Null).to_string(),
        None => item.to_string(),
    }
}

fn union(old: &[Value], new: &[Value]) -> Vec<Value> {
    let mut seen = std::collections::BTreeSet::new();
    let merged = old.iter().chain(new).filter(|item| seen.insert(item.to_string())).cloned().collect();
    in_order(merged, new, old, None)
}

fn set_element_order(
    target: &mut Map<String, Value>,
    name: &str,
    change: Option<&Value>,
    order: &Value,
    shape: Shape,
) -> Result<(), Fault> {
    let Value::Array(order) = order else { return Err(Fault::new("$setElementOrder must be a list")) };
    let place = Place::of(shape, name);
    let old = match target.get(name) {
        Some(Value::Array(old)) => old.clone(),
        _ => Vec::new(),
    };
    let merged = match change {
        Some(Value::Array(new)) if place.strategy.merge() => {
            order_agrees(new, order, place.merge_key)?;
            merge_list(&old, new, &place)?
        }
        Some(Value::Array(new)) => {
            target.insert(name.to_owned(), replace_list(new)?);
            return Ok(());
        }
        Some(_) => return Ok(()),
        None if old.is_empty() => return Ok(()),
        None => old.clone(),
    };
    let key = merged.first().filter(|item| item.is_object()).and(place.merge_key);
    target.insert(name.to_owned(), Value::Array(in_order(merged, order, &old, key)));
    Ok(())
}

/// The patch's items must appear in the wanted order, in the same relative order.
fn order_agrees(new: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Fault> {
    let mut rest = order.iter();
    for item in new {
        let key = if item.is_object() { key } else { None };
        if item.get(PATCH).is_some() {
            continue;
        }
        let id = identity(item, key);
        if !rest.any(|wanted| identity(wanted, key) == id) {
            return Err(Fault::new("the order in the patch's list does not match its $setElementOrder"));
        }
    }
    Ok(())
}

/// Puts what `wanted` lists into its order; the others keep their places between them as in `old`.
fn in_order(merged: Vec<Value>, wanted: &[Value], old: &[Value], key: Option<&str>) -> Vec<Value> {
    let wanted = positions(wanted, key);
    let old = positions(old, key);
    let (mut listed, others): (Vec<_>, Vec<_>) = merged
        .into_iter()
        .map(|item| (identity(&item, key), item))
        .partition(|(id, _)| wanted.contains_key(id));
    listed.sort_by_key(|(id, _)| wanted[id]);
    let mut out = Vec::with_capacity(listed.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (id, item) in listed {
        // An item the patch does not list goes before the first listed one it preceded.
        while let Some((other, _)) = others.peek() {
            match (old.get(other), old.get(&id)) {
                (Some(before), Some(after)) if before < after => {
                    out.extend(others.next().map(|(_, item)| item))
                }
                _ => break,
            }
        }
        out.push(item);
    }
    out.extend(others.map(|(_, item)| item));
    out
}

fn positions(items: &[Value], key: Option<&str>) -> BTreeMap<String, usize> {
    let mut positions = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        positions.entry(identity(item, key)).or_insert(at);
    }
    positions
}

fn delete_from_list(target: &mut Map<String, Value>, name: &str, items: &Value) -> Result<(), Fault> {
    let Value::Array(items) = items else {
        return Err(Fault::new("$deleteFromPrimitiveList must be a list"));
    };
    if let Some(Value::Array(list)) = target.get_mut(name) {
        let gone = positions(items, None);
        list.retain(|item| !gone.contains_key(&identity(item, None)));
    }
    Ok(())
}

/// A value of the patch as a value of the object: without directives and nulls.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(plain_map(fields)),
        Value::Array(items) => plain_list(items),
        other => other.clone(),
    }
}

fn plain_map(fields: &Map<String, Value>) -> Map<String, Value> {
    let kept = fields.iter().filter(|(key, value)| !value.is_null() && !is_directive(key));
    kept.map(|(key, value)| (key.clone(), plain(value))).collect()
}

fn plain_list(items: &[Value]) -> Value {
    let is_special = |item: &&Value| item.get(PATCH).is_some_and(|word| word != "merge");
    Value::Array(items.iter().filter(|item| !is_special(item)).map(plain).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::schema::ListType;
    use serde_json::json;

    const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";
    const POD: &str = "io.k8s.api.core.v1.Pod";

    #[track_caller]
    fn becomes(schema: &str, doc: Value, patch: Value, expected: Value) {
        let mut patched = doc.clone();
        strategic(&mut patched, &patch, schema).unwrap();
        assert_eq!(patched, expected, "{doc}\n{patch}");
    }

    #[track_caller]
    fn refuses(schema: &str, doc: Value, patch: Value, message: &str) {
        let mut patched = doc.clone();
        let error = strategic(&mut patched, &patch, schema).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(patched, doc);
    }

    fn pod(spec: Value) -> Value {
        json!({ "spec": spec })
    }

    #[test]
    fn maps_merge_and_null_removes() {
        becomes(
            DEPLOYMENT,
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"replicas": 1, "paused": true}}),
            json!({"metadata": {"labels": {"a": null, "c": "3"}}, "spec": {"replicas": 3, "paused": null, "minReadySeconds": null}}),
            json!({"metadata": {"labels": {"b": "2", "c": "3"}}, "spec": {"replicas": 3}}),
        );
        becomes(
            DEPLOYMENT,
            json!({}),
            json!({"metadata": {"labels": {"a": null, "b": "1"}}}),
            json!({"metadata": {"labels": {"b": "1"}}}),
        );
    }

    #[test]
    fn lists_merge_by_key() {
        becomes(
            POD,
            pod(
                json!({"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]}),
            ),
            pod(json!({"containers": [{"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}]}]})),
            pod(json!({"containers": [
                {"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
                {"name": "b"},
            ]})),
        );
        becomes(
            POD,
            pod(json!({"containers": [{"name": "a", "command": ["x", "y"]}]})),
            pod(
                json!({"containers": [{"name": "a", "command": ["z"]}, {"name": "new", "image": null, "$retainKeys": ["name"]}]}),
            ),
            pod(json!({"containers": [{"name": "a", "command": ["z"]}, {"name": "new"}]})),
        );
        becomes(
            "io.k8s.api.core.v1.Service",
            json!({"spec": {"ports": [{"port": 80, "name": "a"}]}}),
            json!({"spec": {"ports": [{"port": 80, "targetPort": 8080}, {"port": 81}]}}),
            json!({"spec": {"ports": [{"port": 80, "name": "a", "targetPort": 8080}, {"port": 81}]}}),
        );
    }

    #[test]
    fn patch_directives_delete_replace_and_merge() {
        let two = || pod(json!({"containers": [{"name": "a"}, {"name": "b", "image": "1"}]}));
        becomes(
            POD,
            two(),
            pod(json!({"containers": [{"name": "a", "$patch": "delete"}]})),
            pod(json!({"containers": [{"name": "b", "image": "1"}]})),
        );
        becomes(
            POD,
            two(),
            pod(json!({"containers": [{"$patch": "replace"}, {"name": "c"}]})),
            pod(json!({"containers": [{"name": "c"}]})),
        );
        becomes(
            POD,
            two(),
            pod(json!({"containers": [{"name": "b", "image": "2", "$patch": "merge"}]})),
            pod(json!({"containers": [{"name": "a"}, {"name": "b", "image": "2"}]})),
        );
        becomes(
            POD,
            pod(json!({"nodeSelector": {"a": "1"}, "securityContext": {"runAsUser": 1}})),
            pod(
                json!({"nodeSelector": {"$patch": "replace", "b": "2"}, "securityContext": {"$patch": "delete"}}),
            ),
            pod(json!({"nodeSelector": {"b": "2"}, "securityContext": {}})),
        );
        becomes(
            POD,
            two(),
            pod(json!({"containers": [{"name": "b", "$patch": "replace", "image": "9"}, {"name": "z"}]})),
            pod(json!({"containers": [{"name": "z"}]})),
        );
        becomes(POD, pod(json!({})), pod(json!({"affinity": {"$patch": "delete"}})), pod(json!({})));
        becomes(POD, two(), json!({"$patch": "replace", "kind": "Pod"}), json!({"kind": "Pod"}));
    }

    #[test]
    fn retain_keys_clears_what_it_does_not_list() {
        becomes(
            DEPLOYMENT,
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        );
        becomes(
            POD,
            pod(json!({"volumes": [{"name": "v", "hostPath": {"path": "/a"}}, {"name": "w"}]})),
            pod(
                json!({"volumes": [{"name": "v", "emptyDir": {}, "hostPath": null, "$retainKeys": ["name", "emptyDir"]}]}),
            ),
            pod(json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w"}]})),
        );
        refuses(
            DEPLOYMENT,
            json!({"spec": {}}),
            json!({"spec": {"$retainKeys": ["replicas"], "paused": true}}),
            r#"spec: the patch sets "paused", which its $retainKeys does not list"#,
        );
    }

    #[test]
    fn element_order_is_set_and_others_keep_their_place() {
        becomes(
            POD,
            pod(json!({"containers": [{"name": "a"}, {"name": "side"}, {"name": "b"}]})),
            pod(json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]})),
            pod(json!({"containers": [{"name": "side"}, {"name": "b"}, {"name": "a"}]})),
        );
        becomes(
            POD,
            pod(json!({"containers": [{"name": "a"}, {"name": "b"}]})),
            pod(json!({
                "$setElementOrder/containers": [{"name": "new"}, {"name": "b"}, {"name": "a"}],
                "containers": [{"name": "new"}, {"name": "a", "image": "1"}],
            })),
            pod(json!({"containers": [{"name": "new"}, {"name": "b"}, {"name": "a", "image": "1"}]})),
        );
        becomes(
            POD,
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {
                "$setElementOrder/finalizers": ["c", "b"],
                "$deleteFromPrimitiveList/finalizers": ["a"],
                "finalizers": ["c"],
            }}),
            json!({"metadata": {"finalizers": ["c", "b"]}}),
        );
        refuses(
            POD,
            pod(json!({})),
            pod(
                json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "b"}, {"name": "a"}]}),
            ),
            "spec.containers: the order in the patch's list does not match its $setElementOrder",
        );
    }

    #[test]
    fn primitive_lists_are_sets_where_the_schema_says_so() {
        becomes(
            POD,
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"finalizers": ["b", "c"]}}),
            json!({"metadata": {"finalizers": ["a", "b", "c"]}}),
        );
        becomes(
            POD,
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "z"]}}),
            json!({"metadata": {"finalizers": ["b"]}}),
        );
        becomes(
            POD,
            json!({}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}),
            json!({"metadata": {}}),
        );
    }

    #[test]
    fn mistakes_are_named() {
        let one = || pod(json!({"containers": [{"name": "a"}]}));
        refuses(POD, one(), json!([]), "the patch is malformed: a strategic merge patch is an object");
        refuses(
            POD,
            one(),
            pod(json!({"containers": [{"image": "x"}]})),
            r#"spec.containers: an item of the patch does not contain the merge key "name""#,
        );
        refuses(
            POD,
            one(),
            pod(json!({"$patch": "explode"})),
            r#"spec: unknown patch type found: "explode""#,
        );
        refuses(
            POD,
            pod(json!({"tolerations": [{"key": "a"}]})),
            pod(json!({"tolerations": [{"key": "a", "$patch": "delete"}]})),
            "spec.tolerations: the list has no merge key, so no item of it can be deleted by a directive",
        );
        refuses(
            POD,
            one(),
            pod(json!({"containers": ["a"]})),
            "spec.containers: the items of the list and of its patch must all be objects or all be scalars",
        );
        refuses(
            "io.k8s.api.core.v1.Node",
            json!({"spec": {"podCIDRs": [{}]}}),
            json!({"spec": {"podCIDRs": [{}]}}),
            "spec.podCIDRs: cannot merge lists without a merge key: the schema names none",
        );
    }

    #[test]
    fn what_the_schema_does_not_know_is_merged_plainly() {
        becomes(
            "no.such.Schema",
            json!({"a": {"b": 1}, "l": [{"name": "x"}]}),
            json!({"a": {"c": 2}, "l": [{"name": "y"}]}),
            json!({"a": {"b": 1, "c": 2}, "l": [{"name": "y"}]}),
        );
    }

    /// What kubectl would send to turn `from` into `to`, by the schema alone.
    fn difference(from: &Map<String, Value>, to: &Map<String, Value>, shape: Shape) -> Map<String, Value> {
        let mut patch = Map::new();
        for key in from.keys().filter(|key| !to.contains_key(*key)) {
            patch.insert(key.clone(), Value::Null);
        }
        for (key, new) in to {
            let place = Place::of(shape, key);
            match (from.get(key), new) {
                (Some(old), new) if old == new => {}
                (Some(Value::Object(old)), Value::Object(new)) => {
                    patch.insert(key.clone(), Value::Object(difference(old, new, place.shape)));
                }
                (Some(Value::Array(old)), Value::Array(new)) if place.strategy.merge() => {
                    list_difference(&mut patch, key, old, new, &place);
                }
                (_, new) => drop(patch.insert(key.clone(), new.clone())),
            }
        }
        patch
    }

    fn list_difference(
        patch: &mut Map<String, Value>,
        name: &str,
        old: &[Value],
        new: &[Value],
        place: &Place,
    ) {
        let key = place.merge_key;
        let before: BTreeMap<String, &Value> = old.iter().map(|item| (identity(item, key), item)).collect();
        let after = positions(new, key);
        let (mut items, mut gone, mut order) = (Vec::new(), Vec::new(), Vec::new());
        for item in new {
            order.push(key.map_or(item.clone(), |key| json!({key: item[key]})));
            match (before.get(&identity(item, key)), key) {
                (Some(old), _) if *old == item => {}
                (Some(old), Some(key)) => {
                    let mut change =
                        difference(old.as_object().unwrap(), item.as_object().unwrap(), place.item());
                    change.insert(key.to_owned(), item[key].clone());
                    items.push(Value::Object(change));
                }
                _ => items.push(item.clone()),
            }
        }
        for item in old.iter().filter(|item| !after.contains_key(&identity(item, key))) {
            match key {
                Some(key) => items.push(json!({"$patch": "delete", key: item[key]})),
                None => gone.push(item.clone()),
            }
        }
        if !gone.is_empty() {
            patch.insert(format!("{DELETE_FROM_PRIMITIVE_LIST}{name}"), Value::Array(gone));
        }
        if !items.is_empty() {
            patch.insert(name.to_owned(), Value::Array(items));
        }
        patch.insert(format!("{SET_ELEMENT_ORDER}{name}"), Value::Array(order));
    }

    /// A random object of a shape, with few distinct keys so that two of them overlap.
    fn random(rng: &mut fastrand::Rng, shape: Shape, depth: u32) -> Value {
        match shape {
            Shape::Struct(definition) => {
                let mut fields = Map::new();
                let all: Vec<_> = definition.fields().collect();
                for _ in 0..rng.usize(0..4) {
                    if let Some(field) = rng.choice(&all) {
                        fields.insert(field.name().to_owned(), random_field(rng, field.node(), depth));
                    }
                }
                Value::Object(fields)
            }
            Shape::Map(item) => {
                let mut fields = Map::new();
                for _ in 0..rng.usize(0..3) {
                    let key = rng.choice(["a", "b", "c"]).unwrap().to_owned();
                    fields.insert(key, random(rng, item.shape(), depth.saturating_sub(1)));
                }
                Value::Object(fields)
            }
            Shape::Boolean => json!(rng.bool()),
            Shape::Int32 | Shape::Int64 | Shape::Double => json!(rng.u8(0..3)),
            _ => json!(rng.choice(["x", "y", "z"])),
        }
    }

    fn random_field(rng: &mut fastrand::Rng, node: Node, depth: u32) -> Value {
        let Shape::Array(item) = node.shape() else {
            return if depth == 0 { json!("deep") } else { random(rng, node.shape(), depth - 1) };
        };
        let mut items: Vec<Value> = Vec::new();
        for _ in 0..rng.usize(0..4) {
            let mut value = if depth == 0 && !matches!(item.shape(), Shape::String) {
                json!({})
            } else {
                random(rng, item.shape(), depth.saturating_sub(1))
            };
            if let (Some(key), Value::Object(fields)) = (node.patch_merge_key(), &mut value) {
                fields.insert(key.to_owned(), json!(rng.choice(["a", "b", "c", "d"])));
            }
            let key = node.patch_merge_key();
            let unique = node.patch_strategy().merge() || node.list_type() == Some(ListType::Set);
            if !unique || !items.iter().any(|other| identity(other, key) == identity(&value, key)) {
                items.push(value);
            }
        }
        Value::Array(items)
    }

    #[test]
    fn the_difference_of_two_objects_turns_one_into_the_other() {
        let mut rng = fastrand::Rng::with_seed(11);
        let kinds = [
            DEPLOYMENT,
            POD,
            "io.k8s.api.core.v1.PodSpec",
            "io.k8s.api.core.v1.Service",
            "io.k8s.api.core.v1.Node",
            "io.k8s.api.core.v1.Container",
        ];
        for round in 0..6000 {
            let schema = kinds[round % kinds.len()];
            let shape = definition(schema).unwrap().shape();
            let (from, to) = (random(&mut rng, shape, 5), random(&mut rng, shape, 5));
            let patch = difference(from.as_object().unwrap(), to.as_object().unwrap(), shape);
            let mut patched = from.clone();
            strategic(&mut patched, &Value::Object(patch.clone()), schema).unwrap();
            assert_eq!(patched, to, "round {round} of {schema}\nfrom {from}\npatch {}", Value::Object(patch));
            strategic(&mut patched, &json!({}), schema).unwrap();
            assert_eq!(patched, to);
        }
    }

    #[test]
    fn no_patch_panics() {
        let mut rng = fastrand::Rng::with_seed(12);
        let words = [
            PATCH,
            RETAIN_KEYS,
            "$setElementOrder/containers",
            "$deleteFromPrimitiveList/args",
            "containers",
            "args",
            "name",
            "spec",
        ];
        fn any(rng: &mut fastrand::Rng, words: &[&str], depth: u32) -> Value {
            match rng.u8(0..if depth == 0 { 4 } else { 8 }) {
                0 => Value::Null,
                1 => json!(rng.u8(0..2)),
                2 => json!(rng.choice(["delete", "replace", "merge", "a"])),
                3 => json!("b"),
                4 | 5 => (0..rng.usize(0..3)).map(|_| any(rng, words, depth - 1)).collect(),
                _ => Value::Object(
                    (0..rng.usize(0..4))
                        .map(|_| ((*rng.choice(words).unwrap()).to_owned(), any(rng, words, depth - 1)))
                        .collect(),
                ),
            }
        }
        for _ in 0..20_000 {
            let mut doc = any(&mut rng, &words, 5);
            let patch = any(&mut rng, &words, 5);
            let _ = strategic(&mut doc, &patch, POD);
        }
    }
}

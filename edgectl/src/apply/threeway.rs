//! The patch that brings an object to what a manifest says, given what the manifest said before.
//!
//! It repeats the whole manifest, which changes nothing where the object already agrees, and adds
//! the deletions. Lists are merged as the schema says; kinds without a schema get a JSON merge patch.

use edge_api::schema::{Definition, Node, Shape};
use serde_json::{Map, Value, json};

/// A strategic merge patch for `definition`, a JSON merge patch without one.
pub fn patch(before: &Value, wanted: &Value, definition: Option<Definition>) -> Value {
    value(before, wanted, definition.map_or(Shape::Any, Definition::shape))
}

fn value(before: &Value, wanted: &Value, shape: Shape) -> Value {
    let Value::Object(wanted) = wanted else { return wanted.clone() };
    let empty = Map::new();
    let before = before.as_object().unwrap_or(&empty);
    let mut out = Map::new();
    for name in before.keys().filter(|name| !wanted.contains_key(*name)) {
        out.insert(name.clone(), Value::Null);
    }
    for (name, item) in wanted {
        let field = child(shape, name);
        let previous = before.get(name).unwrap_or(&Value::Null);
        match (item, field) {
            (Value::Array(items), Some(field)) if field.patch_strategy().merge() => {
                list(name, previous, items, field, &mut out);
            }
            _ => {
                let mut inner = value(previous, item, field.map_or(Shape::Any, Node::shape));
                retain(&mut inner, item, field);
                out.insert(name.clone(), inner);
            }
        }
    }
    Value::Object(out)
}

/// The schema of a field or of a map's values.
fn child(shape: Shape, name: &str) -> Option<Node> {
    match shape {
        Shape::Struct(definition) => definition.field(name).map(|field| field.node()),
        Shape::Map(values) => Some(values),
        _ => None,
    }
}

fn element(list: Node) -> Shape {
    match list.shape() {
        Shape::Array(element) => element.shape(),
        _ => Shape::Any,
    }
}

/// A list that is merged: by key, or as a set of scalars.
fn list(name: &str, before: &Value, wanted: &[Value], field: Node, out: &mut Map<String, Value>) {
    let before = before.as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(key) = field.patch_merge_key() else {
        let gone: Vec<Value> = before.iter().filter(|item| !wanted.contains(item)).cloned().collect();
        if !gone.is_empty() {
            out.insert(format!("$deleteFromPrimitiveList/{name}"), gone.into());
        }
        out.insert(format!("$setElementOrder/{name}"), wanted.into());
        out.insert(name.to_owned(), wanted.into());
        return;
    };
    let mut items: Vec<Value> = Vec::new();
    for item in wanted {
        let previous = before.iter().find(|previous| previous[key] == item[key]).unwrap_or(&Value::Null);
        let mut inner = value(previous, item, element(field));
        retain(&mut inner, item, Some(field));
        items.push(inner);
    }
    let order: Vec<Value> = wanted.iter().map(|item| json!({key: item[key]})).collect();
    for gone in before.iter().filter(|previous| !wanted.iter().any(|item| item[key] == previous[key])) {
        items.push(json!({"$patch": "delete", key: gone[key]}));
    }
    out.insert(format!("$setElementOrder/{name}"), order.into());
    out.insert(name.to_owned(), items.into());
}

/// Unions keep only the members that the manifest names.
fn retain(inner: &mut Value, wanted: &Value, field: Option<Node>) {
    if let (Some(field), Some(wanted), Some(inner)) = (field, wanted.as_object(), inner.as_object_mut())
        && field.patch_strategy().retain_keys()
    {
        let keys: Vec<Value> = wanted.keys().map(|key| key.as_str().into()).collect();
        inner.insert("$retainKeys".to_owned(), keys.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::apply::threeway::patch;

    fn deployment(before: &Value, wanted: &Value) -> Value {
        patch(before, wanted, edge_api::schema::by_kind("apps", "v1", "Deployment"))
    }

    #[test]
    fn what_the_manifest_no_longer_says_is_deleted() {
        let before =
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"replicas": 3, "paused": true}});
        let wanted = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"replicas": 2}});
        let want =
            json!({"metadata": {"labels": {"a": "1", "b": null}}, "spec": {"replicas": 2, "paused": null}});
        assert_eq!(deployment(&before, &wanted), want);
    }

    #[test]
    fn lists_with_a_merge_key_lose_and_keep_items_by_it() {
        let pod = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let got = deployment(
            &pod(json!([{"name": "a", "image": "x"}, {"name": "b"}])),
            &pod(json!([{"name": "a", "image": "y"}])),
        );
        let spec = &got["spec"]["template"]["spec"];
        assert_eq!(
            spec["containers"],
            json!([{"name": "a", "image": "y"}, {"$patch": "delete", "name": "b"}])
        );
        assert_eq!(spec["$setElementOrder/containers"], json!([{"name": "a"}]));
    }

    #[test]
    fn unions_keep_only_what_is_named() {
        let spec = |strategy: Value| json!({"spec": {"strategy": strategy}});
        let got = deployment(
            &spec(json!({"type": "RollingUpdate", "rollingUpdate": {}})),
            &spec(json!({"type": "Recreate"})),
        );
        assert_eq!(
            got["spec"]["strategy"],
            json!({"type": "Recreate", "rollingUpdate": null, "$retainKeys": ["type"]})
        );
    }

    #[test]
    fn a_kind_without_schema_gets_a_merge_patch() {
        let got = patch(&json!({"spec": {"a": 1, "l": [1]}}), &json!({"spec": {"l": [2]}}), None);
        assert_eq!(got, json!({"spec": {"a": null, "l": [2]}}));
    }
}

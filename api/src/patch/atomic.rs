//! What of an object is replaced as a whole when it is applied: lists, maps and structs that the schema calls atomic.
//!
//! Who applies a part of an object usually means to change what he names and to leave the rest; of what is atomic there
//! is no rest. So the changes of a policy may not have any.

use serde_json::Value;

use crate::custom::{Base, Structural};
use crate::patch::apply::Schema;
use crate::schema::{ListType, Node, Shape, definition};

/// The paths of what is atomic in an object, such as `.spec.containers[0].args`.
pub fn atomics<'s>(object: &Value, schema: impl Into<Schema<'s>>) -> Vec<String> {
    let mut walk = Walk::default();
    match schema.into() {
        Schema::Custom(schema) => walk.custom(object, schema, true),
        Schema::Named(name) => {
            if let Some(definition) = definition(name) {
                walk.fields(object, definition.shape());
            }
        }
    }
    walk.found
}

#[derive(Default)]
struct Walk {
    path: String,
    found: Vec<String>,
}

impl Walk {
    fn note(&mut self) {
        self.found.push(self.path.clone());
    }

    fn within(&mut self, step: &str, look: impl FnOnce(&mut Walk)) {
        let length = self.path.len();
        self.path.push_str(step);
        look(self);
        self.path.truncate(length);
    }

    fn node(&mut self, value: &Value, node: Node) {
        match (node.shape(), value) {
            (Shape::Array(item), Value::Array(items)) => {
                if !matches!(node.list_type(), Some(ListType::Map | ListType::Set)) {
                    self.note();
                }
                for (at, value) in items.iter().enumerate() {
                    self.within(&format!("[{at}]"), |walk| walk.node(value, item));
                }
            }
            (Shape::Any, Value::Array(_) | Value::Object(_)) => self.note(),
            (shape, Value::Object(_)) => {
                if node.atomic_map() {
                    self.note();
                }
                self.fields(value, shape);
            }
            _ => {}
        }
    }

    /// The fields that have names; those of maps are as free as their values.
    fn fields(&mut self, value: &Value, shape: Shape) {
        let (Shape::Struct(definition), Value::Object(fields)) = (shape, value) else { return };
        for (name, value) in fields {
            if let Some(field) = definition.field(name) {
                self.within(&format!(".{name}"), |walk| walk.node(value, field.node()));
            }
        }
    }

    fn custom(&mut self, value: &Value, schema: &Structural, whole: bool) {
        match value {
            Value::Array(items) => {
                if !matches!(schema.list_type, Some(ListType::Map | ListType::Set)) {
                    self.note();
                }
                let Some(schema) = schema.item() else { return };
                for (at, value) in items.iter().enumerate() {
                    self.within(&format!("[{at}]"), |walk| walk.custom(value, schema, false));
                }
            }
            Value::Object(fields) => {
                if schema.atomic && schema.base == Some(Base::Object) {
                    self.note();
                }
                let typed = |name: &str| whole && matches!(name, "apiVersion" | "kind" | "metadata");
                for (name, value) in fields.iter().filter(|(name, _)| !typed(name)) {
                    if let Some(schema) = schema.properties.get(name.as_str()) {
                        self.within(&format!(".{name}"), |walk| walk.custom(value, schema, false));
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_atomic_is_named() {
        let deployment = "io.k8s.api.apps.v1.Deployment";
        for (object, expected) in [
            (
                json!({"spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "a", "image": "b"}]}}}}),
                vec![],
            ),
            (json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["a"]}}), vec![]),
            (
                json!({"spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "b", "args": ["x"]}],
                    "tolerations": []}}}}),
                vec![".spec.template.spec.containers[1].args", ".spec.template.spec.tolerations"],
            ),
            (json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}), vec![".spec.selector"]),
        ] {
            assert_eq!(atomics(&object, deployment), expected, "{object}");
        }
        let revision = json!({"data": {"a": 1}});
        assert_eq!(atomics(&revision, "io.k8s.api.apps.v1.ControllerRevision"), [".data"]);
        let schema = Structural::root(
            &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
                "words": {"type": "array", "items": {"type": "string"}},
                "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "place": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"x": {"type": "integer"}}},
            }}}}),
        );
        let object = json!({"metadata": {"finalizers": ["a"]}, "spec": {"words": [], "set": ["a"], "place": {"x": 1}}});
        assert_eq!(atomics(&object, Schema::Custom(&schema)), [".spec.place", ".spec.words"]);
    }
}

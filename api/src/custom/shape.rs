//! Giving an object the form its schema says: pruning what is unknown, filling in what is absent.

use serde_json::{Map, Value};

use crate::custom::structural::{Additional, Structural};
use crate::schema;

/// The type of every object's metadata.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Unknown fields beyond this many are dropped without being told.
const MOST: usize = 100;

/// Removes the fields that the schema of a whole object does not know; the answer is their paths.
pub(crate) fn prune(schema: &Structural, object: &mut Value) -> Vec<String> {
    let mut pruner = Pruner { unknown: Vec::new(), path: Vec::new() };
    pruner.value(schema, object, true);
    pruner.unknown
}

/// Whether a value has fields that its schema does not know.
pub(crate) fn unknown_fields(schema: &Structural, value: &Value) -> Vec<String> {
    let mut pruner = Pruner { unknown: Vec::new(), path: Vec::new() };
    pruner.value(schema, &mut value.clone(), false);
    pruner.unknown
}

enum Step {
    Field(String),
    Index(usize),
}

struct Pruner {
    unknown: Vec<String>,
    path: Vec<Step>,
}

impl Pruner {
    fn value(&mut self, schema: &Structural, value: &mut Value, whole: bool) {
        match value {
            Value::Object(fields) => self.fields(schema, fields, whole || schema.embedded),
            Value::Array(items) => {
                let Some(schema) = &schema.items else {
                    return;
                };
                for (index, item) in items.iter_mut().enumerate() {
                    self.within(Step::Index(index), |this| this.value(schema, item, false));
                }
            }
            _ => {}
        }
    }

    fn within(&mut self, step: Step, work: impl FnOnce(&mut Self)) {
        self.path.push(step);
        work(self);
        self.path.pop();
    }

    fn fields(&mut self, schema: &Structural, fields: &mut Map<String, Value>, whole: bool) {
        let keeps_all = schema.preserve || matches!(schema.additional, Some(Additional::Any));
        fields.retain(|name, value| {
            if whole && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                return true;
            }
            match schema.field(name) {
                Some(child) => self.within(Step::Field(name.clone()), |this| this.value(child, value, false)),
                None if keeps_all => {}
                None => {
                    self.within(Step::Field(name.clone()), Pruner::tell);
                    return false;
                }
            }
            true
        });
    }

    fn tell(&mut self) {
        if self.unknown.len() >= MOST {
            return;
        }
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Index(index) => path.push_str(&format!("[{index}]")),
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => {
                    path.push('.');
                    path.push_str(name);
                }
            }
        }
        self.unknown.push(path);
    }
}

/// Fills in defaults; takes away nulls where null is not allowed and nothing is filled in.
pub(crate) fn fill(schema: &Structural, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else { continue };
                let absent = fields.get(&**name).is_none_or(|value| value.is_null() && !property.nullable);
                if absent {
                    fields.insert(name.to_string(), default.clone());
                }
            }
            fields.retain(|name, value| match schema.field(name) {
                Some(child) if value.is_null() && !child.nullable => match &child.default {
                    Some(default) => {
                        *value = default.clone();
                        true
                    }
                    // Values of maps are kept: they are wrong, which validation says.
                    None => !schema.properties.contains_key(name.as_str()),
                },
                _ => true,
            });
            for (name, value) in fields.iter_mut() {
                if let Some(child) = schema.field(name) {
                    fill(child, value);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for item in items {
                if let (Value::Null, false, Some(default)) = (&item, schema.nullable, &schema.default) {
                    *item = default.clone();
                }
                fill(schema, item);
            }
        }
        _ => {}
    }
}

/// Brings the metadata of a whole object into its form; the answer is what is wrong with it.
pub(crate) fn metadata(object: &mut Value) -> Vec<schema::Problem> {
    let Some(metadata) = object.get_mut("metadata") else { return Vec::new() };
    let mut problems = schema::check(OBJECT_META, metadata);
    for problem in &mut problems {
        problem.path = if problem.path.is_empty() {
            "metadata".to_owned()
        } else {
            format!("metadata.{}", problem.path)
        };
    }
    schema::prune(OBJECT_META, metadata);
    problems
}

//! Objects seen as fields that can be owned one by one, by their schema.
//!
//! Structs and maps are granular unless the schema says atomic; lists are atomic unless it says
//! set or map. Four walks: the set of fields an object has, the merge of an applied
//! configuration, the comparison of two objects, and the removal of a set of fields.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::custom::{Base, OBJECT_META, Structural};
use crate::patch::field_set::FieldSet;
use crate::schema::{Definition, ListType, Node, Shape, definition};

/// How a value is taken apart.
#[derive(Clone, Copy)]
pub(crate) enum Form<'s> {
    /// Owned as a whole: scalars and what is atomic.
    Whole,
    /// Fields with names.
    Struct(Definition),
    /// Free keys.
    Map(Node),
    /// Scalars without order.
    Set,
    /// Items with keys.
    Keyed(Node),
    /// A whole custom resource.
    Custom(&'s Structural),
    /// Fields of a custom resource; those without names are free keys.
    Fields(&'s Structural),
    /// Items of a custom resource with keys.
    Items(&'s Structural),
    /// What no schema knows: objects are taken apart, lists are not.
    Free,
}

impl<'s> Form<'s> {
    pub(crate) fn of_definition(definition: Definition) -> Form<'s> {
        match definition.shape() {
            Shape::Struct(_) if definition.node().map_type() == Some("atomic") => Form::Whole,
            Shape::Struct(definition) => Form::Struct(definition),
            _ => Form::Whole,
        }
    }

    fn of_structural(schema: &'s Structural) -> Form<'s> {
        match schema.list_type {
            Some(ListType::Map) => return Form::Items(schema),
            Some(ListType::Set) => return Form::Set,
            _ => {}
        }
        match schema.base {
            Some(Base::Object) if schema.atomic => Form::Whole,
            Some(Base::Object) if schema.embedded => Form::Custom(schema),
            Some(Base::Object) => Form::Fields(schema),
            Some(_) => Form::Whole,
            None => Form::Free,
        }
    }

    fn of(node: Node) -> Form<'s> {
        match node.shape() {
            Shape::Struct(_) | Shape::Map(_) if node.atomic_map() => Form::Whole,
            Shape::Struct(definition) => Form::Struct(definition),
            Shape::Map(item) => Form::Map(item),
            Shape::Array(_) => match node.list_type() {
                Some(ListType::Map) => Form::Keyed(node),
                Some(ListType::Set) => Form::Set,
                _ => Form::Whole,
            },
            _ => Form::Whole,
        }
    }

    fn field(self, name: &str) -> Form<'s> {
        match self {
            Form::Custom(_) if name == "metadata" => {
                definition(OBJECT_META).map_or(Form::Whole, Form::of_definition)
            }
            Form::Custom(_) if matches!(name, "apiVersion" | "kind") => Form::Whole,
            Form::Custom(schema) | Form::Fields(schema) => match schema.field(name) {
                Some(schema) => Form::of_structural(schema),
                None => Form::Free,
            },
            Form::Free => Form::Free,
            Form::Struct(definition) => {
                definition.field(name).map_or(Form::Whole, |field| Form::of(field.node()))
            }
            Form::Map(item) => Form::of(item),
            _ => Form::Whole,
        }
    }

    fn item(self) -> Form<'s> {
        match self {
            Form::Items(schema) => schema.item().map_or(Form::Free, Form::of_structural),
            Form::Keyed(node) => match node.shape() {
                Shape::Array(item) => Form::of(item),
                _ => Form::Whole,
            },
            _ => Form::Whole,
        }
    }

    /// The path element of an item of a list.
    fn element(self, item: &Value) -> String {
        match self.keys() {
            None => format!("v:{item}"),
            Some(keys) => {
                let keys = keys.into_iter().map(|key| (key.to_owned(), self.key_value(item, key)));
                format!("k:{}", Value::Object(keys.collect()))
            }
        }
    }

    /// The fields that tell items apart.
    fn keys(self) -> Option<Vec<&'s str>> {
        match self {
            Form::Keyed(node) => Some(node.list_map_keys().collect()),
            Form::Items(schema) => Some(schema.list_keys.iter().map(AsRef::as_ref).collect()),
            _ => None,
        }
    }

    /// Whether it is made of fields with names.
    fn is_named(self, element: &str) -> bool {
        match self {
            Form::Struct(_) | Form::Custom(_) => true,
            Form::Fields(schema) => {
                element.strip_prefix("f:").is_some_and(|name| schema.properties.contains_key(name))
            }
            _ => false,
        }
    }

    /// The value of an item's key. Among built-in kinds ports are the only ones with a key that has a default.
    fn key_value(self, item: &Value, key: &str) -> Value {
        let default = || match self {
            Form::Items(schema) => schema.item().and_then(|item| item.properties.get(key)?.default.clone()),
            _ => (key == "protocol").then(|| Value::from("TCP")),
        };
        item.get(key).cloned().or_else(default).unwrap_or(Value::Null)
    }
}

/// The parts of a value with their path elements and forms; `None` if it is owned as a whole.
fn parts<'v, 's>(value: &'v Value, form: Form<'s>) -> Option<Vec<(String, &'v Value, Form<'s>)>> {
    match (form, value) {
        (
            Form::Struct(_) | Form::Map(_) | Form::Custom(_) | Form::Fields(_) | Form::Free,
            Value::Object(fields),
        ) => {
            Some(fields.iter().map(|(name, value)| (format!("f:{name}"), value, form.field(name))).collect())
        }
        (Form::Set | Form::Keyed(_) | Form::Items(_), Value::Array(items)) => {
            Some(items.iter().map(|item| (form.element(item), item, form.item())).collect())
        }
        _ => None,
    }
}

/// The fields that a value has.
pub(crate) fn fields_of(value: &Value, form: Form<'_>) -> FieldSet {
    let Some(parts) = parts(value, form) else { return FieldSet::leaf() };
    let mut set = FieldSet { member: value.as_object().is_some_and(Map::is_empty), ..FieldSet::default() };
    for (element, part, part_form) in parts {
        let mut below = fields_of(part, part_form);
        // What has no name in the schema is owned itself, beside what is in it.
        below.member |= !form.is_named(&element);
        set.children.entry(element).or_default().add(below);
    }
    set
}

/// A list of an applied configuration in which items cannot be told apart.
pub(crate) struct Ambiguous {
    pub path: Vec<String>,
    pub reason: String,
}

/// Checks that every item of the configuration's lists can be told from the others.
pub(crate) fn check_keys(value: &Value, form: Form<'_>) -> Result<(), Ambiguous> {
    if let (Some(keys), Value::Array(items)) = (form.keys(), value) {
        for (index, item) in items.iter().enumerate() {
            if let Some(key) = keys.iter().find(|key| form.key_value(item, key).is_null()) {
                let reason = format!(
                    "element {index}: associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"
                );
                return Err(Ambiguous { path: Vec::new(), reason });
            }
        }
    }
    let mut seen = BTreeSet::new();
    for (element, part, part_form) in parts(value, form).unwrap_or_default() {
        check_keys(part, part_form).map_err(|mut fault| {
            fault.path.push(element.clone());
            fault
        })?;
        if !seen.insert(element.clone()) {
            return Err(Ambiguous { path: vec![element], reason: "duplicate entries for key".to_owned() });
        }
    }
    Ok(())
}

/// The live value with the configuration laid over it.
pub(crate) fn merge(live: &Value, config: &Value, form: Form<'_>) -> Value {
    match (form, live, config) {
        (
            Form::Struct(_) | Form::Map(_) | Form::Custom(_) | Form::Fields(_) | Form::Free,
            Value::Object(live),
            Value::Object(config),
        ) => {
            let mut merged = live.clone();
            for (name, new) in config {
                let value = match live.get(name) {
                    Some(old) => merge(old, new, form.field(name)),
                    None => new.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Form::Set | Form::Keyed(_) | Form::Items(_), Value::Array(live), Value::Array(config)) => {
            Value::Array(merge_items(live, config, form))
        }
        _ => config.clone(),
    }
}

/// The configuration's items in its order; the others stay where they are between them.
fn merge_items(live: &[Value], config: &[Value], form: Form<'_>) -> Vec<Value> {
    let elements: Vec<String> = live.iter().map(|item| form.element(item)).collect();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, element) in elements.iter().enumerate() {
        places.entry(element).or_insert(at);
    }
    let wanted: Vec<(Option<usize>, &Value)> =
        config.iter().map(|item| (places.get(form.element(item).as_str()).copied(), item)).collect();
    let taken: BTreeSet<&str> =
        wanted.iter().filter_map(|(at, _)| at.map(|at| elements[at].as_str())).collect();
    let mut others = (0..live.len()).filter(|at| !taken.contains(elements[*at].as_str())).peekable();
    let mut merged = Vec::with_capacity(live.len() + config.len());
    for (at, item) in wanted {
        while let Some(other) = others.next_if(|other| at.is_some_and(|at| *other < at)) {
            merged.push(live[other].clone());
        }
        merged.push(at.map_or_else(|| item.clone(), |at| merge(&live[at], item, form.item())));
    }
    merged.extend(others.map(|at| live[at].clone()));
    merged
}

/// How one object differs from another, as sets of fields.
#[derive(Default)]
pub(crate) struct Changes {
    /// Fields that are new, or have another value.
    pub set: FieldSet,
    /// Fields that are gone.
    pub removed: FieldSet,
}

/// What changed from the old value to the new one.
pub(crate) fn compare(old: Option<&Value>, new: Option<&Value>, form: Form<'_>) -> Changes {
    let mut changes = Changes::default();
    compare_into(old, new, form, true, &mut Vec::new(), &mut changes);
    changes
}

fn compare_into(
    old: Option<&Value>,
    new: Option<&Value>,
    form: Form<'_>,
    named: bool,
    path: &mut Vec<String>,
    out: &mut Changes,
) {
    let all = |value: &Value| {
        let mut set = fields_of(value, form);
        set.member |= !named;
        set
    };
    match (old, new) {
        (None, None) => {}
        (None, Some(new)) => out.set.insert(path, all(new)),
        (Some(old), None) => out.removed.insert(path, all(old)),
        // Most of an object stays as it is, and need not be taken apart to see that.
        (Some(old), Some(new)) if old == new => {}
        (Some(old), Some(new)) => match (parts(old, form), parts(new, form)) {
            (Some(old), Some(new)) => compare_parts(&old, &new, form, path, out),
            (None, None) => out.set.insert(path, FieldSet::leaf()),
            _ => {
                out.removed.insert(path, all(old));
                out.set.insert(path, all(new));
            }
        },
    }
}

type Part<'a> = (String, &'a Value, Form<'a>);

fn compare_parts(
    old: &[Part<'_>],
    new: &[Part<'_>],
    form: Form<'_>,
    path: &mut Vec<String>,
    out: &mut Changes,
) {
    let index = |parts: &[Part<'_>]| -> BTreeMap<String, usize> {
        parts.iter().enumerate().map(|(at, part)| (part.0.clone(), at)).collect()
    };
    let (before, after) = (index(old), index(new));
    for (element, at) in &before {
        let (_, value, part_form) = &old[*at];
        path.push(element.clone());
        let now = after.get(element).map(|at| new[*at].1);
        compare_into(Some(value), now, *part_form, form.is_named(element), path, out);
        path.pop();
    }
    for (element, at) in after.iter().filter(|(element, _)| !before.contains_key(*element)) {
        let (_, value, part_form) = &new[*at];
        path.push(element.clone());
        compare_into(None, Some(value), *part_form, form.is_named(element), path, out);
        path.pop();
    }
}

/// Adds to a set the structs' named fields that lead to its members.
pub(crate) fn with_named_fields(set: &FieldSet, form: Form<'_>) -> FieldSet {
    let mut out = FieldSet { member: set.member, ..FieldSet::default() };
    for (element, child) in &set.children {
        let (below, named) = match element.strip_prefix("f:") {
            Some(name) => (form.field(name), form.is_named(element)),
            None => (form.item(), false),
        };
        let mut child = with_named_fields(child, below);
        child.member |= named;
        out.children.insert(element.clone(), child);
    }
    out
}

/// The value without the fields of a set; `None` if nothing is left of what had something.
pub(crate) fn remove(value: &Value, form: Form<'_>, gone: &FieldSet) -> Option<Value> {
    let kept = |element: &str, value: &Value, form: Form<'_>| match gone.children.get(element) {
        None => Some(value.clone()),
        Some(set) if set.member => None,
        Some(set) => remove(value, form, set),
    };
    match (form, value) {
        (
            Form::Struct(_) | Form::Map(_) | Form::Custom(_) | Form::Fields(_) | Form::Free,
            Value::Object(fields),
        ) => {
            let left: Map<String, Value> = fields
                .iter()
                .filter_map(|(name, value)| {
                    Some((name.clone(), kept(&format!("f:{name}"), value, form.field(name))?))
                })
                .collect();
            (!left.is_empty() || fields.is_empty()).then_some(Value::Object(left))
        }
        (Form::Set | Form::Keyed(_) | Form::Items(_), Value::Array(items)) => {
            let left: Vec<Value> =
                items.iter().filter_map(|item| kept(&form.element(item), item, form.item())).collect();
            (!left.is_empty() || items.is_empty()).then_some(Value::Array(left))
        }
        _ => Some(value.clone()),
    }
}

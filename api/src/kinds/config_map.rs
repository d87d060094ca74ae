//! ConfigMap: settings for Pods.

use crate::compact::object;
use crate::error::FieldError;
use crate::kind::{Column, Kind};
use crate::meta;
use crate::meta::ObjectMeta;
use crate::name;
use crate::time::{self, Timestamp};
use crate::validate::{At, Errors};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

object! {
    /// A ConfigMap.
    struct ConfigMap {
        /// Metadata.
        metadata: ObjectMeta,
        /// Texts.
        data: BTreeMap<String, String>,
        /// Bytes, in base64.
        binary_data: BTreeMap<String, String>,
        /// Whether it never changes.
        immutable: Option<bool>,
    }
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    schema: "io.k8s.api.core.v1.ConfigMap",
    columns: &[Column::NAME, Column::new("Data", "string", "How many keys it has."), Column::AGE],
    row,
    checks,
    update_checks,
    ..Kind::PLAIN
};

/// The most bytes of all values together.
pub const MAX_BYTES: usize = 1024 * 1024;

fn row(map: &Value, now: Timestamp) -> Vec<Value> {
    let keys = |field: &str| meta::map(map, &[field]).map_or(0, Map::len);
    vec![
        meta::name(map).into(),
        (keys("data") + keys("binaryData")).into(),
        time::age(meta::creation_timestamp(map), now).into(),
    ]
}

fn checks(map: &At<'_>, errors: &mut Errors) {
    let (data, binary) = (map.get("data"), map.get("binaryData"));
    let mut size = 0;
    for (key, value) in data.entries() {
        config_key(&value, key, errors);
        if binary.get(key).is_set() {
            let why = format!("duplicate of key present in {}", binary.path);
            errors.push(FieldError::invalid(&value.path, key, &why));
        }
        size += value.text().len();
    }
    for (key, value) in binary.entries() {
        config_key(&value, key, errors);
        size += decoded_len(&value, errors);
    }
    if size > MAX_BYTES {
        // Kubernetes prints the path of the whole object as `[]`.
        errors.push(FieldError::too_long("[]", MAX_BYTES));
    }
}

/// Checks a key of a ConfigMap or Secret.
pub(super) fn config_key(value: &At<'_>, key: &str, errors: &mut Errors) {
    if let Err(why) = name::config_key(key) {
        errors.push(FieldError::invalid(&value.path, key, &why));
    }
}

/// How many bytes a base64 value stands for.
pub(super) fn decoded_len(value: &At<'_>, errors: &mut Errors) -> usize {
    use base64::Engine;
    match base64::engine::general_purpose::STANDARD.decode(value.text()) {
        Ok(bytes) => bytes.len(),
        Err(_) => {
            errors.push(FieldError::invalid(&value.path, "", "must be base64"));
            0
        }
    }
}

/// Once immutable, always immutable, and with it the values.
pub(super) fn immutable_checks(new: &At<'_>, old: &At<'_>, fields: &[&'static str], errors: &mut Errors) {
    if !old.get("immutable").truth() {
        return;
    }
    let immutable = new.get("immutable");
    if !immutable.truth() {
        let detail = "field is immutable when `immutable` is set";
        errors.push(FieldError::forbidden(&immutable.path, detail));
    }
    for field in fields {
        let changed = new.get(field);
        let same = changed.value == old.get(field).value || changed.is_empty() && old.get(field).is_empty();
        if !same {
            let detail = "field is immutable when `immutable` is set";
            errors.push(FieldError::forbidden(&changed.path, detail));
        }
    }
}

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    immutable_checks(new, old, &["data", "binaryData"], errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;
    use serde_json::json;

    fn found(map: Value) -> Vec<String> {
        KIND.validate(&map).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn keys_and_sizes_are_checked() {
        let metadata = json!({"name": "a", "namespace": "b"});
        let good = json!({"metadata": metadata, "data": {"a.b": "x"}, "binaryData": {"c": "AAE="}});
        assert_eq!(found(good), Vec::<String>::new());
        let large = json!({"metadata": metadata, "data": {"a": "x".repeat(MAX_BYTES + 1)}});
        assert_eq!(found(large), ["[]: Too long: may not be more than 1048576 bytes"]);
        let twice = json!({"metadata": metadata, "data": {"a": "x"}, "binaryData": {"a": ""}});
        assert_eq!(found(twice), ["data[a]: Invalid value: \"a\": duplicate of key present in binaryData"]);
        let key = found(json!({"metadata": metadata, "data": {"a/b": "x"}}));
        assert!(key[0].starts_with("data[a/b]: Invalid value: \"a/b\": a valid config key must"), "{key:?}");
    }

    #[test]
    fn an_immutable_map_stays() {
        let old = json!({"metadata": {"name": "a", "namespace": "b"}, "data": {"a": "x"}, "immutable": true});
        let new = json!({"metadata": {"name": "a", "namespace": "b"}, "data": {"a": "y"}});
        let errors = KIND.validate_update(&new, &old, Target::Main);
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ]
        );
        assert_eq!(KIND.validate_update(&old, &old, Target::Main), []);
    }
}

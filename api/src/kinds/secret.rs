//! Secret: settings that are not shown.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Field, Kind};
use crate::kinds::config_map;
use crate::meta;
use crate::meta::ObjectMeta;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use base64::Engine;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// A Secret. Its `Debug` shows no value.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Secret {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// `Opaque`, `kubernetes.io/tls` …
    #[serde(rename = "type")]
    pub type_: String,
    /// Bytes, in base64.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// Whether it never changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.data.keys().collect();
        f.debug_struct("Secret")
            .field("name", &self.metadata.name)
            .field("keys", &keys)
            .finish_non_exhaustive()
    }
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    schema: "io.k8s.api.core.v1.Secret",
    columns: &[
        Column::NAME,
        Column::new("Type", "string", "What the secret is for."),
        Column::new("Data", "string", "How many keys it has."),
        Column::AGE,
    ],
    row,
    fields: &[Field::new("type", &["type"])],
    defaults,
    checks,
    update_checks,
    ..Kind::PLAIN
};

/// The most bytes of all values together.
pub const MAX_BYTES: usize = 1024 * 1024;

fn row(secret: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(secret).into(),
        meta::text(secret, &["type"]).into(),
        meta::map(secret, &["data"]).map_or(0, Map::len).into(),
        time::age(meta::creation_timestamp(secret), now).into(),
    ]
}

/// `stringData` is only written: it is merged into `data`.
fn defaults(secret: &mut Value) {
    fill::blank(secret, "type", "Opaque");
    let Some(texts) = secret.as_object_mut().and_then(|object| object.remove("stringData")) else { return };
    let Some(data) = fill::object(secret, "data") else { return };
    for (key, text) in texts.as_object().into_iter().flatten() {
        if let Some(text) = text.as_str() {
            fill::set(data, key, base64::engine::general_purpose::STANDARD.encode(text));
        }
    }
}

fn checks(secret: &At<'_>, errors: &mut Errors) {
    let data = secret.get("data");
    let mut size = 0;
    for (key, value) in data.entries() {
        config_map::config_key(&value, key, errors);
        size += config_map::decoded_len(&value, errors);
    }
    if size > MAX_BYTES {
        errors.push(FieldError::too_long(&data.path, MAX_BYTES));
    }
    let required = |key: &'static str, errors: &mut Errors| {
        if !data.get(key).is_set() {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    };
    match secret.get("type").text() {
        "kubernetes.io/tls" => {
            required("tls.crt", errors);
            required("tls.key", errors);
        }
        "kubernetes.io/dockerconfigjson" => json_key(&data, ".dockerconfigjson", errors),
        "kubernetes.io/dockercfg" => json_key(&data, ".dockercfg", errors),
        "kubernetes.io/ssh-auth" => required("ssh-privatekey", errors),
        "kubernetes.io/basic-auth" if !data.get("username").is_set() && !data.get("password").is_set() => {
            required("username", errors);
            required("password", errors);
        }
        "kubernetes.io/service-account-token" => {
            let annotations = secret.get("metadata").get("annotations");
            let name = annotations.get("kubernetes.io/service-account.name");
            if name.text().is_empty() {
                let field = "metadata.annotations[kubernetes.io/service-account.name]";
                errors.push(FieldError::required(field, ""));
            }
        }
        _ => {}
    }
}

/// A key that must be there and hold JSON. The value is not shown.
fn json_key(data: &At<'_>, key: &'static str, errors: &mut Errors) {
    let field = format!("data[{key}]");
    let value = data.get(key);
    if !value.is_set() {
        errors.push(FieldError::required(field, ""));
        return;
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.text()).unwrap_or_default();
    if serde_json::from_slice::<Value>(&bytes).is_err() {
        errors.push(FieldError::invalid(field, "<secret contents redacted>", "must be JSON"));
    }
}

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    validate::immutable(&new.get("type"), &old.get("type"), errors);
    config_map::immutable_checks(new, old, &["data"], errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_merged_into_the_data() {
        let mut secret = json!({"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"b": "z"}});
        KIND.default(&mut secret);
        assert_eq!(secret, json!({"type": "Opaque", "data": {"a": "eA==", "b": "eg=="}}));
    }

    #[test]
    fn each_type_has_its_keys() {
        let metadata = json!({"name": "a", "namespace": "b"});
        let cases = [
            (
                json!({"type": "kubernetes.io/tls"}),
                vec!["data[tls.crt]: Required value", "data[tls.key]: Required value"],
            ),
            (
                json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "eA=="}}),
                vec!["data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": must be JSON"],
            ),
            (
                json!({"type": "Opaque", "data": {"a": "%"}}),
                vec!["data[a]: Invalid value: \"\": must be base64"],
            ),
            (json!({"type": "example.com/own"}), vec![]),
        ];
        for (mut secret, expected) in cases {
            secret["metadata"] = metadata.clone();
            let errors: Vec<String> = KIND.validate(&secret).iter().map(ToString::to_string).collect();
            assert_eq!(errors, expected);
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let secret: Secret = meta::read(&json!({"data": {"key": "c2VjcmV0"}})).expect("well formed");
        assert!(!format!("{secret:?}").contains("c2VjcmV0"));
    }
}

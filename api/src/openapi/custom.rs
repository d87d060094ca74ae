//! Custom resources as OpenAPI: the schemas of their definitions, made whole.

use serde_json::{Map, Value, json};

use crate::kind::Kind;
use crate::openapi::Dialect;
use crate::openapi::paths::META;

/// A kind of custom resources and the schema that its definition gives.
#[derive(Clone, Debug)]
pub struct Published {
    /// The kind.
    pub kind: &'static Kind,
    /// `openAPIV3Schema`
    pub schema: Value,
}

/// Said of every object's own description.
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// What the older dialect has no words for.
const ONLY_V3: &[&str] = &["oneOf", "anyOf", "allOf", "not", "nullable", "x-kubernetes-validations"];

/// The schemas of a kind and of a list of it, by name.
pub(crate) fn definitions(dialect: Dialect, published: &Published) -> [(String, Value); 2] {
    let kind = published.kind;
    let mut schema = published.schema.clone();
    if dialect == Dialect::V2 {
        strip(&mut schema);
    }
    if !schema.is_object() {
        schema = json!({ "type": "object" });
    }
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    let text = |text: &str| json!({ "type": "string", "description": text });
    schema["properties"]["apiVersion"] = text(API_VERSION);
    schema["properties"]["kind"] = text(KIND);
    let mut metadata = reference(dialect, &format!("{META}.ObjectMeta"));
    metadata["description"] = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata".into();
    schema["properties"]["metadata"] = metadata;
    schema["x-kubernetes-group-version-kind"] = gvk(kind, kind.kind);
    let name = kind.schema_name();
    let list_kind = kind.list_kind();
    let mut list_metadata = reference(dialect, &format!("{META}.ListMeta"));
    list_metadata["description"] = "Standard list metadata.".into();
    let list = json!({
        "type": "object",
        "description": format!("{list_kind} is a list of {}", kind.kind),
        "required": ["items"],
        "properties": {
            "apiVersion": text(API_VERSION),
            "kind": text(KIND),
            "metadata": list_metadata,
            "items": {
                "type": "array",
                "description": format!("List of {}. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md", kind.plural),
                "items": reference(dialect, &name),
            },
        },
        "x-kubernetes-group-version-kind": gvk(kind, &list_kind),
    });
    let list_name = format!("{name}List");
    [(name, schema), (list_name, list)]
}

fn gvk(kind: &Kind, name: &str) -> Value {
    json!([{ "group": kind.group, "kind": name, "version": kind.version }])
}

fn reference(dialect: Dialect, name: &str) -> Value {
    match dialect {
        Dialect::V2 => json!({ "$ref": format!("#/definitions/{name}") }),
        Dialect::V3 => json!({ "allOf": [{ "$ref": format!("#/components/schemas/{name}") }] }),
    }
}

fn strip(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.retain(|name, _| !ONLY_V3.contains(&name.as_str()));
    // The older dialect knows no fields beside those that are named.
    if fields.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
        fields.remove("properties");
    }
    if fields.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        fields.remove("type");
    }
    let named = fields.get_mut("properties").and_then(Value::as_object_mut).map(Map::values_mut);
    named.into_iter().flatten().for_each(strip);
    for below in ["items", "additionalProperties"] {
        if let Some(below) = fields.get_mut(below) {
            strip(below);
        }
    }
}

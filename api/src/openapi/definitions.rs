//! Definitions as OpenAPI schemas, in either dialect.

use serde_json::{Map, Value, json};

use crate::openapi::prose::Prose;
use crate::openapi::{Dialect, write};
use crate::schema::{Definition, ListType, Node, Shape};

/// Writes an object of all definitions, which are sorted by name and thereby by package, and of others.
pub(crate) fn write_all(
    dialect: Dialect,
    definitions: &[Definition],
    others: &[(String, Value)],
    out: &mut Vec<u8>,
) {
    let mut package = "";
    let mut prose = Prose::of(package);
    out.push(b'{');
    for (index, definition) in definitions.iter().enumerate() {
        let (of, name) = definition.name().rsplit_once('.').unwrap_or(("", definition.name()));
        if of != package {
            (package, prose) = (of, Prose::of(of));
        }
        if index > 0 {
            out.push(b',');
        }
        write(out, &Value::from(definition.name()));
        out.push(b':');
        write(out, &schema(dialect, *definition, name, &prose));
    }
    for (name, schema) in others {
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        write(out, &Value::from(name.as_str()));
        out.push(b':');
        write(out, schema);
    }
    out.push(b'}');
}

/// Adds what the definition's fields refer to.
pub(crate) fn references(definition: Definition, out: &mut Vec<Definition>) {
    if matches!(definition.shape(), Shape::Struct(_)) {
        for field in definition.fields() {
            node_references(field.node(), out);
        }
    }
}

fn node_references(node: Node, out: &mut Vec<Definition>) {
    match (node.reference(), node.shape()) {
        (Some(definition), _) => out.push(definition),
        (None, Shape::Array(item) | Shape::Map(item)) => node_references(item, out),
        _ => {}
    }
}

fn schema(dialect: Dialect, definition: Definition, name: &str, prose: &Prose) -> Value {
    let mut schema = match definition.shape() {
        Shape::Struct(_) => structure(dialect, definition, name, prose),
        shape => object(special(dialect, shape, name)),
    };
    let text = match (prose.of_type(name), name.strip_suffix("List")) {
        (Some(text), _) => text.to_owned(),
        (None, Some(item)) => format!("{name} is a list of objects of kind {item}."),
        (None, None) => format!("{name} is a type of the Kubernetes API."),
    };
    schema.insert("description".to_owned(), text.into());
    let kinds: Vec<Value> = definition
        .kinds()
        .map(|(group, version, kind)| json!({ "group": group, "kind": kind, "version": version }))
        .collect();
    if !kinds.is_empty() {
        schema.insert("x-kubernetes-group-version-kind".to_owned(), kinds.into());
    }
    if let Some(map_type) = definition.node().map_type() {
        schema.insert("x-kubernetes-map-type".to_owned(), map_type.into());
    }
    Value::Object(schema)
}

fn structure(dialect: Dialect, definition: Definition, name: &str, prose: &Prose) -> Map<String, Value> {
    let mut schema = object(json!({ "type": "object" }));
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in definition.fields() {
        let mut property = node_schema(dialect, field.node());
        extensions(field.node(), &mut property);
        let text = prose.of_field(name, field.name()).or_else(|| of_list(name, field.name()));
        if let Some(text) = text {
            property.insert("description".to_owned(), text.into());
        }
        if field.required() {
            required.push(field.name());
        }
        properties.insert(field.name().to_owned(), Value::Object(property));
    }
    if !properties.is_empty() {
        schema.insert("properties".to_owned(), properties.into());
    }
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

/// Lists have no prose of their own, and always the same four fields.
fn of_list(name: &str, field: &str) -> Option<&'static str> {
    match (name.ends_with("List"), field) {
        (true, "apiVersion") => Some("The group and version of this list's schema."),
        (true, "kind") => Some("The kind of this list, in CamelCase."),
        (true, "metadata") => Some("Metadata of the list as a whole."),
        (true, "items") => Some("The objects of the list."),
        _ => None,
    }
}

fn node_schema(dialect: Dialect, node: Node) -> Map<String, Value> {
    if let Some(definition) = node.reference() {
        return reference(dialect, definition.name());
    }
    object(match node.shape() {
        Shape::Array(item) => json!({ "type": "array", "items": node_schema(dialect, item) }),
        Shape::Map(item) => json!({ "type": "object", "additionalProperties": node_schema(dialect, item) }),
        shape => special(dialect, shape, ""),
    })
}

/// OpenAPI 3.0 ignores what stands beside a reference, hence the `allOf`.
fn reference(dialect: Dialect, name: &str) -> Map<String, Value> {
    object(match dialect {
        Dialect::V2 => json!({ "$ref": format!("#/definitions/{name}") }),
        Dialect::V3 => json!({ "allOf": [{ "$ref": format!("#/components/schemas/{name}") }] }),
    })
}

fn special(dialect: Dialect, shape: Shape, name: &str) -> Value {
    let v3 = dialect == Dialect::V3;
    match shape {
        Shape::String => json!({ "type": "string" }),
        Shape::Bytes => json!({ "type": "string", "format": "byte" }),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Int32 => json!({ "type": "integer", "format": "int32" }),
        Shape::Int64 => json!({ "type": "integer", "format": "int64" }),
        Shape::Double => json!({ "type": "number", "format": "double" }),
        Shape::Time | Shape::MicroTime => json!({ "type": "string", "format": "date-time" }),
        Shape::Quantity if v3 => json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
        Shape::Quantity => json!({ "type": "string" }),
        Shape::IntOrString if v3 => {
            json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] })
        }
        Shape::IntOrString => json!({ "type": "string", "format": "int-or-string" }),
        Shape::Any if name.starts_with("JSON") => json!({}),
        Shape::Any | Shape::Struct(_) | Shape::Array(_) | Shape::Map(_) => json!({ "type": "object" }),
    }
}

fn extensions(node: Node, schema: &mut Map<String, Value>) {
    let mut put = |key: &str, value: Value| drop(schema.insert(format!("x-kubernetes-{key}"), value));
    match node.list_type() {
        Some(ListType::Atomic) => put("list-type", "atomic".into()),
        Some(ListType::Set) => put("list-type", "set".into()),
        Some(ListType::Map) => {
            put("list-type", "map".into());
            put("list-map-keys", node.list_map_keys().collect());
        }
        None => {}
    }
    if let Some(key) = node.patch_merge_key() {
        put("patch-merge-key", key.into());
    }
    if let Some(strategy) = node.patch_strategy().spelled() {
        put("patch-strategy", strategy.into());
    }
    if let Some(map_type) = node.map_type() {
        put("map-type", map_type.into());
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

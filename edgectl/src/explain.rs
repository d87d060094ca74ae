//! `edgectl explain`: a kind's fields, from the server's OpenAPI v3 document.

use serde_json::Value;

use crate::cli::Explain;
use crate::failure::Failure;
use crate::output;
use crate::session::{JSON, Session};

/// Describes a kind or one of its fields.
pub async fn explain(session: &Session, options: &Explain) -> Result<(), Failure> {
    let mut words = options.what.split('.');
    let kind = words.next().unwrap_or_default();
    let path: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let resource = match &options.api_version {
        None => session.resource(kind).await?,
        Some(version) => {
            let catalogue = session.catalogue().await?;
            let kind_of = session.resource(kind).await?.kind.clone();
            catalogue.of_kind(version, &kind_of).ok_or_else(|| {
                Failure::say(format!("couldn't find resource for \"{version}, Kind={kind_of}\""))
            })?
        }
    };
    let group = if resource.group.is_empty() {
        format!("api/{}", resource.version)
    } else {
        format!("apis/{}/{}", resource.group, resource.version)
    };
    let index = session.get("/openapi/v3", JSON).await?;
    let address = index["paths"][&group]["serverRelativeURL"]
        .as_str()
        .ok_or_else(|| Failure::say(format!("the server publishes no schema of {group}")))?;
    let document = session.get(address, JSON).await?;
    let schemas = &document["components"]["schemas"];
    let is_it = |schema: &&Value| {
        schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten().any(|gvk| {
            gvk["kind"] == *resource.kind
                && gvk["group"].as_str().unwrap_or_default() == resource.group
                && gvk["version"] == *resource.version
        })
    };
    let root = schemas.as_object().into_iter().flat_map(|map| map.values()).find(is_it);
    let mut schema =
        root.ok_or_else(|| Failure::say(format!("the server publishes no schema of {}", resource.kind)))?;
    let (mut name, mut described) = ("", schema["description"].as_str());
    for word in &path {
        let holder = element(schemas, schema);
        let field = holder["properties"]
            .get(word)
            .ok_or_else(|| Failure::say(format!("field \"{word}\" does not exist")))?;
        (name, described) = (word, field["description"].as_str());
        schema = field;
    }
    let mut text = String::new();
    if !resource.group.is_empty() {
        text.push_str(&format!("GROUP:      {}\n", resource.group));
    }
    text.push_str(&format!("KIND:       {}\nVERSION:    {}\n\n", resource.kind, resource.version));
    if !name.is_empty() {
        text.push_str(&format!("FIELD: {name} <{}>\n\n", type_of(schemas, schema)));
    }
    let below = element(schemas, schema);
    let prose = described.or(below["description"].as_str()).unwrap_or("<empty>");
    text.push_str(&format!("DESCRIPTION:\n{}\n", wrapped(prose, 4)));
    if below["properties"].is_object() {
        text.push_str("FIELDS:\n");
        fields(schemas, below, options.recursive, 1, &mut text);
    }
    output::print(&text)
}

/// What a `$ref`, an `allOf` of one and an array's items stand for.
fn element<'a>(schemas: &'a Value, mut schema: &'a Value) -> &'a Value {
    loop {
        if let Some(reference) = reference(schema) {
            schema = &schemas[reference];
        } else if schema["type"] == "array" {
            schema = &schema["items"];
        } else if schema["additionalProperties"].is_object() {
            schema = &schema["additionalProperties"];
        } else {
            return schema;
        }
    }
}

fn reference(schema: &Value) -> Option<&str> {
    let direct = schema["$ref"].as_str().or(schema["allOf"][0]["$ref"].as_str())?;
    direct.strip_prefix("#/components/schemas/")
}

fn type_of(schemas: &Value, schema: &Value) -> String {
    if let Some(name) = reference(schema) {
        let target = &schemas[name];
        return match target["type"].as_str() {
            Some("object") | None if target["properties"].is_object() => {
                name.rsplit('.').next().unwrap_or(name).to_owned()
            }
            Some(kind) => kind.to_owned(),
            None => name.rsplit('.').next().unwrap_or(name).to_owned(),
        };
    }
    match schema["type"].as_str() {
        Some("array") => format!("[]{}", type_of(schemas, &schema["items"])),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("map[string]{}", type_of(schemas, &schema["additionalProperties"]))
        }
        Some("object") => "Object".to_owned(),
        Some(kind) => kind.to_owned(),
        None => "Object".to_owned(),
    }
}

fn fields(schemas: &Value, holder: &Value, recursive: bool, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    let required: Vec<&str> =
        holder["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, schema) in holder["properties"].as_object().into_iter().flatten() {
        let mark = if required.contains(&name.as_str()) { " -required-" } else { "" };
        out.push_str(&format!("{pad}{name}\t<{}>{mark}\n", type_of(schemas, schema)));
        if recursive {
            // JSONSchemaProps holds itself; ten levels are more than any other kind has.
            if depth < 10 {
                fields(schemas, element(schemas, schema), true, depth + 1, out);
            }
        } else {
            let prose = schema["description"]
                .as_str()
                .or(element(schemas, schema)["description"].as_str())
                .unwrap_or("<no description>");
            out.push_str(&format!("{}\n", wrapped(prose, 2 * depth + 2)));
        }
    }
}

/// Prose in lines of at most 80 characters, indented.
fn wrapped(prose: &str, indent: usize) -> String {
    let pad = " ".repeat(indent);
    let mut out = String::new();
    for paragraph in prose.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && indent + line.len() + 1 + word.len() > 80 {
                out.push_str(&format!("{pad}{line}\n"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            out.push_str(&format!("{pad}{line}\n"));
        }
    }
    out
}

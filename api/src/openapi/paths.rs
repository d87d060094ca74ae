//! The paths of every kind with their operations and parameters.

use serde_json::{Map, Value, json};

use crate::kind::{Kind, Subresource};
use crate::openapi::Dialect;
use crate::schema::{by_kind, definition};

/// The package of metadata's types.
pub(crate) const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// `/api/v1`, `/apis/apps/v1`.
pub(crate) fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// The `paths` object for these kinds.
pub(crate) fn of(dialect: Dialect, kinds: &[&Kind]) -> Value {
    let mut paths = Map::new();
    for kind in kinds {
        Writer { dialect, kind }.kind(&mut paths);
    }
    Value::Object(paths)
}

struct Writer<'a> {
    dialect: Dialect,
    kind: &'a Kind,
}

/// An operation that is about to be written.
struct Operation<'a> {
    /// `get`, `post`, …: the HTTP method.
    method: &'static str,
    /// `list`, `create`, …: what `x-kubernetes-action` calls it.
    action: &'static str,
    /// What follows the kind in its name, e.g. `Status`.
    suffix: String,
    gvk: (&'a str, &'a str, &'a str),
    /// The schema of the request's body, if it has one.
    body: Option<String>,
    /// The schema of the reply; a string of text if there is none.
    reply: Option<String>,
    /// Names from [`PARAMETERS`].
    parameters: &'static [&'static str],
}

const READ: &[&str] = &[];
const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETE: &[&str] = &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"];
const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
const LOG: &[&str] = &[
    "container",
    "follow",
    "limitBytes",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "tailLines",
    "timestamps",
];

/// Name, type and meaning of every query parameter.
const PARAMETERS: &[(&str, &str, &str)] = &[
    ("allowWatchBookmarks", "boolean", "Whether a watch may send BOOKMARK events."),
    ("container", "string", "The container whose log is wanted; needed if the Pod has several."),
    ("continue", "string", "The token of an earlier, incomplete list."),
    ("dryRun", "string", "`All`: do everything but store the result."),
    ("fieldManager", "string", "The name under which the change is recorded."),
    (
        "fieldValidation",
        "string",
        "What to do about unknown and duplicate fields: `Ignore`, `Warn` (the default) or `Strict`.",
    ),
    ("fieldSelector", "string", "Only objects with these field values."),
    ("follow", "boolean", "Whether to keep the log open and send what is added."),
    ("force", "boolean", "Whether server-side apply takes over fields that others own."),
    ("gracePeriodSeconds", "integer", "Seconds before the object is deleted; 0 is at once."),
    ("labelSelector", "string", "Only objects with these labels."),
    ("limit", "integer", "At most so many objects, and a token for the rest."),
    ("limitBytes", "integer", "At most so many bytes of the log."),
    ("orphanDependents", "boolean", "Deprecated: use propagationPolicy."),
    ("previous", "boolean", "The log of the container's run before this one."),
    ("propagationPolicy", "string", "What becomes of dependents: `Orphan`, `Background` or `Foreground`."),
    ("resourceVersion", "string", "The version to list at or to watch from."),
    ("resourceVersionMatch", "string", "How resourceVersion is meant: `Exact` or `NotOlderThan`."),
    ("sendInitialEvents", "boolean", "Whether a watch begins with the objects there are."),
    ("sinceSeconds", "integer", "Only lines of the last so many seconds."),
    ("sinceTime", "string", "Only lines since this time (RFC 3339)."),
    ("tailLines", "integer", "Only so many lines from the end."),
    ("timeoutSeconds", "integer", "How long the request may take."),
    ("timestamps", "boolean", "Whether each line begins with its time."),
    ("watch", "boolean", "Whether to send changes instead of a list."),
];

impl Writer<'_> {
    fn kind(&self, paths: &mut Map<String, Value>) {
        let kind = self.kind;
        let root = root(kind.group, kind.version);
        let own = (kind.group, kind.version, kind.kind);
        let name = kind.schema_name();
        let list = Some(format!("{name}List"));
        let one = || Some(name.clone());
        let lister = |suffix: &str| Operation {
            method: "get",
            action: "list",
            suffix: String::from(suffix),
            gvk: own,
            body: None,
            reply: list.clone(),
            parameters: LIST,
        };
        if kind.is_namespaced() {
            let operations = self.allowed([("list", lister("ForAllNamespaces"))]);
            self.add(paths, format!("{root}/{}", kind.plural), &[], operations);
        }
        let collection = if kind.is_namespaced() {
            format!("{root}/namespaces/{{namespace}}/{}", kind.plural)
        } else {
            format!("{root}/{}", kind.plural)
        };
        let status = || Some(format!("{META}.Status"));
        let options = || Some(format!("{META}.DeleteOptions"));
        let op = |method, action, body, reply, parameters| Operation {
            method,
            action,
            suffix: String::new(),
            gvk: own,
            body,
            reply,
            parameters,
        };
        let operations = self.allowed([
            ("list", lister("")),
            ("create", op("post", "post", one(), one(), WRITE)),
            ("deletecollection", op("delete", "deletecollection", options(), status(), DELETE)),
        ]);
        self.add(paths, collection.clone(), &["namespace"], operations);
        let operations = self.allowed([
            ("get", op("get", "get", None, one(), READ)),
            ("update", op("put", "put", one(), one(), WRITE)),
            ("patch", op("patch", "patch", Some(format!("{META}.Patch")), one(), PATCH)),
            ("delete", op("delete", "delete", options(), status(), DELETE)),
        ]);
        self.add(paths, format!("{collection}/{{name}}"), &["name", "namespace"], operations);
        for subresource in kind.subresources() {
            let path = format!("{collection}/{{name}}/{}", subresource.name());
            paths.insert(path, self.path(&["name", "namespace"], self.subresource(subresource)));
        }
    }

    /// Adds a path, if anything can be done there.
    fn add(
        &self,
        paths: &mut Map<String, Value>,
        path: String,
        parameters: &[&str],
        operations: Vec<Operation<'_>>,
    ) {
        if !operations.is_empty() {
            paths.insert(path, self.path(parameters, operations));
        }
    }

    fn allowed<'a, const N: usize>(&self, all: [(&str, Operation<'a>); N]) -> Vec<Operation<'a>> {
        all.into_iter()
            .filter(|(verb, _)| self.kind.verbs.contains(verb))
            .map(|(_, operation)| operation)
            .collect()
    }

    fn subresource(&self, subresource: Subresource) -> Vec<Operation<'static>> {
        let suffix = pascal_word(subresource.name());
        let gvk = subresource.gvk(self.kind);
        let schema = match by_kind(gvk.0, gvk.1, gvk.2) {
            Some(definition) => Some(definition.name().to_owned()),
            None => self.kind.custom.map(|_| self.kind.schema_name()),
        };
        let is_log = subresource == Subresource::Log;
        let operation = |verb: &&'static str| {
            let (method, action, parameters) = match *verb {
                "get" => ("get", "get", if is_log { LOG } else { READ }),
                "create" => ("post", "post", WRITE),
                "update" => ("put", "put", WRITE),
                "patch" => ("patch", "patch", PATCH),
                _ => ("delete", "delete", DELETE),
            };
            let body = match method {
                "get" | "delete" => None,
                "patch" => Some(format!("{META}.Patch")),
                _ => schema.clone(),
            };
            let reply = if is_log { None } else { schema.clone() };
            Operation { method, action, suffix: suffix.clone(), gvk, body, reply, parameters }
        };
        subresource.verbs().iter().map(operation).collect()
    }

    fn path(&self, parameters: &[&str], operations: Vec<Operation<'_>>) -> Value {
        let mut path = Map::new();
        let shared: Vec<Value> = parameters
            .iter()
            .filter(|name| **name != "namespace" || self.kind.is_namespaced())
            .map(|name| self.parameter(name, "path", "string", &format!("The {name} of the object.")))
            .collect();
        if !shared.is_empty() {
            path.insert("parameters".to_owned(), shared.into());
        }
        for operation in operations {
            path.insert(operation.method.to_owned(), self.operation(&operation));
        }
        Value::Object(path)
    }

    fn operation(&self, operation: &Operation<'_>) -> Value {
        let (group, version, kind) = operation.gvk;
        let mut parameters: Vec<Value> = PARAMETERS
            .iter()
            .filter(|(name, _, _)| operation.parameters.contains(name))
            .map(|(name, kind, text)| self.parameter(name, "query", kind, text))
            .collect();
        let mut out = json!({
            "operationId": self.name(operation),
            "description": format!("{} {}", operation.action, self.kind.plural),
            "tags": [format!("{}_{}", if self.kind.group.is_empty() { "core" } else { self.kind.group }, self.kind.version)],
            "responses": self.responses(operation),
            "x-kubernetes-action": operation.action,
            "x-kubernetes-group-version-kind": { "group": group, "kind": kind, "version": version },
        });
        if let Some(body) = &operation.body {
            let required = operation.method != "delete";
            match self.dialect {
                Dialect::V2 => parameters.push(json!({
                    "name": "body", "in": "body", "required": required, "schema": self.reference(body),
                })),
                Dialect::V3 => {
                    out["requestBody"] =
                        json!({ "required": required, "content": self.content(operation.method, body) });
                }
            }
        }
        if self.dialect == Dialect::V2 {
            out["produces"] = json!(["application/json", "application/vnd.kubernetes.protobuf"]);
            out["consumes"] = json!(self.consumes(operation.method));
        }
        out["parameters"] = parameters.into();
        out
    }

    fn responses(&self, operation: &Operation<'_>) -> Value {
        let is_known = |name: &&String| self.kind.custom.is_some() || definition(name).is_some();
        let schema = operation.reply.as_ref().filter(is_known);
        let reply = match (self.dialect, schema) {
            (Dialect::V2, Some(name)) => json!({ "description": "OK", "schema": self.reference(name) }),
            (Dialect::V2, None) => json!({ "description": "OK", "schema": { "type": "string" } }),
            (Dialect::V3, Some(name)) => {
                json!({ "description": "OK", "content": { "application/json": { "schema": self.reference(name) } } })
            }
            (Dialect::V3, None) => {
                json!({ "description": "OK", "content": { "text/plain": { "schema": { "type": "string" } } } })
            }
        };
        let mut responses = json!({ "200": reply, "401": { "description": "Unauthorized" } });
        if matches!(operation.method, "post" | "put" | "patch") {
            responses["201"] = responses["200"].clone();
            responses["201"]["description"] = "Created".into();
        }
        responses
    }

    fn content(&self, method: &str, schema: &str) -> Value {
        let media = json!({ "schema": self.reference(schema) });
        let types = self.consumes(method);
        Value::Object(types.iter().map(|name| ((*name).to_owned(), media.clone())).collect())
    }

    /// The types of bodies. Clients send a strategic merge patch where it is named, and custom resources have no
    /// strategies.
    fn consumes(&self, method: &str) -> &'static [&'static str] {
        match (method, self.kind.custom.is_some()) {
            ("patch", true) => CUSTOM_PATCH_TYPES,
            ("patch", false) => PATCH_TYPES,
            _ => &["*/*"],
        }
    }

    fn reference(&self, name: &str) -> Value {
        match self.dialect {
            Dialect::V2 => json!({ "$ref": format!("#/definitions/{name}") }),
            Dialect::V3 => json!({ "$ref": format!("#/components/schemas/{name}") }),
        }
    }

    fn parameter(&self, name: &str, place: &str, kind: &str, text: &str) -> Value {
        let mut out = json!({ "name": name, "in": place, "description": text, "uniqueItems": true });
        if place == "path" {
            out["required"] = true.into();
        }
        match self.dialect {
            Dialect::V2 => out["type"] = kind.into(),
            Dialect::V3 => {
                out["schema"] = json!({ "type": kind, "uniqueItems": true });
                out.as_object_mut().expect("it is an object literal").remove("uniqueItems");
            }
        }
        out
    }

    /// E.g. `patchAppsV1NamespacedDeploymentStatus`.
    fn name(&self, operation: &Operation<'_>) -> String {
        let kind = self.kind;
        let verb = match operation.action {
            "post" => "create",
            "put" => "replace",
            "get" => "read",
            "deletecollection" => "deleteCollection",
            other => other,
        };
        let group =
            if kind.group.is_empty() { "core" } else { kind.group.split('.').next().unwrap_or(kind.group) };
        let scope = match operation.suffix.as_str() {
            "ForAllNamespaces" => "",
            _ if kind.is_namespaced() => "Namespaced",
            _ => "",
        };
        let version = pascal_word(kind.version);
        format!("{verb}{}{version}{scope}{}{}", pascal_word(group), kind.kind, operation.suffix)
    }
}

const PATCH_TYPES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

const CUSTOM_PATCH_TYPES: &[&str] =
    &["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];

fn pascal_word(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

//! The API described in OpenAPI: what kubectl reads before it validates, explains or patches.
//!
//! Version 3 has an index and one document for each group and version; version 2 is one document
//! for all. Both are written from the table of kinds, the schema and the prose, one definition
//! after the other straight into bytes: as a tree of values the core document alone would take
//! megabytes. Nothing is kept but the documents' hashes. Serving (types, compression, caching
//! headers) is the HTTP module's.

mod definitions;
mod paths;
mod prose;
mod swagger;

mod custom;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::kind::Kind;
use crate::kinds::KINDS;
use crate::schema::{Definition, by_kind, definition};

pub use custom::Published;
pub use swagger::encode as v2_protobuf;

/// Which OpenAPI a document is written in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V2,
    V3,
}

/// The group and version of every document, sorted; the core group is empty.
pub fn groups() -> Vec<(&'static str, &'static str)> {
    let all: BTreeSet<_> = KINDS.iter().map(|kind| (kind.group, kind.version)).collect();
    all.into_iter().collect()
}

/// The index at `/openapi/v3`: where each document is, with its hash.
///
/// `custom` are the group, version and hash of the documents with custom kinds.
pub fn v3_index(custom: &[(&str, &str, String)]) -> Vec<u8> {
    let mut paths = Map::new();
    let built_in = groups().into_iter().map(|(group, version)| {
        let hash = v3_hash(group, version).expect("every listed group has a document");
        (group, version, hash)
    });
    let custom = custom.iter().map(|(group, version, hash)| (*group, *version, hash.as_str()));
    for (group, version, hash) in built_in.chain(custom) {
        let root = paths::root(group, version);
        let url = format!("/openapi/v3{root}?hash={hash}");
        paths.insert(root.trim_start_matches('/').to_owned(), json!({ "serverRelativeURL": url }));
    }
    bytes(&json!({ "paths": paths }))
}

/// The document of a group and version (`/openapi/v3/apis/<group>/<version>`, or
/// `/openapi/v3/api/v1` with an empty group); `None` if no kind is of it.
pub fn v3_group(group: &str, version: &str, custom: &[Published]) -> Option<Vec<u8>> {
    let of_group = |kind: &&Kind| kind.group == group && kind.version == version;
    let kinds: Vec<&Kind> = KINDS.iter().copied().filter(of_group).collect();
    (!kinds.is_empty() || !custom.is_empty()).then(|| document(Dialect::V3, &kinds, custom))
}

/// SHA-256 of [`v3_group`]'s document in hex: its ETag, and the `hash` its address is given with.
pub fn v3_hash(group: &str, version: &str) -> Option<&'static str> {
    static HASHES: OnceLock<Vec<((&str, &str), String)>> = OnceLock::new();
    let hashes = HASHES.get_or_init(|| {
        let hash = |(group, version)| {
            let document = v3_group(group, version, &[]).expect("every listed group has kinds");
            let digest = Sha256::digest(document);
            ((group, version), digest.iter().map(|byte| format!("{byte:02X}")).collect())
        };
        groups().into_iter().map(hash).collect()
    });
    hashes.iter().find(|(name, _)| *name == (group, version)).map(|(_, hash)| hash.as_str())
}

/// The document at `/openapi/v2`, in JSON.
pub fn v2(custom: &[Published]) -> Vec<u8> {
    document(Dialect::V2, KINDS, custom)
}

fn document(dialect: Dialect, built_in: &[&Kind], custom: &[Published]) -> Vec<u8> {
    let kinds: Vec<&Kind> = built_in.iter().copied().chain(custom.iter().map(|one| one.kind)).collect();
    let mut out = Vec::new();
    let info = json!({ "title": "Kubernetes", "version": "v1.37.0" });
    let (head, inner, scheme) = match dialect {
        Dialect::V2 => (r#"{"swagger":"2.0""#, r#","definitions":"#, r#","securityDefinitions":"#),
        Dialect::V3 => (r#"{"openapi":"3.0.0""#, r#","components":{"schemas":"#, r#","securitySchemes":"#),
    };
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(br#","info":"#);
    write(&mut out, &info);
    out.extend_from_slice(br#","paths":"#);
    write(&mut out, &paths::of(dialect, &kinds));
    out.extend_from_slice(inner.as_bytes());
    let own: Vec<(String, Value)> = custom.iter().flat_map(|one| custom::definitions(dialect, one)).collect();
    definitions::write_all(dialect, &closure(&kinds), &own, &mut out);
    out.extend_from_slice(scheme.as_bytes());
    write(&mut out, &security());
    out.extend_from_slice(if dialect == Dialect::V3 { b"}}" } else { b"}" });
    out
}

fn security() -> Value {
    let text = "Bearer token authentication";
    json!({ "BearerToken": { "description": text, "in": "header", "name": "authorization", "type": "apiKey" } })
}

/// The definitions the kinds' paths speak of, and everything those refer to, sorted by name.
fn closure(kinds: &[&Kind]) -> Vec<Definition> {
    let mut names = BTreeSet::new();
    let mut open: Vec<Definition> = Vec::new();
    for name in ["DeleteOptions", "Patch", "Status"] {
        open.extend(definition(&format!("{}.{name}", paths::META)));
    }
    for kind in kinds {
        open.extend(definition(kind.schema));
        open.extend(definition(&format!("{}List", kind.schema)));
        if kind.custom.is_some() {
            let metadata = ["ObjectMeta", "ListMeta"];
            open.extend(metadata.iter().filter_map(|name| definition(&format!("{}.{name}", paths::META))));
        }
        for subresource in kind.subresources() {
            let (group, version, kind) = subresource.gvk(kind);
            open.extend(by_kind(group, version, kind));
        }
    }
    while let Some(next) = open.pop() {
        if names.insert(next.name()) {
            definitions::references(next, &mut open);
        }
    }
    names.into_iter().filter_map(definition).collect()
}

fn write(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(out, value).expect("a Vec takes everything");
}

fn bytes(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, value);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    fn group(group: &str, version: &str) -> Value {
        parse(&v3_group(group, version, &[]).unwrap())
    }

    /// Every `$ref` in the document.
    fn references<'a>(value: &'a Value, out: &mut Vec<&'a str>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| references(item, out)),
            Value::Object(fields) => {
                out.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, out));
            }
            _ => {}
        }
    }

    #[test]
    fn the_index_lists_every_group_with_its_hash() {
        let index = parse(&v3_index(&[]));
        assert_eq!(index["paths"].as_object().unwrap().len(), groups().len());
        let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
        let hash = url.strip_prefix("/openapi/v3/apis/apps/v1?hash=").unwrap();
        assert_eq!(Some(hash), v3_hash("apps", "v1"));
        assert_eq!(hash.len(), 64);
        assert!(index["paths"]["api/v1"]["serverRelativeURL"].is_string());
        assert!(v3_group("apps", "v9", &[]).is_none());
    }

    #[test]
    fn every_reference_resolves() {
        for (name, version) in groups() {
            let document = group(name, version);
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(!found.is_empty());
            for reference in found {
                let schema = reference.strip_prefix("#/components/schemas/").unwrap();
                assert!(
                    document["components"]["schemas"].get(schema).is_some(),
                    "{reference} in {name}/{version}"
                );
            }
        }
        let document = parse(&v2(&[]));
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in found {
            let schema = reference.strip_prefix("#/definitions/").unwrap();
            assert!(document["definitions"].get(schema).is_some(), "{reference}");
        }
    }

    /// What kubectl looks for before it leaves validation to the server.
    #[test]
    fn writes_accept_field_validation() {
        for kind in KINDS.iter().filter(|kind| kind.verbs.contains(&"patch")) {
            let document = group(kind.group, kind.version);
            let gvk = json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
            let paths = document["paths"].as_object().unwrap();
            let patches: Vec<&Value> = paths
                .values()
                .filter_map(|path| path.get("patch"))
                .filter(|operation| operation["x-kubernetes-group-version-kind"] == gvk)
                .collect();
            assert_eq!(!patches.is_empty(), kind.verbs.contains(&"patch"), "{kind:?}");
            for operation in patches {
                let names: Vec<&str> = operation["parameters"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|p| p["name"].as_str().unwrap())
                    .collect();
                for wanted in ["dryRun", "fieldManager", "fieldValidation", "force"] {
                    assert!(names.contains(&wanted), "{wanted} of {kind:?}");
                }
            }
        }
    }

    /// What `kubectl explain` and its strategic merge patches look for.
    #[test]
    fn schemas_say_what_explain_and_patch_need() {
        let core = group("", "v1");
        let schemas = &core["components"]["schemas"];
        let pod = &schemas["io.k8s.api.core.v1.Pod"];
        assert_eq!(
            pod["x-kubernetes-group-version-kind"],
            json!([{"group": "", "kind": "Pod", "version": "v1"}])
        );
        assert!(pod["description"].as_str().unwrap().starts_with("Pod is a collection of containers"));
        let spec = &pod["properties"]["spec"];
        assert_eq!(spec["allOf"], json!([{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}]));
        assert!(spec["description"].as_str().unwrap().contains("desired behavior"));
        let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["type"], "array");
        assert_eq!(containers["x-kubernetes-list-type"], "map");
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
        assert_eq!(schemas["io.k8s.api.core.v1.PodSpec"]["required"], json!(["containers"]));
        assert_eq!(schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"], "int-or-string");
        assert_eq!(
            schemas["io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"]["x-kubernetes-map-type"],
            "atomic"
        );
        for path in ["/api/v1/pods", "/api/v1/namespaces/{namespace}/pods"] {
            assert_eq!(core["paths"][path]["get"]["x-kubernetes-action"], "list", "{path}");
        }
        assert_eq!(
            core["paths"]["/api/v1/namespaces/{namespace}/pods"]["get"]["x-kubernetes-group-version-kind"],
            json!({"group": "", "kind": "Pod", "version": "v1"}),
        );
        for (name, schema) in schemas.as_object().unwrap() {
            assert!(schema["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        }
    }

    #[test]
    fn operations_have_distinct_names() {
        let document = parse(&v2(&[]));
        let mut seen = BTreeSet::new();
        for operations in document["paths"].as_object().unwrap().values() {
            for operation in operations.as_object().unwrap().values().filter(|value| value.is_object()) {
                let id = operation["operationId"].as_str().unwrap().to_owned();
                assert!(seen.insert(id.clone()), "{id}");
            }
        }
        assert!(seen.contains("listCoreV1NamespacedPod"));
        assert!(seen.contains("listCoreV1PodForAllNamespaces"));
        assert!(seen.contains("patchAppsV1NamespacedDeploymentStatus"));
        assert!(seen.contains("createCoreV1Node"));
    }
}

//! What is served: groups, versions and resources, from the catalogue of kinds, and what others say that they serve.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use edge_api::catalogue::{Catalogue, Kinds};
use edge_api::kind::{Kind, Scope};
use edge_api::meta;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::aggregate::Aggregation;
use crate::custom_metrics::{GROUP, VERSIONS};
use crate::http::body::{Body, Response};
use crate::http::custom_metrics;
use crate::http::status::json_response;
use crate::identity::Digest;
use crate::registry::{ApiError, Reason};

/// The version of Kubernetes whose API this is.
pub const GIT_VERSION: &str = "v1.37.0+edgectl";

/// A document that changes only with the program, and its ETag.
pub struct Document {
    bytes: Bytes,
    tag: String,
    media: HeaderValue,
}

impl Document {
    /// A document of JSON.
    pub fn new(value: &Value, media: &str) -> Document {
        let bytes: Bytes = serde_json::to_vec(value).expect("a tree is JSON and a vector takes it").into();
        Document {
            tag: Digest::of(&bytes).to_hex().to_ascii_uppercase(),
            media: HeaderValue::from_str(media).unwrap_or(HeaderValue::from_static("application/json")),
            bytes,
        }
    }

    /// The answer: the document, or that the caller has it already.
    pub fn answer(&self, headers: &HeaderMap) -> Response {
        let unchanged = is_known(headers, &self.tag);
        let mut response =
            Response::new(if unchanged { Body::Empty } else { Body::Full(self.bytes.clone()) });
        if unchanged {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let out = response.headers_mut();
        out.insert(header::CONTENT_TYPE, self.media.clone());
        out.insert(header::VARY, HeaderValue::from_static("Accept"));
        tagged(&mut response, &self.tag);
        response
    }
}

/// Whether the caller has the document of this hash already.
pub fn is_known(headers: &HeaderMap, hash: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    known.split(',').any(|known| known.trim().trim_start_matches("W/").trim_matches('"') == hash)
}

/// Says by which hash a document is known.
pub fn tagged(response: &mut Response, hash: &str) {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{hash}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
}

/// Which of the two old formats or the aggregated ones a client takes, in its order.
fn aggregated_version(headers: &HeaderMap) -> Option<&'static str> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    for range in accept.split(',') {
        let parts: Vec<&str> = range.split(';').map(str::trim).collect();
        let has = |part: &str| parts.contains(&part);
        if !has("application/json") {
            continue;
        }
        if !has("as=APIGroupDiscoveryList") || !has("g=apidiscovery.k8s.io") {
            return None;
        }
        match parts.iter().find_map(|part| part.strip_prefix("v=")) {
            Some("v2") => return Some("v2"),
            Some("v2beta1") => return Some("v2beta1"),
            _ => {}
        }
    }
    None
}

/// `/`: which paths there are.
pub fn root(catalogue: &Catalogue, aggregation: &Aggregation) -> Response {
    let mut paths: Vec<String> = ["/api", "/apis", "/healthz", "/livez", "/metrics", "/readyz", "/version"]
        .into_iter()
        .chain(["/openapi/v2", "/openapi/v3"])
        .map(str::to_owned)
        .collect();
    for (group, versions) in catalogue.groups() {
        let root = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
        paths.extend(versions.iter().map(|(version, _)| format!("{root}/{version}")));
        paths.push(root);
    }
    let metrics = custom_metrics::versions(aggregation);
    if !metrics.is_empty() {
        paths.push(format!("/apis/{GROUP}"));
        paths.extend(metrics.iter().map(|version| format!("/apis/{GROUP}/{version}")));
    }
    paths.sort_unstable();
    paths.dedup();
    json_response(StatusCode::OK, &json!({"paths": paths}))
}

/// `/api`
pub fn core_versions(known: &Discovered, catalogue: &Arc<Catalogue>, headers: &HeaderMap) -> Response {
    if let Some(version) = aggregated_version(headers) {
        return known.document(catalogue, version, Part::Core).answer(headers);
    }
    json_response(
        StatusCode::OK,
        &json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }),
    )
}

/// `/apis`
pub fn groups(
    known: &Discovered,
    aggregation: &Aggregation,
    catalogue: &Arc<Catalogue>,
    headers: &HeaderMap,
) -> Response {
    let remotes = aggregation.remotes();
    if let Some(version) = aggregated_version(headers) {
        if remotes.is_empty() {
            return known.document(catalogue, version, Part::Groups).answer(headers);
        }
        return aggregate(catalogue, aggregation, version, Part::Groups).answer(headers);
    }
    let groups = versions_of(catalogue, aggregation);
    let groups: Vec<Value> =
        groups.iter().filter(|(g, _)| !g.is_empty()).map(|(g, v)| group_of(g, v)).collect();
    json_response(StatusCode::OK, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

/// `/apis/<group>`
pub fn group(aggregation: &Aggregation, catalogue: &Catalogue, name: &str) -> Result<Response, ApiError> {
    let groups = versions_of(catalogue, aggregation);
    let versions = groups.get(name).filter(|_| !name.is_empty()).ok_or_else(nothing)?;
    let mut group = group_of(name, versions);
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Ok(json_response(StatusCode::OK, &group))
}

/// `/api/v1`, `/apis/<group>/<version>`
pub fn resources(catalogue: &Catalogue, group: &str, version: &str) -> Result<Response, ApiError> {
    let kinds: Vec<&Kind> =
        catalogue.all().filter(|kind| kind.group == group && kind.version == version).collect();
    let first = kinds.first().ok_or_else(nothing)?;
    let resources: Vec<Value> = kinds.iter().flat_map(|kind| legacy(kind)).collect();
    Ok(json_response(
        StatusCode::OK,
        &json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": first.api_version(), "resources": resources,
        }),
    ))
}

/// `/version`
pub fn version() -> Response {
    json_response(
        StatusCode::OK,
        &json!({
            "major": "1", "minor": "37", "emulationMajor": "1", "emulationMinor": "37",
            "minCompatibilityMajor": "1", "minCompatibilityMinor": "36",
            "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc",
            "platform": format!("{}/{}", std::env::consts::OS, architecture()),
        }),
    )
}

/// The failure of a path that is not served.
pub fn nothing() -> ApiError {
    ApiError::new(Reason::NotFound, "the server could not find the requested resource")
}

/// The architecture as Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// The versions of every group, ours and others', the preferred one first.
fn versions_of(catalogue: &Catalogue, aggregation: &Aggregation) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (group, versions) in catalogue.groups() {
        groups.insert(group.to_owned(), versions.iter().map(|(version, _)| (*version).to_owned()).collect());
    }
    let metrics = custom_metrics::versions(aggregation);
    if !metrics.is_empty() {
        groups.insert(GROUP.to_owned(), metrics.iter().map(|version| (*version).to_owned()).collect());
    }
    for remote in aggregation.remotes().iter() {
        let versions = groups.entry(remote.group.clone()).or_default();
        if !versions.contains(&remote.version) {
            versions.push(remote.version.clone());
            versions.sort_by(|a, b| meta::prefer(a, b));
        }
    }
    groups
}

fn group_of(name: &str, versions: &[String]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

fn legacy(kind: &Kind) -> Vec<Value> {
    let namespaced = kind.scope == Scope::Namespaced;
    let mut whole = json!({
        "name": kind.plural, "singularName": kind.singular(), "namespaced": namespaced, "kind": kind.kind,
        "verbs": kind.verbs,
    });
    if kind.is_stored() {
        whole["storageVersionHash"] = storage_hash(kind).into();
    }
    if !kind.short_names().is_empty() {
        whole["shortNames"] = json!(kind.short_names());
    }
    if !kind.categories().is_empty() {
        whole["categories"] = json!(kind.categories());
    }
    let mut all = vec![whole];
    for subresource in kind.subresources() {
        let (group, version, name) = subresource.gvk(kind);
        let mut value = json!({
            "name": format!("{}/{}", kind.plural, subresource.name()), "singularName": "",
            "namespaced": namespaced, "kind": name, "verbs": subresource.verbs(),
        });
        if (group, version) != (kind.group, kind.version) {
            value["group"] = group.into();
            value["version"] = version.into();
        }
        all.push(value);
    }
    all
}

fn storage_hash(kind: &Kind) -> String {
    use base64::Engine as _;
    let text = format!("{}/{}/{}", kind.group, kind.version, kind.kind);
    let hex = Digest::of(text.as_bytes()).to_hex();
    base64::engine::general_purpose::STANDARD.encode(&hex.as_bytes()[..8])
}

/// Which of the two aggregated documents.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Core,
    Groups,
}

/// The four aggregated documents, of the kinds that were served when they were last asked for.
#[derive(Default)]
pub struct Discovered(Mutex<Option<Known>>);

/// Documents, and of which kinds.
type Known = (Arc<Catalogue>, Arc<[Document; 4]>);

impl Discovered {
    fn documents(&self, catalogue: &Arc<Catalogue>) -> Arc<[Document; 4]> {
        let mut known = self.0.lock();
        if let Some((of, documents)) = &*known
            && Arc::ptr_eq(of, catalogue)
        {
            return documents.clone();
        }
        let all =
            [("v2", Part::Core), ("v2", Part::Groups), ("v2beta1", Part::Core), ("v2beta1", Part::Groups)];
        let documents = Arc::new(all.map(|(version, part)| aggregate_local(catalogue, version, part)));
        *known = Some((catalogue.clone(), documents.clone()));
        documents
    }

    fn document(&self, catalogue: &Arc<Catalogue>, version: &str, part: Part) -> Aggregated {
        let index = usize::from(version != "v2") * 2 + usize::from(part == Part::Groups);
        Aggregated { documents: self.documents(catalogue), index }
    }
}

/// One of the documents.
struct Aggregated {
    documents: Arc<[Document; 4]>,
    index: usize,
}

impl Aggregated {
    fn answer(&self, headers: &HeaderMap) -> Response {
        self.documents[self.index].answer(headers)
    }
}

/// What is served here.
fn aggregate_local(catalogue: &Catalogue, version: &str, part: Part) -> Document {
    document(version, &local(catalogue, part))
}

/// What is served here and by others.
fn aggregate(catalogue: &Catalogue, aggregation: &Aggregation, version: &str, part: Part) -> Document {
    let mut groups = local(catalogue, part);
    if custom_metrics::versions(aggregation).is_empty() {
        groups.remove(GROUP);
    }
    for remote in aggregation.remotes().iter() {
        let versions = groups.entry(remote.group.clone()).or_default();
        versions.retain(|(version, _)| *version != remote.version);
        let learned = aggregation.learned(remote);
        let freshness = if remote.available { "Current" } else { "Stale" };
        let of = |learned: Arc<Value>| resources_of(&remote.group, &remote.version, &learned);
        let resources = learned.map(of).unwrap_or_default();
        let found = json!({"version": remote.version, "resources": resources, "freshness": freshness});
        versions.push((remote.version.clone(), found));
        versions.sort_by(|(a, _), (b, _)| meta::prefer(a, b));
    }
    document(version, &groups)
}

/// Versions of groups with what each holds.
type Groups = BTreeMap<String, Vec<(String, Value)>>;

fn local(catalogue: &Catalogue, part: Part) -> Groups {
    let groups = catalogue.groups();
    let wanted = groups.iter().filter(|(group, _)| group.is_empty() == (part == Part::Core));
    let versions = |versions: &[(&str, Kinds)]| {
        let one = |(version, kinds): &(&str, Kinds)| {
            let resources: Vec<Value> = kinds.iter().map(|kind| resource(kind)).collect();
            let found = json!({"version": version, "resources": resources, "freshness": "Current"});
            ((*version).to_owned(), found)
        };
        versions.iter().map(one).collect()
    };
    let mut found: Groups = wanted.map(|(group, all)| ((*group).to_owned(), versions(all))).collect();
    if part == Part::Groups {
        let one = |version: &&str| {
            let resources = resources_of(GROUP, version, &custom_metrics::resources(version));
            let found = json!({"version": version, "resources": resources, "freshness": "Current"});
            ((*version).to_owned(), found)
        };
        found.insert(GROUP.to_owned(), VERSIONS.iter().map(one).collect());
    }
    found
}

fn document(version: &str, groups: &Groups) -> Document {
    let items: Vec<Value> = groups
        .iter()
        .map(|(group, versions)| {
            let mut metadata = json!({"creationTimestamp": null});
            if !group.is_empty() {
                metadata["name"] = group.as_str().into();
            }
            let versions: Vec<&Value> = versions.iter().map(|(_, found)| found).collect();
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let value = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {},
        "items": items,
    });
    Document::new(
        &value,
        &format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"),
    )
}

/// The resources of an APIResourceList in the newer form, subresources with their resource, also if that is none of its
/// own.
fn resources_of(group: &str, version: &str, list: &Value) -> Vec<Value> {
    let all = meta::items(list, &["resources"]);
    let response = |one: &Value| {
        let or = |field: &str, otherwise: &str| match meta::text(one, &[field]) {
            "" => otherwise.to_owned(),
            said => said.to_owned(),
        };
        json!({"group": or("group", group), "version": or("version", version), "kind": one["kind"]})
    };
    let name_of = |one: &Value| meta::text(one, &["name"]).split('/').next().unwrap_or_default().to_owned();
    let mut names: Vec<String> = Vec::new();
    for name in all.iter().map(name_of) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
        .iter()
        .map(|name| {
            let own = all.iter().find(|one| meta::text(one, &["name"]) == name);
            let any = all.iter().find(|one| name_of(one) == *name);
            let scope = if any.is_some_and(|one| one["namespaced"] == true) { "Namespaced" } else { "Cluster" };
            let nothing = json!({"singularName": "", "verbs": []});
            let one = own.unwrap_or(&nothing);
            let kind = own.map_or_else(|| json!({"group": "", "version": "", "kind": ""}), response);
            let mut value = json!({
                "resource": name, "scope": scope, "singularResource": one["singularName"],
                "verbs": one["verbs"], "responseKind": kind,
            });
            for field in ["shortNames", "categories"] {
                if let Some(words) = one.get(field) {
                    value[field] = words.clone();
                }
            }
            let subresources: Vec<Value> = all
                .iter()
                .filter_map(|other| {
                    let (of, subresource) = meta::text(other, &["name"]).split_once('/')?;
                    let found = || json!({"subresource": subresource, "verbs": other["verbs"], "responseKind": response(other)});
                    (of == *name).then(found)
                })
                .collect();
            if !subresources.is_empty() {
                value["subresources"] = subresources.into();
            }
            value
        })
        .collect()
}

fn resource(kind: &Kind) -> Value {
    let scope = match kind.scope {
        Scope::Namespaced => "Namespaced",
        Scope::Cluster => "Cluster",
    };
    let mut value = json!({
        "resource": kind.plural, "scope": scope, "singularResource": kind.singular(), "verbs": kind.verbs,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    });
    if !kind.short_names().is_empty() {
        value["shortNames"] = json!(kind.short_names());
    }
    if !kind.categories().is_empty() {
        value["categories"] = json!(kind.categories());
    }
    if !kind.subresources().is_empty() {
        let subresources = kind.subresources().into_iter().map(|subresource| {
            let (group, version, name) = subresource.gvk(kind);
            json!({
                "subresource": subresource.name(), "verbs": subresource.verbs(),
                "responseKind": {"group": group, "version": version, "kind": name},
            })
        });
        value["subresources"] = subresources.collect();
    }
    value
}

//! EndpointSlices: at most a hundred endpoints each, and as few of them written as a change needs.

use std::collections::{BTreeMap, VecDeque};

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::{Value, json};

use crate::mirror::{Name, Object, SERVICE_NAME, Service, World, fnv};
use crate::reconcile::endpoints::{Backend, MANAGED_BY, MANAGER, SERVICE, labels, own_slices};
use crate::reconcile::ownership::{generated_name, reference};
use crate::reconcile::plan::Write;

const KIND: &Kind = &kinds::endpoint_slice::KIND;
/// The most endpoints of a slice.
const FULL: usize = 100;

/// A slice on its way from what it is to what it should be.
struct Draft {
    key: Name,
    revision: Option<u64>,
    tree: Value,
    endpoints: Vec<Value>,
    changed: bool,
}

/// The writes that bring a Service's slices in line with its Pods.
pub fn plan(service: &Object<Service>, backends: &[Backend<'_>], world: &World) -> Vec<Write> {
    // Pods whose named ports have other numbers need slices of their own.
    let mut groups: BTreeMap<String, (Value, BTreeMap<String, Value>)> = BTreeMap::new();
    for backend in backends {
        let group = groups
            .entry(backend.ports.to_string())
            .or_insert_with(|| (backend.ports.clone(), BTreeMap::new()));
        group.1.insert(backend.pod.meta.uid.to_string(), endpoint(service, backend));
    }
    let mut drafts = drafts(service, world);
    let mut left = Vec::new();
    for draft in &mut drafts {
        let wanted = groups.get_mut(&draft.tree["ports"].to_string()).map(|group| &mut group.1);
        keep_wanted(draft, wanted);
    }
    for (_, (ports, wanted)) in groups {
        let rest: VecDeque<Value> = wanted.into_values().collect();
        if !rest.is_empty() {
            left.push((ports, rest));
        }
    }
    for (ports, mut rest) in left {
        fill(&mut drafts, &ports, &mut rest);
        while !rest.is_empty() {
            let share = rest.drain(..rest.len().min(FULL)).collect();
            drafts.push(new_draft(service, ports.clone(), share, drafts.len(), world));
        }
    }
    if drafts.is_empty() {
        drafts.push(new_draft(service, json!([]), Vec::new(), 0, world));
    }
    finish(service, drafts, world)
}

fn drafts(service: &Object<Service>, world: &World) -> Vec<Draft> {
    let slices = own_slices(service, world).into_iter().filter(|slice| !slice.meta.deleting());
    let draft = |slice: &std::sync::Arc<Object<crate::mirror::EndpointSlice>>| {
        let mut tree = slice.tree();
        let endpoints = tree["endpoints"].take().as_array().cloned().unwrap_or_default();
        if tree["ports"].is_null() {
            tree["ports"] = json!([]);
        }
        let wanted = slice_labels(service);
        let changed = tree["metadata"]["labels"] != wanted;
        tree["metadata"]["labels"] = wanted;
        Draft { key: slice.key(), revision: Some(slice.revision), tree, endpoints, changed }
    };
    slices.map(draft).collect()
}

/// Takes out of a slice what is no longer wanted, and out of what is wanted what the slice has.
fn keep_wanted(draft: &mut Draft, mut wanted: Option<&mut BTreeMap<String, Value>>) {
    let mut kept = Vec::new();
    for endpoint in std::mem::take(&mut draft.endpoints) {
        let uid = endpoint["targetRef"]["uid"].as_str().unwrap_or_default();
        match wanted.as_mut().and_then(|wanted| wanted.remove(uid)) {
            Some(now) => {
                draft.changed |= now != endpoint;
                kept.push(now);
            }
            None => draft.changed = true,
        }
    }
    draft.endpoints = kept;
}

/// Puts new endpoints into slices of the same ports: first into those that are written anyway, then into any.
fn fill(drafts: &mut [Draft], ports: &Value, rest: &mut VecDeque<Value>) {
    for only_changed in [true, false] {
        for draft in drafts.iter_mut().filter(|draft| draft.tree["ports"] == *ports) {
            let room = FULL.saturating_sub(draft.endpoints.len()).min(rest.len());
            if room == 0 || only_changed && !draft.changed {
                continue;
            }
            draft.endpoints.extend(rest.drain(..room));
            draft.changed = true;
        }
    }
}

fn new_draft(
    service: &Object<Service>,
    ports: Value,
    endpoints: Vec<Value>,
    index: usize,
    world: &World,
) -> Draft {
    let prefix = format!("{}-", service.meta.name);
    let seed = fnv(format!("{} {} {index}", service.meta.uid, world.revision).as_bytes());
    let key = Name::new(&service.meta.namespace, &generated_name(&prefix, seed));
    let tree = json!({
        "apiVersion": KIND.api_version(),
        "kind": KIND.kind,
        "metadata": {
            "name": &*key.name,
            "generateName": prefix,
            "namespace": &*key.namespace,
            "labels": slice_labels(service),
            "ownerReferences": [reference(SERVICE, &service.meta)],
        },
        "addressType": "IPv4",
        "ports": ports,
    });
    Draft { key, revision: None, tree, endpoints, changed: true }
}

/// Empty slices go, but for the last one: it says that the Service was looked at.
fn finish(service: &Object<Service>, drafts: Vec<Draft>, world: &World) -> Vec<Write> {
    let mut spare_one = drafts.iter().all(|draft| draft.endpoints.is_empty());
    let mut writes = Vec::new();
    for draft in drafts {
        let spared = draft.endpoints.is_empty() && std::mem::take(&mut spare_one);
        if draft.endpoints.is_empty() && !spared {
            if let Some(slice) = world.slices.get(&service.meta.namespace, &draft.key.name) {
                writes.push(Write::delete(KIND, &slice.meta).planned_on(slice.revision));
            }
            continue;
        }
        if !draft.changed {
            continue;
        }
        let mut tree = draft.tree;
        tree["endpoints"] = Value::Array(draft.endpoints);
        writes.push(match draft.revision {
            Some(revision) => Write::update(KIND, draft.key, revision, tree),
            None => Write::create(KIND, draft.key, tree),
        });
    }
    writes
}

fn slice_labels(service: &Object<Service>) -> Value {
    labels(service, &[(SERVICE_NAME, &service.meta.name), (MANAGED_BY, MANAGER)])
}

fn endpoint(service: &Object<Service>, backend: &Backend<'_>) -> Value {
    let publish = service.body.publish_not_ready;
    let mut endpoint = json!({
        "addresses": [backend.address],
        "conditions": {
            "ready": publish || backend.serving && !backend.terminating(),
            "serving": backend.serving,
            "terminating": backend.terminating(),
        },
        "targetRef": backend.reference(),
    });
    if let Some(node) = &backend.pod.body.node {
        endpoint["nodeName"] = json!(node);
    }
    if let Some(zone) = backend.zone {
        endpoint["zone"] = json!(zone);
    }
    if let Some(hostname) = backend.hostname(service) {
        endpoint["hostname"] = json!(hostname);
    }
    endpoint
}

//! Endpoints: the older form, one object with everything, for those who still read it.

use std::collections::BTreeMap;

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::{Value, json};

use crate::mirror::{Name, Object, Service, World};
use crate::reconcile::endpoints::{Backend, labels};
use crate::reconcile::plan::Write;

const KIND: &Kind = &kinds::endpoints::KIND;
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
/// How many addresses one object has at most.
const CAPACITY: usize = 1000;

/// Deletes the Endpoints of a Service that is gone, if they were made here.
pub fn forget(key: &Name, world: &World) -> Option<Write> {
    let found = world.endpoints.at(key)?;
    let ours = found.meta.labels.get(MANAGED_BY).is_some_and(|by| by == MANAGER);
    (ours && !found.meta.deleting()).then(|| Write::delete(KIND, &found.meta).planned_on(found.revision))
}

/// The write that brings the Endpoints in line, if one is needed.
pub fn plan(service: &Object<Service>, backends: &[Backend<'_>], world: &World) -> Option<Write> {
    let subsets = subsets(service, backends);
    let labels = labels(service, &[(MANAGED_BY, MANAGER)]);
    let key = service.key();
    let Some(found) = world.endpoints.at(&key) else {
        let endpoints = json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": &*key.name, "namespace": &*key.namespace, "labels": labels},
            "subsets": subsets,
        });
        return Some(Write::create(KIND, key, endpoints));
    };
    let mut tree = found.tree();
    let same = tree["subsets"].as_array().map_or(&[][..], Vec::as_slice) == subsets.as_slice();
    if same && tree["metadata"]["labels"] == labels || found.meta.deleting() {
        return None;
    }
    tree["subsets"] = Value::Array(subsets);
    tree["metadata"]["labels"] = labels;
    Some(Write::update(KIND, key, found.revision, tree))
}

fn subsets(service: &Object<Service>, backends: &[Backend<'_>]) -> Vec<Value> {
    let mut groups: BTreeMap<String, (Value, Vec<Value>, Vec<Value>)> = BTreeMap::new();
    let publish = service.body.publish_not_ready;
    for backend in backends.iter().filter(|b| publish || !b.terminating()).take(CAPACITY) {
        let ports = backend.ports.clone();
        let group = groups.entry(ports.to_string()).or_insert_with(|| (ports, Vec::new(), Vec::new()));
        let address = address(service, backend);
        if publish || backend.serving { group.1.push(address) } else { group.2.push(address) }
    }
    let by_ip = |a: &Value, b: &Value| a["ip"].as_str().cmp(&b["ip"].as_str());
    let subset = |(_, (ports, mut ready, mut waiting)): (String, (Value, Vec<Value>, Vec<Value>))| {
        ready.sort_by(by_ip);
        waiting.sort_by(by_ip);
        let mut subset = json!({});
        let lists = [
            ("addresses", Value::Array(ready)),
            ("notReadyAddresses", Value::Array(waiting)),
            ("ports", ports),
        ];
        for (field, list) in
            lists.into_iter().filter(|(_, list)| list.as_array().is_some_and(|list| !list.is_empty()))
        {
            subset[field] = list;
        }
        subset
    };
    groups.into_iter().map(subset).collect()
}

fn address(service: &Object<Service>, backend: &Backend<'_>) -> Value {
    let mut address = json!({"ip": backend.address, "targetRef": backend.reference()});
    if let Some(node) = &backend.pod.body.node {
        address["nodeName"] = json!(node);
    }
    if let Some(hostname) = backend.hostname(service) {
        address["hostname"] = json!(hostname);
    }
    address
}

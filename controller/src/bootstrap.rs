//! What every cluster has from the beginning, and again if somebody deletes it: the four namespaces, the Service
//! `kubernetes` with the API server behind it, and by what other API servers know that it is this one that calls.
//!
//! One more controller: a fresh cluster is only one where all of it is missing. Roles are looked after once, at the
//! start.

mod policy;

pub mod roles;

use std::net::IpAddr;

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::{Value, json};

use crate::identity::FRONT_PROXY;
use crate::mirror::{Delta, Detail, Name, SERVICE_NAME, World};
use crate::reconcile::{Controller, Plan, Write};

const SERVICE: &str = "kubernetes";
const SYSTEM: &str = "kube-system";
/// The ConfigMap that says whom other API servers may believe.
const AUTHENTICATION: &str = "extension-apiserver-authentication";
/// The namespaces of every cluster.
pub const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// The table's entry. Its keys are namespaces, the Service, and the ConfigMap.
pub const CONTROLLER: Controller = Controller {
    name: "bootstrap-controller",
    begins: &[
        ("", "default"),
        ("", "kube-system"),
        ("", "kube-public"),
        ("", "kube-node-lease"),
        ("default", "kubernetes"),
        (SYSTEM, AUTHENTICATION),
    ],
    wakes,
    reconcile,
};

fn wakes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    let ours = &*delta.key.namespace == "default" && &*delta.key.name == SERVICE;
    match &delta.detail {
        Detail::Namespace((before, after)) if NAMESPACES.contains(&&*delta.key.name) => {
            if after.is_none() {
                wake(delta.key.clone());
            }
            if before.is_none() && &*delta.key.name == "default" {
                wake(Name::new("default", SERVICE));
            }
            if before.is_none() && &*delta.key.name == SYSTEM {
                wake(Name::new(SYSTEM, AUTHENTICATION));
            }
        }
        Detail::Service(_) | Detail::EndpointSlice(_) | Detail::Endpoints(_) if ours => {
            wake(delta.key.clone())
        }
        Detail::Other
            if delta.after.is_none()
                && *delta.kind == kinds::config_map::KIND
                && is_authentication(&delta.key) =>
        {
            wake(delta.key.clone());
        }
        _ => {}
    }
}

fn is_authentication(key: &Name) -> bool {
    &*key.namespace == SYSTEM && &*key.name == AUTHENTICATION
}

fn reconcile(key: &Name, world: &World) -> Plan {
    if key.namespace.is_empty() {
        return namespace(key, world);
    }
    if is_authentication(key) {
        return authentication(key, world);
    }
    if world.namespaces.get("", "default").is_none_or(|namespace| namespace.meta.deleting()) {
        return Plan::nothing();
    }
    let mut plan = Plan::nothing();
    plan.together(service(key, world).into_iter().collect());
    plan.together(slice(key, world).into_iter().chain(endpoints(key, world)).collect());
    plan
}

fn namespace(key: &Name, world: &World) -> Plan {
    if world.namespaces.at(key).is_some() {
        return Plan::nothing();
    }
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": &*key.name}});
    Plan::of(Write::create(&kinds::namespace::KIND, key.clone(), namespace))
}

/// Whom other API servers may believe that ask in somebody's name, and by which headers.
fn authentication(key: &Name, world: &World) -> Plan {
    const KIND: &Kind = &kinds::config_map::KIND;
    let ready = world.namespaces.get("", SYSTEM).is_some_and(|namespace| !namespace.meta.deleting());
    if !ready || world.found(KIND, key).is_some() {
        return Plan::nothing();
    }
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": AUTHENTICATION, "namespace": SYSTEM},
        "data": {
            "client-ca-file": world.settings.authority,
            "requestheader-allowed-names": json!([FRONT_PROXY]).to_string(),
            "requestheader-client-ca-file": world.settings.front_proxy_authority,
            "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
            "requestheader-group-headers": "[\"X-Remote-Group\"]",
            "requestheader-uid-headers": "[\"X-Remote-Uid\"]",
            "requestheader-username-headers": "[\"X-Remote-User\"]",
        },
    });
    Plan::of(Write::create(KIND, key.clone(), map))
}

fn labels() -> Value {
    json!({"component": "apiserver", "provider": "kubernetes"})
}

/// The address as which Endpoints may show the API server: loopback and unspecified addresses are not allowed there,
/// and mean something else to whoever reads them on another host. The node finds the API server by itself then.
fn address(world: &World) -> Option<IpAddr> {
    let address = world.settings.api_address?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

fn port(world: &World) -> u16 {
    world.settings.api_address.map_or(6443, |address| address.port())
}

fn service(key: &Name, world: &World) -> Option<Write> {
    const KIND: &Kind = &kinds::service::KIND;
    let ports = json!([{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port(world)}]);
    let Some(found) = world.services.at(key) else {
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": SERVICE, "namespace": "default", "labels": labels()},
            "spec": {
                "type": "ClusterIP",
                "clusterIP": world.settings.service_address,
                "ports": ports,
                "sessionAffinity": "None",
            },
        });
        return Some(Write::create(KIND, key.clone(), service));
    };
    let mut tree = found.tree();
    if tree["spec"]["ports"] == ports || found.meta.deleting() {
        return None;
    }
    tree["spec"]["ports"] = ports;
    Some(Write::update(KIND, key.clone(), found.revision, tree))
}

fn slice(key: &Name, world: &World) -> Option<Write> {
    const KIND: &Kind = &kinds::endpoint_slice::KIND;
    let endpoints: Vec<Value> = address(world)
        .map(|ip| json!({"addresses": [ip.to_string()], "conditions": {"ready": true}}))
        .into_iter()
        .collect();
    let ports = json!([{"name": "https", "port": port(world), "protocol": "TCP"}]);
    let Some(found) = world.slices.at(key) else {
        let slice = json!({
            "apiVersion": KIND.api_version(),
            "kind": KIND.kind,
            "metadata": {"name": SERVICE, "namespace": "default", "labels": {SERVICE_NAME: SERVICE}},
            "addressType": if address(world).is_some_and(|ip| ip.is_ipv6()) { "IPv6" } else { "IPv4" },
            "endpoints": endpoints,
            "ports": ports,
        });
        return Some(Write::create(KIND, key.clone(), slice));
    };
    let mut tree = found.tree();
    if tree["endpoints"].as_array().is_some_and(|all| *all == endpoints) && tree["ports"] == ports {
        return None;
    }
    tree["endpoints"] = json!(endpoints);
    tree["ports"] = ports;
    Some(Write::update(KIND, key.clone(), found.revision, tree))
}

fn endpoints(key: &Name, world: &World) -> Option<Write> {
    const KIND: &Kind = &kinds::endpoints::KIND;
    let ports = json!([{"name": "https", "port": port(world), "protocol": "TCP"}]);
    let subsets: Vec<Value> = address(world)
        .map(|ip| json!({"addresses": [{"ip": ip.to_string()}], "ports": ports}))
        .into_iter()
        .collect();
    let mark = "endpointslice.kubernetes.io/skip-mirror";
    let Some(found) = world.endpoints.at(key) else {
        let endpoints = json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": SERVICE, "namespace": "default", "labels": {mark: "true"}},
            "subsets": subsets,
        });
        return Some(Write::create(KIND, key.clone(), endpoints));
    };
    let mut tree = found.tree();
    if tree["subsets"].as_array().map_or(subsets.is_empty(), |all| *all == subsets) {
        return None;
    }
    tree["subsets"] = json!(subsets);
    Some(Write::update(KIND, key.clone(), found.revision, tree))
}

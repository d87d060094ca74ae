//! The Pods behind each Service: EndpointSlices, and the older Endpoints from the same plan.
//!
//! Reads Services, their Pods and the readiness of nodes. A Pod on a node that has not been heard of is not ready,
//! without its status being touched: when the node comes back, so does the Pod.

mod legacy;
mod slices;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::{Map, Value, json};

use crate::mirror::{Delta, Detail, Name, Object, Pod, SERVICE_NAME, Service, ServicePort, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::Plan;

const SERVICE: &Kind = &kinds::service::KIND;
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The table's entry.
pub const CONTROLLER: Controller =
    Controller { name: "endpointslice-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    match &delta.detail {
        Detail::Service(_) | Detail::Endpoints(_) => wake(delta.key.clone()),
        Detail::EndpointSlice((before, after)) => {
            for slice in [before, after].into_iter().flatten() {
                if let Some(service) = &slice.body.service {
                    wake(Name::new(&delta.key.namespace, service));
                }
            }
        }
        Detail::Pod((before, after)) => {
            let looks = |pod: &Arc<Object<Pod>>| appearance(pod);
            if before.as_ref().map(looks) != after.as_ref().map(looks) {
                [before, after].into_iter().flatten().for_each(|pod| wake_services(pod, world, wake));
            }
        }
        Detail::Node((before, after)) if before.as_deref().map(answers) != after.as_deref().map(answers) => {
            world.pods.on_node(&delta.key.name).for_each(|pod| wake_services(pod, world, wake));
        }
        _ => {}
    }
}

/// Everything about a Pod that shows in endpoints.
fn appearance(pod: &Object<Pod>) -> impl PartialEq + use<> {
    let body = &pod.body;
    (
        (pod.meta.uid.clone(), pod.meta.labels.clone(), pod.meta.deleting()),
        (body.ready, body.finished(), body.ips.clone(), body.node.clone()),
        (body.hostname.clone(), body.subdomain.clone()),
    )
}

fn wake_services(pod: &Object<Pod>, world: &World, wake: &mut dyn FnMut(Name)) {
    let services = world.services.in_namespace(&pod.meta.namespace);
    services.filter(|s| s.body.selector.matches(&pod.meta.labels)).for_each(|s| wake(s.key()));
}

/// Whether a node is heard of.
fn answers(node: &Object<crate::mirror::Node>) -> bool {
    node.body.ready().is_none_or(|condition| condition.status != "Unknown")
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let mut plan = Plan::nothing();
    let Some(service) = world.services.at(key) else {
        // Slices go with their owner; Endpoints never had one.
        plan.together(legacy::forget(key, world).into_iter().collect());
        return plan;
    };
    if service.meta.deleting() || service.body.selector.is_nothing() || service.body.kind == "ExternalName" {
        return plan;
    }
    let backends = backends(service, world);
    let mut writes = slices::plan(service, &backends, world);
    writes.extend(legacy::plan(service, &backends, world));
    plan.together(writes);
    plan
}

/// A Pod as a Service sees it.
struct Backend<'a> {
    pod: &'a Object<Pod>,
    address: &'a str,
    serving: bool,
    zone: Option<&'a String>,
    ports: Value,
}

fn backends<'a>(service: &Object<Service>, world: &'a World) -> Vec<Backend<'a>> {
    let mut all = Vec::new();
    for pod in world.pods.selected(&service.meta.namespace, &service.body.selector) {
        if pod.body.finished() {
            continue;
        }
        // IPv4 until Services have families.
        let Some(address) = pod.body.ips.iter().find(|ip| ip.parse::<std::net::Ipv4Addr>().is_ok()) else {
            continue;
        };
        let node = pod.body.node.as_ref().and_then(|node| world.nodes.get("", node));
        let Some(ports) = ports(service, pod) else { continue };
        all.push(Backend {
            pod,
            address,
            serving: pod.body.ready && node.is_none_or(|node| answers(node)),
            zone: node.and_then(|node| node.meta.labels.get("topology.kubernetes.io/zone")),
            ports,
        });
    }
    all
}

impl Backend<'_> {
    fn terminating(&self) -> bool {
        self.pod.meta.deleting()
    }

    fn reference(&self) -> Value {
        let meta = &self.pod.meta;
        json!({"kind": "Pod", "namespace": &*meta.namespace, "name": &*meta.name, "uid": &*meta.uid})
    }

    /// The name under which the headless Service lists the Pod.
    fn hostname(&self, service: &Object<Service>) -> Option<&str> {
        let body = &self.pod.body;
        (!body.hostname.is_empty() && *body.subdomain == *service.meta.name).then_some(body.hostname.as_str())
    }
}

/// The ports of a Service as this Pod has them; none if it has none of them.
fn ports(service: &Object<Service>, pod: &Object<Pod>) -> Option<Value> {
    let all = &service.body.ports;
    let found: Vec<Value> = all.iter().filter_map(|port| endpoint_port(port, pod)).collect();
    if found.is_empty() && !all.is_empty() {
        return None;
    }
    Some(Value::Array(found))
}

fn endpoint_port(port: &ServicePort, pod: &Object<Pod>) -> Option<Value> {
    let number = match &port.target_port {
        Value::Number(number) => number.as_i64().filter(|n| *n != 0).unwrap_or(port.port),
        Value::String(name) => {
            let named = |p: &&crate::mirror::PodPort| p.name == *name && p.protocol == port.protocol;
            pod.body.ports.iter().find(named)?.number
        }
        _ => port.port,
    };
    let mut value = json!({"name": port.name, "port": number, "protocol": port.protocol});
    if let Some(protocol) = &port.app_protocol {
        value["appProtocol"] = json!(protocol);
    }
    Some(value)
}

/// The Service's labels with those of our own.
fn labels(service: &Object<Service>, own: &[(&str, &str)]) -> Value {
    let mut labels: Map<String, Value> =
        service.meta.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    labels.remove(HEADLESS);
    if service.body.headless() {
        labels.insert(HEADLESS.to_owned(), json!(""));
    }
    for (key, value) in own {
        labels.insert((*key).to_owned(), json!(value));
    }
    Value::Object(labels)
}

/// The slices of a Service that this controller keeps.
fn own_slices<'a>(
    service: &Object<Service>,
    world: &'a World,
) -> Vec<&'a Arc<Object<crate::mirror::EndpointSlice>>> {
    let pairs = [
        (SERVICE_NAME.to_owned(), service.meta.name.to_string()),
        (MANAGED_BY.to_owned(), MANAGER.to_owned()),
    ];
    let selector = crate::mirror::Selector::of_pairs(pairs.into());
    world.slices.selected(&service.meta.namespace, &selector)
}

const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";

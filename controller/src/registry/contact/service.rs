//! Where a Service is: the ways to what is behind one of its ports.
//!
//! The control plane is no part of the Pod network. An endpoint that is a Pod is reached over the tunnel of its node;
//! every other one, and a Pod of a node without a tunnel, at its address.

use std::net::{IpAddr, SocketAddr};

use edge_api::kinds::endpoint_slice;
use edge_api::meta::{items, number, text};
use serde_json::Value;

use crate::outward::{Destination, Way};
use crate::registry::{Registry, Target};
use crate::store::Key;

/// The destination of a path on a port of a Service. The error says in Kubernetes' words why there is none.
pub(crate) fn destination(
    registry: &Registry,
    (namespace, name): (&str, &str),
    port: i64,
    path: String,
) -> Result<Destination, String> {
    let service = registry.store().get(&Key::of("core", "services", namespace, name));
    let service = service.ok_or_else(|| format!("service {name:?} not found"))?;
    let service: Value = serde_json::from_slice(&service.value).unwrap_or_default();
    let ports = items(&service, &["spec", "ports"]);
    let unknown = || format!("no service port {port} found for service {name:?}");
    let found = ports.iter().find(|one| number(one, &["port"]) == Some(port)).ok_or_else(unknown)?;
    if text(&service, &["spec", "type"]) == "ExternalName" {
        let host = text(&service, &["spec", "externalName"]).to_owned();
        let port = u16::try_from(port).map_err(|_| unknown())?;
        return Ok(Destination { host, port, path, ways: Vec::new() });
    }
    let mut ways = ways(registry, namespace, name, text(found, &["name"]));
    if ways.is_empty() {
        return Err(format!("no endpoints available for service {name:?}"));
    }
    fastrand::shuffle(&mut ways);
    Ok(Destination { host: format!("{name}.{namespace}.svc"), port: 443, path, ways })
}

fn ways(registry: &Registry, namespace: &str, service: &str, port: &str) -> Vec<Way> {
    let slices = Target::all(&endpoint_slice::KIND, namespace);
    let label = format!("{}={service}", endpoint_slice::SERVICE_NAME_LABEL);
    let slices = registry.labelled(&slices, &label).unwrap_or_default();
    slices.iter().flat_map(|slice| of_slice(registry, &slice.value(), port)).collect()
}

fn of_slice(registry: &Registry, slice: &Value, port: &str) -> Vec<Way> {
    let ports = items(slice, &["ports"]);
    let number = ports.iter().find(|one| text(one, &["name"]) == port).and_then(|one| number(one, &["port"]));
    let Some(port) = number.and_then(|number| u16::try_from(number).ok()) else { return Vec::new() };
    let ready = |endpoint: &&Value| endpoint["conditions"]["ready"] != Value::Bool(false);
    let endpoints = items(slice, &["endpoints"]).iter().filter(ready);
    endpoints.flat_map(|endpoint| of_endpoint(registry, endpoint, port)).collect()
}

fn of_endpoint(registry: &Registry, endpoint: &Value, port: u16) -> Vec<Way> {
    let node = text(endpoint, &["nodeName"]);
    let tunnels = registry.tunnels();
    if text(endpoint, &["targetRef", "kind"]) == "Pod" && tunnels.is_connected(node) {
        let pod = ["namespace", "name"].map(|field| text(endpoint, &["targetRef", field]).to_owned());
        return vec![Way::Tunnel { tunnels: tunnels.clone(), node: node.to_owned(), pod, port }];
    }
    let addresses = items(endpoint, &["addresses"]).iter();
    let addresses = addresses.filter_map(|address| address.as_str()?.parse::<IpAddr>().ok());
    addresses.map(|address| Way::Address(SocketAddr::new(address, port))).collect()
}

//! Where a Service is: the addresses behind one of its ports.
//!
//! The control plane is no part of the Pod network, so only endpoints with an address of the host's own network can be
//! called: those that somebody wrote for a Service without a selector.

use std::net::{IpAddr, SocketAddr};

use edge_api::meta::{items, number, text};
use serde_json::Value;

use crate::outward::Destination;
use crate::registry::admit::Request;

/// The destination of a path on a port of a Service.
pub(super) fn destination(
    request: &Request<'_>,
    (namespace, name): (&str, &str),
    port: i64,
    path: String,
) -> Result<Destination, String> {
    let service = request.stored("core", "services", namespace, name);
    let service = service.ok_or_else(|| format!("service {name:?} not found"))?.value();
    let ports = items(&service, &["spec", "ports"]);
    let found = ports.iter().find(|one| number(one, &["port"]) == Some(port));
    let found = found.ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    if text(&service, &["spec", "type"]) == "ExternalName" {
        let host = text(&service, &["spec", "externalName"]).to_owned();
        let port =
            u16::try_from(port).map_err(|_| format!("no service port {port} found for service {name:?}"))?;
        return Ok(Destination { host, port, path, addresses: Vec::new() });
    }
    let addresses = addresses(request, namespace, name, text(found, &["name"]));
    if addresses.is_empty() {
        return Err(format!("no endpoints available for service {name:?}"));
    }
    Ok(Destination { host: format!("{name}.{namespace}.svc"), port: 443, path, addresses })
}

fn addresses(request: &Request<'_>, namespace: &str, service: &str, port: &str) -> Vec<SocketAddr> {
    let slices = request.all("discovery.k8s.io", "endpointslices", namespace);
    let slices = slices.iter().map(|(_, slice)| slice).filter(|slice| {
        slice.header().labels.get("kubernetes.io/service-name").is_some_and(|name| name == service)
    });
    slices.flat_map(|slice| of_slice(&slice.value(), port)).collect()
}

fn of_slice(slice: &Value, port: &str) -> Vec<SocketAddr> {
    let ports = items(slice, &["ports"]);
    let number = ports.iter().find(|one| text(one, &["name"]) == port).and_then(|one| number(one, &["port"]));
    let Some(number) = number.and_then(|number| u16::try_from(number).ok()) else { return Vec::new() };
    let ready = |endpoint: &&Value| endpoint["conditions"]["ready"] != Value::Bool(false);
    let endpoints = items(slice, &["endpoints"]).iter().filter(ready);
    let addresses = endpoints.flat_map(|endpoint| items(endpoint, &["addresses"]));
    let addresses = addresses.filter_map(|address| address.as_str()?.parse::<IpAddr>().ok());
    addresses.map(|address| SocketAddr::new(address, number)).collect()
}

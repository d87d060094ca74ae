//! One Service and its EndpointSlices as the data path needs them. Pure.

use crate::table::{Endpoints, Form, Member, Protocol, Service, ServicePort, Tally};
use edge_api::kinds::endpoint_slice::{Endpoint, EndpointSlice};
use edge_api::kinds::service;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// Kubernetes' default of `sessionAffinityConfig.clientIP.timeoutSeconds`.
const AFFINITY_SECONDS: u64 = 10_800;

/// What is read of an EndpointSlice.
pub(crate) struct Slice {
    ports: Arc<[(Arc<str>, Protocol, u16)]>,
    endpoints: Vec<SliceEndpoint>,
}

struct SliceEndpoint {
    ip: IpAddr,
    hostname: Option<Arc<str>>,
    local: bool,
    ready: bool,
    /// It serves although it terminates.
    lingers: bool,
}

impl Slice {
    pub(crate) fn read(slice: &EndpointSlice, node: &str) -> Self {
        let ports = slice.ports.iter().filter_map(|port| {
            let name: Arc<str> = port.name.as_deref().unwrap_or("").into();
            let protocol = Protocol::from_kubernetes(port.protocol.as_deref().unwrap_or(""))?;
            Some((name, protocol, u16::try_from(port.port?).ok()?))
        });
        let read = |endpoint: &Endpoint| read_endpoint(endpoint, node);
        Slice { ports: ports.collect(), endpoints: slice.endpoints.iter().filter_map(read).collect() }
    }
}

fn read_endpoint(endpoint: &Endpoint, node: &str) -> Option<SliceEndpoint> {
    let conditions = &endpoint.conditions;
    let ready = conditions.ready.unwrap_or(true);
    let terminating = conditions.terminating.unwrap_or(false);
    Some(SliceEndpoint {
        ip: endpoint.addresses.first()?.parse().ok()?,
        hostname: endpoint.hostname.as_deref().filter(|name| !name.is_empty()).map(Into::into),
        local: endpoint.node_name.as_deref() == Some(node),
        ready,
        lingers: terminating && conditions.serving.unwrap_or(ready),
    })
}

/// What a Service keeps over its generations, and who is woken by it.
pub(crate) struct Standing {
    pub(crate) tally: Tally,
    pub(crate) wakers: Arc<[Arc<str>]>,
}

/// Joins a Service and its slices. `turn` gives the counter that a port keeps over its
/// generations.
pub(crate) fn service<'a>(
    key: &Arc<str>,
    service: &service::Service,
    slices: impl Iterator<Item = &'a Slice> + Clone,
    standing: Standing,
    mut turn: impl FnMut(u16, Protocol) -> Arc<AtomicUsize>,
) -> Service {
    let form = form(service);
    let affinity = affinity(service);
    let spec = &service.spec;
    let is_local = |policy: &str| policy == "Local";
    let ports = spec.ports.iter().filter_map(|port| {
        let protocol = Protocol::from_kubernetes(&port.protocol)?;
        let number = u16::try_from(port.port).ok()?;
        Some(Arc::new(ServicePort {
            service: key.clone(),
            name: port.name.as_str().into(),
            protocol,
            number,
            node_port: u16::try_from(port.node_port).ok().filter(|port| *port > 0),
            affinity,
            http2: port.app_protocol.as_deref() == Some("kubernetes.io/h2c"),
            inside_local_only: spec.internal_traffic_policy.as_deref().is_some_and(is_local),
            outside_local_only: is_local(&spec.external_traffic_policy),
            endpoints: Arc::new(endpoints(&port.name, protocol, slices.clone())),
            wakers: standing.wakers.clone(),
            tally: standing.tally.clone(),
            turn: turn(number, protocol),
        }))
    });
    let ports = ports.collect();
    let members = match form {
        Form::Headless => members(slices),
        _ => Vec::new(),
    };
    Service { key: key.clone(), form, ports, members, tally: standing.tally }
}

fn form(service: &service::Service) -> Form {
    let spec = &service.spec;
    if spec.type_ == "ExternalName" {
        let target = spec.external_name.trim_end_matches('.').to_ascii_lowercase();
        return Form::External(target.into());
    }
    if spec.cluster_ip == "None" {
        return Form::Headless;
    }
    let mut ips: Vec<IpAddr> = spec.cluster_ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    if ips.is_empty() {
        ips.extend(spec.cluster_ip.parse::<IpAddr>().ok());
    }
    Form::ClusterIp(ips)
}

fn affinity(service: &service::Service) -> Option<Duration> {
    if service.spec.session_affinity != "ClientIP" {
        return None;
    }
    let config = service.spec.session_affinity_config.as_ref();
    let seconds = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Some(Duration::from_secs(seconds.unwrap_or(AFFINITY_SECONDS)))
}

/// The endpoints of one port: the ready ones or, if none is, those that still serve while they
/// terminate.
fn endpoints<'a>(
    name: &str,
    protocol: Protocol,
    slices: impl Iterator<Item = &'a Slice> + Clone,
) -> Endpoints {
    let collect = |wanted: fn(&SliceEndpoint) -> bool| {
        let mut endpoints = Endpoints::default();
        let mut seen = HashSet::new();
        for slice in slices.clone() {
            let ports = slice.ports.iter();
            let ports = ports.filter(|(port, of, _)| **port == *name && *of == protocol);
            for (_, _, number) in ports {
                for endpoint in slice.endpoints.iter().filter(|endpoint| wanted(endpoint)) {
                    let address = SocketAddr::new(endpoint.ip, *number);
                    if seen.insert(address) {
                        let side = if endpoint.local { &mut endpoints.local } else { &mut endpoints.remote };
                        side.push(address);
                    }
                }
            }
        }
        endpoints
    };
    let ready = collect(|endpoint| endpoint.ready);
    if ready == Endpoints::default() { collect(|endpoint| endpoint.lingers) } else { ready }
}

/// What a headless Service's name stands for: its ready endpoints.
fn members<'a>(slices: impl Iterator<Item = &'a Slice>) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for slice in slices {
        for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready) {
            let member =
                Member { ip: endpoint.ip, hostname: endpoint.hostname.clone(), ports: slice.ports.clone() };
            members.push(member);
        }
    }
    members.sort_by(|a, b| (a.ip, &a.hostname).cmp(&(b.ip, &b.hostname)));
    members
}

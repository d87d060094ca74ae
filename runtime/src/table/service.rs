//! Services as the data path sees them: ports with the endpoints a new connection may go to.

use crate::table::Tally;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// From Kubernetes' spelling; SCTP is not carried.
    pub fn from_kubernetes(text: &str) -> Option<Self> {
        match text {
            "" | "TCP" => Some(Protocol::Tcp),
            "UDP" => Some(Protocol::Udp),
            _ => None,
        }
    }

    /// As in DNS names: `tcp`, `udp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// Where a Service is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// It has cluster IPs.
    ClusterIp(Vec<IpAddr>),
    /// `clusterIP: None`: its name means its endpoints.
    Headless,
    /// Its name means another name.
    External(Arc<str>),
}

/// One Service.
#[derive(Debug, Clone)]
pub struct Service {
    /// `<name>.<namespace>`, as DNS names it.
    pub key: Arc<str>,
    /// How its name resolves.
    pub form: Form,
    /// Its ports. A headless Service without ports has none.
    pub ports: Vec<Arc<ServicePort>>,
    /// The endpoints that names of the Service stand for.
    pub members: Vec<Member>,
    /// How many requests came for it on this node.
    pub tally: Tally,
}

impl Service {
    /// The metadata name.
    pub fn name(&self) -> &str {
        self.key.split_once('.').map_or(&*self.key, |(name, _)| name)
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.key.split_once('.').map_or("", |(_, namespace)| namespace)
    }

    /// The cluster IPs; empty unless it has some.
    pub fn cluster_ips(&self) -> &[IpAddr] {
        match &self.form {
            Form::ClusterIp(ips) => ips,
            _ => &[],
        }
    }

    /// The port an Ingress backend names.
    pub fn port(&self, reference: &PortReference) -> Option<&Arc<ServicePort>> {
        self.ports.iter().filter(|port| port.protocol == Protocol::Tcp).find(|port| match reference {
            PortReference::Number(number) => port.number == *number,
            PortReference::Name(name) => port.name == *name,
        })
    }
}

/// A Service's port by number or by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortReference {
    /// By `spec.ports[].port`.
    Number(u16),
    /// By `spec.ports[].name`.
    Name(Arc<str>),
}

/// One address a Service's name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The endpoint's address.
    pub ip: IpAddr,
    /// Its `hostname`, under which it has a name of its own.
    pub hostname: Option<Arc<str>>,
    /// Where each named port leads on this endpoint.
    pub ports: Arc<[(Arc<str>, Protocol, u16)]>,
}

impl Member {
    /// The first label of the endpoint's own name: its hostname, else its address in dashes.
    pub fn label(&self) -> Arc<str> {
        match &self.hostname {
            Some(hostname) => hostname.clone(),
            None => dashed(self.ip).into(),
        }
    }
}

/// `10.42.0.7` → `10-42-0-7`; IPv6 in full, since an abbreviated one may begin or end in a dash.
pub fn dashed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{a}-{b}-{c}-{d}")
        }
        IpAddr::V6(ip) => {
            let parts: Vec<String> = ip.segments().iter().map(|part| format!("{part:x}")).collect();
            parts.join("-")
        }
    }
}

/// Who asks for an endpoint; traffic policies differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A Pod, by cluster IP.
    Inside,
    /// A client of NodePort or LoadBalancer.
    Outside,
    /// The Ingress proxy, which no traffic policy concerns.
    Routed,
}

/// One port of a Service.
#[derive(Debug, Clone)]
pub struct ServicePort {
    /// The Service's key, `<name>.<namespace>`.
    pub service: Arc<str>,
    /// The port's name; empty if it has none.
    pub name: Arc<str>,
    /// Its protocol.
    pub protocol: Protocol,
    /// `port`.
    pub number: u16,
    /// `nodePort`.
    pub node_port: Option<u16>,
    /// The time a client keeps its endpoint with `sessionAffinity: ClientIP`.
    pub affinity: Option<Duration>,
    /// Whether backends speak HTTP/2 without TLS (`appProtocol: kubernetes.io/h2c`).
    pub http2: bool,
    /// `internalTrafficPolicy: Local`.
    pub inside_local_only: bool,
    /// `externalTrafficPolicy: Local`.
    pub outside_local_only: bool,
    /// Where new connections may go: endpoints of this node, then those of others.
    pub endpoints: Arc<Endpoints>,
    /// The autoscalers (`namespace/name`) that bring endpoints back when a request finds none.
    pub wakers: Arc<[Arc<str>]>,
    /// How many requests came for the Service on this node.
    pub tally: Tally,
    /// Whose turn it is; shared by all generations of this port.
    pub(crate) turn: Arc<AtomicUsize>,
}

/// The endpoints that take new connections: the ready ones or, if none is, those that still
/// serve while they terminate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// On this node.
    pub local: Vec<SocketAddr>,
    /// On other nodes or outside.
    pub remote: Vec<SocketAddr>,
}

impl ServicePort {
    /// Every endpoint that may take a connection, in the order to try them: those of this node in
    /// turn, then the others in turn. Endpoints of other nodes come last as long as streams
    /// between nodes do not exist.
    pub fn candidates(&self, origin: Origin) -> impl Iterator<Item = SocketAddr> + Clone + '_ {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let local_only = match origin {
            Origin::Inside => self.inside_local_only,
            Origin::Outside => self.outside_local_only,
            Origin::Routed => false,
        };
        let remote: &[SocketAddr] = if local_only { &[] } else { &self.endpoints.remote };
        rotated(&self.endpoints.local, turn).chain(rotated(remote, turn))
    }

    /// Gives back the turn that [`ServicePort::candidates`] took, for who looked what is there and sent nothing.
    pub fn give_back(&self) {
        self.turn.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether there are no endpoints, and a request brings some.
    pub fn is_asleep(&self) -> bool {
        !self.wakers.is_empty() && self.endpoints.local.is_empty() && self.endpoints.remote.is_empty()
    }

    /// Whether the address still is one of the endpoints.
    pub fn has(&self, endpoint: SocketAddr) -> bool {
        self.endpoints.local.contains(&endpoint) || self.endpoints.remote.contains(&endpoint)
    }
}

fn rotated(all: &[SocketAddr], turn: usize) -> impl Iterator<Item = SocketAddr> + Clone + '_ {
    let (before, after) = all.split_at(if all.is_empty() { 0 } else { turn % all.len() });
    after.iter().chain(before).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(local: &[&str], remote: &[&str]) -> ServicePort {
        let parse = |all: &[&str]| all.iter().map(|a| a.parse().expect("valid")).collect();
        ServicePort {
            service: "web.default".into(),
            name: "".into(),
            protocol: Protocol::Tcp,
            number: 80,
            node_port: None,
            affinity: None,
            http2: false,
            inside_local_only: false,
            outside_local_only: true,
            endpoints: Arc::new(Endpoints { local: parse(local), remote: parse(remote) }),
            wakers: Arc::default(),
            tally: Tally::default(),
            turn: Arc::default(),
        }
    }

    #[test]
    fn candidates_take_turns_and_each_comes_once() {
        let port = port(&["10.42.0.2:80", "10.42.0.3:80"], &["10.42.1.2:80"]);
        let first: Vec<String> = port.candidates(Origin::Inside).map(|a| a.to_string()).collect();
        let second: Vec<String> = port.candidates(Origin::Inside).map(|a| a.to_string()).collect();
        assert_eq!(first, ["10.42.0.2:80", "10.42.0.3:80", "10.42.1.2:80"]);
        assert_eq!(second, ["10.42.0.3:80", "10.42.0.2:80", "10.42.1.2:80"]);
        port.give_back();
        let again: Vec<String> = port.candidates(Origin::Inside).map(|a| a.to_string()).collect();
        assert_eq!(again, second, "who only looks takes no turn");
        assert_eq!(port.candidates(Origin::Outside).count(), 2, "local policy");
    }

    #[test]
    fn addresses_become_labels() {
        assert_eq!(dashed("10.42.0.7".parse().expect("valid")), "10-42-0-7");
        assert_eq!(dashed("fd42::1".parse().expect("valid")), "fd42-0-0-0-0-0-0-1");
    }
}

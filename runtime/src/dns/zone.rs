//! What the cluster's own names stand for (Kubernetes DNS specification 1.1.0). Pure.

use crate::dns::wire::{Name, kind};
use crate::table::{Form, Member, Protocol, Range, Service, Table, dashed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The version of the specification that `dns-version` names.
pub(crate) const VERSION: &str = "1.1.0";

/// Seconds the cluster's records live: Pods come and go.
pub(crate) const TTL: u32 = 5;

/// The names and addresses this server answers for itself.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    /// The cluster domain, lower case, without a dot at its end.
    pub(crate) domain: Arc<str>,
    /// Ranges whose reverse names are ours.
    pub(crate) ranges: Vec<Range>,
    /// Ranges that Pods live in.
    pub(crate) pod_ranges: Vec<Range>,
}

/// The data of a record. Names are without the dot at their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    Address(IpAddr),
    Pointer(String),
    Alias(String),
    Service {
        weight: u16,
        port: u16,
        target: String,
    },
    Text(&'static str),
    NameServer(String),
    /// The SOA record of a zone.
    Authority(Arc<str>),
}

impl Data {
    pub(crate) fn kind(&self) -> u16 {
        match self {
            Data::Address(IpAddr::V4(_)) => kind::A,
            Data::Address(IpAddr::V6(_)) => kind::AAAA,
            Data::Pointer(_) => kind::PTR,
            Data::Alias(_) => kind::CNAME,
            Data::Service { .. } => kind::SRV,
            Data::Text(_) => kind::TXT,
            Data::NameServer(_) => kind::NS,
            Data::Authority(_) => kind::SOA,
        }
    }
}

/// What the zone says about a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The name is not ours: ask others.
    NotOurs,
    /// There is no such name.
    NoSuchName,
    /// The name exists. These are its records of the asked kind, maybe none, and further ones
    /// (name and address) that the asker will want next.
    Records(Vec<Data>, Vec<(String, IpAddr)>),
}

fn found(records: Vec<Data>) -> Verdict {
    Verdict::Records(records, Vec::new())
}

impl Zone {
    /// Answers a question.
    pub(crate) fn look_up(&self, table: &Table, name: &Name, wanted: u16) -> Verdict {
        let Some(text) = name.as_str() else { return Verdict::NotOurs };
        if let Some(ip) = reverse_address(text) {
            return self.reverse(table, ip, wanted);
        }
        let Some(inner) = strip_domain(text, &self.domain) else { return Verdict::NotOurs };
        let mut labels: Vec<&str> = inner.rsplit('.').filter(|label| !label.is_empty()).collect();
        match labels.first().copied() {
            None => self.apex(wanted),
            Some("svc") => {
                labels.remove(0);
                self.in_services(table, &labels, inner, wanted)
            }
            Some("pod") => self.in_pods(&labels[1..], wanted),
            Some("dns-version") if labels.len() == 1 => {
                let text = is(wanted, kind::TXT).then_some(Data::Text(VERSION));
                found(text.into_iter().collect())
            }
            Some(_) => Verdict::NoSuchName,
        }
    }

    /// The records of the zone's own name.
    fn apex(&self, wanted: u16) -> Verdict {
        found(match wanted {
            kind::SOA => vec![Data::Authority(self.domain.clone())],
            kind::NS => vec![Data::NameServer(format!("ns.dns.{}", self.domain))],
            _ => Vec::new(),
        })
    }

    /// Below `svc`; labels come from the right: namespace, Service, more.
    fn in_services(&self, table: &Table, labels: &[&str], inner: &str, wanted: u16) -> Verdict {
        let (namespace, rest) = match labels {
            [] => return found(Vec::new()),
            [namespace, rest @ ..] => (*namespace, rest),
        };
        let Some(name) = rest.first() else {
            let exists = table.has_namespace(namespace);
            return if exists { found(Vec::new()) } else { Verdict::NoSuchName };
        };
        // `inner` ends in `<service>.<namespace>.svc`: the table's key is a part of it.
        let key_length = name.len() + 1 + namespace.len();
        let end = inner.len() - ".svc".len();
        let Some(service) = table.service(&inner[end - key_length..end]) else {
            return Verdict::NoSuchName;
        };
        match &rest[1..] {
            [] => self.service(service, wanted),
            [label] => self.below_service(service, label, wanted),
            [protocol, port] => self.port_of(service, protocol, port, wanted),
            _ => Verdict::NoSuchName,
        }
    }

    fn service(&self, service: &Service, wanted: u16) -> Verdict {
        match &service.form {
            Form::External(target) => found(vec![Data::Alias(target.to_string())]),
            Form::Headless if service.members.is_empty() => Verdict::NoSuchName,
            _ if is(wanted, kind::SRV) && wanted != kind::ANY => {
                let all = |_: &str, _: Protocol| true;
                let (records, additional) = self.service_records(service, all);
                Verdict::Records(records, additional)
            }
            Form::ClusterIp(ips) => found(addresses(ips.iter().copied(), wanted)),
            Form::Headless => {
                let mut ips: Vec<IpAddr> = service.members.iter().map(|member| member.ip).collect();
                ips.dedup();
                if let Some(turn) = ips.len().checked_sub(1) {
                    ips.rotate_left(fastrand::usize(0..=turn));
                }
                found(addresses(ips.into_iter(), wanted))
            }
        }
    }

    /// One label below a Service: an endpoint's own name, or `_tcp` that only has names below.
    fn below_service(&self, service: &Service, label: &str, wanted: u16) -> Verdict {
        if label == "_tcp" || label == "_udp" {
            return found(Vec::new());
        }
        if service.form != Form::Headless {
            return Verdict::NoSuchName;
        }
        let named = |member: &&Member| match &member.hostname {
            Some(hostname) => **hostname == *label,
            None => label.starts_with(|c: char| c.is_ascii_hexdigit()) && dashed(member.ip) == label,
        };
        let ips: Vec<IpAddr> = service.members.iter().filter(named).map(|m| m.ip).collect();
        if ips.is_empty() {
            return Verdict::NoSuchName;
        }
        found(addresses(ips.into_iter(), wanted))
    }

    fn port_of(&self, service: &Service, protocol: &str, port: &str, wanted: u16) -> Verdict {
        let (Some(protocol), Some(port)) = (protocol.strip_prefix('_'), port.strip_prefix('_')) else {
            return Verdict::NoSuchName;
        };
        let is_it = |name: &str, of: Protocol| {
            !name.is_empty() && name.eq_ignore_ascii_case(port) && of.as_str() == protocol
        };
        let (records, additional) = self.service_records(service, is_it);
        match records.is_empty() {
            true => Verdict::NoSuchName,
            false if is(wanted, kind::SRV) => Verdict::Records(records, additional),
            false => found(Vec::new()),
        }
    }

    /// SRV records of the ports that `which` accepts, and the addresses of their targets.
    fn service_records(
        &self,
        service: &Service,
        which: impl Fn(&str, Protocol) -> bool,
    ) -> (Vec<Data>, Vec<(String, IpAddr)>) {
        let base = format!("{}.svc.{}", service.key, self.domain);
        let mut records = Vec::new();
        let mut additional = Vec::new();
        match &service.form {
            Form::External(_) => {}
            Form::ClusterIp(ips) => {
                for port in service.ports.iter().filter(|port| which(&port.name, port.protocol)) {
                    records.push((port.number, base.clone()));
                }
                if !records.is_empty() {
                    additional.extend(ips.iter().map(|ip| (base.clone(), *ip)));
                }
            }
            Form::Headless => {
                for member in &service.members {
                    let target = format!("{}.{base}", member.label());
                    let before = records.len();
                    let ports = member.ports.iter().filter(|(name, of, _)| which(name, *of));
                    records.extend(ports.map(|(_, _, port)| (*port, target.clone())));
                    if records.len() > before {
                        additional.push((target, member.ip));
                    }
                }
            }
        }
        let weight = 100 / u16::try_from(records.len().clamp(1, 100)).unwrap_or(100);
        let to_data = |(port, target)| Data::Service { weight, port, target };
        (records.into_iter().map(to_data).collect(), additional)
    }

    /// `<dashed address>.<namespace>.pod`: any address of the Pod range.
    fn in_pods(&self, labels: &[&str], wanted: u16) -> Verdict {
        match labels {
            [] | [_] => found(Vec::new()),
            [_, label] => match undashed(label) {
                Some(ip) if self.pod_ranges.iter().any(|range| range.contains(ip)) => {
                    found(addresses([ip].into_iter(), wanted))
                }
                _ => Verdict::NoSuchName,
            },
            _ => Verdict::NoSuchName,
        }
    }

    fn reverse(&self, table: &Table, ip: IpAddr, wanted: u16) -> Verdict {
        let pointer = |name: String| Data::Pointer(format!("{name}.svc.{}", self.domain));
        let names: Vec<Data> = match table.service_at(ip) {
            Some(service) => vec![pointer(service.key.to_string())],
            None => table.member_names(ip).iter().map(|name| pointer(name.to_string())).collect(),
        };
        if !names.is_empty() {
            return found(if is(wanted, kind::PTR) { names } else { Vec::new() });
        }
        let ours = self.ranges.iter().any(|range| range.contains(ip));
        if ours { Verdict::NoSuchName } else { Verdict::NotOurs }
    }
}

fn is(wanted: u16, kind: u16) -> bool {
    wanted == kind || wanted == kind::ANY
}

fn addresses(ips: impl Iterator<Item = IpAddr>, wanted: u16) -> Vec<Data> {
    let of_kind = |ip: &IpAddr| is(wanted, if ip.is_ipv4() { kind::A } else { kind::AAAA });
    ips.filter(of_kind).map(Data::Address).collect()
}

/// `name` without `.domain`; the domain itself gives the empty name.
pub(crate) fn strip_domain<'a>(name: &'a str, domain: &str) -> Option<&'a str> {
    let inner = name.strip_suffix(domain)?;
    if inner.is_empty() { Some("") } else { inner.strip_suffix('.') }
}

/// The address a name under `in-addr.arpa` or `ip6.arpa` is about, if it names a whole one.
fn reverse_address(name: &str) -> Option<IpAddr> {
    if let Some(octets) = name.strip_suffix(".in-addr.arpa") {
        let mut parts = octets.rsplit('.').map(|part| part.parse::<u8>().ok());
        let mut next = || parts.next().flatten();
        let ip = Ipv4Addr::new(next()?, next()?, next()?, next()?);
        return parts.next().is_none().then_some(ip.into());
    }
    let nibbles = name.strip_suffix(".ip6.arpa")?;
    let mut value: u128 = 0;
    let mut count = 0;
    for nibble in nibbles.rsplit('.') {
        let digit = nibble.chars().next().filter(|_| nibble.len() == 1)?.to_digit(16)?;
        value = value << 4 | u128::from(digit);
        count += 1;
    }
    (count == 32).then(|| Ipv6Addr::from(value).into())
}

fn undashed(label: &str) -> Option<IpAddr> {
    let dots = label.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::from);
    dots.ok().or_else(|| label.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::from).ok())
}

//! Answers questions: from the table at once, from elsewhere after a while.

use crate::dns::forward::{ForwardError, Forwarder, Upstream};
use crate::dns::message::{self, Answer, Transport};
use crate::dns::names::{PodNames, Servers};
use crate::dns::resolv_conf::ResolvConf;
use crate::dns::wire::{self, CLASS_IN, Code, Incoming, Name, Query, kind};
use crate::dns::zone::{Data, Verdict, Zone};
use crate::table::{Range, Tables};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// What the resolver of a node needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster domain.
    pub domain: String,
    /// Ranges of Pods.
    pub pod_ranges: Vec<Range>,
    /// Ranges of Services.
    pub service_ranges: Vec<Range>,
    /// Where all other questions go.
    pub upstream: Upstream,
}

impl Default for Config {
    fn default() -> Self {
        let range = |text: &str| text.parse().expect("a valid range stands in the source");
        Config {
            domain: "cluster.local".to_owned(),
            pod_ranges: vec![range("10.42.0.0/16"), range("fd42::/48")],
            service_ranges: vec![range("10.43.0.0/16"), range("fd43::/112")],
            upstream: Upstream::ResolvConf(PathBuf::from("/etc/resolv.conf")),
        }
    }
}

/// Why a name has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// There is no such name, or it has no address.
    #[error("no such name")]
    NotFound,
    /// Nobody who might know answered.
    #[error("no answer")]
    Temporary,
    /// The text is no name.
    #[error("not a domain name")]
    Malformed,
}

/// Answers DNS questions for Pods and for the server.
pub struct Resolver {
    tables: Arc<Tables>,
    zone: Zone,
    forwarder: Forwarder,
}

/// What came of a packet at once.
pub(crate) enum Step {
    /// The answer is written.
    Answered,
    /// No answer is due.
    Ignored,
    /// Others must be asked; see [`Resolver::ask_others`].
    Elsewhere(Box<Query>, Option<String>),
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("domain", &self.zone.domain).finish_non_exhaustive()
    }
}

/// Aliases followed within the cluster.
const MAX_ALIASES: usize = 8;

impl Resolver {
    /// A resolver over the tables.
    pub fn new(config: Config, tables: Arc<Tables>) -> Self {
        let domain = config.domain.trim_end_matches('.').to_ascii_lowercase();
        let ranges = [config.pod_ranges.clone(), config.service_ranges].concat();
        let zone = Zone { domain: domain.into(), ranges, pod_ranges: config.pod_ranges };
        Resolver { tables, zone, forwarder: Forwarder::new(config.upstream) }
    }

    /// The cluster domain, lower case, without a dot at its end.
    pub fn cluster_domain(&self) -> &str {
        &self.zone.domain
    }

    /// The host's resolv.conf, from which Pods inherit.
    pub fn host(&self) -> Arc<ResolvConf> {
        self.forwarder.host()
    }

    /// Names an address this server listens on, so that nothing is forwarded to it.
    pub fn exclude(&self, own: SocketAddr) {
        self.forwarder.exclude(own);
    }

    /// The addresses of a name as one Pod sees it, IPv4 first.
    pub async fn resolve(&self, names: &PodNames, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        Name::parse(name).map_err(|_| ResolveError::Malformed)?;
        let fixed = name.trim_end_matches('.').to_ascii_lowercase();
        let fixed = names.hosts.iter().filter(|(host, _)| *host == fixed);
        let fixed: Vec<IpAddr> = fixed.map(|(_, ip)| *ip).collect();
        if !fixed.is_empty() {
            return Ok(fixed);
        }
        let mut failure = ResolveError::NotFound;
        for candidate in names.candidates(name) {
            // A name made too long by a search domain is passed over, as libc does.
            let Ok(candidate) = Name::parse(&candidate) else { continue };
            match self.addresses(names, candidate).await {
                Ok(ips) if !ips.is_empty() => return Ok(ips),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(?candidate, %error, "name could not be resolved");
                    failure = ResolveError::Temporary;
                }
            }
        }
        Err(failure)
    }

    async fn addresses(&self, names: &PodNames, mut name: Name) -> Result<Vec<IpAddr>, ForwardError> {
        let servers = match &names.servers {
            Servers::Cluster => None,
            Servers::Host => return self.ask_both(None, &name).await,
            Servers::Own(servers) => Some(servers.as_slice()),
        };
        if servers.is_some() {
            return self.ask_both(servers, &name).await;
        }
        for _ in 0..MAX_ALIASES {
            match self.known(&name) {
                Known::Addresses(ips) => return Ok(ips),
                Known::Alias(target) => name = target,
                Known::NotOurs => return self.ask_both(None, &name).await,
            }
        }
        Ok(Vec::new())
    }

    fn known(&self, name: &Name) -> Known {
        let table = self.tables.load();
        let mut ips = Vec::new();
        for kind in [kind::A, kind::AAAA] {
            match self.zone.look_up(&table, name, kind) {
                Verdict::NotOurs => return Known::NotOurs,
                Verdict::NoSuchName => return Known::Addresses(Vec::new()),
                Verdict::Records(records, _) => {
                    for record in records {
                        match record {
                            Data::Address(ip) => ips.push(ip),
                            Data::Alias(target) => {
                                let target = Name::parse(&target).ok();
                                return target.map_or(Known::Addresses(Vec::new()), Known::Alias);
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        Known::Addresses(ips)
    }

    /// A and AAAA at the same time; one that works is enough.
    async fn ask_both(
        &self,
        servers: Option<&[SocketAddr]>,
        name: &Name,
    ) -> Result<Vec<IpAddr>, ForwardError> {
        let ask = async |kind| match servers {
            None => self.forwarder.ask(name, kind, false).await,
            Some(servers) => {
                let answer = self.forwarder.ask_servers(servers, name, kind, false).await;
                answer.map(|answer| answer.packet.to_vec())
            }
        };
        let (four, six) = tokio::join!(ask(kind::A), ask(kind::AAAA));
        match (four, six) {
            (Err(error), Err(_)) => Err(error),
            (four, six) => {
                let mut ips = four.map(|packet| addresses_in(&packet)).unwrap_or_default();
                ips.extend(six.map(|packet| addresses_in(&packet)).unwrap_or_default());
                Ok(ips)
            }
        }
    }

    /// Answers a packet into `out` if that is possible at once.
    pub(crate) fn answer(&self, packet: &[u8], transport: Transport, out: &mut Vec<u8>) -> Step {
        let query = match wire::read_query(packet) {
            Incoming::Ignore => return Step::Ignored,
            Incoming::Reject(code) => {
                message::write_rejection(out, packet, code);
                return Step::Answered;
            }
            Incoming::Query(query) => query,
        };
        if query.class != CLASS_IN || matches!(query.kind, kind::OPT | 249..=254) {
            self.write_code(out, packet, &query, Code::Refused, transport);
            return Step::Answered;
        }
        let verdict = self.zone.look_up(&self.tables.load(), &query.name, query.kind);
        match verdict {
            Verdict::NotOurs => {
                let dnssec_ok = query.edns.is_some_and(|edns| edns.dnssec_ok);
                match self.forwarder.remembered(&query.name, query.kind, dnssec_ok) {
                    Some(foreign) => {
                        relay(out, packet, &query, &foreign, transport);
                        Step::Answered
                    }
                    None => Step::Elsewhere(Box::new(query), None),
                }
            }
            Verdict::NoSuchName => {
                let answer =
                    Answer { code: Code::NoSuchName, authority: Some(&self.zone.domain), ..self.empty() };
                message::write(out, packet, &query, &answer, transport);
                Step::Answered
            }
            Verdict::Records(records, additional) => {
                self.write_records(out, packet, query, &records, &additional, transport)
            }
        }
    }

    fn write_records(
        &self,
        out: &mut Vec<u8>,
        packet: &[u8],
        query: Query,
        records: &[Data],
        additional: &[(String, IpAddr)],
        transport: Transport,
    ) -> Step {
        let mut more = Vec::new();
        if let [Data::Alias(target)] = records
            && matches!(query.kind, kind::A | kind::AAAA)
        {
            let name = Name::parse(target).ok();
            match name.map(|name| self.zone.look_up(&self.tables.load(), &name, query.kind)) {
                Some(Verdict::NotOurs) => {
                    return Step::Elsewhere(Box::new(query), Some(target.clone()));
                }
                Some(Verdict::Records(at_target, _)) => {
                    let ips = at_target.into_iter().filter_map(|data| match data {
                        Data::Address(ip) => Some((target.clone(), ip)),
                        _ => None,
                    });
                    more.extend(ips);
                }
                _ => {}
            }
        }
        let authority = records.is_empty().then_some(&self.zone.domain);
        let answer = Answer { records, more: &more, additional, authority, ..self.empty() };
        message::write(out, packet, &query, &answer, transport);
        Step::Answered
    }

    /// Asks others on behalf of a client and writes what they say into `out`. With `alias`, the
    /// question's name is an alias of that one.
    pub(crate) async fn ask_others(
        &self,
        packet: &[u8],
        query: &Query,
        alias: Option<&str>,
        transport: Transport,
        out: &mut Vec<u8>,
    ) {
        let dnssec_ok = query.edns.is_some_and(|edns| edns.dnssec_ok);
        if let Some(target) = alias {
            let Ok(name) = Name::parse(target) else { return };
            let foreign = self.forwarder.ask(&name, query.kind, dnssec_ok).await;
            let ips = foreign.map(|foreign| addresses_in(&foreign)).unwrap_or_default();
            let more: Vec<_> = ips.into_iter().map(|ip| (target.to_owned(), ip)).collect();
            let records = [Data::Alias(target.to_owned())];
            let answer = Answer { records: &records, more: &more, ..self.empty() };
            return message::write(out, packet, query, &answer, transport);
        }
        match self.forwarder.ask(&query.name, query.kind, dnssec_ok).await {
            Ok(foreign) => relay(out, packet, query, &foreign, transport),
            Err(error) => {
                tracing::debug!(name = ?query.name, %error, "question could not be forwarded");
                self.write_code(out, packet, query, Code::ServerFailure, transport);
            }
        }
    }

    fn empty(&self) -> Answer<'static> {
        Answer {
            code: Code::NoError,
            authoritative: true,
            records: &[],
            more: &[],
            additional: &[],
            authority: None,
        }
    }

    fn write_code(&self, out: &mut Vec<u8>, packet: &[u8], query: &Query, code: Code, transport: Transport) {
        let answer = Answer { code, authoritative: false, ..self.empty() };
        message::write(out, packet, query, &answer, transport);
    }

    /// Answers one packet, asking others if need be. None: no answer is due.
    pub async fn respond(&self, packet: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        let transport = if over_tcp { Transport::Tcp } else { Transport::Udp };
        let mut out = Vec::new();
        match self.answer(packet, transport, &mut out) {
            Step::Answered => {}
            Step::Ignored => return None,
            Step::Elsewhere(query, alias) => {
                self.ask_others(packet, &query, alias.as_deref(), transport, &mut out).await;
            }
        }
        Some(out)
    }
}

#[allow(clippy::large_enum_variant, reason = "one at a time, matched where it is returned")]
enum Known {
    Addresses(Vec<IpAddr>),
    Alias(Name),
    NotOurs,
}

/// The addresses an answer holds, whatever aliases lead to them.
fn addresses_in(packet: &[u8]) -> Vec<IpAddr> {
    let records = wire::records(packet).unwrap_or_default();
    let answers = records.iter().filter(|(section, _)| *section == 0);
    answers.filter_map(|(_, record)| wire::address(packet, record)).collect()
}

/// Passes another server's answer on under the client's id, question and limits.
fn relay(out: &mut Vec<u8>, packet: &[u8], query: &Query, foreign: &[u8], transport: Transport) {
    let question_end = query.question_end;
    let room = message::size_limit(query, transport) - if query.edns.is_some() { 11 } else { 0 };
    out.clear();
    out.extend_from_slice(foreign);
    out[..2].copy_from_slice(&query.id.to_be_bytes());
    // Never authoritative; recursion is available; the client's wish comes back to it.
    out[2] = (out[2] & 0xfa) | u8::from(query.recursion_desired);
    out[3] |= 0x80;
    out[wire::HEADER..question_end].copy_from_slice(&packet[wire::HEADER..question_end]);
    if out.len() > room {
        out.truncate(question_end);
        out[2] |= 0x02;
        out[6..12].fill(0);
    }
    if let Some(edns) = query.edns {
        let additional = wire::counts(out)[3] + 1;
        out[10..12].copy_from_slice(&additional.to_be_bytes());
        wire::put_opt(out, message::UDP_SIZE, 0, edns.dnssec_ok);
    }
}

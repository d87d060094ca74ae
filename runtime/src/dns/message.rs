//! Answers as packets: sections, compression towards the question, truncation.

use crate::dns::wire::{CLASS_IN, Code, HEADER, Query, put_name, put_opt};
use crate::dns::zone::{Data, TTL};
use std::net::IpAddr;
use std::sync::Arc;

/// The largest answer over UDP: what passes nearly every path unfragmented.
pub(crate) const UDP_SIZE: u16 = 1232;
/// The largest answer to a client without EDNS.
const PLAIN_UDP_SIZE: usize = 512;

/// Over what an answer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// Everything an answer says.
pub(crate) struct Answer<'a> {
    pub(crate) code: Code,
    pub(crate) authoritative: bool,
    pub(crate) records: &'a [Data],
    /// Addresses at the end of an alias, which follow the others.
    pub(crate) more: &'a [(String, IpAddr)],
    pub(crate) additional: &'a [(String, IpAddr)],
    /// The zone whose SOA says how long "nothing" may be remembered.
    pub(crate) authority: Option<&'a Arc<str>>,
}

/// How long an answer may be for this client.
pub(crate) fn size_limit(query: &Query, transport: Transport) -> usize {
    match transport {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp => query
            .edns
            .map_or(PLAIN_UDP_SIZE, |edns| usize::from(edns.udp_size.min(UDP_SIZE)).max(PLAIN_UDP_SIZE)),
    }
}

/// Writes an answer into `out` (emptied first). What does not fit is left out and marked.
pub(crate) fn write(
    out: &mut Vec<u8>,
    packet: &[u8],
    query: &Query,
    answer: &Answer<'_>,
    transport: Transport,
) {
    let reserved = if query.edns.is_some() { 11 } else { 0 };
    let limit = size_limit(query, transport) - reserved;
    out.clear();
    out.extend_from_slice(&query.id.to_be_bytes());
    out.extend_from_slice(&flags(query.recursion_desired, answer));
    out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&packet[HEADER..query.question_end]);

    let mut answers = 0;
    let mut cut = false;
    for data in answer.records {
        cut = cut || !put_record(out, Owner::Question, data, limit);
        answers += u16::from(!cut);
    }
    for (name, ip) in answer.more {
        cut = cut || !put_record(out, Owner::Name(name), &Data::Address(*ip), limit);
        answers += u16::from(!cut);
    }
    let mut authorities = 0;
    if let Some(zone) = answer.authority {
        authorities = u16::from(put_record(out, Owner::Name(zone), &Data::Authority(zone.clone()), limit));
    }
    let mut additionals = 0;
    if !cut {
        for (name, ip) in answer.additional {
            // Additional records are a kindness; leaving some out is no truncation.
            if put_record(out, Owner::Name(name), &Data::Address(*ip), limit) {
                additionals += 1;
            }
        }
    }
    if let Some(edns) = query.edns {
        put_opt(out, UDP_SIZE, answer.code as u16, edns.dnssec_ok);
        additionals += 1;
    }
    if cut {
        out[2] |= 0x02;
    }
    out[6..8].copy_from_slice(&u16::to_be_bytes(answers));
    out[8..10].copy_from_slice(&u16::to_be_bytes(authorities));
    out[10..12].copy_from_slice(&u16::to_be_bytes(additionals));
}

/// A header-only answer to what could not be read.
pub(crate) fn write_rejection(out: &mut Vec<u8>, packet: &[u8], code: Code) {
    out.clear();
    out.extend_from_slice(&packet[..2]);
    out.push(0x80 | (packet[2] & 0x79));
    out.push(code as u8 & 0xf);
    let edns = code == Code::BadVersion;
    out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, u8::from(edns)]);
    if edns {
        put_opt(out, UDP_SIZE, code as u16, false);
    }
}

fn flags(recursion_desired: bool, answer: &Answer<'_>) -> [u8; 2] {
    let authoritative = if answer.authoritative { 0x04 } else { 0 };
    [0x80 | authoritative | u8::from(recursion_desired), 0x80 | (answer.code as u8 & 0xf)]
}

enum Owner<'a> {
    /// The name of the question, which stands right behind the header.
    Question,
    Name(&'a str),
}

/// Appends a record, or nothing if it would go over the limit.
fn put_record(out: &mut Vec<u8>, owner: Owner<'_>, data: &Data, limit: usize) -> bool {
    let start = out.len();
    match owner {
        Owner::Question => out.extend_from_slice(&[0xc0, HEADER as u8]),
        Owner::Name(name) => put_name(out, name.as_bytes()),
    }
    out.extend_from_slice(&data.kind().to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    out.extend_from_slice(&TTL.to_be_bytes());
    let length_at = out.len();
    out.extend_from_slice(&[0, 0]);
    put_data(out, data);
    let length = (out.len() - length_at - 2) as u16;
    out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    if out.len() > limit {
        out.truncate(start);
        return false;
    }
    true
}

fn put_data(out: &mut Vec<u8>, data: &Data) {
    match data {
        Data::Address(IpAddr::V4(ip)) => out.extend_from_slice(&ip.octets()),
        Data::Address(IpAddr::V6(ip)) => out.extend_from_slice(&ip.octets()),
        Data::Pointer(name) | Data::Alias(name) | Data::NameServer(name) => {
            put_name(out, name.trim_end_matches('.').as_bytes());
        }
        Data::Service { weight, port, target } => {
            out.extend_from_slice(&0u16.to_be_bytes());
            out.extend_from_slice(&weight.to_be_bytes());
            out.extend_from_slice(&port.to_be_bytes());
            put_name(out, target.as_bytes());
        }
        Data::Text(text) => {
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }
        Data::Authority(zone) => {
            put_name(out, format!("ns.dns.{zone}").as_bytes());
            put_name(out, format!("hostmaster.{zone}").as_bytes());
            // Serial, refresh, retry, expire, and how long "nothing" is remembered.
            for number in [1u32, 7200, 1800, 86_400, TTL] {
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
    }
}

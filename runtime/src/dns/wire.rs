//! DNS packets: just what a server of A, AAAA, SRV, PTR, CNAME, TXT and SOA needs to read and
//! write (RFC 1035, 2782, 6891).
//!
//! Reading never allocates for a name and never follows more than a bounded number of pointers;
//! anything odd is an error, never a guess.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Record types by number.
pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const ANY: u16 = 255;
}

/// The class of everything we answer.
pub(crate) const CLASS_IN: u16 = 1;

/// Response codes by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
    /// Needs EDNS; its upper bits go there.
    BadVersion = 16,
}

/// The packet is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed DNS packet")]
pub(crate) struct Malformed;

/// The length of a packet's header.
pub(crate) const HEADER: usize = 12;
/// The longest name, in bytes on the wire.
const MAX_NAME: usize = 255;
/// Compression pointers followed within one name.
const MAX_POINTERS: usize = 16;

/// A name in lower case, dots between labels, no dot at its end; the root is empty.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    bytes: [u8; MAX_NAME],
    length: u8,
}

impl Name {
    /// From text; a dot at its end is allowed. Labels are 1 to 63 bytes.
    pub(crate) fn parse(text: &str) -> Result<Name, Malformed> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut name = Name { bytes: [0; MAX_NAME], length: 0 };
        if text.is_empty() {
            return Ok(name);
        }
        for label in text.split('.') {
            name.push(label.as_bytes())?;
        }
        Ok(name)
    }

    fn push(&mut self, label: &[u8]) -> Result<(), Malformed> {
        let start = usize::from(self.length);
        let dot = usize::from(start > 0);
        let end = start + dot + label.len();
        // On the wire a name has one length byte more than text and a root byte.
        if label.is_empty() || label.len() > 63 || end + 2 > MAX_NAME || label.contains(&b'.') {
            return Err(Malformed);
        }
        if dot == 1 {
            self.bytes[start] = b'.';
        }
        self.bytes[start + dot..end].copy_from_slice(label);
        self.bytes[start + dot..end].make_ascii_lowercase();
        self.length = u8::try_from(end).map_err(|_| Malformed)?;
        Ok(())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The text, if it is UTF-8. Every name we serve is.
    pub(crate) fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()).ok()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// A client's EDNS wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edns {
    pub(crate) udp_size: u16,
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
}

/// A query with its one question.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) id: u16,
    pub(crate) recursion_desired: bool,
    pub(crate) name: Name,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    pub(crate) edns: Option<Edns>,
    /// Where the question ends in the packet.
    pub(crate) question_end: usize,
}

/// What a packet turned out to be.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one a packet, matched at once; a box would be an allocation a query"
)]
pub(crate) enum Incoming {
    /// A query to answer.
    Query(Query),
    /// To be answered with this code and the header alone.
    Reject(Code),
    /// A response, or too short for a header: no answer, or two servers could play ping-pong.
    Ignore,
}

/// Reads what a client sent.
pub(crate) fn read_query(packet: &[u8]) -> Incoming {
    let Some(header) = packet.get(..HEADER) else { return Incoming::Ignore };
    let flags = u16_at(header, 2);
    if flags & 0x8000 != 0 {
        return Incoming::Ignore;
    }
    if (flags >> 11) & 0xf != 0 {
        return Incoming::Reject(Code::NotImplemented);
    }
    match read_question(packet) {
        Ok(query) if query.edns.is_some_and(|edns| edns.version > 0) => Incoming::Reject(Code::BadVersion),
        Ok(query) => Incoming::Query(query),
        Err(Malformed) => Incoming::Reject(Code::FormatError),
    }
}

fn read_question(packet: &[u8]) -> Result<Query, Malformed> {
    let [questions, answers, authorities, additionals] = counts(packet);
    if questions != 1 || answers != 0 || authorities != 0 || additionals > 8 {
        return Err(Malformed);
    }
    let (name, at) = read_name(packet, HEADER)?;
    let fixed = packet.get(at..at + 4).ok_or(Malformed)?;
    let question_end = at + 4;
    let mut edns = None;
    let mut next = question_end;
    for _ in 0..additionals {
        let record = read_record(packet, next)?;
        next = record.end;
        if record.kind == kind::OPT {
            if edns.is_some() || !record.name_is_root {
                return Err(Malformed);
            }
            edns = Some(Edns {
                udp_size: record.class,
                version: (record.ttl >> 16) as u8,
                dnssec_ok: record.ttl & 0x8000 != 0,
            });
        }
    }
    let recursion_desired = packet[2] & 1 != 0;
    let (kind, class) = (u16_at(fixed, 0), u16_at(fixed, 2));
    let id = u16_at(packet, 0);
    Ok(Query { id, recursion_desired, name, kind, class, edns, question_end })
}

/// The four counts of the header.
pub(crate) fn counts(packet: &[u8]) -> [u16; 4] {
    [u16_at(packet, 4), u16_at(packet, 6), u16_at(packet, 8), u16_at(packet, 10)]
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some(pair) => u16::from_be_bytes([pair[0], pair[1]]),
        None => 0,
    }
}

/// Reads a name and where it ends, following compression pointers backwards only.
pub(crate) fn read_name(packet: &[u8], start: usize) -> Result<(Name, usize), Malformed> {
    let mut name = Name { bytes: [0; MAX_NAME], length: 0 };
    let mut at = start;
    let mut end = None;
    let mut pointers = 0;
    loop {
        let length = usize::from(*packet.get(at).ok_or(Malformed)?);
        match length {
            0 => return Ok((name, end.unwrap_or(at + 1))),
            1..=63 => {
                let label = packet.get(at + 1..at + 1 + length).ok_or(Malformed)?;
                name.push(label)?;
                at += 1 + length;
            }
            0xc0.. => {
                let low = usize::from(*packet.get(at + 1).ok_or(Malformed)?);
                let target = (length & 0x3f) << 8 | low;
                end.get_or_insert(at + 2);
                pointers += 1;
                if target >= at || pointers > MAX_POINTERS {
                    return Err(Malformed);
                }
                at = target;
            }
            _ => return Err(Malformed),
        }
    }
}

/// Where a name ends, without reading what it says.
fn skip_name(packet: &[u8], mut at: usize) -> Result<usize, Malformed> {
    loop {
        match usize::from(*packet.get(at).ok_or(Malformed)?) {
            0 => return Ok(at + 1),
            length @ 1..=63 => at += 1 + length,
            0xc0.. => return Ok(at + 2),
            _ => return Err(Malformed),
        }
    }
}

/// One resource record of a packet, by its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) name_is_root: bool,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) ttl_at: usize,
    pub(crate) data_at: usize,
    pub(crate) end: usize,
}

pub(crate) fn read_record(packet: &[u8], start: usize) -> Result<Record, Malformed> {
    let at = skip_name(packet, start)?;
    let fixed = packet.get(at..at + 10).ok_or(Malformed)?;
    let data_at = at + 10;
    let end = data_at + usize::from(u16_at(fixed, 8));
    if end > packet.len() {
        return Err(Malformed);
    }
    Ok(Record {
        name_is_root: packet[start] == 0,
        kind: u16_at(fixed, 0),
        class: u16_at(fixed, 2),
        ttl: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
        ttl_at: at + 4,
        data_at,
        end,
    })
}

/// Every record behind the questions, in the order of the sections, with its section (0 answers,
/// 1 authorities, 2 additionals).
pub(crate) fn records(packet: &[u8]) -> Result<Vec<(usize, Record)>, Malformed> {
    if packet.len() < HEADER {
        return Err(Malformed);
    }
    let [questions, sections @ ..] = counts(packet);
    let mut at = HEADER;
    for _ in 0..questions {
        at = skip_name(packet, at)? + 4;
    }
    let mut all = Vec::new();
    for (section, count) in sections.into_iter().enumerate() {
        for _ in 0..count {
            let record = read_record(packet, at)?;
            at = record.end;
            all.push((section, record));
        }
    }
    Ok(all)
}

/// The address in an A or AAAA record.
pub(crate) fn address(packet: &[u8], record: &Record) -> Option<IpAddr> {
    let data = packet.get(record.data_at..record.end)?;
    match record.kind {
        kind::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
        kind::AAAA => Some(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
        _ => None,
    }
}

/// Writes a query with EDNS.
pub(crate) fn write_query(id: u16, name: &Name, kind: u16, edns: Option<Edns>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
    put_name(&mut out, name.as_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    if let Some(edns) = edns {
        put_opt(&mut out, edns.udp_size, 0, edns.dnssec_ok);
    }
    out
}

/// Writes a name without compression. Labels over 63 bytes cannot come from a [`Name`] or a
/// Kubernetes name.
pub(crate) fn put_name(out: &mut Vec<u8>, name: &[u8]) {
    if !name.is_empty() {
        for label in name.split(|byte| *byte == b'.') {
            out.push(label.len().min(63) as u8);
            out.extend_from_slice(&label[..label.len().min(63)]);
        }
    }
    out.push(0);
}

/// Writes the OPT record.
pub(crate) fn put_opt(out: &mut Vec<u8>, udp_size: u16, code: u16, dnssec_ok: bool) {
    out.push(0);
    out.extend_from_slice(&kind::OPT.to_be_bytes());
    out.extend_from_slice(&udp_size.to_be_bytes());
    out.push((code >> 4) as u8);
    out.push(0);
    out.extend_from_slice(&(u16::from(dnssec_ok) << 15).to_be_bytes());
    out.extend_from_slice(&[0, 0]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let edns = Edns { udp_size: 1232, version: 0, dnssec_ok: false };
        write_query(7, &Name::parse(name).unwrap(), kind, Some(edns))
    }

    #[test]
    fn queries_read_as_written() {
        let packet = query("Web.Default.svc.cluster.local.", kind::SRV);
        let Incoming::Query(read) = read_query(&packet) else { panic!("a query") };
        assert_eq!(read.name.as_str(), Some("web.default.svc.cluster.local"));
        assert_eq!((read.id, read.kind, read.class), (7, kind::SRV, CLASS_IN));
        assert_eq!(read.edns.unwrap().udp_size, 1232);
        assert_eq!(read.question_end, packet.len() - 11);
    }

    #[test]
    fn names_have_limits() {
        let long = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
        assert_eq!(long.len(), 253);
        assert!(Name::parse(&long).is_ok());
        assert!(Name::parse(&format!("{long}x")).is_err());
        for bad in [".", "..", "a..b", &"a".repeat(64)] {
            let parsed = Name::parse(bad);
            assert_eq!(parsed.is_ok(), bad == ".", "{bad}");
        }
    }

    #[test]
    fn pointers_only_lead_back_and_not_for_ever() {
        let mut packet = vec![0; HEADER];
        packet.extend_from_slice(&[0xc0, 12]);
        assert!(read_name(&packet, HEADER).is_err(), "to itself");
        packet.truncate(HEADER);
        packet.extend_from_slice(&[1, b'a', 0xc0, 12]);
        assert!(read_name(&packet, HEADER + 2).is_err(), "a loop through labels");
    }

    #[test]
    fn odd_packets_get_the_right_code() {
        let good = query("a.b", kind::A);
        let mut response = good.clone();
        response[2] |= 0x80;
        assert!(matches!(read_query(&response), Incoming::Ignore));
        let mut update = good.clone();
        update[2] = 5 << 3;
        assert!(matches!(read_query(&update), Incoming::Reject(Code::NotImplemented)));
        let mut two = good.clone();
        two[5] = 2;
        assert!(matches!(read_query(&two), Incoming::Reject(Code::FormatError)));
        assert!(matches!(read_query(&good[..20]), Incoming::Reject(Code::FormatError)));
        assert!(matches!(read_query(&good[..11]), Incoming::Ignore));
    }

    /// Random and randomly damaged packets: nothing panics, reading ends.
    #[test]
    fn fuzz_reading() {
        let mut random = fastrand::Rng::with_seed(0x5eed);
        let seeds = [query("web.default.svc.cluster.local", kind::A), query("a", kind::ANY)];
        for round in 0..200_000 {
            let mut packet = seeds[round % seeds.len()].clone();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(0..packet.len());
                packet[at] = random.u8(..);
            }
            packet.truncate(random.usize(0..=packet.len()));
            if random.bool() {
                packet.extend(std::iter::repeat_with(|| random.u8(..)).take(40));
            }
            let _ = read_query(&packet);
            let _ = records(&packet);
            for start in [0, 5, 12, packet.len()] {
                let _ = read_name(&packet, start);
            }
        }
    }
}

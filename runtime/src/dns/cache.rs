//! Answers of other servers, kept as long as they may be and no more of them than fit.

use crate::dns::wire::{self, Code, Malformed, kind};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Answers in each of the two generations.
const ENTRIES: usize = 2048;
/// Bytes in each of the two generations.
const BYTES: usize = 1 << 20;
/// The longest an answer is kept, whatever it says.
const LONGEST: u32 = 3600;

/// A name, a record type, whether DNSSEC records were asked for.
pub(crate) type Question = (Box<[u8]>, u16, bool);

/// An answer of another server without its OPT record.
#[derive(Debug, Clone)]
pub(crate) struct Foreign {
    pub(crate) packet: Arc<[u8]>,
    times: Arc<[(usize, u32)]>,
    /// Seconds it may be kept.
    pub(crate) lifetime: u32,
    stored: Instant,
}

impl Foreign {
    /// Takes over an answer. Records behind an OPT record are left out with it.
    pub(crate) fn read(packet: &[u8], now: Instant) -> Result<Foreign, Malformed> {
        let records = wire::records(packet)?;
        let opt = records.iter().position(|(_, record)| record.kind == kind::OPT);
        let kept = &records[..opt.unwrap_or(records.len())];
        let end = match opt {
            Some(0) => question_end(packet)?,
            Some(at) => records[at - 1].1.end,
            None => records.last().map_or(question_end(packet)?, |(_, record)| record.end),
        };
        let mut short = packet[..end].to_vec();
        let additional = kept.iter().filter(|(section, _)| *section == 2).count();
        short[10..12].copy_from_slice(&(additional as u16).to_be_bytes());
        let times = kept.iter().map(|(_, record)| (record.ttl_at, record.ttl)).collect();
        let lifetime = lifetime(packet, kept);
        Ok(Foreign { packet: short.into(), times, lifetime, stored: now })
    }

    /// The packet with its times counted down.
    pub(crate) fn aged(&self, now: Instant) -> Vec<u8> {
        let mut packet = self.packet.to_vec();
        let age = now.saturating_duration_since(self.stored).as_secs();
        let age = u32::try_from(age).unwrap_or(u32::MAX);
        for (at, ttl) in self.times.iter() {
            packet[*at..at + 4].copy_from_slice(&ttl.saturating_sub(age).to_be_bytes());
        }
        packet
    }

    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.stored) < Duration::from_secs(self.lifetime.into())
    }
}

fn question_end(packet: &[u8]) -> Result<usize, Malformed> {
    let (_, at) = wire::read_name(packet, wire::HEADER)?;
    if at + 4 <= packet.len() { Ok(at + 4) } else { Err(Malformed) }
}

/// The smallest time of its answers; without answers, what its SOA says of "nothing".
fn lifetime(packet: &[u8], records: &[(usize, wire::Record)]) -> u32 {
    let code = packet[3] & 0xf;
    let truncated = packet[2] & 0x02 != 0;
    if truncated || (code != Code::NoError as u8 && code != Code::NoSuchName as u8) {
        return 0;
    }
    let answers = records.iter().filter(|(section, _)| *section == 0);
    let soa = records.iter().find(|(section, record)| *section == 1 && record.kind == kind::SOA);
    let negative = soa.and_then(|(_, soa)| {
        let minimum = packet.get(soa.data_at..soa.end)?.last_chunk::<4>()?;
        Some(soa.ttl.min(u32::from_be_bytes(*minimum)))
    });
    answers.map(|(_, record)| record.ttl).min().or(negative).unwrap_or(0).min(LONGEST)
}

/// Two generations: when the young one is full it becomes the old one, and what was old is
/// forgotten. An old answer that is asked for becomes young again.
#[derive(Default)]
pub(crate) struct Cache(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<Question, Foreign>,
    old: HashMap<Question, Foreign>,
    young_bytes: usize,
}

impl Cache {
    pub(crate) fn get(&self, question: &Question, now: Instant) -> Option<Foreign> {
        let mut both = self.0.lock();
        if let Some(found) = both.young.get(question) {
            return found.is_fresh(now).then(|| found.clone());
        }
        let found = both.old.remove(question).filter(|found| found.is_fresh(now))?;
        both.insert(question.clone(), found.clone());
        Some(found)
    }

    pub(crate) fn put(&self, question: Question, answer: Foreign) {
        if answer.lifetime > 0 {
            self.0.lock().insert(question, answer);
        }
    }
}

impl Generations {
    fn insert(&mut self, question: Question, answer: Foreign) {
        if self.young.len() >= ENTRIES || self.young_bytes >= BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += answer.packet.len() + question.0.len();
        self.young.insert(question, answer);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A response for `a.example` with one A record of the given time, and an OPT record.
    pub(crate) fn response(ttl: u32) -> Vec<u8> {
        let name = wire::Name::parse("a.example").unwrap();
        let mut packet = wire::write_query(1, &name, kind::A, None);
        packet[2..4].copy_from_slice(&[0x81, 0x80]);
        packet[7] = 1;
        packet[11] = 1;
        packet.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        packet.extend_from_slice(&ttl.to_be_bytes());
        packet.extend_from_slice(&[0, 4, 192, 0, 2, 1]);
        wire::put_opt(&mut packet, 1232, 0, false);
        packet
    }

    fn question(number: usize) -> Question {
        (number.to_string().into_bytes().into(), kind::A, false)
    }

    #[test]
    fn times_count_down_and_run_out() {
        let cache = Cache::default();
        let start = Instant::now();
        let answer = Foreign::read(&response(60), start).unwrap();
        assert_eq!(wire::counts(&answer.packet), [1, 1, 0, 0], "without OPT");
        cache.put(question(0), answer);
        let later = start + Duration::from_secs(20);
        let aged = cache.get(&question(0), later).unwrap().aged(later);
        assert_eq!(wire::records(&aged).unwrap()[0].1.ttl, 40);
        assert!(cache.get(&question(0), start + Duration::from_secs(60)).is_none());
    }

    #[test]
    fn size_is_bounded_and_what_is_used_stays() {
        let cache = Cache::default();
        let now = Instant::now();
        let answer = Foreign::read(&response(600), now).unwrap();
        cache.put(question(0), answer.clone());
        for number in 1..20_000 {
            cache.put(question(number), answer.clone());
            if number % 1000 == 0 {
                assert!(cache.get(&question(0), now).is_some());
            }
        }
        let both = cache.0.lock();
        assert!(both.young.len() + both.old.len() <= 2 * ENTRIES + 1);
    }

    #[test]
    fn fuzz_taking_over() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..100_000 {
            let mut packet = response(60);
            for _ in 0..random.usize(1..6) {
                let at = random.usize(0..packet.len());
                packet[at] = random.u8(..);
            }
            packet.truncate(random.usize(0..=packet.len()));
            if let Ok(answer) = Foreign::read(&packet, Instant::now()) {
                answer.aged(Instant::now());
            }
        }
    }
}

//! The node's part of the Pod range, and who has which address of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv4Addr};

/// Addresses of one IPv4 range, given out in turn so that a freed one rests for as long as it can.
#[derive(Debug, Default)]
pub struct AddressPool {
    range: Option<(u32, u32)>,
    next: u32,
    taken: HashMap<IpAddr, String>,
    owners: HashMap<String, IpAddr>,
}

/// No address can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The node has no range yet.
    #[error("the node has no podCIDR yet")]
    NoRange,
    /// All are taken.
    #[error("no free address in the node's podCIDR")]
    Full,
}

impl AddressPool {
    /// Sets the range (`10.42.0.0/24`); answers whether it is one. Addresses already given stay.
    pub fn set_range(&mut self, cidr: &str) -> bool {
        let Some((base, bits)) = parse(cidr) else { return false };
        let size = 1u32.checked_shl(32 - bits).unwrap_or(0);
        // The first address is the network's, the second the node's own, the last the broadcast's.
        self.range = Some((base + 2, base.wrapping_add(size.wrapping_sub(2))));
        self.next = self.next.max(base + 2);
        true
    }

    /// Whether a range is known.
    pub fn has_range(&self) -> bool {
        self.range.is_some()
    }

    /// An address for the Pod `uid`; the one it has, if it has one.
    pub fn take(&mut self, uid: &str) -> Result<IpAddr, AddressError> {
        if let Some(ip) = self.owners.get(uid) {
            return Ok(*ip);
        }
        let (first, last) = self.range.ok_or(AddressError::NoRange)?;
        let count = last - first + 1;
        for offset in 0..count {
            let number = if self.next > last || self.next < first { first } else { self.next };
            let number = first + (number - first + offset) % count;
            let ip = IpAddr::from(Ipv4Addr::from(number));
            if let Entry::Vacant(free) = self.taken.entry(ip) {
                free.insert(uid.to_owned());
                self.owners.insert(uid.to_owned(), ip);
                self.next = number + 1;
                return Ok(ip);
            }
        }
        Err(AddressError::Full)
    }

    /// Takes a certain address, remembered from before; `false` if somebody else has it.
    pub fn keep(&mut self, ip: IpAddr, uid: &str) -> bool {
        if self.taken.get(&ip).is_some_and(|owner| owner != uid) {
            return false;
        }
        self.free(uid);
        self.taken.insert(ip, uid.to_owned());
        self.owners.insert(uid.to_owned(), ip);
        if let IpAddr::V4(v4) = ip {
            self.next = self.next.max(u32::from(v4) + 1);
        }
        true
    }

    /// Gives the Pod's address back.
    pub fn free(&mut self, uid: &str) {
        if let Some(ip) = self.owners.remove(uid) {
            self.taken.remove(&ip);
        }
    }
}

fn parse(cidr: &str) -> Option<(u32, u32)> {
    let (base, bits) = cidr.split_once('/')?;
    let bits: u32 = bits.parse().ok().filter(|bits| (8..=30).contains(bits))?;
    let base = u32::from(base.parse::<Ipv4Addr>().ok()?);
    Some((base & (u32::MAX << (32 - bits)), bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_turn_and_never_twice() {
        let mut pool = AddressPool::default();
        assert_eq!(pool.take("a"), Err(AddressError::NoRange));
        assert!(pool.set_range("10.42.1.0/29") && !pool.set_range("nonsense"));
        let ip = |last| IpAddr::from([10, 42, 1, last]);
        assert!(pool.keep(ip(3), "old") && !pool.keep(ip(3), "new"));
        assert_eq!(pool.take("a"), Ok(ip(4)));
        assert_eq!(pool.take("a"), Ok(ip(4)), "the same again");
        pool.free("a");
        let given: Vec<_> = ["b", "c", "d", "e"].iter().map(|uid| pool.take(uid)).collect();
        assert_eq!(given, [Ok(ip(5)), Ok(ip(6)), Ok(ip(2)), Ok(ip(4))]);
        assert_eq!(pool.take("f"), Err(AddressError::Full));
        pool.free("old");
        assert_eq!(pool.take("f"), Ok(ip(3)));
    }
}

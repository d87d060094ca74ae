//! Address ranges, as `10.42.0.0/16` is written.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A range of addresses with a common prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    base: IpAddr,
    prefix: u8,
}

/// The text is no address range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address range such as 10.42.0.0/16")]
pub struct RangeError(String);

impl Range {
    /// The addresses that share their first `prefix` bits with `base`; `None` if it has fewer.
    pub fn new(base: IpAddr, prefix: u8) -> Option<Range> {
        let base = match base {
            IpAddr::V4(ip) if prefix <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                Ipv4Addr::from(u32::from(ip) & mask).into()
            }
            IpAddr::V6(ip) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Ipv6Addr::from(u128::from(ip) & mask).into()
            }
            _ => return None,
        };
        Some(Range { base, prefix })
    }

    /// Whether an address lies in both.
    pub fn overlaps(&self, other: Range) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }

    /// Whether the address lies in the range.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.base, ip) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                (u32::from(base) ^ u32::from(ip)).checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => {
                (u128::from(base) ^ u128::from(ip)).checked_shr(128 - u32::from(self.prefix)).unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }

    /// The first address.
    pub fn base(&self) -> IpAddr {
        self.base
    }

    /// The address so many after the first, if the range has so many.
    pub fn nth(&self, number: u32) -> Option<IpAddr> {
        let ip: IpAddr = match self.base {
            IpAddr::V4(base) => Ipv4Addr::from(u32::from(base).checked_add(number)?).into(),
            IpAddr::V6(base) => Ipv6Addr::from(u128::from(base).checked_add(number.into())?).into(),
        };
        self.contains(ip).then_some(ip)
    }

    /// How many first bits its addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let error = || RangeError(text.to_owned());
        let (base, prefix) = text.split_once('/').ok_or_else(error)?;
        let base: IpAddr = base.parse().map_err(|_| error())?;
        let prefix: u8 = prefix.parse().map_err(|_| error())?;
        Range::new(base, prefix).ok_or_else(error)
    }
}

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Range, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_what_shares_the_prefix() {
        let cases = [
            ("10.42.0.0/16", "10.42.255.255", true),
            ("10.42.0.0/16", "10.43.0.0", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("1.2.3.4/32", "1.2.3.4", true),
            ("1.2.3.4/32", "1.2.3.5", false),
            ("fd42::/48", "fd42::1", true),
            ("fd42::/48", "fd43::1", false),
            ("::/0", "10.0.0.1", false),
        ];
        for (range, ip, want) in cases {
            let range: Range = range.parse().expect("the table has valid ranges");
            assert_eq!(range.contains(ip.parse().expect("valid")), want, "{range} {ip}");
        }
    }

    #[test]
    fn counts_from_the_first() {
        for (range, number, want) in [
            ("10.42.0.0/16", 1, Some("10.42.0.1")),
            ("10.42.0.0/16", 65_535, Some("10.42.255.255")),
            ("10.42.0.0/16", 65_536, None),
            ("255.255.255.255/32", 1, None),
            ("fd42::/48", 16, Some("fd42::10")),
        ] {
            let parsed: Range = range.parse().expect("valid");
            assert_eq!(parsed.nth(number).map(|ip| ip.to_string()).as_deref(), want, "{range} {number}");
        }
    }

    #[test]
    fn overlaps_what_has_an_address_of_it() {
        for (one, other, want) in [
            ("10.42.0.0/16", "10.42.7.0/24", true),
            ("10.42.0.0/15", "10.43.0.0/16", true),
            ("10.42.0.0/16", "10.43.0.0/16", false),
            ("10.0.0.0/8", "::/0", false),
        ] {
            let [one, other]: [Range; 2] = [one, other].map(|range| range.parse().expect("valid"));
            assert_eq!((one.overlaps(other), other.overlaps(one)), (want, want), "{one} {other}");
        }
    }

    #[test]
    fn refuses_what_is_no_range() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "a/8", "10.0.0.0/-1"] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
    }
}

//! Versions of the semantic kind.

use std::cmp::Ordering;
use std::fmt;

/// A version such as `1.2.3-rc.1+build`.
#[derive(Debug)]
pub struct Semver {
    numbers: [u64; 3],
    pre: Vec<String>,
    build: String,
}

impl Semver {
    /// Reads a version; if `normalize` also `v1`, `1.0` and numbers with leading zeros.
    pub fn parse(text: &str, normalize: bool) -> Option<Semver> {
        let text = if normalize { text.strip_prefix('v').unwrap_or(text) } else { text };
        let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
        let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
        let mut parts: Vec<&str> = core.split('.').collect();
        if normalize && parts.len() < 3 {
            parts.resize(3, "0");
        }
        let [major, minor, patch] = parts.as_slice() else { return None };
        let number = |part: &str| {
            let zeros = part.len() > 1 && part.starts_with('0') && !normalize;
            (!zeros && part.bytes().all(|c| c.is_ascii_digit())).then(|| part.parse().ok()).flatten()
        };
        let numbers = [number(major)?, number(minor)?, number(patch)?];
        let word =
            |part: &&str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        let pre: Vec<&str> = pre.map(|pre| pre.split('.').collect()).unwrap_or_default();
        let zeros =
            |part: &&str| part.len() > 1 && part.starts_with('0') && part.bytes().all(|c| c.is_ascii_digit());
        if !pre.iter().all(word)
            || pre.iter().any(zeros)
            || build.is_some_and(|build| !build.split('.').all(|p| word(&p)))
        {
            return None;
        }
        let pre = pre.into_iter().map(str::to_owned).collect();
        Some(Semver { numbers, pre, build: build.unwrap_or("").to_owned() })
    }

    /// Major, minor and patch number.
    pub fn numbers(&self) -> [u64; 3] {
        self.numbers
    }

    /// The order of versions; builds do not count.
    pub fn order(&self, other: &Semver) -> Ordering {
        let pre = match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let pairs = self.pre.iter().zip(&other.pre).map(|(a, b)| part_order(a, b));
                pairs.fold(Ordering::Equal, Ordering::then).then(self.pre.len().cmp(&other.pre.len()))
            }
        };
        self.numbers.cmp(&other.numbers).then(pre)
    }
}

fn part_order(a: &str, b: &str) -> Ordering {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => a.cmp(b),
    }
}

impl fmt::Display for Semver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre.join("."))?;
        }
        if !self.build.is_empty() {
            write!(f, "+{}", self.build)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Semver;
    use std::cmp::Ordering;

    #[test]
    fn versions_have_an_order() {
        let order =
            |a: &str, b: &str| Semver::parse(a, false).unwrap().order(&Semver::parse(b, false).unwrap());
        assert_eq!(order("1.0.0", "1.0.1"), Ordering::Less);
        assert_eq!(order("1.0.0-rc.2", "1.0.0-rc.10"), Ordering::Less);
        assert_eq!(order("1.0.0", "1.0.0-rc"), Ordering::Greater);
        assert_eq!(order("1.0.0+a", "1.0.0+b"), Ordering::Equal);
        for wrong in ["1.0", "v1.0.0", "01.0.0", "1.0.0-", "a.b.c", "1.0.0-01"] {
            assert!(Semver::parse(wrong, false).is_none(), "{wrong}");
        }
        assert_eq!(Semver::parse("v01.2", true).unwrap().to_string(), "1.2.0");
    }
}

//! Lengths of time as Go writes them: `1h30m`, `-1.5s`, `100ms`.

use std::fmt;

const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// A length of time, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub i64);

impl Duration {
    /// Reads numbers with units.
    pub fn parse(text: &str) -> Option<Duration> {
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Some(Duration(0));
        }
        if rest.is_empty() {
            return None;
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, after) = rest.split_at(end);
            if !number.contains(|c: char| c.is_ascii_digit()) {
                return None;
            }
            let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            let size = UNITS.iter().find(|(name, _)| *name == unit)?.1;
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
            let part: f64 = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().ok()? };
            total =
                whole.checked_mul(size as i128)?.checked_add((part * size) as i128)?.checked_add(total)?;
            rest = after;
        }
        i64::try_from(if negative { -total } else { total }).ok().map(Duration)
    }

    /// The length in units of so many nanoseconds, rounded towards zero.
    pub(crate) fn whole(self, unit: i64) -> i64 {
        self.0 / unit
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, nanos) = (self.0 / 1_000_000_000, (self.0 % 1_000_000_000).unsigned_abs());
        if nanos == 0 {
            return write!(f, "{whole}s");
        }
        let sign = if self.0 < 0 && whole == 0 { "-" } else { "" };
        let fraction = format!("{nanos:09}");
        write!(f, "{sign}{whole}.{}s", fraction.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::Duration;

    #[test]
    fn lengths_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", Some(0)),
            ("1h2m3s", Some(3_723_000_000_000)),
            ("-1.5s", Some(-1_500_000_000)),
            ("100ms", Some(100_000_000)),
            ("1us1ns", Some(1001)),
            ("", None),
            ("1", None),
            ("h", None),
            ("1d", None),
            ("99999999999h", None),
        ] {
            assert_eq!(Duration::parse(text).map(|d| d.0), nanos, "{text}");
        }
        assert_eq!(Duration(90_000_000_000).to_string(), "90s");
        assert_eq!(Duration(-500_000_000).to_string(), "-0.5s");
    }
}

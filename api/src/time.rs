//! Times as Kubernetes writes them: RFC 3339 in UTC, to the second (`Time`) or to the
//! microsecond (`MicroTime`), and ages as kubectl prints them.
//!
//! There is no clock here: whoever needs "now" is given it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// A point in time, kept to the microsecond; serialised to the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is no RFC 3339 time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an RFC 3339 time")]
pub struct TimeError {
    /// The text as given.
    pub text: String,
}

impl Timestamp {
    /// Reads an RFC 3339 time with any offset; digits below a microsecond are dropped.
    pub fn parse(text: &str) -> Result<Timestamp, TimeError> {
        let wrong = || TimeError { text: text.to_owned() };
        // jiff also takes a space, a bare date and an annotation; RFC 3339 has exactly one shape.
        let bytes = text.as_bytes();
        let shaped = bytes.len() >= 20 && bytes[10] == b'T' && !text.contains('[');
        if !shaped {
            return Err(wrong());
        }
        text.parse::<jiff::Timestamp>().map(Timestamp::from).map_err(|_| wrong())
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros)
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn from_seconds(seconds: i64) -> Timestamp {
        Timestamp(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// How long after `earlier` this is; zero if it is before it.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This time and a duration later.
    pub fn plus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// `2026-11-22T23:30:00Z`, the form of `Time`.
    pub fn seconds(self) -> String {
        let whole = self.jiff();
        format!("{whole:.0}")
    }

    /// `2026-11-22T23:30:00.123456Z`, the form of `MicroTime`.
    pub fn micros(self) -> String {
        format!("{:.6}", self.jiff())
    }

    /// `Sun Nov 22 23:30:00 UTC 2026`, as people read it.
    pub fn date(self) -> String {
        self.jiff().strftime("%a %b %e %H:%M:%S UTC %Y").to_string()
    }

    fn jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(time: jiff::Timestamp) -> Timestamp {
        Timestamp(time.as_microsecond())
    }
}

impl From<std::time::SystemTime> for Timestamp {
    fn from(time: std::time::SystemTime) -> Timestamp {
        let micros = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
        match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => Timestamp(micros(after)),
            Err(before) => Timestamp(-micros(before.duration())),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.seconds())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.seconds())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Timestamp::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A time that is serialised to the microsecond (`MicroTime`: Lease, Event).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroTime(pub Timestamp);

impl Serialize for MicroTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.micros())
    }
}

impl<'de> Deserialize<'de> for MicroTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MicroTime, D::Error> {
        Timestamp::deserialize(deserializer).map(MicroTime)
    }
}

/// A duration as kubectl's AGE column prints it: `5s`, `2m5s`, `5m3s`, `25m`, `3h4m`, `2d4h`, `9d`,
/// `2y20d`.
pub fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 120 {
        return format!("{seconds}s");
    }
    let minutes = seconds / 60;
    if minutes < 10 {
        return two(minutes, "m", seconds % 60, "s");
    }
    if minutes < 180 {
        return format!("{minutes}m");
    }
    let hours = minutes / 60;
    if hours < 8 {
        return two(hours, "h", minutes % 60, "m");
    }
    if hours < 48 {
        return format!("{hours}h");
    }
    let days = hours / 24;
    if hours < 192 {
        return two(days, "d", hours % 24, "h");
    }
    if hours < 24 * 365 * 2 {
        return format!("{days}d");
    }
    let years = days / 365;
    if hours < 24 * 365 * 8 {
        return two(years, "y", days % 365, "d");
    }
    format!("{years}y")
}

fn two(big: u64, big_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
}

/// The age of something as kubectl prints it; `<unknown>` when its time is.
pub fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    match since {
        Some(time) => human_duration(now.since(time)),
        None => "<unknown>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip() {
        let cases = [
            ("2026-11-22T23:30:00Z", "2026-11-22T23:30:00Z", "2026-11-22T23:30:00.000000Z"),
            ("2026-11-22T23:30:00.123456789Z", "2026-11-22T23:30:00Z", "2026-11-22T23:30:00.123456Z"),
            ("2026-11-22T23:30:00.999999Z", "2026-11-22T23:30:00Z", "2026-11-22T23:30:00.999999Z"),
            ("2026-11-23T01:30:00+02:00", "2026-11-22T23:30:00Z", "2026-11-22T23:30:00.000000Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.500000Z"),
        ];
        for (text, seconds, micros) in cases {
            let time = Timestamp::parse(text).expect(text);
            assert_eq!(time.seconds(), seconds, "{text}");
            assert_eq!(time.micros(), micros, "{text}");
        }
        for wrong in
            ["", "2026-11-22", "2026-11-22 23:30:00Z", "2026-11-22T23:30:00", "now", "2026-13-01T00:00:00Z"]
        {
            assert!(Timestamp::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ages_are_kubectl_s() {
        let minute = 60;
        let hour = 60 * minute;
        let day = 24 * hour;
        let year = 365 * day;
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (5 * minute + 3, "5m3s"),
            (10 * minute + 30, "10m"),
            (179 * minute, "179m"),
            (3 * hour, "3h"),
            (3 * hour + 4 * minute, "3h4m"),
            (8 * hour + 20 * minute, "8h"),
            (47 * hour, "47h"),
            (2 * day + 4 * hour, "2d4h"),
            (7 * day + 23 * hour, "7d23h"),
            (8 * day + 4 * hour, "8d"),
            (729 * day, "729d"),
            (2 * year + 20 * day, "2y20d"),
            (8 * year + 20 * day, "8y"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(human_duration(Duration::from_secs(seconds)), expected);
        }
    }
}

//! Schedules of CronJobs: five fields, or a word such as `@daily`, in a time zone.
//!
//! The language is that of Kubernetes (names of months and days, steps, `?`, `@every 1h30m`), its errors too. A time
//! that a change of clocks leaves out is left out here; one that it repeats comes twice.

use crate::time::Timestamp;
use jiff::civil::Date;
pub use jiff::tz::TimeZone;
use std::time::Duration;

/// When something recurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// So much later each time.
    Every(Duration),
    /// Whenever the clock shows one of these.
    At(Box<Clock>),
}

/// Sets of what a clock and a calendar show, one bit a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether days or weekdays are any: then both must hold, otherwise one is enough.
    both: bool,
}

/// A text that is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

/// What a field may hold.
struct Bounds {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const MINUTES: Bounds = Bounds { low: 0, high: 59, names: &[] };
const HOURS: Bounds = Bounds { low: 0, high: 23, names: &[] };
const DAYS: Bounds = Bounds { low: 1, high: 31, names: &[] };
const MONTHS: Bounds = Bounds {
    low: 1,
    high: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAYS: Bounds =
    Bounds { low: 0, high: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// Words for schedules, and what they mean.
const WORDS: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// After how many years without a match a schedule never matches (a 29th of February may be 8 years away).
const YEARS: i64 = 9;

fn error(text: String) -> CronError {
    CronError(text)
}

impl Schedule {
    /// Reads a schedule.
    pub fn parse(text: &str) -> Result<Schedule, CronError> {
        if text.is_empty() {
            return Err(error("empty spec string".to_owned()));
        }
        if let Some(text) = text.strip_prefix("@every ") {
            return every(text).map(Schedule::Every);
        }
        if text.starts_with('@') {
            let word = WORDS.iter().find(|(word, _)| *word == text);
            let (_, fields) = word.ok_or_else(|| error(format!("unrecognized descriptor: {text}")))?;
            return Schedule::parse(fields);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            let (count, shown) = (fields.len(), fields.join(" "));
            return Err(error(format!("expected exactly 5 fields, found {count}: [{shown}]")));
        };
        let (minutes, _) = field(minutes, &MINUTES)?;
        let (hours, _) = field(hours, &HOURS)?;
        let (days, any_day) = field(days, &DAYS)?;
        let (months, _) = field(months, &MONTHS)?;
        let (weekdays, any_weekday) = field(weekdays, &WEEKDAYS)?;
        let both = any_day || any_weekday;
        Ok(Schedule::At(Box::new(Clock { minutes, hours, days, months, weekdays, both })))
    }

    /// The first time after `time` in a zone; none if there is none.
    pub fn after(&self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Schedule::Every(step) => Some(Timestamp::from_seconds(time.as_seconds()).plus(*step)),
            Schedule::At(clock) => clock.after(time, zone),
        }
    }

    /// The last time after `begin` and not after `end`; none if there is none.
    pub fn latest(&self, begin: Timestamp, end: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if let Schedule::Every(step) = self {
            let step = i64::try_from(step.as_secs()).unwrap_or(i64::MAX).max(1);
            let steps = (end.as_seconds() - begin.as_seconds()).div_euclid(step);
            return (steps > 0).then(|| Timestamp::from_seconds(begin.as_seconds() + steps * step));
        }
        // Looks back further and further, so that a long absence costs no walk through all of it.
        let reach = end.as_seconds() - begin.as_seconds();
        let mut back = 60;
        loop {
            let from = Timestamp::from_seconds(end.as_seconds() - back.min(reach)).max(begin);
            let mut found = self.after(from, zone).filter(|time| *time <= end);
            while let Some(time) = found {
                match self.after(time, zone).filter(|next| *next <= end) {
                    Some(next) => found = Some(next),
                    None => return Some(time),
                }
            }
            if back >= reach {
                return None;
            }
            back *= 2;
        }
    }
}

impl Clock {
    fn after(&self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut second = (time.as_seconds().div_euclid(60) + 1) * 60;
        let end = second + YEARS * 366 * 86_400;
        while second < end {
            let instant = jiff::Timestamp::from_second(second).ok()?;
            let local = zone.to_datetime(instant);
            let has = |set: u64, value: i8| set & (1 << value) != 0;
            if !has(self.months, local.month()) {
                let (year, month) = if local.month() == 12 {
                    (local.year() + 1, 1)
                } else {
                    (local.year(), local.month() + 1)
                };
                second = begin(Date::new(year, month, 1).ok()?, zone)?.max(second + 60);
            } else if !self.has_day(local.date()) {
                second = begin(local.date().tomorrow().ok()?, zone)?.max(second + 60);
            } else if !has(self.hours, local.hour()) {
                second += (60 - i64::from(local.minute())) * 60;
            } else if !has(self.minutes, local.minute()) {
                second += 60;
            } else {
                return Some(Timestamp::from_seconds(second));
            }
        }
        None
    }

    fn has_day(&self, date: Date) -> bool {
        let day = self.days & (1 << date.day()) != 0;
        let weekday = self.weekdays & (1 << date.weekday().to_sunday_zero_offset()) != 0;
        if self.both { day && weekday } else { day || weekday }
    }
}

/// The second at which a day begins.
fn begin(date: Date, zone: &TimeZone) -> Option<i64> {
    let zoned = date.to_zoned(zone.clone()).ok()?;
    Some(zoned.timestamp().as_second().div_euclid(60) * 60)
}

/// The time zone of a name; none if there is none of it.
pub fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "" | "UTC" => Some(TimeZone::UTC),
        _ => TimeZone::get(name).ok(),
    }
}

/// A time as RFC 3339 has it, by the clocks of a zone.
pub fn local_text(time: Timestamp, zone: &TimeZone) -> String {
    let Ok(instant) = jiff::Timestamp::from_second(time.as_seconds()) else { return time.seconds() };
    let local = instant.to_zoned(zone.clone());
    match local.offset().is_zero() {
        true => time.seconds(),
        false => local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    }
}

/// The values of a field, and whether it says that any will do.
fn field(text: &str, bounds: &Bounds) -> Result<(u64, bool), CronError> {
    let (mut set, mut any) = (0, false);
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (values, open) = range(part, bounds)?;
        set |= values;
        any |= open;
    }
    Ok((set, any))
}

fn range(text: &str, bounds: &Bounds) -> Result<(u64, bool), CronError> {
    let parts: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = parts[0].split('-').collect();
    let open = matches!(ends[0], "*" | "?");
    let (low, mut high) = match ends[..] {
        _ if open => (bounds.low, bounds.high),
        [one] => (value(one, bounds)?, value(one, bounds)?),
        [low, high] => (value(low, bounds)?, value(high, bounds)?),
        _ => return Err(error(format!("too many hyphens: {text}"))),
    };
    let step = match parts[..] {
        [_] => 1,
        [_, step] => {
            if ends.len() == 1 {
                high = bounds.high;
            }
            number(step)?
        }
        _ => return Err(error(format!("too many slashes: {text}"))),
    };
    if low < bounds.low {
        let why = format!("beginning of range ({low}) below minimum ({}): {text}", bounds.low);
        return Err(error(why));
    }
    if high > bounds.high {
        return Err(error(format!("end of range ({high}) above maximum ({}): {text}", bounds.high)));
    }
    if low > high {
        return Err(error(format!("beginning of range ({low}) beyond end of range ({high}): {text}")));
    }
    let stride = usize::try_from(step).unwrap_or(usize::MAX);
    if stride == 0 {
        return Err(error(format!("step of range should be a positive number: {text}")));
    }
    let set = (low..=high).step_by(stride).fold(0, |set, value| set | 1 << value);
    Ok((set, open && step == 1))
}

fn value(text: &str, bounds: &Bounds) -> Result<u32, CronError> {
    let name = bounds.names.iter().position(|name| name.eq_ignore_ascii_case(text));
    match name.and_then(|at| u32::try_from(at).ok()) {
        Some(at) => Ok(at + bounds.low),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, CronError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        let why = format!("strconv.Atoi: parsing {text:?}: invalid syntax");
        return Err(error(format!("failed to parse int from {text}: {why}")));
    }
    let Ok(number) = text.parse::<i64>() else {
        let why = format!("strconv.Atoi: parsing {text:?}: value out of range");
        return Err(error(format!("failed to parse int from {text}: {why}")));
    };
    if number < 0 {
        return Err(error(format!("negative number ({number}) not allowed: {text}")));
    }
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A duration such as `1h30m`, in whole seconds and at least one.
fn every(text: &str) -> Result<Duration, CronError> {
    let wrong = |why: &str| error(format!("failed to parse duration @every {text}: time: {why} {text:?}"));
    let mut rest = text;
    let mut nanos: f64 = 0.0;
    if rest.is_empty() {
        return Err(wrong("invalid duration"));
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (amount, after) = rest.split_at(end);
        let amount: f64 = amount.parse().map_err(|_| wrong("invalid duration"))?;
        if after.is_empty() {
            return Err(wrong("missing unit in duration"));
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        nanos += amount
            * match unit {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return Err(wrong(&format!("unknown unit {unit:?} in duration"))),
            };
        rest = after;
    }
    let seconds = (nanos / 1e9).clamp(1.0, 1e10);
    // Between 1 and 1e10: fits.
    Ok(Duration::from_secs(seconds as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(schedule: &str, zone_name: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(schedule).expect(schedule);
        let zone = zone(zone_name).expect(zone_name);
        let mut time = Timestamp::parse(after).expect(after);
        let next = || {
            time = schedule.after(time, &zone)?;
            Some(time.seconds())
        };
        std::iter::from_fn(next).take(count).collect()
    }

    #[test]
    fn schedules_come_when_cron_says() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("* * * * *", "2026-01-01T00:00:30Z", &["2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"]),
            ("*/20 * * * *", "2026-01-01T00:00:00Z", &["2026-01-01T00:20:00Z", "2026-01-01T00:40:00Z"]),
            ("5/30 3 * * *", "2026-01-01T00:00:00Z", &["2026-01-01T03:05:00Z", "2026-01-01T03:35:00Z"]),
            ("0 0 1,15 * *", "2026-01-01T00:00:00Z", &["2026-01-15T00:00:00Z", "2026-02-01T00:00:00Z"]),
            ("0 12 * * mon-WED", "2026-01-01T00:00:00Z", &["2026-01-05T12:00:00Z", "2026-01-06T12:00:00Z"]),
            // Day and weekday: either is enough when both are given.
            ("0 0 13 * 5", "2026-02-06T00:00:00Z", &["2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"]),
            ("0 0 13 * 5", "2026-01-09T00:00:00Z", &["2026-01-13T00:00:00Z", "2026-01-16T00:00:00Z"]),
            ("0 0 13 * ?", "2026-01-09T00:00:00Z", &["2026-01-13T00:00:00Z", "2026-02-13T00:00:00Z"]),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
            ("0 0 30 feb *", "2026-01-01T00:00:00Z", &[]),
            ("@hourly", "2026-12-31T23:10:00Z", &["2027-01-01T00:00:00Z", "2027-01-01T01:00:00Z"]),
            ("@weekly", "2026-01-01T00:00:00Z", &["2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"]),
            ("@yearly", "2026-01-01T00:00:00Z", &["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]),
            ("@every 1h30m", "2026-01-01T00:00:10Z", &["2026-01-01T01:30:10Z", "2026-01-01T03:00:10Z"]),
        ];
        for (schedule, after, expected) in cases {
            assert_eq!(times(schedule, "", after, 2), *expected, "{schedule}");
        }
    }

    #[test]
    fn schedules_follow_the_clocks_of_their_zone() {
        let cases: &[(&str, &str, &str, &[&str])] = &[
            (
                "0 12 * * *",
                "Asia/Kolkata",
                "2026-01-01T00:00:00Z",
                &["2026-01-01T06:30:00Z", "2026-01-02T06:30:00Z"],
            ),
            // Clocks go from 02:00 to 03:00 on the 29th: 02:30 does not happen.
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-03-28T00:00:00Z",
                &["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"],
            ),
            // Clocks go from 03:00 to 02:00: 02:30 happens twice.
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-10-25T00:00:00Z",
                &["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"],
            ),
            (
                "0 0 * * *",
                "America/New_York",
                "2026-11-01T00:00:00Z",
                &["2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"],
            ),
        ];
        for (schedule, zone, after, expected) in cases {
            assert_eq!(times(schedule, zone, after, expected.len()), *expected, "{schedule} {zone}");
        }
        assert!(zone("Mars/Base").is_none());
    }

    #[test]
    fn the_latest_time_is_found_however_long_ago_it_was() {
        let latest = |schedule: &str, begin: &str, end: &str| {
            let time = |text: &str| Timestamp::parse(text).expect(text);
            let found =
                Schedule::parse(schedule).expect(schedule).latest(time(begin), time(end), &TimeZone::UTC);
            found.map(|time| time.seconds()).unwrap_or_default()
        };
        for (schedule, begin, end, expected) in [
            ("* * * * *", "2020-01-01T00:00:00Z", "2026-01-01T00:00:30Z", "2026-01-01T00:00:00Z"),
            ("0 0 1 1 *", "2020-01-01T00:00:00Z", "2025-12-31T00:00:00Z", "2025-01-01T00:00:00Z"),
            ("0 0 1 1 *", "2025-01-01T00:00:00Z", "2025-12-31T00:00:00Z", ""),
            ("0 0 * * *", "2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z", "2025-01-02T00:00:00Z"),
            ("@every 1h", "2025-01-01T00:10:00Z", "2025-01-01T02:30:00Z", "2025-01-01T02:10:00Z"),
            ("@every 1h", "2025-01-01T00:10:00Z", "2025-01-01T01:00:00Z", ""),
        ] {
            assert_eq!(latest(schedule, begin, end), expected, "{schedule} {begin} {end}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused_in_kubernetes_words() {
        let cases = [
            ("", "empty spec string"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("@never", "unrecognized descriptor: @never"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* * * * 7", "end of range (7) above maximum (6): 7"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("1/-2 * * * *", "negative number (-2) not allowed: -2"),
            ("@every soon", "failed to parse duration @every soon: time: invalid duration \"soon\""),
            ("@every 5", "failed to parse duration @every 5: time: missing unit in duration \"5\""),
        ];
        for (text, expected) in cases {
            assert_eq!(Schedule::parse(text).expect_err(text).to_string(), expected);
        }
    }
}

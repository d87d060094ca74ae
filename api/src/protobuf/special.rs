//! Times and durations between their two spellings.

use jiff::Timestamp;

/// RFC 3339 with seconds, as `metav1.Time` is written.
pub(crate) fn time(seconds: i64, nanos: i32) -> Option<String> {
    let time = Timestamp::new(seconds, nanos).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// RFC 3339 with microseconds, as `metav1.MicroTime` is written.
pub(crate) fn micro_time(seconds: i64, nanos: i32) -> Option<String> {
    let time = Timestamp::new(seconds, nanos).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
}

/// Seconds and nanoseconds (not negative) since 1970.
pub(crate) fn parse_time(text: &str) -> Option<(i64, i32)> {
    let time: Timestamp = text.parse().ok()?;
    let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
    Some(if nanos < 0 { (seconds - 1, nanos + 1_000_000_000) } else { (seconds, nanos) })
}

/// Nanoseconds as Go writes a duration, e.g. `1h2m3.5s`, `250ms`.
pub(crate) fn duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let all = nanos.unsigned_abs();
    let small = |unit: u64, digits: usize| {
        let fraction = format!("{:0digits$}", all % unit);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{}{point}{fraction}", all / unit % 60_000)
    };
    match all {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{all}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", small(1_000, 3)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", small(1_000_000, 6)),
        _ => {
            let seconds = all / 1_000_000_000;
            let rest = format!("{:09}", all % 1_000_000_000);
            let rest = rest.trim_end_matches('0');
            let point = if rest.is_empty() { "" } else { "." };
            let hours = if seconds >= 3600 { format!("{}h", seconds / 3600) } else { String::new() };
            let minutes = if seconds >= 60 { format!("{}m", seconds / 60 % 60) } else { String::new() };
            format!("{sign}{hours}{minutes}{}{point}{rest}s", seconds % 60)
        }
    }
}

/// Nanoseconds of a duration as Go writes it.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    match rest {
        "" => return None,
        "0" => return Some(0),
        _ => {}
    }
    let mut total = 0i128;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if number.len() > 20 || (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let value = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<i128>().ok() };
        let scale = 10i128.pow(u32::try_from(fraction.len()).ok()?);
        total += value(whole)? * unit + value(fraction)? * unit / scale;
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let cases = [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (250_000_000, "250ms"),
            (3_300_000_000, "3.3s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (-3_600_000_000_000, "-1h0m0s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(duration(nanos), text);
            assert_eq!(parse_duration(text), Some(nanos), "{text}");
        }
        assert_eq!(parse_duration("1.5h"), Some(5_400_000_000_000));
        for bad in ["", "1", "s", "1x", "1.2.3s", "-", "99999999999999999999999h", "300000000h"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_have_their_precision() {
        assert_eq!(time(1_700_000_000, 5).as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!(micro_time(1_700_000_000, 5_000).as_deref(), Some("2023-11-14T22:13:20.000005Z"));
        assert_eq!(micro_time(-1, 0).as_deref(), Some("1969-12-31T23:59:59.000000Z"));
        assert_eq!(parse_time("1969-12-31T23:59:59.5Z"), Some((-1, 500_000_000)));
        assert_eq!(parse_time("2023-11-14T23:13:20+01:00"), Some((1_700_000_000, 0)));
        assert_eq!(time(i64::MAX, 0), None);
    }
}

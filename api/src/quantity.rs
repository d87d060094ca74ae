//! Quantities: `500m`, `1.5Gi`, `12e6`, exactly, and printed in Kubernetes' canonical form.
//!
//! The value is a decimal fixed-point number of nano units in an `i128`, which holds every value
//! Kubernetes accepts (it caps at 2^63-1 and rounds up below a nano).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;

const NANO: i128 = 1_000_000_000;
const MAX: i128 = (i64::MAX as i128) * NANO;

/// How a quantity was written, and is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `Ki`, `Mi`, `Gi` …
    BinarySi,
    /// `m`, `k`, `M`, `G` …
    DecimalSi,
    /// `e3`, `e6` …
    DecimalExponent,
}

/// An exact amount of a resource. Equality and order compare amounts, not spellings.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

/// A text that is no quantity, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not of the form `<signedNumber><suffix>`.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// No number before the suffix.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// A suffix that does not exist.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Quantity = Quantity { nano: 0, format: Format::DecimalSi };

    /// Reads a quantity.
    pub fn parse(text: &str) -> Result<Quantity, QuantityError> {
        let (negative, number, suffix) = split(text)?;
        let (scale, format) = suffix_scale(suffix).ok_or(QuantityError::Suffix)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(QuantityError::Numeric);
        }
        let nano = match scale {
            Scale::Ten(power) => decimal_nano(whole, fraction, i64::from(power) + 9),
            Scale::Two(bits) => binary_nano(whole, fraction, bits),
        };
        // A number below one nano or with binary digits below one is a decimal one, as upstream.
        let format = if format == Format::BinarySi && nano < 1024 * NANO && nano != 0 && nano % NANO != 0 {
            Format::DecimalSi
        } else {
            format
        };
        let nano = nano.min(MAX);
        Ok(Quantity { nano: if negative { -nano } else { nano }, format })
    }

    /// So many whole units, in a format.
    pub fn from_units(units: i64, format: Format) -> Quantity {
        Quantity { nano: i128::from(units) * NANO, format }
    }

    /// So many thousandths.
    pub fn from_milli(milli: i64) -> Quantity {
        Quantity { nano: i128::from(milli) * (NANO / 1000), format: Format::DecimalSi }
    }

    /// Thousandths, rounded up; saturates.
    pub fn milli(&self) -> i64 {
        clamp(div_up(self.nano, NANO / 1000))
    }

    /// Whole units, rounded up; saturates.
    pub fn units(&self) -> i64 {
        clamp(div_up(self.nano, NANO))
    }

    /// Bytes, rounded up; zero when negative.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.units()).unwrap_or(0)
    }

    /// Whether it is so many whole units.
    pub fn is_whole(&self) -> bool {
        self.nano % NANO == 0
    }

    /// Whether the amount is zero.
    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }

    /// Whether the amount is below zero.
    pub fn is_negative(&self) -> bool {
        self.nano < 0
    }

    /// The sum; saturates. Keeps this one's format unless it is zero.
    pub fn add(&self, other: &Quantity) -> Quantity {
        let format = if self.is_zero() { other.format } else { self.format };
        Quantity { nano: (self.nano + other.nano).clamp(-MAX, MAX), format }
    }

    /// The difference; saturates. Keeps this one's format unless it is zero.
    pub fn sub(&self, other: &Quantity) -> Quantity {
        self.add(&Quantity { nano: -other.nano, format: other.format })
    }
}

enum Scale {
    Ten(i32),
    Two(u32),
}

fn split(text: &str) -> Result<(bool, &str, &str), QuantityError> {
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        Some(_) => (false, text),
        None => return Err(QuantityError::Format),
    };
    let end = rest.bytes().position(|c| !c.is_ascii_digit() && c != b'.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let digits = letters.strip_prefix(['+', '-']).unwrap_or(letters);
    if number.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return Err(QuantityError::Format);
    }
    Ok((negative, number, suffix))
}

fn suffix_scale(suffix: &str) -> Option<(Scale, Format)> {
    let ten = |power| Some((Scale::Ten(power), Format::DecimalSi));
    let two = |bits| Some((Scale::Two(bits), Format::BinarySi));
    match suffix {
        "" => ten(0),
        "n" => ten(-9),
        "u" => ten(-6),
        "m" => ten(-3),
        "k" => ten(3),
        "M" => ten(6),
        "G" => ten(9),
        "T" => ten(12),
        "P" => ten(15),
        "E" => ten(18),
        "Ki" => two(10),
        "Mi" => two(20),
        "Gi" => two(30),
        "Ti" => two(40),
        "Pi" => two(50),
        "Ei" => two(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let power: i32 = exponent.parse().ok()?;
            Some((Scale::Ten(power), Format::DecimalExponent))
        }
    }
}

/// `whole.fraction` times ten to the power, rounded up; saturates at [`MAX`].
fn decimal_nano(whole: &str, fraction: &str, power: i64) -> i128 {
    let digits = whole.bytes().chain(fraction.bytes()).skip_while(|&c| c == b'0');
    let mut power = power - fraction.len() as i64;
    let mut value: i128 = 0;
    let mut dropped = false;
    for digit in digits {
        let digit = i128::from(digit - b'0');
        match value.checked_mul(10).and_then(|v| v.checked_add(digit)) {
            Some(next) => value = next,
            None => {
                // Far beyond 2^63 nano already: further digits only move the point.
                dropped |= digit != 0;
                power += 1;
            }
        }
    }
    while power > 0 && value != 0 && value <= MAX {
        value = value.saturating_mul(10);
        power -= 1;
    }
    while power < 0 && value != 0 {
        dropped |= value % 10 != 0;
        value /= 10;
        power += 1;
    }
    if value == 0 && power < 0 {
        return i128::from(dropped);
    }
    (value + i128::from(dropped)).min(MAX)
}

/// `whole.fraction` times two to the bits, in nano, rounded up; saturates at [`MAX`].
fn binary_nano(whole: &str, fraction: &str, bits: u32) -> i128 {
    let whole_nano = decimal_nano(whole, "", 9);
    let whole_part = whole_nano.checked_mul(1 << bits).unwrap_or(MAX).min(MAX);
    // Eighteen digits decide the ninth place of the product for any suffix; the rest rounds up.
    let kept = &fraction[..fraction.len().min(18)];
    let rest = fraction[kept.len()..].bytes().any(|c| c != b'0');
    let numerator: i128 = kept.parse().unwrap_or(0);
    let denominator = 10_i128.pow(kept.len() as u32);
    let part = numerator * (1 << bits);
    let part = part / denominator * NANO + div_up(part % denominator * NANO, denominator) + i128::from(rest);
    whole_part.saturating_add(part).min(MAX)
}

fn div_up(value: i128, by: i128) -> i128 {
    value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl Default for Quantity {
    fn default() -> Quantity {
        Quantity::ZERO
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        // A binary quantity below 1024 or with a fraction is printed as a decimal one.
        let whole = self.nano % NANO == 0;
        match self.format {
            Format::BinarySi if whole && self.nano.abs() >= 1024 * NANO => self.print_binary(f),
            Format::DecimalExponent => self.print_decimal(f, exponent_suffix),
            _ => self.print_decimal(f, decimal_suffix),
        }
    }
}

impl Quantity {
    fn print_binary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut mantissa = self.nano / NANO;
        let mut step = 0;
        while mantissa % 1024 == 0 && step < 6 {
            mantissa /= 1024;
            step += 1;
        }
        write!(f, "{mantissa}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][step])
    }

    fn print_decimal(&self, f: &mut fmt::Formatter<'_>, suffix: fn(i32) -> String) -> fmt::Result {
        let mut mantissa = self.nano;
        let mut power = -9;
        while mantissa % 1000 == 0 && power < 18 {
            mantissa /= 1000;
            power += 3;
        }
        write!(f, "{mantissa}{}", suffix(power))
    }
}

fn decimal_suffix(power: i32) -> String {
    let suffixes = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    suffixes[usize::try_from((power + 9) / 3).unwrap_or(0).min(9)].to_owned()
}

fn exponent_suffix(power: i32) -> String {
    if power == 0 { String::new() } else { format!("e{power}") }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
        // Kubernetes takes bare JSON numbers as quantities too.
        let value = serde_json::Value::deserialize(deserializer)?;
        match &value {
            serde_json::Value::String(text) => Quantity::parse(text).map_err(serde::de::Error::custom),
            serde_json::Value::Number(number) => {
                Quantity::parse(&number.to_string()).map_err(serde::de::Error::custom)
            }
            serde_json::Value::Null => Ok(Quantity::ZERO),
            _ => Err(serde::de::Error::custom(QuantityError::Format)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_print_canonically() {
        let cases = [
            ("0", "0"),
            ("0m", "0"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1", "1"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("+1", "1"),
            ("-1", "-1"),
            ("1500", "1500"),
            ("1000", "1k"),
            ("1000k", "1M"),
            ("1024", "1024"),
            ("1Ki", "1Ki"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("0.5Mi", "512Ki"),
            ("1025Ki", "1025Ki"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("12e6", "12e6"),
            ("1e-3", "1e-3"),
            ("1u", "1u"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("1.1n", "2n"),
            ("1E", "1E"),
            ("8Ei", "9223372036854775807"),
            ("100E", "9223372036854775807"),
            ("129e6", "129e6"),
            ("128974848", "128974848"),
            ("123Mi", "123Mi"),
            ("00010", "10"),
        ];
        for (text, expected) in cases {
            let quantity = Quantity::parse(text).expect(text);
            assert_eq!(quantity.to_string(), expected, "{text}");
            let again = Quantity::parse(expected).expect(expected);
            assert_eq!(again, quantity, "{text} reads back as itself");
        }
    }

    #[test]
    fn wrong_quantities_are_refused() {
        use QuantityError::{Format, Numeric, Suffix};
        let cases = [
            ("", Format),
            ("abc", Format),
            ("1 Gi", Format),
            ("-", Format),
            ("1GB", Format),
            ("1gi", Format),
            ("1KiB", Format),
            ("1.2.3", Numeric),
            (".", Numeric),
            ("1K", Suffix),
            ("1mi", Suffix),
            ("1e", Suffix),
            ("1e1e", Format),
        ];
        for (text, expected) in cases {
            assert_eq!(Quantity::parse(text).expect_err(text), expected, "{text}");
        }
    }

    #[test]
    fn amounts_compare_add_and_convert() {
        let q = |text| Quantity::parse(text).expect(text);
        assert_eq!(q("1"), q("1000m"));
        assert!(q("1Gi") > q("1G"));
        assert!(q("-1") < q("1n"));
        assert_eq!(q("1Gi").add(&q("1Mi")).to_string(), "1025Mi");
        assert_eq!(q("0").add(&q("1Mi")).to_string(), "1Mi");
        assert_eq!(q("1").sub(&q("100m")).to_string(), "900m");
        assert_eq!((q("100m").milli(), q("0.1m").milli(), q("2").milli()), (100, 1, 2000));
        assert_eq!((q("64Mi").bytes(), q("1.5").bytes(), q("-1").bytes()), (67_108_864, 2, 0));
        assert_eq!(q("-1.5").units(), -1);
        assert_eq!(serde_json::from_str::<Quantity>("2").expect("numbers are quantities"), q("2"));
        assert!(serde_json::from_str::<Quantity>("true").is_err());
    }

    #[test]
    fn any_text_is_read_or_refused_in_no_time() {
        let mut random = fastrand::Rng::with_seed(7);
        let letters: Vec<char> = "0123456789.+-eEinumkKMGTP".chars().collect();
        for _ in 0..20_000 {
            let text: String =
                (0..random.usize(0..40)).map(|_| letters[random.usize(0..letters.len())]).collect();
            if let Ok(quantity) = Quantity::parse(&text) {
                let again = Quantity::parse(&quantity.to_string()).expect("canonical form is read");
                assert_eq!(again, quantity, "{text}");
                assert_eq!(again.to_string(), quantity.to_string(), "{text}");
            }
        }
        assert!(Quantity::parse("1e2147483647").is_ok());
        assert!(Quantity::parse("1e-2147483648").is_ok());
    }
}

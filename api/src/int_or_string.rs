//! A number or a text: a port or its name, a count or a percentage.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A number or a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A number.
    Int(i32),
    /// A text, such as `25%` or `http`.
    String(String),
}

/// How a percentage of a total becomes a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// To the next higher.
    Up,
    /// To the next lower.
    Down,
}

impl IntOrString {
    /// The count, where a percentage is of a total. `None` for a text that is no percentage.
    pub fn of_total(&self, total: i32, round: Round) -> Option<i32> {
        let percent = match self {
            IntOrString::Int(count) => return Some(*count),
            IntOrString::String(text) => i64::from(text.strip_suffix('%')?.parse::<i32>().ok()?),
        };
        let product = percent * i64::from(total);
        let count = match round {
            Round::Up => product.div_euclid(100) + i64::from(product.rem_euclid(100) != 0),
            Round::Down => product.div_euclid(100),
        };
        i32::try_from(count).ok()
    }
}

impl Default for IntOrString {
    fn default() -> IntOrString {
        IntOrString::Int(0)
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IntOrString::Int(number) => write!(f, "{number}"),
            IntOrString::String(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_told() {
        let percent = |text: &str| IntOrString::String(text.to_owned());
        let cases = [
            (percent("25%"), 3, Round::Up, Some(1)),
            (percent("25%"), 3, Round::Down, Some(0)),
            (percent("25%"), 4, Round::Up, Some(1)),
            (percent("100%"), 7, Round::Down, Some(7)),
            (IntOrString::Int(2), 7, Round::Down, Some(2)),
            (percent("http"), 7, Round::Down, None),
        ];
        for (value, total, round, expected) in cases {
            assert_eq!(value.of_total(total, round), expected, "{value} of {total}");
        }
    }
}

//! Numbers of completions, and how a status writes them: `0,2-4,7`.

use std::collections::BTreeSet;

/// A set of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(BTreeSet<i64>);

impl Indexes {
    /// Reads the numbers of a text below `end`; what is no number is passed over.
    pub fn parse(text: &str, end: i64) -> Indexes {
        let mut set = BTreeSet::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(low), Ok(high)) = (low.parse::<i64>(), high.parse::<i64>()) {
                set.extend(low.max(0)..=high.min(end - 1));
            }
        }
        Indexes(set)
    }

    /// Adds a number; false if it was there.
    pub fn insert(&mut self, index: i64) -> bool {
        self.0.insert(index)
    }

    /// Whether a number is in it.
    pub fn contains(&self, index: i64) -> bool {
        self.0.contains(&index)
    }

    /// How many there are.
    pub fn len(&self) -> i64 {
        i64::try_from(self.0.len()).unwrap_or(i64::MAX)
    }

    /// How many are in both.
    pub fn shared(&self, other: &Indexes) -> i64 {
        i64::try_from(self.0.intersection(&other.0).count()).unwrap_or(i64::MAX)
    }

    /// As a status writes it.
    pub fn text(&self) -> String {
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for index in &self.0 {
            match runs.last_mut() {
                Some((_, end)) if *end + 1 == *index => *end = *index,
                _ => runs.push((*index, *index)),
            }
        }
        let shown = runs.iter().map(|(low, high)| match high - low {
            0 => low.to_string(),
            1 => format!("{low},{high}"),
            _ => format!("{low}-{high}"),
        });
        shown.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_three_and_more_are_written_short() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7,8", "0,2,4"] {
            assert_eq!(Indexes::parse(text, 10).text(), text);
        }
        assert_eq!(Indexes::parse("3-20", 5).text(), "3,4", "what is beyond the end does not count");
    }
}

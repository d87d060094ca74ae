//! What an evaluation may cost, counted as it goes: no clock decides, so the same is refused everywhere.

use std::collections::HashMap;

use regex::Regex;

use crate::cel::EvaluateError;

/// What one expression may cost, as in Kubernetes.
pub const PER_EXPRESSION: u64 = 1_000_000;
/// What all expressions about one object may cost, as in Kubernetes.
pub const PER_OBJECT: u64 = 10_000_000;
/// The largest text or list an expression may make.
const LARGEST: u64 = 8 * 1024 * 1024;
/// The memory a compiled pattern may take, in bytes.
const PATTERN_SIZE: usize = 1 << 20;
/// Patterns kept during an evaluation.
const PATTERNS: usize = 32;
/// What compiling a pattern costs, per byte of it.
const PATTERN_COST: u64 = 20;

/// What is left of what evaluations may cost together.
#[derive(Debug)]
pub struct Budget {
    left: u64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { left: PER_OBJECT }
    }
}

impl Budget {
    /// So much.
    pub fn new(cost: u64) -> Budget {
        Budget { left: cost }
    }

    /// Whether nothing is left.
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }
}

/// Counts one evaluation against its own limit and a budget.
pub(crate) struct Meter<'b> {
    budget: &'b mut Budget,
    own: u64,
    patterns: HashMap<String, Regex>,
}

impl Meter<'_> {
    pub(crate) fn new(budget: &mut Budget) -> Meter<'_> {
        Meter { budget, own: PER_EXPRESSION, patterns: HashMap::new() }
    }

    /// Pays; the error is that there is not enough.
    pub(crate) fn charge(&mut self, cost: u64) -> Result<(), EvaluateError> {
        let left = self.own.min(self.budget.left);
        self.own = self.own.saturating_sub(cost);
        self.budget.left = self.budget.left.saturating_sub(cost);
        if cost > left { Err(EvaluateError::TooExpensive) } else { Ok(()) }
    }

    /// Pays for making something of this size, which has a limit.
    pub(crate) fn charge_size(&mut self, size: u64) -> Result<(), EvaluateError> {
        if size > LARGEST {
            return Err(EvaluateError::TooExpensive);
        }
        self.charge(1 + size / 10)
    }

    /// The compiled pattern.
    pub(crate) fn pattern(&mut self, pattern: &str) -> Result<Regex, EvaluateError> {
        if let Some(known) = self.patterns.get(pattern) {
            return Ok(known.clone());
        }
        self.charge(PATTERN_COST * (1 + pattern.len() as u64))?;
        let compiled = compile(pattern).map_err(EvaluateError::Failed)?;
        if self.patterns.len() < PATTERNS {
            self.patterns.insert(pattern.to_owned(), compiled.clone());
        }
        Ok(compiled)
    }
}

/// A pattern, compiled within bounds; the error is what is wrong with it.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let built = regex::RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).nest_limit(100).build();
    built.map_err(|error| {
        let text = error.to_string();
        let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("error parsing regexp: {why}: `{pattern}`")
    })
}

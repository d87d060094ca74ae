//! What happened, one line each: the last ones to be read when a rule is broken, all of them as one number to be
//! compared.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// How many lines are kept.
const KEPT: usize = 80;

/// See the module.
#[derive(Debug)]
pub struct Trace {
    lines: VecDeque<String>,
    length: u64,
    digest: u64,
}

impl Trace {
    /// Nothing has happened.
    pub fn new() -> Trace {
        Trace { lines: VecDeque::new(), length: 0, digest: 0xcbf2_9ce4_8422_2325 }
    }

    /// Something happened at this age of the story.
    pub fn say(&mut self, age: Duration, what: fmt::Arguments<'_>) {
        let line = format!("{:>12.6} {what}", age.as_secs_f64());
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.length += 1;
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// A number that two stories share only if they are the same.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// How many lines there were.
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

//! Waiting for a condition, with its name.

use std::time::{Duration, Instant};

/// Tries `attempt` until it succeeds, for at most 60 seconds.
#[track_caller]
pub fn eventually<T>(what: &str, attempt: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(Duration::from_secs(60), what, attempt)
}

/// Tries `attempt` until it succeeds, for at most `limit`; then panics with what it said last.
#[track_caller]
pub fn eventually_within<T>(
    limit: Duration,
    what: &str,
    mut attempt: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(last) if start.elapsed() > limit => {
                panic!("after {:?} still not: {what}; last seen: {last}", start.elapsed())
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

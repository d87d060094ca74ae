//! Waiting longer after each failure, never in step with others.

use std::time::Duration;

/// A doubling delay with a cap; each wait is between half of it and all of it.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts at `first` and never exceeds `most`.
    pub fn new(first: Duration, most: Duration) -> Backoff {
        Backoff { first, most, next: first }
    }

    /// The delay to wait now; the next one is twice as long.
    pub fn delay(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.most);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Begins again at the first delay, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// Waits for the next delay.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.delay()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_its_cap_and_begins_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(3));
        for full in [1, 2, 3, 3] {
            let delay = backoff.delay().as_secs_f64();
            assert!(delay >= f64::from(full) / 2.0 && delay <= f64::from(full), "{delay} of {full}");
        }
        backoff.reset();
        assert!(backoff.delay() <= Duration::from_secs(1));
    }
}

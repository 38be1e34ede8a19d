//! How long to leave a collector alone that does not take what it is sent.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A collector or a configuration may ask for a longer rest; this is the longest there is.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Doubling waits, each shortened at random by up to half, so that many hosts do not come back together.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    random: RandomState,
    waits: u64,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        let (first, longest) = (first.min(LONGEST), longest.min(LONGEST));
        Self { first, longest, next: first, random: RandomState::new(), waits: 0 }
    }

    /// After a failure: the time until the next try. `asked` is what the collector wants, and never shortened.
    pub(super) fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.longest);
        self.waits += 1;
        let share = (self.random.hash_one(self.waits) >> 11) as f64 / (1u64 << 53) as f64;
        match asked {
            Some(asked) => asked.min(LONGEST) + self.first.mul_f64(share),
            None => whole.mul_f64(0.5 + share / 2.0),
        }
    }

    /// After a success.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_longest_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(FIRST, Duration::from_secs(10));
        for whole in [1, 2, 4, 8, 10, 10] {
            let wait = backoff.wait(None).as_secs_f64();
            let whole = f64::from(whole);
            assert!(wait >= whole / 2.0 && wait <= whole, "{wait} of {whole}");
        }
        backoff.reset();
        assert!(backoff.wait(None) <= FIRST);
    }

    #[test]
    fn waits_differ_from_host_to_host() {
        let waits: Vec<_> = (0..8).map(|_| Backoff::new(FIRST, Duration::from_secs(10)).wait(None)).collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }

    #[test]
    fn what_the_collector_asks_for_is_a_minimum() {
        let mut backoff = Backoff::new(FIRST, Duration::from_secs(10));
        let wait = backoff.wait(Some(Duration::from_secs(30)));
        assert!(wait >= Duration::from_secs(30) && wait <= Duration::from_secs(31), "{wait:?}");
        assert!(backoff.wait(Some(Duration::MAX)) <= LONGEST + FIRST);
    }
}

//! How long to wait before a request is repeated: longer each time, and never in step with others.

use std::time::Duration;

/// The wait before the first repetition, at most.
const FIRST: Duration = Duration::from_millis(50);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);

/// Waits that double, each of a random length between half of it and all of it.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST, random: fastrand::Rng::new() }
    }

    /// The next wait, at least as long as the other side asks for.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let wait = self.next.mul_f64(0.5 + 0.5 * self.random.f64());
        self.next = (2 * self.next).min(LONGEST);
        wait.max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_differ() {
        let mut waits = Backoff::new();
        let mut expected = FIRST;
        for _ in 0..12 {
            let wait = waits.next(None);
            assert!(wait >= expected / 2 && wait <= expected, "{wait:?} {expected:?}");
            expected = (2 * expected).min(LONGEST);
        }
        assert_eq!(expected, LONGEST);
        let firsts: Vec<_> = (0..20).map(|_| Backoff::new().next(None)).collect();
        assert!(firsts.iter().any(|wait| *wait != firsts[0]));
        assert_eq!(Backoff::new().next(Some(Duration::from_secs(60))), Duration::from_secs(60));
    }
}

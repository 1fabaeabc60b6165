//! The generic cell rate algorithm: a sustained rate with a burst, in eight bytes.

use std::time::Duration;

/// A sustained rate with a burst.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    interval_ns: u64,
    tolerance_ns: u64,
}

impl Rate {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self::every(1_000_000_000 / u64::from(per_second.max(1)), burst)
    }

    fn every(interval_ns: u64, burst: u32) -> Self {
        Self { interval_ns, tolerance_ns: interval_ns * u64::from(burst.max(1) - 1) }
    }

    /// How long it takes until `cost` is there again, in milliseconds.
    pub(crate) fn takes_ms(self, cost: u32) -> u64 {
        (u64::from(cost) * self.interval_ns).div_ceil(1_000_000)
    }

    /// So many a minute, and as many at once.
    pub(crate) fn per_minute(most: u32) -> Self {
        Self::every(60_000_000_000 / u64::from(most.max(1)), most)
    }
}

/// When the next one would come if they came evenly, in nanoseconds of the edge's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace(u64);

impl Pace {
    /// Takes `cost`, or returns in how many milliseconds that may be taken.
    pub(crate) fn take(&mut self, now_ns: u64, rate: Rate, cost: u32) -> Result<(), u64> {
        let due = self.0.max(now_ns);
        let early = due - now_ns;
        if early > rate.tolerance_ns {
            return Err((early - rate.tolerance_ns).div_ceil(1_000_000));
        }
        self.0 = due + u64::from(cost) * rate.interval_ns;
        Ok(())
    }

    /// Takes some that have come already; returns how many nanoseconds must pass before the next, if any.
    pub(crate) fn charge(&mut self, now_ns: u64, rate: Rate, count: u32) -> Option<u64> {
        self.0 = self.0.max(now_ns) + u64::from(count) * rate.interval_ns;
        (self.0 - now_ns).checked_sub(rate.tolerance_ns + rate.interval_ns).filter(|wait| *wait > 0)
    }

    /// Takes the next one, and returns how long to wait for it; `None`, and takes nothing, when that is longer than
    /// `most`.
    pub(crate) fn claim(&mut self, now_ns: u64, rate: Rate, most: Duration) -> Option<Duration> {
        let due = self.0.max(now_ns);
        let wait = Duration::from_nanos((due - now_ns).saturating_sub(rate.tolerance_ns));
        if wait > most {
            return None;
        }
        self.0 = due + rate.interval_ns;
        Some(wait)
    }

    /// Whether all that was taken is forgotten by now.
    pub(crate) fn is_rested(self, now_ns: u64) -> bool {
        self.0 <= now_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let rate = Rate::new(100, 200);
        let mut pace = Pace::default();
        let start = 1_000_000_000;
        assert_eq!((0..300).filter(|_| pace.take(start, rate, 1).is_ok()).count(), 200);
        let wait = pace.take(start, rate, 1).unwrap_err();
        assert_eq!(wait, 10);
        assert!(pace.take(start + wait * 1_000_000, rate, 1).is_ok(), "the wait that it returned is enough");
        let a_second =
            (1..=1000).filter(|ms| pace.take(start + (10 + ms) * 1_000_000, rate, 1).is_ok()).count();
        assert_eq!(a_second, 100);
        let later = start + 100_000_000_000;
        assert_eq!(
            (0..300).filter(|_| pace.take(later, rate, 1).is_ok()).count(),
            200,
            "a rest restores the burst"
        );
    }

    #[test]
    fn what_costs_more_takes_more_of_the_time() {
        let (rate, mut pace) = (Rate::new(10, 5), Pace::default());
        assert!(pace.take(0, rate, 5).is_ok());
        assert_eq!(pace.take(0, rate, 1).unwrap_err(), 100, "the burst is used up");
        assert!(pace.take(100_000_000, rate, 3).is_ok());
        assert_eq!(pace.take(100_000_000, rate, 1).unwrap_err(), 300);
    }

    #[test]
    fn what_came_over_the_rate_makes_the_next_wait() {
        let (rate, mut pace) = (Rate::new(100, 4), Pace::default());
        let waits: Vec<_> = (0..6).map(|_| pace.charge(0, rate, 1)).collect();
        assert_eq!(waits, [None, None, None, None, Some(10_000_000), Some(20_000_000)]);
        assert_eq!(pace.charge(30_000_000, rate, 1), None, "it has waited");
        assert!(!pace.is_rested(30_000_000) && pace.is_rested(70_000_000));
        assert_eq!(pace.charge(1_000_000_000, rate, 6), Some(20_000_000), "six at once are no different");
    }
}

//! How fast a socket may send: the generic cell rate algorithm, eight bytes for each socket.

/// A sustained rate with a burst.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    interval_ns: u64,
    tolerance_ns: u64,
}

impl Rate {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let interval_ns = 1_000_000_000 / u64::from(per_second.max(1));
        Self { interval_ns, tolerance_ns: interval_ns * u64::from(burst.max(1) - 1) }
    }
}

/// When the next message would come if they came evenly, in nanoseconds of the edge's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace(u64);

impl Pace {
    /// Takes one, or returns in how many milliseconds one may be taken.
    pub(crate) fn take(&mut self, now_ns: u64, rate: Rate) -> Result<(), u64> {
        let due = self.0.max(now_ns);
        let early = due - now_ns;
        if early > rate.tolerance_ns {
            return Err((early - rate.tolerance_ns).div_ceil(1_000_000));
        }
        self.0 = due + rate.interval_ns;
        Ok(())
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
        assert_eq!((0..300).filter(|_| pace.take(start, rate).is_ok()).count(), 200);
        let wait = pace.take(start, rate).unwrap_err();
        assert_eq!(wait, 10);
        assert!(pace.take(start + wait * 1_000_000, rate).is_ok(), "the wait that it returned is enough");
        let a_second = (1..=1000).filter(|ms| pace.take(start + (10 + ms) * 1_000_000, rate).is_ok()).count();
        assert_eq!(a_second, 100);
        let later = start + 100_000_000_000;
        assert_eq!(
            (0..300).filter(|_| pace.take(later, rate).is_ok()).count(),
            200,
            "a rest restores the burst"
        );
    }
}

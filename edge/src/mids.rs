//! Message ids (mids): ULIDs that strictly rise within one edge.

use std::sync::Mutex;

use rand::Rng as _;
use soundoff_common::lock::lock;
use ulid::Ulid;

/// The last id that was given. When the clock stands still or goes back, the next id is its successor.
#[derive(Debug, Default)]
pub(crate) struct Mids(Mutex<u128>);

impl Mids {
    pub(crate) fn next(&self, now_ms: u64) -> Ulid {
        // The top random bit stays clear, so that successors have room below the next millisecond's ids.
        let random = rand::rng().random::<u128>() >> 49;
        let fresh = (u128::from(now_ms) << 80) | random;
        let mut last = lock(&self.0);
        *last = fresh.max(last.saturating_add(1));
        Ulid(*last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_whatever_the_clock_does() {
        let mids = Mids::default();
        let mut last = Ulid(0);
        for now in [5, 5, 5, 6, 3, 0, 7, u64::from(u32::MAX), 1].into_iter().flat_map(|ms| [ms; 500]) {
            let mid = mids.next(now);
            assert!(mid > last, "{mid} after {last}");
            last = mid;
        }
    }
}

//! How often one IP address may ask.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use soundoff_common::web::address::household;

use crate::refusal::Refusal;

/// After how many checks the addresses that are quiet are forgotten.
const TIDY_EVERY: u32 = 4096;

/// One limit, per process: a deployment of n processes lets n times as much through. Limits that must hold for all
/// together (codes and tries per mail address or phone number) are counted in the tables.
pub(crate) struct Limit {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    checks: AtomicU32,
}

impl Limit {
    /// At most `most` a minute, and all of them at once after a quiet minute.
    pub(crate) fn per_minute(most: u32) -> Self {
        let quota = Quota::per_minute(NonZeroU32::new(most).unwrap_or(NonZeroU32::MIN));
        Self { limiter: DefaultKeyedRateLimiter::keyed(quota), checks: AtomicU32::new(0) }
    }

    /// Counts a request.
    pub(crate) fn check(&self, from: IpAddr) -> Result<(), Refusal> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&household(from)).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            Refusal::RateLimited(wait.as_secs() + 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_household_is_limited_as_one_and_others_are_not() {
        let limit = Limit::per_minute(3);
        let check = |from: &str| limit.check(from.parse().unwrap()).is_ok();
        assert!((0..3).all(|n| check(&format!("2001:db8:1:2::{n}"))));
        assert!(!check("2001:db8:1:2:ffff::1"), "the same /64");
        assert!(check("2001:db8:1:3::1") && check("192.0.2.1"));
        assert!(
            check("::ffff:192.0.2.1") && check("192.0.2.1") && !check("192.0.2.1"),
            "one address, two spellings"
        );
    }
}

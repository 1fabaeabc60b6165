//! How often something may be done in a time, and how pauses grow before it may be done no more.

use soundoff_common::protocol::is_ahead;

pub(crate) const HOUR_MS: u64 = 3600 * 1000;
pub(crate) const DAY_MS: u64 = 24 * HOUR_MS;

/// What was counted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// How often, since `since`.
    pub(crate) made: u64,
    pub(crate) since: u64,
    pub(crate) last: u64,
}

/// How often is allowed. All times are in milliseconds.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The time in which is counted; it begins with the first.
    pub(crate) window_ms: u64,
    /// How long to wait between two.
    pub(crate) pause_ms: u64,
    /// How many come before the pauses grow: after the next it is a minute, and then twice as long each time.
    pub(crate) free: u64,
    /// How many come in one window.
    pub(crate) most: u64,
}

/// The first of the pauses that grow.
const FIRST_PAUSE_MS: u64 = 60_000;
/// The longest of them: who waits for it does so once.
const LONGEST_PAUSE_MS: u64 = HOUR_MS;

impl Rule {
    /// How long the next has to wait.
    pub(crate) fn wait_ms(&self, count: &Count, now: u64) -> u64 {
        let count = self.current(count, now);
        let ends = count.since + self.window_ms;
        if count.made >= self.most {
            return ends.saturating_sub(now);
        }
        // A pause that began by a clock that was wrong keeps nobody waiting.
        let began = Some(count.last).filter(|last| !is_ahead(*last, now)).unwrap_or_default();
        (began + self.pause_after(count.made)).saturating_sub(now)
    }

    /// The count with one more.
    pub(crate) fn counted(&self, count: &Count, now: u64) -> Count {
        let Count { made, since, .. } = self.current(count, now);
        Count { made: made + 1, since, last: now }
    }

    /// When the count may be forgotten, in seconds since 1970.
    pub(crate) fn forgotten_s(&self, count: &Count) -> u64 {
        (count.since + self.window_ms).div_ceil(1000)
    }

    fn current(&self, count: &Count, now: u64) -> Count {
        let over = now >= count.since + self.window_ms || is_ahead(count.since, now);
        if over { Count { made: 0, since: now, last: count.last } } else { *count }
    }

    fn pause_after(&self, made: u64) -> u64 {
        match made.checked_sub(self.free) {
            None | Some(0) => self.pause_ms,
            Some(beyond) => {
                let doubled =
                    u32::try_from(beyond - 1).ok().and_then(|times| FIRST_PAUSE_MS.checked_shl(times));
                doubled.map_or(LONGEST_PAUSE_MS, |pause| pause.min(LONGEST_PAUSE_MS))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { window_ms: 24 * 3_600_000, pause_ms: 5_000, free: 3, most: 12 };
    const START: u64 = 1_700_000_000_000;

    /// When each of as many as come as soon as they may is made, in seconds after the first.
    fn moments(rule: &Rule, most: usize) -> Vec<u64> {
        let (mut count, mut now, mut made) = (Count::default(), START, Vec::new());
        while made.len() < most {
            now += rule.wait_ms(&count, now);
            assert_eq!(rule.wait_ms(&count, now), 0);
            count = rule.counted(&count, now);
            made.push((now - START) / 1000);
        }
        made
    }

    #[test]
    fn pauses_grow_and_a_window_ends() {
        let minute = 60;
        let day = 24 * 60 * minute;
        let mut expected = vec![0, 5, 10, 15];
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            expected.push(expected.last().unwrap() + pause * minute);
        }
        expected.extend([day, day + 5]);
        assert_eq!(moments(&RULE, 14), expected);
    }

    #[test]
    fn a_clock_that_was_wrong_keeps_nobody_waiting() {
        let later = START + 365 * RULE.window_ms;
        let wrong = Count { made: 12, since: later, last: later };
        assert_eq!(RULE.wait_ms(&wrong, START), 0);
        assert_eq!(RULE.counted(&wrong, START), Count { made: 1, since: START, last: START });
        let half = Count { made: 2, since: START, last: later };
        assert_eq!(RULE.wait_ms(&half, START + 1), 0);
        let many = Count { made: u64::MAX, since: START, last: START };
        assert_eq!(RULE.wait_ms(&many, START + 1), RULE.window_ms - 1);
        let endless = Rule { most: u64::MAX, ..RULE };
        assert_eq!(endless.wait_ms(&Count { made: u64::MAX - 1, ..many }, START), LONGEST_PAUSE_MS);
    }
}

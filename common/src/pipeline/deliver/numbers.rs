//! Which requests were taken: a few bytes for each sender, and none for a request.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::protocol::CLOCKS_APART_MS;

/// How many senders are remembered. A sender is one worker's lane to this process: a deployment has hundreds.
const MOST: usize = 16_384;
/// How long a sender is remembered after its last request, at least: what it signed by a clock that is ahead is fresh
/// for so long.
const REMEMBERED: Duration = Duration::from_millis(2 * CLOCKS_APART_MS + 1000);
/// How many numbers below a sender's highest are told apart. Its requests overtake each other on their way, but few do.
const WINDOW: u64 = u128::BITS as u64;

/// Whether a request is the first with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    First,
    /// It was taken before, or it is so late that nobody knows.
    Again,
    /// There is no room for another sender.
    NoRoom,
}

/// The numbers that one sender's requests had.
#[derive(Debug)]
struct Window {
    highest: u64,
    /// Bit *n* stands for the number `highest - n`.
    taken: u128,
    last: Instant,
}

impl Window {
    fn take(&mut self, number: u64) -> bool {
        if number > self.highest {
            let ahead = number - self.highest;
            self.taken = if ahead < WINDOW { self.taken << ahead | 1 } else { 1 };
            self.highest = number;
            return true;
        }
        let back = self.highest - number;
        let is_first = back < WINDOW && self.taken >> back & 1 == 0;
        if is_first {
            self.taken |= 1 << back;
        }
        is_first
    }
}

/// The numbers of all senders.
#[derive(Debug, Default)]
pub(super) struct Numbers(BTreeMap<u64, Window>);

impl Numbers {
    /// Takes the request `number` of a sender whose signature is valid.
    ///
    /// Senders are forgotten only when there is no room for another one, and then only those whose requests are stale
    /// by now. So a wall clock that is set back makes nothing new that was taken before.
    pub(super) fn take(&mut self, sender: u64, number: u64, now: Instant) -> Taken {
        if let Some(window) = self.0.get_mut(&sender) {
            window.last = now;
            return if window.take(number) { Taken::First } else { Taken::Again };
        }
        if self.0.len() >= MOST {
            self.0.retain(|_, window| now.saturating_duration_since(window.last) < REMEMBERED);
        }
        if self.0.len() >= MOST {
            return Taken::NoRoom;
        }
        self.0.insert(sender, Window { highest: number, taken: 1, last: now });
        Taken::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_taken_once_in_any_order_within_the_window() {
        let (mut numbers, now) = (Numbers::default(), Instant::now());
        let mut take = |sender, number| numbers.take(sender, number, now);
        for number in [0, 2, 1, 7, 5, 6, 134, 8, 7 + WINDOW, 133] {
            assert_eq!(take(1, number), Taken::First, "{number}");
            assert_eq!(take(1, number), Taken::Again, "{number}");
        }
        assert_eq!(take(1, 3), Taken::Again, "too late to tell");
        assert_eq!(take(2, 3), Taken::First, "another sender");
        assert_eq!(take(1, u64::MAX), Taken::First);
        assert_eq!(take(1, 135), Taken::Again);
        assert_eq!(take(1, u64::MAX - WINDOW), Taken::Again);
        assert_eq!(take(1, u64::MAX - WINDOW + 1), Taken::First);
    }

    #[test]
    fn senders_are_forgotten_only_for_others_and_only_when_all_they_signed_is_stale() {
        let (mut numbers, begun) = (Numbers::default(), Instant::now());
        let later = begun + REMEMBERED;
        for sender in 0..MOST as u64 {
            let at = if sender < 10 { begun } else { begun + Duration::from_secs(1) };
            assert_eq!(numbers.take(sender, 0, at), Taken::First);
        }
        let early = later - Duration::from_millis(1);
        assert_eq!(numbers.take(u64::MAX, 0, early), Taken::NoRoom);
        assert_eq!(numbers.take(0, 0, early), Taken::Again, "and nothing was forgotten");
        assert_eq!(numbers.take(1, 1, early), Taken::First, "who is known goes on");
        assert_eq!(numbers.take(u64::MAX, 0, later), Taken::First);
        assert_eq!(numbers.0.len(), MOST - 8 + 1, "eight made room, two were heard of since");
        assert_eq!(numbers.take(10, 0, later), Taken::Again);
    }
}

//! What users may do on one edge, however many sockets they open; the same for addresses.
//!
//! A user is in the table only as long as something of theirs is not forgotten: some seconds after the last message. So
//! an idle socket costs nothing here.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::num::NonZeroU64;
use std::sync::Mutex;

use hashbrown::HashTable;
use soundoff_common::lock::lock;

use super::bucket::{Pace, Rate};

/// Into how many parts the table is divided, each with a lock of its own.
const PARTS: usize = 64;
/// The most of a part. There may be more of them in a few seconds only where anybody can make them.
const MOST: usize = 16_384;
/// For how long a user is refused for whom there is no place, in milliseconds.
const NO_PLACE_MS: u64 = 1000;

/// Names a user, or an address, in the table: a hash that nobody can choose. Two of a million users share one with a
/// probability of one in forty million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget(NonZeroU64);

impl Budget {
    fn of(hash: u64) -> Self {
        // Never zero, so that a socket without one needs no byte to say so.
        Self(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MAX))
    }

    fn hash(self) -> u64 {
        self.0.get()
    }
}

/// The budgets of one edge's users, or of the addresses that they come from.
#[derive(Debug)]
pub(crate) struct Budgets {
    parts: [Mutex<HashTable<(Budget, Pace)>>; PARTS],
    hashes: RandomState,
    /// Who finds no place is refused: they would not be counted.
    refuses: bool,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| Mutex::default()), hashes: RandomState::new(), refuses: true }
    }
}

impl Budgets {
    /// Of those that anybody can make, such as addresses: who finds no place passes. Otherwise somebody with very
    /// many addresses would keep all others out.
    pub(crate) fn for_anybody() -> Self {
        Self { refuses: false, ..Self::default() }
    }

    /// The name of somebody's budget.
    pub(crate) fn of(&self, who: &impl Hash) -> Budget {
        Budget::of(self.hashes.hash_one(who))
    }

    /// Takes `cost` from a budget, or returns in how many milliseconds that may be taken.
    pub(crate) fn take(&self, budget: Budget, now_ns: u64, rate: Rate, cost: u32) -> Result<(), u64> {
        // The table uses the lower bits.
        let part = &self.parts[(budget.hash() >> 58) as usize];
        let mut part = lock(part);
        if let Some((_, pace)) = part.find_mut(budget.hash(), |(other, _)| *other == budget) {
            return pace.take(now_ns, rate, cost);
        }
        if part.len() >= MOST {
            return if self.refuses { Err(NO_PLACE_MS) } else { Ok(()) };
        }
        let mut pace = Pace::default();
        let taken = pace.take(now_ns, rate, cost);
        part.insert_unique(budget.hash(), (budget, pace), |(other, _)| other.hash());
        taken
    }

    /// Forgets those whose whole burst is there again.
    pub(crate) fn tidy(&self, now_ns: u64) {
        for part in &self.parts {
            let mut part = lock(part);
            if part.is_empty() {
                continue;
            }
            part.retain(|(_, pace)| !pace.is_rested(now_ns));
            if part.is_empty() {
                *part = HashTable::new();
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.parts.iter().map(|part| lock(part).len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use soundoff_common::protocol::Handle;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn user(n: usize) -> Handle {
        format!("user{n}").parse().unwrap()
    }

    #[test]
    fn a_user_has_one_budget_and_is_forgotten_when_it_is_whole_again() {
        let (budgets, rate) = (Budgets::default(), Rate::new(10, 5));
        let taken = |who: usize, at| budgets.take(budgets.of(&user(who)), at, rate, 1);
        assert_eq!((0..9).filter(|_| taken(1, 0).is_ok()).count(), 5);
        assert!(taken(2, 0).is_ok(), "others have their own");
        assert_eq!(budgets.len(), 2);
        budgets.tidy(SECOND / 10);
        assert_eq!(budgets.len(), 1, "the second has its burst again");
        assert_eq!(taken(1, SECOND / 20).unwrap_err(), 50, "the first is remembered");
        budgets.tidy(SECOND / 2);
        assert_eq!(budgets.len(), 0);
        assert_eq!((0..9).filter(|_| taken(1, SECOND).is_ok()).count(), 5);
    }

    #[test]
    fn the_table_is_bounded() {
        for (budgets, refuses) in [(Budgets::default(), true), (Budgets::for_anybody(), false)] {
            let name = |n: usize| Budget::of((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let rate = Rate::new(10, 5);
            let refused =
                (0..2 * PARTS * MOST).filter(|n| budgets.take(name(*n), 0, rate, 1).is_err()).count();
            assert!((refused > 0) == refuses && budgets.len() <= PARTS * MOST);
        }
    }
}

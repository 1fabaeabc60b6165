//! Users in turn: what waits, by user, and whose turn it is. Adapters that decide themselves what a receive gets keep
//! what waits in this.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Things that wait, in rounds: in each round every user who has something gets one of it. Adding and taking cost the
/// same however much waits.
#[derive(Debug)]
pub struct Rounds<U, T> {
    /// What waits of each user who has something.
    lines: HashMap<U, VecDeque<T>>,
    /// The same users: the first is next.
    round: VecDeque<U>,
    len: usize,
}

impl<U, T> Default for Rounds<U, T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), round: VecDeque::new(), len: 0 }
    }
}

impl<U: Clone + Eq + Hash, T> Rounds<U, T> {
    /// Adds to the end of what waits of a user. Who had nothing is last in the round.
    pub fn push(&mut self, user: U, thing: T) {
        self.line(user).push_back(thing);
        self.len += 1;
    }

    fn line(&mut self, user: U) -> &mut VecDeque<T> {
        self.lines.entry(user).or_insert_with_key(|user| {
            self.round.push_back(user.clone());
            VecDeque::new()
        })
    }

    /// Takes the next thing that is still there. What is not there any more is dropped, and takes nobody's turn.
    pub fn next(&mut self, mut is_there: impl FnMut(&T) -> bool) -> Option<T> {
        while let Some(user) = self.round.pop_front() {
            let Some(line) = self.lines.get_mut(&user) else { continue };
            let mut found = None;
            while found.is_none()
                && let Some(thing) = line.pop_front()
            {
                self.len -= 1;
                found = is_there(&thing).then_some(thing);
            }
            if line.is_empty() {
                self.lines.remove(&user);
                self.shrink();
            } else {
                self.round.push_back(user);
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Puts a thing back that was taken: it is the first of its user, who has a turn at once if they had nothing.
    pub fn put_back(&mut self, user: U, thing: T) {
        if !self.lines.contains_key(&user) {
            self.round.push_front(user.clone());
        }
        self.lines.entry(user).or_default().push_front(thing);
        self.len += 1;
    }

    /// All that waits, each user's by itself.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.lines.values().flatten()
    }

    /// Drops what is not to stay.
    pub fn retain(&mut self, mut stays: impl FnMut(&T) -> bool) {
        self.lines.retain(|_, line| {
            line.retain(&mut stays);
            !line.is_empty()
        });
        self.round.retain(|user| self.lines.contains_key(user));
        self.len = self.lines.values().map(VecDeque::len).sum();
    }

    /// A crowd that is gone must not hold its memory forever.
    fn shrink(&mut self) {
        if self.lines.capacity() > 1024 && self.lines.len() < self.lines.capacity() / 8 {
            self.lines.shrink_to(2 * self.lines.len());
            self.round.shrink_to(2 * self.lines.len());
        }
    }

    /// How many things wait, with those that are not there any more.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<U: Clone + Eq + Hash, T: Ord> Rounds<U, T> {
    /// Adds to what waits of a user, which is in order: the least first, and nothing twice.
    pub fn insert(&mut self, user: U, thing: T) {
        let line = self.line(user);
        match line.back() {
            Some(last) if *last >= thing => {
                let Err(at) = line.binary_search(&thing) else { return };
                line.insert(at, thing);
            }
            _ => line.push_back(thing),
        }
        self.len += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::Rounds;

    fn all(rounds: &mut Rounds<char, u32>) -> Vec<u32> {
        std::iter::from_fn(|| rounds.next(|_| true)).collect()
    }

    #[test]
    fn each_user_gets_one_a_round() {
        let mut rounds = Rounds::default();
        for (user, thing) in [('g', 1), ('g', 2), ('g', 3), ('a', 4), ('b', 5), ('a', 6)] {
            rounds.push(user, thing);
        }
        assert_eq!(rounds.next(|_| true), Some(1));
        rounds.push('c', 7);
        assert_eq!(all(&mut rounds), [4, 5, 2, 7, 6, 3]);
        assert!(rounds.is_empty());
    }

    #[test]
    fn what_comes_back_has_its_place_again() {
        let mut rounds = Rounds::default();
        for thing in [5, 8, 9, 7, 5, 6, 9] {
            rounds.insert('a', thing);
        }
        assert_eq!(rounds.len(), 5, "nothing twice");
        assert_eq!(all(&mut rounds), [5, 6, 7, 8, 9]);
    }

    #[test]
    fn what_is_put_back_is_next_and_what_does_not_stay_is_gone() {
        let mut rounds = Rounds::default();
        for (user, thing) in [('a', 1), ('b', 2), ('b', 3), ('c', 4), ('c', 5)] {
            rounds.push(user, thing);
        }
        assert_eq!([rounds.next(|_| true), rounds.next(|_| true)], [Some(1), Some(2)]);
        rounds.put_back('b', 2);
        rounds.put_back('a', 1);
        rounds.retain(|thing| *thing != 4 && *thing != 5);
        let mut left: Vec<u32> = rounds.iter().copied().collect();
        left.sort_unstable();
        assert_eq!((left, rounds.len()), (vec![1, 2, 3], 3));
        assert_eq!(all(&mut rounds), [1, 2, 3]);
    }

    #[test]
    fn what_is_gone_takes_nobody_s_turn() {
        let mut rounds = Rounds::default();
        for (user, thing) in [('a', 1), ('a', 2), ('g', 3), ('g', 4)] {
            rounds.push(user, thing);
        }
        assert_eq!(rounds.next(|thing| *thing != 1), Some(2));
        assert_eq!(rounds.next(|thing| *thing != 3), Some(4));
        assert_eq!((rounds.next(|_| true), rounds.len()), (None, 0));
    }

    /// The law itself, for random senders and receivers: before a user's k-th thing no other user gets more than k.
    #[test]
    fn nobody_waits_for_more_of_others_than_they_have_themselves() {
        let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
        let mut random = StdRng::seed_from_u64(seed);
        let mut rounds: Rounds<u32, u32> = Rounds::default();
        // By thing: whose, the how many-th of its user it is, and how many each other user got since.
        let mut waiting: BTreeMap<u32, (u32, u32, BTreeMap<u32, u32>)> = BTreeMap::new();
        for thing in 0..20_000 {
            if random.random_bool(0.52) {
                // One user sends most of it.
                let user = if random.random_bool(0.7) { 0 } else { random.random_range(0..20) };
                let before = waiting.values().filter(|(whose, ..)| *whose == user).count() as u32;
                waiting.insert(thing, (user, before + 1, BTreeMap::new()));
                rounds.insert(user, thing);
            } else if let Some(got) = rounds.next(|_| true) {
                let (user, place, since) = waiting.remove(&got).expect("nothing comes twice");
                let most = since.values().max().copied().unwrap_or(0);
                assert!(
                    most <= place,
                    "SEED={seed}: {most} of somebody before the {place}-th of user {user}"
                );
                for (_, _, since) in waiting.values_mut().filter(|(whose, ..)| *whose != user) {
                    *since.entry(user).or_default() += 1;
                }
            }
        }
    }
}

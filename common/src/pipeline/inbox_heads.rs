//! Keeps the workers of one process from racing each other for one user's inbox, where the engine judges writes in the
//! order in which they are handed over.
//!
//! The transactions alone keep inboxes correct: an append succeeds only if the head is still as it was read. Here
//! appends to one inbox take turns until they are handed over, and the next append builds on one that has not committed
//! yet, so that a celebrity's pushes share commits instead of waiting for one each.

use std::collections::HashMap;

use tokio::sync::{Mutex, MutexGuard};

use crate::pipeline::inbox;
use crate::ports::tables::{TableError, Tables};
use crate::protocol::Handle;

/// An inbox with appends that have been handed over and have not returned.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    /// The newest `seq` once they have all committed.
    head: u64,
    /// How many they are.
    appends: u32,
}

type Slot = HashMap<Handle, Ahead>;

/// The inboxes of all users, a few to each lock.
#[derive(Debug)]
pub(crate) struct InboxHeads(Box<[Mutex<Slot>]>);

impl Default for InboxHeads {
    fn default() -> Self {
        Self((0..1024).map(|_| Mutex::default()).collect())
    }
}

/// The turn of one append, at all of its receivers' inboxes at once.
pub(crate) struct Turn<'a> {
    slots: Vec<(usize, MutexGuard<'a, Slot>)>,
    /// The newest `seq` of each receiver, in the order they were asked for.
    pub(crate) heads: Vec<u64>,
}

impl InboxHeads {
    fn slot_of(&self, user: &Handle) -> usize {
        use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(user);
        (hash % self.0.len() as u64) as usize
    }

    /// Waits for the turn at all `receivers`' inboxes.
    pub(crate) async fn turn(
        &self,
        tables: &dyn Tables,
        receivers: &[Handle],
    ) -> Result<Turn<'_>, TableError> {
        // The same order for all, each lock once: two appends never wait for each other.
        let mut numbers: Vec<usize> = receivers.iter().map(|user| self.slot_of(user)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut slots = Vec::with_capacity(numbers.len());
        for number in numbers {
            slots.push((number, self.0[number].lock().await));
        }
        let known = |user: &Handle| {
            let at = slots.binary_search_by_key(&self.slot_of(user), |(number, _)| *number);
            at.ok().and_then(|at| slots[at].1.get(user)).map(|ahead| ahead.head)
        };
        let mut heads: Vec<Option<u64>> = receivers.iter().map(known).collect();
        let unknown: Vec<Handle> = receivers
            .iter()
            .zip(&heads)
            .filter(|(_, head)| head.is_none())
            .map(|(user, _)| user.clone())
            .collect();
        if !unknown.is_empty() {
            let mut read = inbox::heads(tables, &unknown).await?.into_iter();
            heads.iter_mut().filter(|head| head.is_none()).for_each(|head| *head = read.next());
        }
        Ok(Turn { slots, heads: heads.into_iter().flatten().collect() })
    }

    /// Lets the next append build on this one, which has been handed over: `heads` are the receivers' newest `seq`s
    /// after it.
    pub(crate) fn pass(&self, mut turn: Turn<'_>, receivers: &[Handle], heads: &[u64]) {
        for (user, head) in receivers.iter().zip(heads) {
            let number = self.slot_of(user);
            for (_, slot) in turn.slots.iter_mut().filter(|(at, _)| *at == number) {
                let ahead = slot.entry(user.clone()).or_insert(Ahead { head: *head, appends: 0 });
                ahead.head = *head;
                ahead.appends += 1;
            }
        }
    }

    /// Notes that an append which was passed has returned. After one that failed, the next one reads the head again.
    pub(crate) async fn settle(&self, receivers: &[Handle], committed: bool) {
        for user in receivers {
            let mut slot = self.0[self.slot_of(user)].lock().await;
            if let Some(ahead) = slot.get_mut(user) {
                ahead.appends -= 1;
                if ahead.appends == 0 || !committed {
                    slot.remove(user);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory::MemoryTables;

    #[tokio::test]
    async fn an_append_builds_on_those_before_it_until_one_fails() {
        let (all, tables, ann) = (InboxHeads::default(), MemoryTables::default(), ["ann".parse().unwrap()]);
        for seq in 1..=3 {
            let turn = all.turn(&tables, &ann).await.unwrap();
            assert_eq!(turn.heads, [seq - 1]);
            all.pass(turn, &ann, &[seq]);
        }
        all.settle(&ann, true).await;
        assert_eq!(all.turn(&tables, &ann).await.unwrap().heads, [3], "two have not returned");
        all.settle(&ann, false).await;
        assert_eq!(all.turn(&tables, &ann).await.unwrap().heads, [0], "as it is in the tables");
        all.settle(&ann, true).await;
        assert_eq!(all.turn(&tables, &ann).await.unwrap().heads, [0], "a late one brings nothing back");
    }
}

//! Keeps the transactions of one process from racing each other for the items that many of them change: inboxes, and
//! the counters of posts and accounts.
//!
//! Conditions alone keep the tables right. But an engine that cancels what overlaps makes a process pay for each race
//! with itself, and most of them are lost where many messages are about one post or one person. So those take turns
//! here. Only where an engine judges in the order in which it is handed things there is no need to: there appends build
//! on each other ([`InboxHeads`]), and sums are never refused.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex};

use tokio::sync::OwnedMutexGuard;

use crate::lock::lock;
use crate::pipeline::inbox;
use crate::pipeline::inbox_heads::InboxHeads;
use crate::ports::tables::{Action, Key, Table, Write};
use crate::protocol::Handle;

/// The turns of one process, which all its handlers share: handlers of different types append to the same inboxes.
#[derive(Debug, Default)]
pub struct Turns {
    /// Where the tables judge writes in order.
    pub(crate) heads: InboxHeads,
    /// Everywhere else.
    lines: Lines,
}

/// Those who want a turn at an item, first come first served. Items are hashes: the same one for two items only makes
/// them wait for each other. There are as many lines as items of transactions in progress.
#[derive(Debug, Default)]
struct Lines {
    hasher: RandomState,
    lines: Mutex<HashMap<u64, Line>>,
}

type Line = Arc<tokio::sync::Mutex<()>>;

/// A place in a line, and the turn once it is there.
struct Place<'a> {
    lines: &'a Lines,
    item: u64,
    line: Line,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = lock(&self.lines.lines);
        self.turn = None;
        // The map's and our own: nobody else is in this line, and nobody can join it while the map is locked.
        if Arc::strong_count(&self.line) == 2 {
            lines.remove(&self.item);
        }
    }
}

/// The turn at all that a transaction shares with others. It is passed on when this is dropped.
pub(crate) struct Turn<'a>(#[expect(dead_code, reason = "kept for its end")] Vec<Place<'a>>);

impl Turns {
    /// Waits for the turn at the inboxes of `receivers`, and at every item that `writes` update. What is put or deleted
    /// is the message's own.
    pub(crate) async fn at(&self, receivers: &[Handle], writes: &[Write]) -> Turn<'_> {
        let hash = |table: Table, key: &Key| self.lines.hasher.hash_one((table, key));
        let updated = writes.iter().filter(|write| matches!(write.action, Action::Update(_)));
        let updated = updated.map(|write| hash(write.table, &write.key));
        let inboxes = receivers.iter().map(|user| hash(Table::Inbox, &inbox::head_key(user)));
        // The same order for all, each line once: two transactions never wait for each other.
        let mut items: Vec<u64> = updated.chain(inboxes).collect();
        items.sort_unstable();
        items.dedup();
        let mut places = Vec::with_capacity(items.len());
        for item in items {
            let mut place = self.lines.join(item);
            place.turn = Some(place.line.clone().lock_owned().await);
            places.push(place);
        }
        Turn(places)
    }
}

impl Lines {
    fn join(&self, item: u64) -> Place<'_> {
        let line = lock(&self.lines).entry(item).or_default().clone();
        Place { lines: self, item, line, turn: None }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::ports::tables::{Change, Condition, Item};

    fn user(name: &str) -> Handle {
        name.parse().unwrap()
    }

    fn key(pk: &str) -> Key {
        Key::new(pk, "s")
    }

    fn adds(pk: &str) -> Write {
        Write::update(Table::Entities, key(pk), vec![Change::Add("n", 1)])
    }

    #[tokio::test]
    async fn what_several_transactions_update_or_append_to_is_had_by_one_at_a_time() {
        let (ann, both) = ([user("ann")], [user("ann"), user("bob")]);
        let sets = Write::update(Table::Entities, key("post"), vec![Change::Set("gone", true.into())]);
        let hot = [adds("post")];
        for (receivers, writes) in [(&ann[..], vec![]), (&[], hot.to_vec()), (&both, vec![sets])] {
            let turns = Turns::default();
            let first = turns.at(&ann, &hot).await;
            let mut second = std::pin::pin!(turns.at(receivers, &writes));
            assert!(second.as_mut().now_or_never().is_none(), "{writes:?}");
            drop(first);
            assert!(second.now_or_never().is_some(), "{writes:?}");
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_what_is_not_shared() {
        let turns = Turns::default();
        let own = |pk: &str| {
            let put = Write::put(Table::Entities, key(pk), Item::new());
            let check = Write::check(Table::Users, key(pk), Condition::Exists);
            [put, Write::delete(Table::Relationships, key(pk)), check]
        };
        let _first = turns.at(&[user("ann")], &own("p")).await;
        assert!(turns.at(&[user("bob")], &own("p")).now_or_never().is_some());
        let elsewhere = Write::update(Table::Users, key("post"), Vec::new());
        let _second = turns.at(&[], &[adds("post")]).await;
        assert!(turns.at(&[], &[adds("other"), elsewhere]).now_or_never().is_some());
    }

    #[tokio::test]
    async fn lines_end_with_those_who_stand_in_them() {
        let turns = Turns::default();
        let length = || lock(&turns.lines.lines).len();
        let (ann, twice, other) = ([user("ann")], [adds("post"), adds("post")], [adds("other")]);
        let first = turns.at(&ann, &twice).await;
        assert_eq!(length(), 2);
        let mut second = Box::pin(turns.at(&ann, &other));
        let third = Box::pin(turns.at(&ann, &[]));
        assert!(second.as_mut().now_or_never().is_none() && third.now_or_never().is_none(), "it gave up");
        drop(first);
        assert!(second.as_mut().now_or_never().is_some());
        assert_eq!(length(), 0, "the turn that was had at once is dropped with its answer");
    }

    /// In whatever order they name what they share, none waits forever.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn turns_at_several_items_lock_nobody_out() {
        let turns = Arc::new(Turns::default());
        let names = ["a", "b", "c", "d"];
        let tasks: Vec<_> = (0..16_usize)
            .map(|n| {
                let turns = turns.clone();
                tokio::spawn(async move {
                    for round in 0..200 {
                        let [one, two] = [names[(n + round) % 4], names[(n * 3 + round * 2) % 4]];
                        let _turn = turns.at(&[user(&one.repeat(3))], &[adds(one), adds(two)]).await;
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(lock(&turns.lines.lines).is_empty());
    }
}

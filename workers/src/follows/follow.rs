//! Follows: a state row, a row in each of two lists, a counter on each of two accounts, always moved together; and a row
//! in a list of requests while a follow is asked for.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::accounts::{self, attribute};
pub(crate) use soundoff_common::model::follows::{PREFIX, Row, followers, following, key};
use soundoff_common::model::follows::{followers_key, following_key, request_key};
use soundoff_common::ports::tables::{Change, Condition, Item, Table, Write};
use soundoff_common::protocol::Handle;

use crate::rules::toggles::Turn;

/// Which user.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Whom {
    /// The user's handle.
    pub(crate) user: Handle,
}

impl Whom {
    /// Whom it is about.
    pub(crate) fn user(&self) -> &str {
        self.user.as_str()
    }
}

/// The sender's follow of a user.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Followed {
    /// The user's handle.
    pub(crate) user: Handle,
    /// Whether the sender follows them now. A later message of the sender's may have come first.
    pub(crate) following: bool,
    /// The same, and whether the sender has asked to follow them, who are private.
    pub(crate) state: FollowState,
}

/// What the sender's follow of a user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FollowState {
    /// Nothing.
    None,
    /// The sender has asked for it.
    Requested,
    /// The sender follows them.
    Following,
}

impl FollowState {
    /// From whether it is on, and whether it is asked for.
    pub(crate) fn of(on: bool, asked: bool) -> Self {
        match (on, asked) {
            (true, _) => Self::Following,
            (false, true) => Self::Requested,
            (false, false) => Self::None,
        }
    }
}

impl Followed {
    /// After a turn.
    pub(crate) fn after(user: &Handle, turn: &Turn) -> Self {
        Self { user: user.clone(), following: turn.on, state: FollowState::of(turn.on, turn.asked) }
    }
}

/// Follows that change in one transaction, at most one in each direction.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    writes: Vec<Write>,
    /// By account: followers, following. One write for each account, however many follows change.
    counts: BTreeMap<Handle, (i64, i64)>,
}

impl Moves {
    /// Adds the change of `from`'s follow of `to`.
    pub(crate) fn add(&mut self, from: &Handle, to: &Handle, turn: Turn) {
        if let Some(since) = turn.answered {
            self.writes.push(Write::delete(Table::Relationships, request_key(to, since)));
        }
        if turn.asked && turn.write.is_some() {
            let row = Item::of(&Row { who: from.clone() });
            self.writes.push(Write::put(Table::Relationships, request_key(to, turn.row), row));
        }
        self.writes.extend(turn.write);
        if !turn.flipped {
            return;
        }
        for (key, who) in [(following_key(from, turn.row), to), (followers_key(to, turn.row), from)] {
            self.writes.push(if turn.on {
                Write::put(Table::Relationships, key, Item::of(&Row { who: who.clone() }))
            } else {
                Write::delete(Table::Relationships, key)
            });
        }
        let delta = if turn.on { 1 } else { -1 };
        self.counts.entry(from.clone()).or_default().1 += delta;
        self.counts.entry(to.clone()).or_default().0 += delta;
    }

    /// All changes as writes.
    pub(crate) fn writes(self) -> Vec<Write> {
        let mut writes = self.writes;
        for (user, (followers, following)) in self.counts {
            let changes = [(attribute::FOLLOWERS, followers), (attribute::FOLLOWING, following)];
            let changes = changes.into_iter().filter(|(_, delta)| *delta != 0);
            let mut changes: Vec<_> = changes.map(|(count, delta)| Change::Add(count, delta)).collect();
            if following != 0 {
                // A copy of the list is stale when its version differs.
                changes.push(Change::Add(attribute::FOLLOWS_VERSION, 1));
            }
            let write = Write::update(Table::Users, accounts::key(&user), changes);
            writes.push(write.when(Condition::Exists));
        }
        writes
    }
}

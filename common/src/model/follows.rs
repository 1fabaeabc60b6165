//! The two lists of follows as they are stored: written by workers, read by whoever needs to know who follows whom.

use serde::{Deserialize, Serialize};

use crate::model::holdings::{Holding, Of};
use crate::ports::tables::Table;
use crate::protocol::Handle;

/// The kinds of items that are kept of this.
pub const HOLDINGS: &[Holding] = &[
    Holding {
        kind: "follow",
        table: Table::Relationships,
        pk: "follow#<from>",
        sk: "s#<to>",
        attributes: &["on", "mid", "since", "notified"],
        of: Of::Two,
        summary: "The state of a follow.",
    },
    Holding {
        kind: "row of the followed",
        table: Table::Relationships,
        pk: "follow#<from>",
        sk: "l#<since>",
        attributes: &["who"],
        of: Of::Two,
        summary: "Whom a user follows: a list row while the state is on.",
    },
    Holding {
        kind: "row of followers",
        table: Table::Relationships,
        pk: "followers#<to>",
        sk: "l#<since>",
        attributes: &["who"],
        of: Of::Two,
        summary: "Who follows a user: the same row from the other side.",
    },
];

/// What every list row's `sk` starts with; the message that made the follow comes after it, so that lists sort by time.
pub const PREFIX: &str = "l#";

/// A list row's item.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// The other user.
    pub who: Handle,
}

/// Whom `user` follows.
#[must_use]
pub fn following(user: &Handle) -> String {
    format!("follow#{user}")
}

/// Who follows `user`.
#[must_use]
pub fn followers(user: &Handle) -> String {
    format!("followers#{user}")
}

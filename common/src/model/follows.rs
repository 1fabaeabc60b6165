//! Follows as they are stored, a state and a row in each of two lists: written by workers, read by everything that
//! needs to know who follows whom.

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::model::holdings::{Holding, Of};
use crate::model::relations;
use crate::ports::tables::{Key, Table};
use crate::protocol::Handle;

crate::attributes! {
    /// The attributes of a list row.
    pub mod row {
        WHO = "who",
    }
}

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[
    Holding {
        kind: "follow",
        table: Table::Relationships,
        pk: "follow#<from>",
        sk: "s#<to>",
        attributes: relations::attribute::ALL,
        of: Of::Two,
        summary: "The state of a follow: on, off, or `asked` for.",
    },
    Holding {
        kind: "row of the followed",
        table: Table::Relationships,
        pk: "follow#<from>",
        sk: "l#<since>",
        attributes: row::ALL,
        of: Of::Two,
        summary: "Whom a user follows: a list row while the state is on.",
    },
    Holding {
        kind: "row of followers",
        table: Table::Relationships,
        pk: "followers#<to>",
        sk: "l#<since>",
        attributes: row::ALL,
        of: Of::Two,
        summary: "Who follows a user: the same row from the other side.",
    },
    Holding {
        kind: "row of a request",
        table: Table::Relationships,
        pk: "requests#<to>",
        sk: "l#<since>",
        attributes: row::ALL,
        of: Of::Two,
        summary: "Who asks to follow a private user: a list row while the state is `asked`.",
    },
];

/// The start of every list row's `sk`. The message that made the follow comes after it, so that lists are in order of
/// time.
pub const PREFIX: &str = "l#";

/// A list row's item.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// The other user.
    pub who: Handle,
}

/// The partition of those whom `user` follows, and of the states of these follows.
#[must_use]
pub fn following(user: &Handle) -> String {
    format!("follow#{user}")
}

/// The partition of those who follow `user`.
#[must_use]
pub fn followers(user: &Handle) -> String {
    format!("followers#{user}")
}

/// The key of the state of one follow.
#[must_use]
pub fn key(from: &Handle, to: &Handle) -> Key {
    Key::new(following(from), format!("s#{to}"))
}

/// The key of a follow's row in the list of those whom `from` follows; `since` is the message that made the follow.
#[must_use]
pub fn following_key(from: &Handle, since: Ulid) -> Key {
    Key::new(following(from), row_sk(since))
}

/// The key of a follow's row in the list of those who follow `to`.
#[must_use]
pub fn followers_key(to: &Handle, since: Ulid) -> Key {
    Key::new(followers(to), row_sk(since))
}

/// The partition of those who ask to follow `user`.
#[must_use]
pub fn requests(user: &Handle) -> String {
    format!("requests#{user}")
}

/// The key of a request's row in the list of those who ask to follow `to`.
#[must_use]
pub fn request_key(to: &Handle, since: Ulid) -> Key {
    Key::new(requests(to), row_sk(since))
}

fn row_sk(since: Ulid) -> String {
    format!("{PREFIX}{since}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::holdings::assert_knows;

    #[test]
    fn serde_knows_every_attribute() {
        assert_knows(row::ALL, &Row { who: "ann".parse().unwrap() }, &[]);
    }
}

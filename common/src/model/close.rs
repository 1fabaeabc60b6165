//! Close friends as they are stored: written by workers, read by everything that shows posts.

use ulid::Ulid;

use crate::model::follows::{PREFIX, row};
use crate::model::holdings::{Holding, Of};
use crate::model::relations;
use crate::ports::tables::{Key, Table};
use crate::protocol::Handle;

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[
    Holding {
        kind: "close friend",
        table: Table::Relationships,
        pk: "close#<h>",
        sk: "s#<to>",
        attributes: relations::attribute::ALL,
        of: Of::Two,
        summary: "Whether a user has named another as close. Only the user knows.",
    },
    Holding {
        kind: "row of a close friend",
        table: Table::Relationships,
        pk: "close#<h>",
        sk: "l#<since>",
        attributes: row::ALL,
        of: Of::Two,
        summary: "Whom a user has named as close: a list row while the state is on.",
    },
];

/// The partition of those whom `user` has named as close, and of the states.
#[must_use]
pub fn partition(user: &Handle) -> String {
    format!("close#{user}")
}

/// The key of the state.
#[must_use]
pub fn key(user: &Handle, close: &Handle) -> Key {
    Key::new(partition(user), format!("s#{close}"))
}

/// The key of a row in the list; `since` is the message that made it.
#[must_use]
pub fn row_key(user: &Handle, since: Ulid) -> Key {
    Key::new(partition(user), format!("{PREFIX}{since}"))
}

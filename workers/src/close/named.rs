//! What `close.add` and `close.remove` share.

use schemars::JsonSchema;
use serde::Serialize;
use soundoff_common::model::close;
use soundoff_common::ports::tables::{Item, Table, Write};
use soundoff_common::protocol::Handle;

use crate::follows::follow::Row;
use crate::rules::toggles::Turn;

/// Whether a user is close to the sender.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Named {
    /// The user's handle.
    pub(crate) user: Handle,
    /// Whether the sender has named them as close. A later message of the sender's may have come first.
    pub(crate) close: bool,
}

/// The writes of a turn: the state, and the row of the list.
pub(crate) fn writes(me: &Handle, user: &Handle, turn: Turn) -> Vec<Write> {
    let row = close::row_key(me, turn.row);
    let mut writes = Vec::from_iter(turn.write);
    if turn.flipped {
        writes.push(match turn.on {
            true => Write::put(Table::Relationships, row, Item::of(&Row { who: user.clone() })),
            false => Write::delete(Table::Relationships, row),
        });
    }
    writes
}

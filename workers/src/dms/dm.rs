//! Direct messages as they are stored and shown.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::{Item, Key, Table, TableError};
use soundoff_common::protocol::{Handle, rfc3339};
use ulid::Ulid;

soundoff_common::attributes! {
    /// The attributes of a direct message.
    pub(crate) mod attribute {
        FROM = "from",
        TO = "to",
        TEXT = "text",
        CREATED_AT = "created_at",
    }
}

/// The kinds of items declared here.
pub(crate) const HOLDINGS: &[Holding] = &[Holding {
    kind: "direct message",
    table: Table::Entities,
    pk: "dm#<a>#<b>",
    sk: "<mid>",
    attributes: attribute::ALL,
    of: Of::Two,
    summary: "A direct message; `<a>` is the lesser of the two handles, whichever of them writes.",
}];

/// A direct message.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct DirectMessage {
    /// Names the message.
    pub(crate) id: String,
    /// Who wrote it.
    pub(crate) from: Handle,
    /// To whom.
    pub(crate) to: Handle,
    /// What it says.
    pub(crate) text: String,
    /// When it was sent, RFC 3339 UTC with milliseconds.
    pub(crate) created_at: String,
}

/// What replies and pushes hold of one message.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OneMessage {
    /// The message.
    pub(crate) message: DirectMessage,
}

/// A message's item.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) from: Handle,
    pub(crate) to: Handle,
    pub(crate) text: String,
    /// Milliseconds since 1970.
    pub(crate) created_at: u64,
}

impl Stored {
    pub(crate) fn parse(item: Item) -> Result<Self, TableError> {
        item.parse()
    }

    pub(crate) fn shown(self, id: Ulid) -> DirectMessage {
        let Self { from, to, text, created_at } = self;
        DirectMessage { id: id.to_string(), from, to, text, created_at: rfc3339(created_at) }
    }
}

/// The partition of two people's messages: one for both directions.
pub(crate) fn partition(a: &Handle, b: &Handle) -> String {
    let (a, b) = if a < b { (a, b) } else { (b, a) };
    format!("dm#{a}#{b}")
}

/// The key of a message.
pub(crate) fn key(a: &Handle, b: &Handle, id: Ulid) -> Key {
    Key::new(partition(a, b), id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use soundoff_common::model::holdings::assert_knows;

    #[test]
    fn serde_knows_every_attribute() {
        let (from, to) = ("ann".parse().unwrap(), "bob".parse().unwrap());
        assert_knows(attribute::ALL, &Stored { from, to, text: "hi".to_owned(), created_at: 1 }, &[]);
    }
}

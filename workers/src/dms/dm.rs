//! Direct messages as they are stored and shown.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::Table;
use soundoff_common::ports::tables::{Item, TableError};
use soundoff_common::protocol::{Handle, rfc3339};
use ulid::Ulid;

/// The kinds of items that are kept of this.
pub(crate) const HOLDINGS: &[Holding] = &[Holding {
    kind: "direct message",
    table: Table::Entities,
    pk: "dm#<a>#<b>",
    sk: "<mid>",
    attributes: &["from", "to", "text", "created_at"],
    of: Of::Two,
    summary: "A direct message; `<a>` is the lesser handle, whoever writes.",
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

/// Where two people's messages lie: one place, whoever writes.
pub(crate) fn partition(a: &Handle, b: &Handle) -> String {
    let (a, b) = if a < b { (a, b) } else { (b, a) };
    format!("dm#{a}#{b}")
}

//! Comments as they are stored and shown.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::ports::tables::{Item, Key, TableError};
use soundoff_common::protocol::{Handle, rfc3339};
use ulid::Ulid;

use crate::posts::post;
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::Table;

/// The kinds of items that are kept of this.
pub(crate) const HOLDINGS: &[Holding] = &[Holding {
    kind: "comment",
    table: Table::Entities,
    pk: "post#<pid>",
    sk: "c#<cid>",
    attributes: &["author", "text", "created_at"],
    of: Of::User,
    summary: "A comment, beside its post.",
}];

/// What every comment's `sk` starts with.
pub(crate) const PREFIX: &str = "c#";

/// A comment.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Comment {
    /// Names the comment.
    pub(crate) id: String,
    /// The post it is about.
    pub(crate) post: String,
    /// Who wrote it.
    pub(crate) author: Handle,
    /// What it says.
    pub(crate) text: String,
    /// When it was sent, RFC 3339 UTC with milliseconds.
    pub(crate) created_at: String,
}

/// A comment's item.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) author: Handle,
    pub(crate) text: String,
    /// Milliseconds since 1970.
    pub(crate) created_at: u64,
}

impl Stored {
    pub(crate) fn parse(item: Item) -> Result<Self, TableError> {
        item.parse()
    }

    pub(crate) fn shown(self, post: Ulid, id: Ulid) -> Comment {
        let Self { author, text, created_at } = self;
        Comment { id: id.to_string(), post: post.to_string(), author, text, created_at: rfc3339(created_at) }
    }
}

/// Where a comment lies: beside its post.
pub(crate) fn key(post: Ulid, id: Ulid) -> Key {
    Key::new(post::partition(post), format!("{PREFIX}{id}"))
}

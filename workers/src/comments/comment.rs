//! Comments as they are stored and shown.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::{Item, Key, Table, TableError};
use soundoff_common::protocol::{Handle, rfc3339};
use ulid::Ulid;

use crate::posts::post;

soundoff_common::attributes! {
    /// The attributes of a comment.
    pub(crate) mod attribute {
        AUTHOR = "author",
        TEXT = "text",
        CREATED_AT = "created_at",
    }
}

/// The kinds of items declared here.
pub(crate) const HOLDINGS: &[Holding] = &[Holding {
    kind: "comment",
    table: Table::Entities,
    pk: "post#<pid>",
    sk: "c#<cid>",
    attributes: attribute::ALL,
    of: Of::User,
    summary: "A comment, beside its post.",
}];

/// The start of every comment's `sk`.
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

/// The key of a comment, beside its post.
pub(crate) fn key(post: Ulid, id: Ulid) -> Key {
    Key::new(post::partition(post), format!("{PREFIX}{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use soundoff_common::model::holdings::assert_knows;

    #[test]
    fn serde_knows_every_attribute() {
        let full = Stored { author: "ann".parse().unwrap(), text: "hi".to_owned(), created_at: 1 };
        assert_knows(attribute::ALL, &full, &[]);
    }
}

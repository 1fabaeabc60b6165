//! Posts as they are stored and shown: made by workers, read by everything that shows posts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::model::holdings::{Holding, Of};
use crate::model::media::{Media, Rendition};
use crate::ports::tables::{Item, Key, Table, TableError};
use crate::protocol::{Handle, rfc3339};

crate::attributes! {
    /// The attributes of a post.
    pub mod attribute {
        AUTHOR = "author",
        TEXT = "text",
        CREATED_AT = "created_at",
        LIKES = "likes",
        COMMENTS = "comments",
        MEDIA = "media",
        DELETED = "deleted",
        DELETED_BY = "deleted_by",
    }
}

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[
    Holding {
        kind: "post",
        table: Table::Entities,
        pk: "post#<pid>",
        sk: "post",
        attributes: attribute::ALL,
        of: Of::User,
        summary: "A post, or its tombstone: `deleted`, without `text` and `media`.",
    },
    Holding {
        kind: "row of a post",
        table: Table::Entities,
        pk: "posts#<h>",
        sk: "<pid>",
        attributes: &[],
        of: Of::User,
        summary: "A row in its author's list. It is removed when the post is deleted.",
    },
];

/// A post as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Post {
    /// Names the post.
    pub id: String,
    /// Who wrote it.
    pub author: Handle,
    /// What it says; empty in `post.deleted`.
    pub text: String,
    /// When it was sent, RFC 3339 UTC with milliseconds.
    pub created_at: String,
    /// How many like it.
    pub likes: u64,
    /// How many comments it has.
    pub comments: u64,
    /// What it shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Media>,
}

/// A medium as a post's item names it: what is shown never changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attached {
    /// The medium.
    pub id: Ulid,
    /// All of it.
    #[serde(flatten)]
    pub full: Rendition,
}

/// A post's item. A deleted post stays, without its text, so that messages that arrive late for it find that out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    /// Who wrote it.
    pub author: Handle,
    /// What it says; empty in a tombstone.
    #[serde(default)]
    pub text: String,
    /// Milliseconds since 1970.
    pub created_at: u64,
    /// How many like it.
    pub likes: u64,
    /// How many comments it has.
    pub comments: u64,
    /// What it shows; empty in a tombstone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Attached>,
    /// It is a tombstone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// The message that deleted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_by: Option<Ulid>,
}

impl Stored {
    /// The post as clients see it.
    #[must_use]
    pub fn shown(self, id: Ulid) -> Post {
        let Self { author, text, created_at, likes, comments, media, .. } = self;
        let media = media.iter().map(|attached| Media::of(attached.id, &attached.full)).collect();
        Post { id: id.to_string(), author, text, created_at: rfc3339(created_at), likes, comments, media }
    }
}

/// The partition of a post and its comments.
#[must_use]
pub fn partition(id: Ulid) -> String {
    format!("post#{id}")
}

/// The key of a post's item.
#[must_use]
pub fn key(id: Ulid) -> Key {
    Key::new(partition(id), "post")
}

/// The partition of an author's list of posts: one row for each post, removed when the post is deleted.
#[must_use]
pub fn list_partition(author: &Handle) -> String {
    format!("posts#{author}")
}

/// The key of a post's row in its author's list.
#[must_use]
pub fn row_key(author: &Handle, id: Ulid) -> Key {
    Key::new(list_partition(author), id.to_string())
}

/// A post that was read, deleted or not.
///
/// # Errors
/// [`TableError::Corrupt`] when the item is no post.
pub fn parse(found: Option<Item>) -> Result<Option<Stored>, TableError> {
    found.map(Item::parse).transpose()
}

/// What happened to a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// It is there: `post.created`.
    Created,
    /// It is gone: `post.deleted`.
    Deleted,
}

/// The MessageType of a fan-out.
pub const FANOUT: &str = "post.fanout";

/// The body of [`FANOUT`]: one page of a fan-out. The sender is the post's author.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PostFanout {
    /// What happened to the post.
    pub news: News,
    /// The post's id.
    pub post: String,
    /// Where in the author's followers the page before this one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::holdings::assert_knows;

    #[test]
    fn serde_knows_every_attribute() {
        let full = Rendition { content_type: "image/png".to_owned(), bytes: 1, width: 2, height: 3 };
        let full = Stored {
            author: "ann".parse().unwrap(),
            text: "hi".to_owned(),
            created_at: 1,
            likes: 2,
            comments: 3,
            media: vec![Attached { id: Ulid(4), full }],
            deleted: true,
            deleted_by: Some(Ulid(5)),
        };
        assert_knows(attribute::ALL, &full, &[]);
    }
}

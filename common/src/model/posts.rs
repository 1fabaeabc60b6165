//! Posts as they are stored and shown: made by workers, read by whoever shows posts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::model::holdings::{Holding, Of};
use crate::model::media::{Media, Rendition};
use crate::ports::tables::{Item, Key, Table, TableError};
use crate::protocol::{Handle, rfc3339};

/// The kinds of items that are kept of this.
pub const HOLDINGS: &[Holding] = &[
    Holding {
        kind: "post",
        table: Table::Entities,
        pk: "post#<pid>",
        sk: "post",
        attributes: &["author", "text", "created_at", "likes", "comments", "media", "deleted", "deleted_by"],
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
        summary: "A row in its author's list. It goes when the post is deleted.",
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

/// A medium as a post's item names it: what is shown of it never changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attached {
    /// The medium.
    pub id: Ulid,
    /// All of it.
    #[serde(flatten)]
    pub full: Rendition,
}

/// A post's item. A deleted one stays, without its text: what arrives late for it must find out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    /// Who wrote it.
    pub author: Handle,
    /// What it says; a tombstone says nothing.
    #[serde(default)]
    pub text: String,
    /// Milliseconds since 1970.
    pub created_at: u64,
    /// How many like it.
    pub likes: u64,
    /// How many comments it has.
    pub comments: u64,
    /// What it shows; a tombstone shows nothing.
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

/// Where a post and its comments lie.
#[must_use]
pub fn partition(id: Ulid) -> String {
    format!("post#{id}")
}

/// Where a post's item lies.
#[must_use]
pub fn key(id: Ulid) -> Key {
    Key::new(partition(id), "post")
}

/// Where an author's list of posts lies: a row each, gone when the post is deleted.
#[must_use]
pub fn list_partition(author: &Handle) -> String {
    format!("posts#{author}")
}

/// Where a post's row in its author's list lies.
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

/// What has become of a post.
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
    /// What has become of the post.
    pub news: News,
    /// The post's id.
    pub post: String,
    /// Where in the author's followers the page before this one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

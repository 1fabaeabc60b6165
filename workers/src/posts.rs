//! Posts as they are stored and shown, and who may see them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::handler::{Context, Failure, FollowUp, raw};
use soundoff_common::ports::tables::{Condition, Item, Key, Table, TableError};
use soundoff_common::protocol::{ErrorCode, Handle, rfc3339};
use ulid::Ulid;

use crate::ids;
use crate::people::Block;
use crate::post_fanout::{News, PostFanout};

/// A post.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Post {
    /// Names the post.
    pub(crate) id: String,
    /// Who wrote it.
    pub(crate) author: Handle,
    /// What it says; empty in `post.deleted`.
    pub(crate) text: String,
    /// When it was sent, RFC 3339 UTC with milliseconds.
    pub(crate) created_at: String,
    /// How many like it.
    pub(crate) likes: u64,
    /// How many comments it has.
    pub(crate) comments: u64,
}

/// What replies and events hold of one post.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OnePost {
    /// The post.
    pub(crate) post: Post,
}

/// A post's item. A deleted one stays, without its text: what arrives late for it must find out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) author: Handle,
    #[serde(default)]
    pub(crate) text: String,
    /// Milliseconds since 1970.
    pub(crate) created_at: u64,
    pub(crate) likes: u64,
    pub(crate) comments: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
    /// The message that deleted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted_by: Option<Ulid>,
}

impl Stored {
    pub(crate) fn shown(self, id: Ulid) -> Post {
        let Self { author, text, created_at, likes, comments, .. } = self;
        Post { id: id.to_string(), author, text, created_at: rfc3339(created_at), likes, comments }
    }
}

/// Where a post and its comments lie.
pub(crate) fn partition(id: Ulid) -> String {
    format!("post#{id}")
}

/// Where a post's item lies.
pub(crate) fn key(id: Ulid) -> Key {
    Key::new(partition(id), "post")
}

/// Where an author's list of posts lies.
pub(crate) fn list_partition(author: &Handle) -> String {
    format!("posts#{author}")
}

/// Where a post's row in its author's list lies.
pub(crate) fn row_key(author: &Handle, id: Ulid) -> Key {
    Key::new(list_partition(author), id.to_string())
}

/// Holds a transaction to the post being there and not deleted.
pub(crate) fn live() -> Condition {
    Condition::All(vec![Condition::Exists, Condition::Absent("deleted")])
}

/// The post that a body names. A text that is no id names no post, and never becomes a key.
pub(crate) fn id(text: &str) -> Result<Ulid, Failure> {
    ids::parse(text).ok_or_else(no_such_post)
}

/// A post that was read, deleted or not.
pub(crate) fn parse(found: Option<Item>) -> Result<Option<Stored>, TableError> {
    found.map(Item::parse).transpose()
}

/// A post that was read, if it may still be shown to anybody.
pub(crate) fn undeleted(found: Option<Item>) -> Result<Stored, Failure> {
    parse(found)?.filter(|post| !post.deleted).ok_or_else(no_such_post)
}

/// The post `id` if `reader` may see it: two reads, as the author is known after the first only.
pub(crate) async fn visible(
    cx: &Context,
    reader: &Handle,
    id: Ulid,
    extra: Option<(Table, Key)>,
) -> Result<(Stored, Option<Item>), Failure> {
    let mut keys = vec![(Table::Entities, key(id))];
    keys.extend(extra);
    let mut found = cx.tables.get_many(&keys).await?.into_iter();
    let post = undeleted(found.next().flatten())?;
    if Block::between(cx, reader, &post.author).await?.stands() {
        return Err(no_such_post());
    }
    Ok((post, found.next().flatten()))
}

pub(crate) fn no_such_post() -> Failure {
    Failure::reject(ErrorCode::NotFound, "there is no such post")
}

/// Tells online followers of the sender what has become of a post.
pub(crate) fn tell_followers(news: News, id: Ulid) -> FollowUp {
    PostFanout::starting(news, id).follow_up()
}

impl PostFanout {
    /// The message that goes on with this page.
    pub(crate) fn follow_up(&self) -> FollowUp {
        FollowUp { message_type: "post.fanout", body: raw(self) }
    }
}

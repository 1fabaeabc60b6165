//! Who may see a post, and what is reported about one.

use schemars::JsonSchema;
use serde::Serialize;
use soundoff_common::model::ids;
use soundoff_common::model::posts::{News, PostFanout};
use soundoff_common::pipeline::handler::{Context, Failure, FollowUp, raw};
use soundoff_common::ports::tables::{Condition, Item, Key, Table};
use soundoff_common::protocol::{ErrorCode, Handle};
use ulid::Ulid;

pub(crate) use soundoff_common::model::posts::{
    FANOUT, Post, Stored, attribute, key, list_partition, parse, partition, row_key,
};

use crate::rules::people::Block;

/// What replies and events hold of one post.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OnePost {
    /// The post.
    pub(crate) post: Post,
}

/// Makes a transaction fail when the post is missing or deleted.
pub(crate) fn live() -> Condition {
    Condition::All(vec![Condition::Exists, Condition::Absent(attribute::DELETED)])
}

/// The id of the post that a body names. A text that is no id names no post, and never becomes a key.
pub(crate) fn id(text: &str) -> Result<Ulid, Failure> {
    ids::parse(text).ok_or_else(no_such_post)
}

/// A post that was read, if it may still be shown to anybody.
pub(crate) fn undeleted(found: Option<Item>) -> Result<Stored, Failure> {
    parse(found)?.filter(|post| !post.deleted).ok_or_else(no_such_post)
}

/// The post `id` if `reader` may see it. It takes two reads, as the author is known only after the first.
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

/// Reports to online followers of the sender what happened to a post.
pub(crate) fn tell_followers(news: News, id: Ulid) -> FollowUp {
    fan_out(&PostFanout { news, post: id.to_string(), before: None })
}

/// Reports to online followers of its author that a post is gone.
pub(crate) fn tell_followers_of(author: &Handle, id: Ulid) -> FollowUp {
    FollowUp { about: Some(author.clone()), ..tell_followers(News::Deleted, id) }
}

/// A page of a fan-out as a message.
pub(crate) fn fan_out(page: &PostFanout) -> FollowUp {
    FollowUp { message_type: FANOUT, about: None, body: raw(page) }
}

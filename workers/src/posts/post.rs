//! Who may see a post, and what is reported about one.

use schemars::JsonSchema;
use serde::Serialize;
use soundoff_common::model::ids;
use soundoff_common::model::posts::{News, PostFanout};
use soundoff_common::model::sight::{self, Act, Door, Opened, Reading, Sighted};
use soundoff_common::model::{accounts, groups};
use soundoff_common::pipeline::handler::{Context, Failure, FollowUp, raw};
use soundoff_common::ports::tables::{Change, Condition, Item, Key, Table, Write};
use soundoff_common::protocol::{ErrorCode, Handle};
use ulid::Ulid;

pub(crate) use soundoff_common::model::posts::{
    FANOUT, Post, Stored, attribute, key, list_partition, parse, partition, row_key,
};

use crate::rules::people;

/// What replies and events hold of one post.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OnePost {
    /// The post.
    pub(crate) post: Post,
}

/// Makes a transaction fail when the post is missing or deleted. For what is done whatever moderators decide.
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

/// A post that was read and that `reader` names, if they may see it. It takes another read, as the author is known only
/// after the first. Whether blocks stand between the reader and those `beside` it is read in the same call.
pub(crate) async fn opened<'a>(
    cx: &Context,
    reader: &Handle,
    post: Stored,
    beside: impl Iterator<Item = &'a Handle>,
) -> Result<Opened, Failure> {
    sight::look_at(&*cx.tables, reader, post, beside).await?.ok_or_else(no_such_post)
}

/// What the sender is to a post that they act upon, as read.
#[derive(Debug)]
pub(crate) struct Approached {
    pub(crate) sighted: Sighted,
    /// Whether the sender sees the post, as others do: to moderate is no act upon it.
    pub(crate) is_seen: bool,
}

/// What the sender is to a post that they act upon.
pub(crate) async fn approached(cx: &Context, actor: &Handle, post: &Stored) -> Result<Approached, Failure> {
    let mut sighted = Sighted::new(actor);
    sight::look(&*cx.tables, &mut sighted, std::iter::once(post)).await?;
    let is_seen = sighted.may_see(post, Door::Link);
    Ok(Approached { sighted, is_seen })
}

impl Approached {
    /// Refuses an act upon a post that its author, or a block, does not allow, or that the sender does not see.
    pub(crate) async fn may_do(&mut self, cx: &Context, post: &Stored, act: Act) -> Result<(), Failure> {
        if !self.is_seen && !self.sighted.is_blocked(&post.author) {
            return Err(no_such_post());
        }
        if act != Act::Notice && post.author != *self.sighted.viewer() {
            // An audience that names the sender is no leave to comment.
            let mut reading = Reading::new(self.sighted.viewer());
            if !self.sighted.knows_privacy(&post.author) {
                reading.privacy(&post.author);
            }
            self.sighted.add(reading.read(&*cx.tables).await?);
        }
        self.sighted.settle_act(&*cx.tables, &post.author, act).await?;
        people::may_do(self.sighted.to(&post.author), act)?;
        if self.is_seen { Ok(()) } else { Err(no_such_post()) }
    }

    /// Checks that make a transaction fail when something of it has changed since it was read.
    pub(crate) fn unchanged(&self, post: &Stored) -> Vec<Write> {
        let viewer = self.sighted.viewer();
        let mut writes = self.sighted.to(&post.author).unchanged(viewer, &post.author);
        if let Some(group) = post.group.filter(|_| post.author != *viewer) {
            writes.extend(self.sighted.within(group).unchanged(group, viewer));
        }
        writes
    }
}

/// The write that counts a post among those that its author shows, or its group, or no longer; none of one that counts in
/// no case.
pub(crate) fn counted(post: &Stored, by: i64) -> Option<Write> {
    let change = vec![Change::Add(accounts::attribute::POSTS, by)];
    let count = || match post.group {
        Some(group) => groups::count_post(group, by),
        None => Write::update(Table::Users, accounts::key(&post.author), change).when(Condition::Exists),
    };
    post.state.is_shown().then(count)
}

/// The key of a post's row in the list that it is on: its group's, or else its author's.
pub(crate) fn listed(post: &Stored, id: Ulid) -> Key {
    post.group.map_or_else(|| row_key(&post.author, id), |group| groups::post_key(group, id))
}

pub(crate) fn no_such_post() -> Failure {
    Failure::reject(ErrorCode::NotFound, "there is no such post")
}

/// Reports to online followers of the sender, or online members of the group, what happened to a post of the sender's.
pub(crate) fn tell_others(post: &Stored, news: News, id: Ulid) -> FollowUp {
    told(post, news, id, false)
}

/// Reports to them that a moderator has hidden a post, or shows it again.
pub(crate) fn tell_of_decision(post: &Stored, news: News, id: Ulid) -> FollowUp {
    FollowUp { about: Some(post.author.clone()), ..told(post, news, id, true) }
}

fn told(post: &Stored, news: News, id: Ulid, decided: bool) -> FollowUp {
    let group = post.group.map(|group| group.to_string());
    fan_out(&PostFanout { news, post: id.to_string(), group, before: None, decided })
}

/// A page of a fan-out as a message.
pub(crate) fn fan_out(page: &PostFanout) -> FollowUp {
    FollowUp { message_type: FANOUT, about: None, body: raw(page) }
}

//! Posts as they are stored and shown: made by workers, read by everything that shows posts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::model::holdings::{Holding, Of};
use crate::model::media::{Media, Rendition};
use crate::ports::tables::{Condition, Item, Key, Table, TableError};
use crate::protocol::{Handle, rfc3339};
use crate::web::pictures::{PictureKey, Signed};

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
        AUDIENCE = "audience",
        GROUP = "group",
        STATE = "state",
        STATE_MID = "state_mid",
        STATE_BY = "state_by",
        REASON = "reason",
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
        summary: "A post, or its tombstone: `deleted`, without `text` and `media`. `state` is what a moderator has decided, in the message `state_mid`; without it the post is shown. `state_by` is there when it was a moderator of the post's group.",
    },
    Holding {
        kind: "row of a post",
        table: Table::Entities,
        pk: "posts#<h>",
        sk: "<pid>",
        attributes: &[],
        of: Of::User,
        summary: "A row in its author's list, where the post is in no group. It is removed when the post is deleted.",
    },
];

/// Whom an author lets see a post.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// All users; of a private author's, those who follow them.
    #[default]
    Everyone,
    /// Those who follow the author.
    Followers,
    /// Those whom the author has named as close.
    Close,
}

impl Audience {
    /// Whether it is everyone.
    #[must_use]
    pub fn is_everyone(&self) -> bool {
        *self == Self::Everyone
    }
}

/// What moderators have decided about a post.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing: it is shown.
    #[default]
    Shown,
    /// Who has its id sees it; it is on no list but its author's, and in no timeline.
    Limited,
    /// Its author sees it and nobody else, until it is decided.
    Held,
    /// Its author sees it, and why nobody else does.
    Hidden,
}

impl State {
    /// Whether it is shown.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        *self == Self::Shown
    }
}

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
    /// Whom its author lets see it; missing when that is `everyone`.
    #[serde(default, skip_serializing_if = "Audience::is_everyone")]
    pub audience: Audience,
    /// The group that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What moderators have decided; missing when it is `shown`.
    #[serde(default, skip_serializing_if = "State::is_shown")]
    pub state: State,
    /// Why, in the moderator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
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

/// Signs the URLs of pictures for one viewer.
pub(super) struct Signer<'a> {
    pub(super) key: &'a PictureKey,
    pub(super) viewer: &'a Handle,
    /// In seconds since 1970.
    pub(super) now: u64,
}

impl Signer<'_> {
    fn sign(&self, id: Ulid) -> Signed {
        self.key.sign(id, self.viewer, self.now)
    }
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
    /// Whom its author lets see it.
    #[serde(default, skip_serializing_if = "Audience::is_everyone")]
    pub audience: Audience,
    /// The group that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Ulid>,
    /// What moderators have decided.
    #[serde(default, skip_serializing_if = "State::is_shown")]
    pub state: State,
    /// The message that decided it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_mid: Option<Ulid>,
    /// Whose moderator that was, when not the deployment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_by: Option<DecidedBy>,
    /// Why, in the moderator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whose moderator has decided about a post, when not the deployment's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// One of the post's group: the deployment's decide over them.
    Group,
}

impl Stored {
    /// The post as clients see it; with `signed`, its pictures open for that viewer only. Only [`crate::model::sight`]
    /// calls this: what nobody has judged is not shown.
    pub(super) fn shown(self, id: Ulid, signed: Option<&Signer<'_>>) -> Post {
        let Self { author, text, created_at, likes, comments, media, audience, group, state, reason, .. } =
            self;
        let medium = |attached: &Attached| match signed {
            None => Media::of(attached.id, &attached.full),
            Some(signer) => Media::signed(attached.id, &attached.full, &signer.sign(attached.id)),
        };
        let media = media.iter().map(medium).collect();
        let (id, group, created_at) =
            (id.to_string(), group.map(|group| group.to_string()), rfc3339(created_at));
        Post { id, author, text, created_at, likes, comments, media, audience, group, state, reason }
    }

    /// Whether it is shown to everybody who may see its author's posts.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let shown = matches!(self.state, State::Shown | State::Limited) && !self.deleted;
        shown && self.audience.is_everyone() && self.group.is_none()
    }

    /// The condition that it is neither deleted nor decided about since it was read.
    #[must_use]
    pub fn as_decided(&self) -> Condition {
        let state = match self.state_mid {
            Some(mid) => Condition::Equals(attribute::STATE_MID, mid.to_string().into()),
            None => Condition::Absent(attribute::STATE_MID),
        };
        Condition::All(vec![Condition::Exists, Condition::Absent(attribute::DELETED), state])
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PostFanout {
    /// What happened to the post.
    pub news: News,
    /// The post's id.
    pub post: String,
    /// The group that the post is in: its members hear of it, and not the author's followers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Where in the list of those who hear of it the page before this one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// A moderator has decided it, and the post is on its author's list as before. What remembers lists may ignore it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decided: bool,
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
            audience: Audience::Close,
            group: Some(Ulid(6)),
            state: State::Hidden,
            state_mid: Some(Ulid(7)),
            state_by: Some(DecidedBy::Group),
            reason: Some("spam".to_owned()),
        };
        assert_knows(attribute::ALL, &full, &[]);
    }
}

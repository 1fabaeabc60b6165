//! Media as stored and shown: taken in and checked by the media service, named by posts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use ulid::Ulid;

use crate::model::holdings::{Holding, Of};
use crate::ports::tables::{Change, Condition, Item, Key, Query, Table, TableError, Write};
use crate::protocol::Handle;

/// The kinds of items that are kept of this.
pub const HOLDINGS: &[Holding] = &[
    Holding {
        kind: "medium",
        table: Table::Entities,
        pk: "media#<id>",
        sk: "media",
        attributes: &["owner", "state", "posts", "loose", "check", "renditions"],
        of: Of::User,
        summary: "A medium. `check` is the message that looks into it, the first that asked; `posts` counts the posts that show it; `loose` is the time since when none does, 0 when it is to be collected at once.",
    },
    Holding {
        kind: "count of media",
        table: Table::Entities,
        pk: "media-count#<h>",
        sk: "loose",
        attributes: &["n"],
        of: Of::User,
        summary: "How many of a user's media are in no post, at most 100.",
    },
    Holding {
        kind: "row of a loose medium",
        table: Table::Entities,
        pk: "media-loose#<shard>",
        sk: "<loose>#<id>",
        attributes: &[],
        of: Of::User,
        summary: "A row by which a loose medium is found again; 16 shards, by the id.",
    },
];

/// The most media of one post.
pub const MAX_PER_POST: usize = 4;
/// The most media of one user that no post shows: uploads under way, drafts, and what waits to be collected.
pub const MAX_LOOSE: u64 = 100;

/// How far a medium has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its bytes are still to come.
    Uploading,
    /// Its bytes wait to be looked into.
    Checking,
    /// It may be shown.
    Ready,
    /// It is on its way out: nobody sees it any more.
    Gone,
}

impl State {
    /// The change that makes it a medium's.
    #[must_use]
    pub fn set(self) -> Change {
        Change::Set("state", json!(self))
    }
}

/// One rendition of a picture, made by the check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rendition {
    /// Such as `image/jpeg`.
    pub content_type: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// What the check made of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Renditions {
    /// All of it.
    pub full: Rendition,
    /// For a list of posts.
    pub feed: Rendition,
    /// For a grid, or a list of names.
    pub thumb: Rendition,
}

/// A medium's item.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    /// Who brought it.
    pub owner: Handle,
    /// How far it has come.
    pub state: State,
    /// In how many posts it is.
    #[serde(default)]
    pub posts: u64,
    /// Since when no post shows it, in milliseconds since 1970; 0 when it is to be collected at once, none while a post shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loose: Option<u64>,
    /// The message that looks into it, once one does: of several that ask for the same, one does the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Ulid>,
    /// What may be shown, once it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renditions: Option<Renditions>,
}

/// A medium as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Media {
    /// Names it, in `post.create`.
    pub id: String,
    /// Where all of it is, from the server's address on.
    pub url: String,
    /// Where a smaller one for lists is, at most 1080 pixels a side.
    pub feed: String,
    /// Where a small one is, at most 320 pixels a side.
    pub thumb: String,
    /// Such as `image/jpeg`.
    pub content_type: String,
    /// How many bytes are at `url`.
    pub bytes: u64,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl Media {
    /// A medium with its whole rendition.
    #[must_use]
    pub fn of(id: Ulid, full: &Rendition) -> Self {
        let Rendition { content_type, bytes, width, height } = full.clone();
        let url = url(id);
        let (feed, thumb) = (format!("{url}?size=feed"), format!("{url}?size=thumb"));
        Self { id: id.to_string(), url, feed, thumb, content_type, bytes, width, height }
    }
}

/// Where a medium is to be had, from the server's address on.
#[must_use]
pub fn url(id: Ulid) -> String {
    format!("/v1/media/{id}")
}

/// Where a medium's item lies, in [`Table::Entities`].
#[must_use]
pub fn key(id: Ulid) -> Key {
    Key::new(format!("media#{id}"), "media")
}

/// Over how many partitions the rows of loose media are spread.
pub const LOOSE_SHARDS: u8 = 16;

/// Where the row lies by which a loose medium is found again: partitions by the id, rows in order of time.
#[must_use]
pub fn loose_key(id: Ulid, since: u64) -> Key {
    let shard = id.to_bytes()[15] % LOOSE_SHARDS;
    Key::new(loose_partition(shard), format!("{since:015}#{id}"))
}

fn loose_partition(shard: u8) -> String {
    format!("media-loose#{shard:02}")
}

/// The rows of one shard that are older than a time (milliseconds since 1970), the oldest first.
#[must_use]
pub fn loose_rows(shard: u8, before: u64, limit: usize) -> Query {
    Query::prefix(Table::Entities, loose_partition(shard), "", limit).below(format!("{before:015}#"))
}

/// The medium that a row is about, and since when it is loose.
#[must_use]
pub fn loose_id(sk: &str) -> Option<(Ulid, u64)> {
    let (since, id) = sk.split_once('#')?;
    Some((crate::model::ids::parse(id)?, since.parse().ok()?))
}

/// A medium that was read.
///
/// # Errors
/// [`TableError::Corrupt`] when the item is none.
pub fn parse(found: Option<Item>) -> Result<Option<Stored>, TableError> {
    found.map(Item::parse).transpose()
}

/// Where the count of a user's loose media lies, in [`Table::Entities`].
#[must_use]
pub fn count_key(owner: &Handle) -> Key {
    Key::new(format!("media-count#{owner}"), "loose")
}

fn count(owner: &Handle, by: i64) -> Write {
    Write::update(Table::Entities, count_key(owner), vec![Change::Add("n", by)])
}

impl Stored {
    /// A medium whose bytes are still to come, loose from `now` on (milliseconds since 1970).
    #[must_use]
    pub fn begun(owner: &Handle, now: u64) -> Self {
        Self {
            owner: owner.clone(),
            state: State::Uploading,
            posts: 0,
            loose: Some(now),
            check: None,
            renditions: None,
        }
    }
}

/// A user has [`MAX_LOOSE`] already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_LOOSE} of your media are in no post: post some, or wait a day")]
pub struct TooManyLoose;

/// The writes that make a new medium, where `counted` is what was read at [`count_key`].
///
/// # Errors
/// [`TooManyLoose`].
pub fn begin(id: Ulid, owner: &Handle, now: u64, counted: Option<&Item>) -> Result<Vec<Write>, TooManyLoose> {
    let loose = counted.and_then(|item| item.number("n"));
    if loose.unwrap_or(0) >= MAX_LOOSE {
        return Err(TooManyLoose);
    }
    let unchanged = match loose {
        Some(n) => Condition::Equals("n", n.into()),
        None => Condition::Absent("n"),
    };
    let stored = Stored::begun(owner, now);
    Ok(vec![
        Write::put(Table::Entities, key(id), Item::of(&stored)).when(Condition::Missing),
        Write::put(Table::Entities, loose_key(id, now), Item::new()),
        count(owner, 1).when(unchanged),
    ])
}

fn as_read(stored: &Stored) -> Condition {
    let loose = match stored.loose {
        Some(since) => Condition::Equals("loose", since.into()),
        None => Condition::Absent("loose"),
    };
    Condition::All(vec![
        Condition::Equals("state", json!(stored.state)),
        Condition::Equals("posts", stored.posts.into()),
        loose,
    ])
}

/// The write that moves a medium on, under the condition that it is as read.
#[must_use]
pub fn change(id: Ulid, stored: &Stored, changes: Vec<Change>) -> Write {
    Write::update(Table::Entities, key(id), changes).when(as_read(stored))
}

/// The write by which one message comes to be the one that looks into a medium.
#[must_use]
pub fn look(id: Ulid, check: Ulid) -> Write {
    let free = vec![Condition::Equals("state", json!(State::Checking)), Condition::Absent("check")];
    let changes = vec![Change::Set("check", json!(check))];
    Write::update(Table::Entities, key(id), changes).when(Condition::All(free))
}

/// The writes by which a post shows media of its author's that were read.
#[must_use]
pub fn attach(author: &Handle, media: &[(Ulid, Stored)]) -> Vec<Write> {
    let mut writes = Vec::with_capacity(2 * media.len() + 1);
    let mut held = 0;
    for (id, stored) in media {
        writes.push(change(*id, stored, vec![Change::Add("posts", 1), Change::Remove("loose")]));
        if let Some(since) = stored.loose {
            writes.push(Write::delete(Table::Entities, loose_key(*id, since)));
            held += 1;
        }
    }
    writes.extend((held > 0).then(|| count(author, -held)));
    writes
}

/// The writes by which a post shows its author's media no longer: those that no other post shows nobody sees from then on, and they are collected
/// at once.
#[must_use]
pub fn detach(author: &Handle, media: &[(Ulid, Stored)]) -> Vec<Write> {
    let mut writes = Vec::with_capacity(2 * media.len() + 1);
    let mut freed = 0;
    for (id, stored) in media {
        let mut changes = vec![Change::Add("posts", -1)];
        if stored.posts <= 1 {
            changes.push(State::Gone.set());
            changes.push(Change::Set("loose", 0.into()));
            writes.push(Write::put(Table::Entities, loose_key(*id, 0), Item::new()));
            freed += 1;
        }
        writes.push(change(*id, stored, changes));
    }
    writes.extend((freed > 0).then(|| count(author, freed)));
    writes
}

/// The writes by which a loose medium ends that was read.
#[must_use]
pub fn end(id: Ulid, stored: &Stored) -> Vec<Write> {
    let mut writes = vec![Write::delete(Table::Entities, key(id)).when(as_read(stored))];
    if let Some(since) = stored.loose {
        writes.push(Write::delete(Table::Entities, loose_key(id, since)));
        writes.push(count(&stored.owner, -1));
    }
    writes
}

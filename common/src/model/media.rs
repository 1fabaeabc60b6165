//! Media as stored and shown: the media service receives and checks them, posts name them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use ulid::Ulid;

use crate::model::holdings::{Holding, Of};
use crate::model::media_checks::{pixels, turn_key};
pub use crate::model::media_loose::{LOOSE_SHARDS, loose_id, loose_key, loose_rows};
use crate::ports::tables::{Change, Condition, Item, Key, Table, TableError, Write};
use crate::protocol::Handle;
use crate::web::pictures::Signed;

crate::attributes! {
    /// The attributes of a medium.
    pub mod attribute {
        OWNER = "owner",
        STATE = "state",
        POSTS = "posts",
        CLOSED = "closed",
        LOOSE = "loose",
        CHECK = "check",
        TURN = "turn",
        RENDITIONS = "renditions",
    }
}

crate::attributes! {
    /// The attributes of a user's count of loose media.
    pub mod counted {
        N = "n",
    }
}

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[
    Holding {
        kind: "medium",
        table: Table::Entities,
        pk: "media#<id>",
        sk: "media",
        attributes: attribute::ALL,
        of: Of::User,
        summary: "A medium. `check` is the message that checks it, the first that asked when its turn had come; `turn` is the time since when it is to be checked, until that has an end; `posts` counts the posts that show it; `closed` counts those of them that do not show it to everybody, none of them when it is absent; `loose` is the time since when none does, 0 when it must be collected at once.",
    },
    Holding {
        kind: "count of media",
        table: Table::Entities,
        pk: "media-count#<h>",
        sk: "loose",
        attributes: counted::ALL,
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
    Holding {
        kind: "turn of a medium",
        table: Table::Entities,
        pk: "media-turns#<h>",
        sk: "<turn>#<id>",
        attributes: &[],
        of: Of::User,
        summary: "A medium of the user that is to be checked. The first four rows have their turn.",
    },
    Holding {
        kind: "pixels of media",
        table: Table::Entities,
        pk: "media-count#<h>",
        sk: "pixels",
        attributes: pixels::ALL,
        of: Of::User,
        summary: "When all of the hour's pixels that a user may have checked will be there again, in milliseconds since 1970.",
    },
];

/// The most media of one post.
pub const MAX_PER_POST: usize = 4;
/// The most media of one user that no post shows: uploads in progress, drafts, and media that wait to be collected.
pub const MAX_LOOSE: u64 = 100;

/// How far a medium has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its bytes are still to come.
    Uploading,
    /// Its bytes wait for the check.
    Checking,
    /// It may be shown.
    Ready,
    /// It will be removed: nobody sees it any more.
    Gone,
}

impl State {
    /// The change that gives a medium this state.
    #[must_use]
    pub fn set(self) -> Change {
        Change::Set(attribute::STATE, json!(self))
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

/// What the check makes from a picture.
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
    /// Who uploaded it.
    pub owner: Handle,
    /// How far it has come.
    pub state: State,
    /// In how many posts it is.
    #[serde(default)]
    pub posts: u64,
    /// How many of these posts do not show it to everybody: their audience is limited, or a moderator has hidden them.
    #[serde(default, skip_serializing_if = "is_none_of_them")]
    pub closed: u64,
    /// Since when no post shows it, in milliseconds since 1970; 0 when it must be collected at once, none while a post
    /// shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loose: Option<u64>,
    /// The message that checks it, once there is one: of several that ask for the same, one does the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Ulid>,
    /// Since when it is to be checked, in milliseconds since 1970, until the check has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u64>,
    /// What may be shown, once it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renditions: Option<Renditions>,
}

fn is_none_of_them(closed: &u64) -> bool {
    *closed == 0
}

/// A medium as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Media {
    /// Names it, in `post.create`.
    pub id: String,
    /// The path of all of it on the server. One that has a query is for this reader only, and works for some minutes: ask
    /// for the post again for another.
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
        let [url, feed, thumb] = urls(id);
        Self { id: id.to_string(), url, feed, thumb, content_type, bytes, width, height }
    }

    /// The same with paths that open it for one viewer only: for media that are not shown to everybody.
    #[must_use]
    pub fn signed(id: Ulid, full: &Rendition, signed: &Signed) -> Self {
        let query = signed.query();
        let (url, medium) = (url(id), Self::of(id, full));
        let sized = |size| format!("{url}?{query}&size={size}");
        Self { feed: sized("feed"), thumb: sized("thumb"), url: format!("{url}?{query}"), ..medium }
    }
}

/// The paths by which everybody opens a medium that is shown to everybody: all of it, for lists, for grids.
#[must_use]
pub fn urls(id: Ulid) -> [String; 3] {
    let url = url(id);
    let (feed, thumb) = (format!("{url}?size=feed"), format!("{url}?size=thumb"));
    [url, feed, thumb]
}

/// The path of a medium on the server.
#[must_use]
pub fn url(id: Ulid) -> String {
    format!("/v1/media/{id}")
}

/// The key of a medium's item in [`Table::Entities`].
#[must_use]
pub fn key(id: Ulid) -> Key {
    Key::new(format!("media#{id}"), "media")
}

/// A medium that was read.
///
/// # Errors
/// [`TableError::Corrupt`] when the item is none.
pub fn parse(found: Option<Item>) -> Result<Option<Stored>, TableError> {
    found.map(Item::parse).transpose()
}

/// The key of the count of a user's loose media in [`Table::Entities`].
#[must_use]
pub fn count_key(owner: &Handle) -> Key {
    Key::new(format!("media-count#{owner}"), "loose")
}

fn count(owner: &Handle, by: i64) -> Write {
    Write::update(Table::Entities, count_key(owner), vec![Change::Add(counted::N, by)])
}

impl Stored {
    /// A medium whose bytes are not there yet, loose from `now` on (milliseconds since 1970).
    #[must_use]
    pub fn begun(owner: &Handle, now: u64) -> Self {
        Self {
            owner: owner.clone(),
            state: State::Uploading,
            posts: 0,
            closed: 0,
            loose: Some(now),
            check: None,
            turn: None,
            renditions: None,
        }
    }

    /// Whether a post shows it to everybody, as far as the post goes: its owner may be private all the same.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.posts > self.closed
    }

    /// The same after one more post shows it: to everybody if that is `open`.
    #[must_use]
    pub fn attached(self, open: bool) -> Self {
        Self { posts: self.posts + 1, closed: self.closed + u64::from(!open), loose: None, ..self }
    }

    /// The same after a post shows it no longer; `was_open` says whether the post showed it to everybody until then.
    #[must_use]
    pub fn detached(self, was_open: bool) -> Self {
        let posts = self.posts.saturating_sub(1);
        let closed = self.closed.saturating_sub(u64::from(!was_open));
        match posts {
            0 => Self { posts, closed, state: State::Gone, loose: Some(0), ..self },
            _ => Self { posts, closed, ..self },
        }
    }

    /// The same after a post that showed it to everybody does so no longer.
    #[must_use]
    pub fn closed(self) -> Self {
        Self { closed: self.closed + 1, ..self }
    }

    /// The same after a post that did not show it to everybody does so.
    #[must_use]
    pub fn opened(self) -> Self {
        Self { closed: self.closed.saturating_sub(1), ..self }
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
    let loose = counted.and_then(|item| item.number(counted::N));
    if loose.unwrap_or(0) >= MAX_LOOSE {
        return Err(TooManyLoose);
    }
    let unchanged = match loose {
        Some(n) => Condition::Equals(counted::N, n.into()),
        None => Condition::Absent(counted::N),
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
        Some(since) => Condition::Equals(attribute::LOOSE, since.into()),
        None => Condition::Absent(attribute::LOOSE),
    };
    Condition::All(vec![
        Condition::Equals(attribute::STATE, json!(stored.state)),
        Condition::Equals(attribute::POSTS, stored.posts.into()),
        match stored.closed {
            0 => Condition::Absent(attribute::CLOSED),
            closed => Condition::Equals(attribute::CLOSED, closed.into()),
        },
        loose,
    ])
}

/// The write that changes a medium, under the condition that it is as read.
#[must_use]
pub fn change(id: Ulid, stored: &Stored, changes: Vec<Change>) -> Write {
    Write::update(Table::Entities, key(id), changes).when(as_read(stored))
}

/// The writes that end the upload of a medium at `now` (milliseconds since 1970): its bytes are to be checked, when its
/// turn comes.
#[must_use]
pub fn claim(id: Ulid, stored: &Stored, now: u64) -> Vec<Write> {
    let changes = vec![State::Checking.set(), Change::Set(attribute::TURN, now.into())];
    let turn = Write::put(Table::Entities, turn_key(&stored.owner, now, id), Item::new());
    vec![change(id, stored, changes), turn]
}

/// The writes by which a medium that passed its check may be shown.
#[must_use]
pub fn pass(id: Ulid, stored: &Stored, renditions: &Renditions) -> Vec<Write> {
    let changes = vec![
        State::Ready.set(),
        Change::Set(attribute::RENDITIONS, json!(renditions)),
        Change::Remove(attribute::TURN),
    ];
    std::iter::once(change(id, stored, changes)).chain(end_turn(id, stored)).collect()
}

fn end_turn(id: Ulid, stored: &Stored) -> Option<Write> {
    Some(Write::delete(Table::Entities, turn_key(&stored.owner, stored.turn?, id)))
}

/// The write by which one message becomes the one that checks a medium.
#[must_use]
pub fn look(id: Ulid, check: Ulid) -> Write {
    let free = vec![
        Condition::Equals(attribute::STATE, json!(State::Checking)),
        Condition::Absent(attribute::CHECK),
    ];
    let changes = vec![Change::Set(attribute::CHECK, json!(check))];
    Write::update(Table::Entities, key(id), changes).when(Condition::All(free))
}

/// The write by which a medium that was read as `stored` has the counts of `after`.
fn recount(id: Ulid, stored: &Stored, after: &Stored, mut changes: Vec<Change>) -> Write {
    let by = |after: u64, before: u64| after.cast_signed() - before.cast_signed();
    if after.posts != stored.posts {
        changes.push(Change::Add(attribute::POSTS, by(after.posts, stored.posts)));
    }
    match after.closed {
        same if same == stored.closed => {}
        // Absent is none, for the conditions of others.
        0 => changes.push(Change::Remove(attribute::CLOSED)),
        closed => changes.push(Change::Set(attribute::CLOSED, closed.into())),
    }
    change(id, stored, changes)
}

/// The writes by which a post shows media of its author, to everybody if it is `open`. They were read before.
#[must_use]
pub fn attach(author: &Handle, media: &[(Ulid, Stored)], open: bool) -> Vec<Write> {
    let mut writes = Vec::with_capacity(2 * media.len() + 1);
    let mut held = 0;
    for (id, stored) in media {
        let after = stored.clone().attached(open);
        writes.push(recount(*id, stored, &after, vec![Change::Remove(attribute::LOOSE)]));
        if let Some(since) = stored.loose {
            writes.push(Write::delete(Table::Entities, loose_key(*id, since)));
            held += 1;
        }
    }
    writes.extend((held > 0).then(|| count(author, -held)));
    writes
}

/// The writes by which a post no longer shows its author's media; `was_open` says whether it showed them to everybody
/// until then. Nobody sees those that no other post shows from then on, and they are collected at once.
#[must_use]
pub fn detach(author: &Handle, media: &[(Ulid, Stored)], was_open: bool) -> Vec<Write> {
    let mut writes = Vec::with_capacity(2 * media.len() + 1);
    let mut freed = 0;
    for (id, stored) in media {
        let after = stored.clone().detached(was_open);
        let mut changes = Vec::new();
        if after.state == State::Gone {
            changes.push(State::Gone.set());
            changes.push(Change::Set(attribute::LOOSE, 0.into()));
            writes.push(Write::put(Table::Entities, loose_key(*id, 0), Item::new()));
            freed += 1;
        }
        writes.push(recount(*id, stored, &after, changes));
    }
    writes.extend((freed > 0).then(|| count(author, freed)));
    writes
}

/// The writes by which a post that showed its media to everybody does so no longer, and goes on to show them to some: a
/// moderator hides it, or its audience is limited. They were read before.
#[must_use]
pub fn close(media: &[(Ulid, Stored)]) -> Vec<Write> {
    media.iter().map(|(id, stored)| recount(*id, stored, &stored.clone().closed(), Vec::new())).collect()
}

/// The writes by which a post that did not show its media to everybody does so. They were read before.
#[must_use]
pub fn open(media: &[(Ulid, Stored)]) -> Vec<Write> {
    media.iter().map(|(id, stored)| recount(*id, stored, &stored.clone().opened(), Vec::new())).collect()
}

/// Those of a post's media that everybody could open, and cannot any more after `step`, such as [`Stored::closed`]:
/// caches in front must forget them.
#[must_use]
pub fn shut(media: &[(Ulid, Stored)], step: impl Fn(Stored) -> Stored) -> Vec<Ulid> {
    let is_shut = |stored: &Stored| stored.is_open() && !step(stored.clone()).is_open();
    media.iter().filter(|(_, stored)| is_shut(stored)).map(|(id, _)| *id).collect()
}

/// The writes that remove a loose medium. It was read before.
#[must_use]
pub fn end(id: Ulid, stored: &Stored) -> Vec<Write> {
    let mut writes = vec![Write::delete(Table::Entities, key(id)).when(as_read(stored))];
    if let Some(since) = stored.loose {
        writes.push(Write::delete(Table::Entities, loose_key(id, since)));
        writes.push(count(&stored.owner, -1));
    }
    writes.extend(end_turn(id, stored));
    writes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::holdings::assert_knows;

    #[test]
    fn serde_knows_every_attribute() {
        let full = Rendition { content_type: "image/png".to_owned(), bytes: 1, width: 2, height: 3 };
        let renditions = Renditions { feed: full.clone(), thumb: full.clone(), full };
        let full = Stored {
            closed: 1,
            check: Some(Ulid(1)),
            turn: Some(1),
            renditions: Some(renditions),
            ..Stored::begun(&"ann".parse().unwrap(), 1)
        };
        assert_knows(attribute::ALL, &full, &[]);
    }
}

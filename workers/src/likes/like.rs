//! What `like.add` and `like.remove` share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::model::posts::attribute;
use soundoff_common::model::relations;
use soundoff_common::pipeline::handler::{Context, Failure};
use soundoff_common::ports::tables::{Change, Condition, Key, Table, Write};
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::posts::post;
use crate::rules::toggles::{Toggle, Turn};

/// The kinds of items declared here.
pub(crate) const HOLDINGS: &[Holding] = &[Holding {
    kind: "like",
    table: Table::Relationships,
    pk: "like#<pid>",
    sk: "s#<h>",
    attributes: relations::attribute::ALL,
    of: Of::User,
    summary: "The state of a like.",
}];

/// Which post.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Liked {
    /// The post's id.
    pub(crate) post: String,
}

impl Liked {
    /// What it is about.
    pub(crate) fn post(&self) -> &str {
        &self.post
    }
}

/// A post's likes, with the sender's own message counted.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Likes {
    /// The post's id.
    pub(crate) post: String,
    /// How many like it now.
    pub(crate) likes: u64,
    /// Whether the sender likes it now. A later message of the sender's may have come first.
    pub(crate) liked: bool,
}

/// The key of the state of one like.
pub(crate) fn key(post: Ulid, user: &Handle) -> Key {
    Key::new(format!("like#{post}"), format!("s#{user}"))
}

/// The post and the sender's like of it, in one read.
pub(crate) async fn read(cx: &Context, user: &Handle, post: Ulid) -> Result<(post::Stored, Toggle), Failure> {
    let keys = [(Table::Entities, post::key(post)), (Table::Relationships, key(post, user))];
    let mut found = cx.tables.get_many(&keys).await?.into_iter();
    let stored = post::undeleted(found.next().flatten())?;
    Ok((stored, Toggle::of(key(post, user), found.next().flatten())?))
}

/// The writes of a like's turn, and the likes after it. The post's counter changes only on a flip, and the post must
/// still be as `when` says in any case.
pub(crate) fn writes(post: Ulid, likes: u64, turn: Turn, when: Condition) -> (Vec<Write>, u64) {
    let mut writes = Vec::from_iter(turn.write);
    let delta = match (turn.flipped, turn.on) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => -1,
    };
    writes.push(match delta {
        0 => Write::check(Table::Entities, post::key(post), when),
        delta => Write::update(Table::Entities, post::key(post), vec![Change::Add(attribute::LIKES, delta)])
            .when(when),
    });
    (writes, likes.saturating_add_signed(delta))
}

//! A user's own item: made by the User service, read by workers, looked at by edges when a socket says hello.

use serde::{Deserialize, Serialize};

use crate::model::holdings::{Holding, Of};
use crate::ports::tables::{Condition, Item, Key, Table, Write};
use crate::protocol::{Handle, Role};

/// The kinds of items that are kept of this.
pub const HOLDINGS: &[Holding] = &[Holding {
    kind: "account",
    table: Table::Users,
    pk: "user#<h>",
    sk: "profile",
    attributes: &[
        "handle",
        "name",
        "bio",
        "followers",
        "following",
        "posts",
        "created_at",
        "active_at",
        "follows_version",
        "revoked_at",
        "role",
        "name_mid",
        "bio_mid",
    ],
    of: Of::User,
    summary: "An account. Its counters move in the transaction that changes what they count.",
}];

/// A user as stored in [`Table::Users`] under [`key`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Who.
    pub handle: Handle,
    /// The name they chose to show; empty at first.
    #[serde(default)]
    pub name: String,
    /// What they say of themselves; empty at first.
    #[serde(default)]
    pub bio: String,
    /// How many follow them.
    #[serde(default)]
    pub followers: u64,
    /// How many they follow.
    #[serde(default)]
    pub following: u64,
    /// How many posts they have.
    #[serde(default)]
    pub posts: u64,
    /// When they joined, in milliseconds since 1970.
    pub created_at: u64,
    /// Rises with every change of whom they follow.
    #[serde(default)]
    pub follows_version: u64,
    /// When they last said hello, in milliseconds since 1970, give or take ten minutes; 0 when never.
    #[serde(default)]
    pub active_at: u64,
    /// What they may do.
    #[serde(default)]
    pub role: Role,
    /// Sessions begun up to this open nothing, in milliseconds since 1970.
    #[serde(default)]
    pub revoked_at: u64,
}

/// Where a user's item lies.
#[must_use]
pub fn key(user: &Handle) -> Key {
    Key::new(format!("user#{user}"), "profile")
}

/// The write that makes a new user; it fails when the handle is taken.
#[must_use]
pub fn create(user: &Handle, now_ms: u64) -> Write {
    let item = Item::new()
        .with("handle", user.as_str())
        .with("name", "")
        .with("bio", "")
        .with("followers", 0)
        .with("following", 0)
        .with("posts", 0)
        .with("created_at", now_ms);
    Write::put(Table::Users, key(user), item).when(Condition::Missing)
}

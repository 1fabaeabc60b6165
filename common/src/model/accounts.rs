//! A user's own item: made by the User service, read by workers, read by edges when a socket says hello.

use serde::{Deserialize, Serialize};

use crate::model::holdings::{Holding, Of};
use crate::ports::tables::{Condition, Item, Key, Table, Write};
use crate::protocol::{Handle, Role};

crate::attributes! {
    /// The attributes of an account. `name_mid` and `bio_mid` are the messages that set `name` and `bio`: the later one
    /// wins.
    pub mod attribute {
        HANDLE = "handle",
        NAME = "name",
        BIO = "bio",
        FOLLOWERS = "followers",
        FOLLOWING = "following",
        POSTS = "posts",
        CREATED_AT = "created_at",
        ACTIVE_AT = "active_at",
        FOLLOWS_VERSION = "follows_version",
        GROUPS = "groups",
        GUARDED = "guarded",
        REVOKED_AT = "revoked_at",
        ROLE = "role",
        NAME_MID = "name_mid",
        BIO_MID = "bio_mid",
    }
}

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[Holding {
    kind: "account",
    table: Table::Users,
    pk: "user#<h>",
    sk: "profile",
    attributes: attribute::ALL,
    of: Of::User,
    summary: "An account. Its counters move in the transaction that changes what they count.",
}];

/// A user as stored in [`Table::Users`] under [`key`]. What a new user does not have yet is not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Who.
    pub handle: Handle,
    /// The name they chose to show; empty at first.
    #[serde(default)]
    pub name: String,
    /// What they say about themselves; empty at first.
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
    /// Rises with every change of whom they follow, and of which groups they are in.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub follows_version: u64,
    /// How many groups they are in.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub groups: u64,
    /// They have changed their privacy at least once. Who has not, has no item of it to be read.
    #[serde(default, skip_serializing_if = "is_no")]
    pub guarded: bool,
    /// When they last said hello, in milliseconds since 1970, correct to ten minutes; 0 when never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub active_at: u64,
    /// What they may do.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub role: Role,
    /// Sessions that began at or before this time are no longer valid, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revoked_at: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_no(flag: &bool) -> bool {
    !flag
}

fn is_plain(role: &Role) -> bool {
    *role == Role::default()
}

/// The key of a user's item.
#[must_use]
pub fn key(user: &Handle) -> Key {
    Key::new(format!("user#{user}"), "profile")
}

/// The write that makes a new user; it fails when the handle is taken.
#[must_use]
pub fn create(user: &Handle, now_ms: u64) -> Write {
    let account = Account {
        handle: user.clone(),
        name: String::new(),
        bio: String::new(),
        followers: 0,
        following: 0,
        posts: 0,
        created_at: now_ms,
        follows_version: 0,
        groups: 0,
        guarded: false,
        active_at: 0,
        role: Role::default(),
        revoked_at: 0,
    };
    Write::put(Table::Users, key(user), Item::of(&account)).when(Condition::Missing)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::holdings::assert_knows;
    use crate::ports::tables::Action;

    #[test]
    fn serde_knows_every_attribute() {
        let full = Account {
            handle: "ann".parse().unwrap(),
            name: "Ann".to_owned(),
            bio: "hi".to_owned(),
            followers: 1,
            following: 2,
            posts: 3,
            created_at: 4,
            groups: 7,
            guarded: true,
            follows_version: 5,
            active_at: 6,
            role: Role::Admin,
            revoked_at: 7,
        };
        assert_knows(attribute::ALL, &full, &[attribute::NAME_MID, attribute::BIO_MID]);
    }

    #[test]
    fn a_new_user_has_counters_and_nothing_that_comes_later() {
        let write = create(&"ann".parse().unwrap(), 4);
        let Action::Put(item) = write.action else { panic!("a new user is put") };
        let expected = json!({
            "handle": "ann", "name": "", "bio": "", "followers": 0, "following": 0, "posts": 0, "created_at": 4,
        });
        assert_eq!(serde_json::Value::Object(item.0), expected);
    }
}

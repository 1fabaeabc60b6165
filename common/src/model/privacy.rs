//! What a user lets others see and do: written by workers, read by everything that shows or does something.
//!
//! It is an item of its own. The account's counters move with every follow, and what must hold in the transaction of an
//! act would race them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::model::holdings::{Holding, Of};
use crate::ports::tables::{Condition, Item, Key, Table, TableError, Write};
use crate::protocol::Handle;

crate::attributes! {
    /// The attributes of a user's privacy. `v` rises with every change; a `_mid` is the message that set the field
    /// before it: the later one wins.
    pub mod attribute {
        V = "v",
        PRIVATE = "private",
        PRIVATE_MID = "private_mid",
        DM_FROM = "dm_from",
        DM_FROM_MID = "dm_from_mid",
        COMMENT_FROM = "comment_from",
        COMMENT_FROM_MID = "comment_from_mid",
        MENTION_FROM = "mention_from",
        MENTION_FROM_MID = "mention_from_mid",
    }
}

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[Holding {
    kind: "privacy",
    table: Table::Relationships,
    pk: "privacy#<h>",
    sk: "privacy",
    attributes: attribute::ALL,
    of: Of::User,
    summary: "What a user lets others see and do. A user who never changed it has none.",
}];

/// Of whom a user takes something. Nobody needs leave from themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// Of all users.
    #[default]
    Everyone,
    /// Of those who follow the user.
    Followers,
    /// Of those whom the user follows.
    Following,
    /// Of those whom the user follows and who follow the user.
    Mutuals,
    /// Of nobody.
    Nobody,
}

/// What a user lets others see and do, of what is stored under [`key`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privacy {
    /// How often it was changed.
    pub v: u64,
    /// Only followers see what they post, and who wants to follow them must ask.
    #[serde(default)]
    pub private: bool,
    /// Who may write to them.
    #[serde(default)]
    pub dm_from: From,
    /// Who may comment on their posts, of those who see them.
    #[serde(default)]
    pub comment_from: From,
    /// Whose mentions reach them.
    #[serde(default)]
    pub mention_from: From,
}

/// All that is stored under [`key`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What holds.
    #[serde(flatten)]
    pub privacy: Privacy,
    /// The message that set `private`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_mid: Option<Ulid>,
    /// The message that set `dm_from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dm_from_mid: Option<Ulid>,
    /// The message that set `comment_from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment_from_mid: Option<Ulid>,
    /// The message that set `mention_from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mention_from_mid: Option<Ulid>,
}

impl Privacy {
    /// The privacy that was read; that of a user who never changed it when there is none.
    ///
    /// # Errors
    /// [`TableError::Corrupt`] when the item is none.
    pub fn parse(found: Option<Item>) -> Result<Self, TableError> {
        found.map_or_else(|| Ok(Self::default()), Item::parse)
    }

    /// The condition that it is still as it was read.
    #[must_use]
    pub fn as_read(&self) -> Condition {
        match self.v {
            0 => Condition::Missing,
            v => Condition::Equals(attribute::V, v.into()),
        }
    }

    /// A check that makes a transaction fail when `user` has changed it since it was read.
    #[must_use]
    pub fn unchanged(&self, user: &Handle) -> Write {
        Write::check(Table::Relationships, key(user), self.as_read())
    }
}

/// The key of a user's privacy.
#[must_use]
pub fn key(user: &Handle) -> Key {
    Key::new(["privacy#", user.as_str()].concat(), "privacy")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::holdings::assert_knows;

    #[test]
    fn serde_knows_every_attribute() {
        let mid = Some(Ulid(1));
        let full = Kept {
            privacy: Privacy { v: 1, private: true, ..Privacy::default() },
            private_mid: mid,
            dm_from_mid: mid,
            comment_from_mid: mid,
            mention_from_mid: mid,
        };
        assert_knows(attribute::ALL, &full, &[]);
    }

    #[test]
    fn who_never_changed_it_is_open_to_all_and_that_is_checked() {
        let privacy = Privacy::parse(None).unwrap();
        assert_eq!(privacy, Privacy::default());
        assert_eq!(privacy.as_read(), Condition::Missing);
        let changed = Privacy { v: 2, ..Privacy::default() };
        assert_eq!(changed.as_read(), Condition::Equals(attribute::V, 2.into()));
    }
}

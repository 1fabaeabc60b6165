//! Groups as they are stored: what a group is, and what each user is in it. Written by workers, read by everything that
//! shows what is in a group.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::model::holdings::{Holding, Of};
use crate::ports::tables::{Condition, Item, Key, Table, TableError, Write};
use crate::protocol::Handle;

crate::attributes! {
    /// The attributes of a group.
    pub mod attribute {
        NAME = "name",
        ABOUT = "about",
        SIGHT = "sight",
        ENTRY = "entry",
        CREATED_AT = "created_at",
        V = "v",
        DELETED = "deleted",
    }
}

crate::attributes! {
    /// The attributes of what a user is in a group.
    pub mod member {
        STATE = "state",
        ROLE = "role",
        MID = "mid",
        SINCE = "since",
        NOTIFIED = "notified",
    }
}

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[
    Holding {
        kind: "group",
        table: Table::Entities,
        pk: "group#<g>",
        sk: "group",
        attributes: attribute::ALL,
        of: Of::Nobody,
        summary: "A group, or its tombstone: `deleted`, without `name` and `about`. `v` rises with every change.",
    },
    Holding {
        kind: "member",
        table: Table::Relationships,
        pk: "member#<g>",
        sk: "s#<h>",
        attributes: member::ALL,
        of: Of::User,
        summary: "What a user is in a group: in, asked, invited, out or barred; and their role.",
    },
];

/// Who sees a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sight {
    /// All users see it and what is in it.
    Public,
    /// All users see that there is such a group; its members see what is in it, and each other.
    Closed,
    /// Nobody but its members, and who is invited, knows of it.
    Secret,
}

/// How somebody becomes a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Who joins is in.
    Open,
    /// Who joins asks, and a moderator of the group answers.
    Ask,
    /// Who is invited by a moderator of the group.
    Invite,
}

/// What a user is in a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Nothing.
    #[default]
    Out,
    /// A member.
    In,
    /// Somebody who has asked to become one.
    Asked,
    /// Somebody who has been asked to become one.
    Invited,
    /// Somebody who may not become one, and sees nothing of it.
    Barred,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// Posts.
    #[default]
    Member,
    /// Answers who asks, invites, bars, and hides posts.
    Moderator,
    /// Also changes the group, gives roles, and deletes it.
    Owner,
}

/// A group, as stored under [`key`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// What it is called; empty in a tombstone.
    #[serde(default)]
    pub name: String,
    /// What it is about.
    #[serde(default)]
    pub about: String,
    /// Who sees it.
    pub sight: Sight,
    /// How somebody becomes a member.
    pub entry: Entry,
    /// When it was made, in milliseconds since 1970.
    pub created_at: u64,
    /// How often it was changed.
    #[serde(default)]
    pub v: u64,
    /// It is a tombstone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// What a user is in a group, as stored under [`member_key`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What they are.
    pub state: MemberState,
    /// What they may do while they are in.
    #[serde(default)]
    pub role: MemberRole,
    /// The latest message that has been applied.
    pub mid: Ulid,
    /// The message that brought this state about; it names the list rows.
    pub since: Ulid,
    /// Whether the other side has ever been notified.
    #[serde(default)]
    pub notified: bool,
}

/// The key of a group's item.
#[must_use]
pub fn key(group: Ulid) -> Key {
    Key::new(format!("group#{group}"), "group")
}

/// The partition of a group's members.
#[must_use]
pub fn members(group: Ulid) -> String {
    format!("member#{group}")
}

/// The key of what a user is in a group.
#[must_use]
pub fn member_key(group: Ulid, user: &Handle) -> Key {
    Key::new(members(group), format!("s#{user}"))
}

/// A group that was read and is not deleted.
///
/// # Errors
/// [`TableError::Corrupt`] when the item is no group.
pub fn parse(found: Option<Item>) -> Result<Option<Group>, TableError> {
    Ok(found.map(Item::parse::<Group>).transpose()?.filter(|group| !group.deleted))
}

/// What somebody is in a group, as read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Within {
    /// The group; none when there is none, or none any more.
    pub group: Option<Group>,
    /// What they are in it, where they have ever been something.
    pub member: Option<Member>,
}

impl Within {
    /// What they are in the group.
    #[must_use]
    pub fn state(&self) -> MemberState {
        self.member.as_ref().map(|member| member.state).unwrap_or_default()
    }

    /// Whether they are a member.
    #[must_use]
    pub fn is_in(&self) -> bool {
        self.state() == MemberState::In
    }

    /// Whether they are a member with this role or a higher one.
    #[must_use]
    pub fn is_at_least(&self, role: MemberRole) -> bool {
        self.is_in() && self.member.as_ref().is_some_and(|member| member.role >= role)
    }

    /// Checks that make a transaction fail when the group or what `user` is in it has changed since it was read.
    #[must_use]
    pub fn unchanged(&self, id: Ulid, user: &Handle) -> Vec<Write> {
        let group = self.group.as_ref().map(|group| {
            let as_read =
                [Condition::Equals(attribute::V, group.v.into()), Condition::Absent(attribute::DELETED)];
            Write::check(Table::Entities, key(id), Condition::All(as_read.into()))
        });
        let member = Write::check(Table::Relationships, member_key(id, user), as_read(self.member.as_ref()));
        group.into_iter().chain([member]).collect()
    }
}

/// The condition that what a user is in a group is still as it was read.
#[must_use]
pub fn as_read(member: Option<&Member>) -> Condition {
    match member {
        None => Condition::Missing,
        Some(seen) => Condition::All(vec![
            Condition::Equals(member::MID, seen.mid.to_string().into()),
            Condition::Equals(member::STATE, serde_json::json!(seen.state)),
            Condition::Equals(member::ROLE, serde_json::json!(seen.role)),
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::holdings::assert_knows;

    #[test]
    fn serde_knows_every_attribute() {
        let group = Group {
            name: "g".to_owned(),
            about: "a".to_owned(),
            sight: Sight::Secret,
            entry: Entry::Ask,
            created_at: 1,
            v: 2,
            deleted: true,
        };
        assert_knows(attribute::ALL, &group, &[]);
        let (state, role) = (MemberState::In, MemberRole::Owner);
        let full = Member { state, role, mid: Ulid(1), since: Ulid(2), notified: true };
        assert_knows(member::ALL, &full, &[]);
    }
}

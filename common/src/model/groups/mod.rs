//! Groups as they are stored: what a group is, and what each user is in it. Written by workers, read by everything that
//! shows what is in a group.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::ports::tables::{Change, Condition, Item, Key, Table, TableError, Write};
use crate::protocol::{Handle, rfc3339};

mod kept;

pub use crate::model::follows::{PREFIX, Row};
pub use kept::{HOLDINGS, attribute, counted, joined, member, taken};

/// The start of the `sk` of what a user is in a group, before their handle.
pub const STATES: &str = "s#";
/// The start of a moderator's row's `sk`, before their handle.
pub const MODERATORS: &str = "m#";

/// The most members of a group.
pub const MAX_MEMBERS: u64 = 200_000;
/// The most moderators of a group, owners not counted.
pub const MAX_MODERATORS: u64 = 100;
/// The most owners of a group.
pub const MAX_OWNERS: u64 = 20;
/// The most groups that a user is in or asks to join; and the most to which they are invited.
pub const MAX_GROUPS: u64 = 1_000;

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
    /// The message that set `name`, when not the one that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_mid: Option<Ulid>,
    /// The message that set `about`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about_mid: Option<Ulid>,
    /// The message that set `sight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sight_mid: Option<Ulid>,
    /// The message that set `entry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_mid: Option<Ulid>,
    /// It is a tombstone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// The message that deleted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_by: Option<Ulid>,
}

/// A group as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GroupSeen {
    /// Names the group.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it is about; may be empty.
    pub about: String,
    /// Who sees it.
    pub sight: Sight,
    /// How somebody becomes a member.
    pub entry: Entry,
    /// When it was made, RFC 3339 UTC with milliseconds.
    pub created_at: String,
    /// How many members it has.
    pub members: u64,
    /// How many posts it has that are shown.
    pub posts: u64,
}

impl Group {
    /// The group as clients see it. Only [`crate::model::sight`] calls this: what nobody has judged is not shown.
    pub(super) fn shown(&self, id: Ulid, counts: Counts) -> GroupSeen {
        let Self { name, about, sight, entry, created_at, .. } = self.clone();
        let Counts { members, posts, .. } = counts;
        let (id, created_at) = (id.to_string(), rfc3339(created_at));
        GroupSeen { id, name, about, sight, entry, created_at, members, posts }
    }

    /// The condition that it is still as it was read, and not deleted.
    #[must_use]
    pub fn as_read(&self) -> Condition {
        Condition::All(vec![
            Condition::Equals(attribute::V, self.v.into()),
            Condition::Absent(attribute::DELETED),
        ])
    }
}

/// What a group has, as stored under [`count_key`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Members, moderators and owners among them.
    #[serde(default)]
    pub members: u64,
    /// Owners.
    #[serde(default)]
    pub owners: u64,
    /// Moderators who are no owners.
    #[serde(default)]
    pub moderators: u64,
    /// Posts that are shown.
    #[serde(default)]
    pub posts: u64,
}

/// How many groups a user has, as stored under [`taken_key`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Groups that they are in or ask to join.
    #[serde(default)]
    pub n: u64,
    /// Groups to which they are invited.
    #[serde(default)]
    pub invited: u64,
}

/// A row in a user's list of groups.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Joined {
    /// Which group.
    pub group: Ulid,
    /// What they are in it: in, asked or invited.
    pub state: MemberState,
}

/// What a user is in a group, as stored under [`member_key`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What they are.
    pub state: MemberState,
    /// What they may do while they are in.
    #[serde(default)]
    pub role: MemberRole,
    /// The latest message of their own that has been applied.
    pub mid: Ulid,
    /// The message that brought this state about; it names the list rows.
    pub since: Ulid,
    /// The latest message of others about them that has been applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Ulid>,
    /// Who has invited them, while they are invited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Handle>,
    /// Whether the moderators have ever been notified that they ask.
    #[serde(default)]
    pub notified: bool,
    /// Whether they have ever been notified that they are invited.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
}

/// The key of a group's item.
#[must_use]
pub fn key(group: Ulid) -> Key {
    Key::new(format!("group#{group}"), "group")
}

/// The key of a group's counts.
#[must_use]
pub fn count_key(group: Ulid) -> Key {
    Key::new(format!("group#{group}"), "count")
}

/// The write that counts a post among those that its group shows, or no longer.
#[must_use]
pub fn count_post(group: Ulid, by: i64) -> Write {
    let change = vec![Change::Add(counted::POSTS, by)];
    Write::update(Table::Entities, count_key(group), change).when(Condition::Exists)
}

/// The partition of a group's list of posts.
#[must_use]
pub fn posts(group: Ulid) -> String {
    format!("gposts#{group}")
}

/// The key of a post's row in its group's list.
#[must_use]
pub fn post_key(group: Ulid, post: Ulid) -> Key {
    Key::new(posts(group), post.to_string())
}

/// The partition of the list of a group's users in this state; none of those who are out of it.
#[must_use]
pub fn list(group: Ulid, state: MemberState) -> Option<String> {
    match state {
        MemberState::Out => None,
        MemberState::In => Some(members(group)),
        MemberState::Asked => Some(format!("member-asked#{group}")),
        MemberState::Invited => Some(format!("member-invited#{group}")),
        MemberState::Barred => Some(format!("member-barred#{group}")),
    }
}

/// The key of a moderator's row.
#[must_use]
pub fn moderator_key(group: Ulid, user: &Handle) -> Key {
    Key::new(members(group), format!("{MODERATORS}{user}"))
}

/// The partition of a user's groups.
#[must_use]
pub fn of_user(user: &Handle) -> String {
    format!("groups#{user}")
}

/// The key of a row in a user's groups; `since` is the message that made the state.
#[must_use]
pub fn of_user_key(user: &Handle, since: Ulid) -> Key {
    Key::new(of_user(user), format!("{PREFIX}{since}"))
}

/// The key of the count of a user's groups.
#[must_use]
pub fn taken_key(user: &Handle) -> Key {
    Key::new(of_user(user), "count")
}

/// A name as it is looked for: in small letters, with `_` for the spaces between words, so that a name comes before all
/// that go on after it.
#[must_use]
pub fn folded(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join("_").to_lowercase()
}

/// The partition of all groups whose folded name begins like this one.
#[must_use]
pub fn names(folded: &str) -> String {
    format!("gname#{}", folded.chars().take(2).collect::<String>())
}

/// The key of a group's row by its name.
#[must_use]
pub fn name_key(name: &str, group: Ulid) -> Key {
    let folded = folded(name);
    Key::new(names(&folded), format!("{folded}#{group}"))
}

/// The partition of a group's members.
#[must_use]
pub fn members(group: Ulid) -> String {
    format!("member#{group}")
}

/// The key of what a user is in a group.
#[must_use]
pub fn member_key(group: Ulid, user: &Handle) -> Key {
    Key::new(members(group), format!("{STATES}{user}"))
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
    /// What they may do in the group, while they are a member.
    #[must_use]
    pub fn role(&self) -> Option<MemberRole> {
        self.member.as_ref().filter(|_| self.is_in()).map(|member| member.role)
    }

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
        let group = self.group.as_ref().map(|group| Write::check(Table::Entities, key(id), group.as_read()));
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
            match seen.decided {
                Some(decided) => Condition::Equals(member::DECIDED, decided.to_string().into()),
                None => Condition::Absent(member::DECIDED),
            },
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::holdings::assert_knows;

    #[test]
    fn serde_knows_every_attribute() {
        let mid = Some(Ulid(1));
        let group = Group {
            name: "g".to_owned(),
            about: "a".to_owned(),
            sight: Sight::Secret,
            entry: Entry::Ask,
            created_at: 1,
            v: 2,
            name_mid: mid,
            about_mid: mid,
            sight_mid: mid,
            entry_mid: mid,
            deleted: true,
            deleted_by: mid,
        };
        assert_knows(attribute::ALL, &group, &[]);
        let (state, role) = (MemberState::In, MemberRole::Owner);
        let (mid, since, by) = (Ulid(1), Ulid(2), "ann".parse().ok());
        let full = Member { state, role, mid, since, decided: Some(mid), by, notified: true, told: true };
        assert_knows(member::ALL, &full, &[]);
        assert_knows(counted::ALL, &Counts::default(), &[]);
        assert_knows(taken::ALL, &Taken::default(), &[]);
        assert_knows(joined::ALL, &Joined { group: mid, state }, &[]);
    }

    #[test]
    fn names_are_found_however_they_are_written_and_apart_from_their_neighbours() {
        assert_eq!(folded("  Chess\t Club "), "chess_club");
        assert_eq!(folded("ÉCHECS"), "échecs");
        assert_eq!(name_key("Éa", Ulid(1)), Key::new("gname#éa", format!("éa#{}", Ulid(1))));
        assert_eq!(name_key("x", Ulid(1)).pk, "gname#x");
        let longest = name_key(&"\u{1F980}".repeat(50), Ulid(1));
        assert!(longest.sk.len() <= 1_024);
    }
}

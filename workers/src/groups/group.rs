//! What the types of groups share: bodies, replies, and a group as its sender finds it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::groups::{
    self, Counts, Group, GroupSeen, MemberRole, MemberState, Taken, Within,
};
use soundoff_common::model::{ids, sight};
use soundoff_common::pipeline::handler::{Context, Failure, Push, Told, raw};
use soundoff_common::ports::tables::{Item, Key, Table, TableError, Write};
use soundoff_common::protocol::{ErrorCode, Handle};
use ulid::Ulid;

use crate::groups::membership::{Membership, Turn};

/// Which group.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Which {
    /// The group's id.
    pub(crate) group: String,
}

impl Which {
    /// What it is about.
    pub(crate) fn group(&self) -> &str {
        &self.group
    }
}

/// A group, and what the sender is in it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OneGroup {
    /// The group.
    pub(crate) group: GroupSeen,
    /// What the sender is in it: `out`, `in`, `asked` or `invited`.
    pub(crate) state: MemberState,
    /// What the sender may do in it; missing when they are not in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<MemberRole>,
}

/// What somebody is in a group now. A later message may have come first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OneMember {
    /// The group's id.
    group: String,
    /// Who.
    user: Handle,
    /// What they are in it: `out`, `in`, `asked`, `invited` or `barred`.
    state: MemberState,
    /// What they may do in it; missing when they are not in.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<MemberRole>,
}

impl OneMember {
    /// After a turn.
    pub(crate) fn after(group: Ulid, user: &Handle, turn: &Turn) -> Self {
        Self { group: group.to_string(), user: user.clone(), state: turn.state(), role: turn.role() }
    }
}

/// The push to who is in by an answer, and to who had invited them.
#[derive(Debug, Serialize, JsonSchema)]
struct Joined<'a> {
    /// The group's id.
    group: String,
    /// Who is a member now.
    user: &'a Handle,
}

/// That somebody is a member.
pub(crate) const JOINED: Told = Told::push::<Joined<'_>>(
    "group.joined",
    "You are a member of a group that you have asked to join, or somebody whom you have invited is.",
);

/// Tells `to` that `user` is a member.
pub(crate) fn joined(to: &Handle, group: Ulid, user: &Handle) -> Push {
    let body = raw(&Joined { group: group.to_string(), user });
    Push { to: to.clone(), push_type: "group.joined", by: user.clone(), body }
}

/// The id of the group that a body names. A text that is no id names no group, and never becomes a key.
pub(crate) fn id(text: &str) -> Result<Ulid, Failure> {
    ids::parse(text).ok_or_else(no_such_group)
}

pub(crate) fn no_such_group() -> Failure {
    Failure::reject(ErrorCode::NotFound, "there is no such group")
}

/// A group as its sender finds it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) id: Ulid,
    pub(crate) me: Handle,
    pub(crate) within: Within,
    pub(crate) counts: Counts,
}

impl Place {
    /// What to read of it.
    pub(crate) fn keys(id: Ulid, me: &Handle) -> [(Table, Key); 3] {
        [
            (Table::Entities, groups::key(id)),
            (Table::Relationships, groups::member_key(id, me)),
            (Table::Entities, groups::count_key(id)),
        ]
    }

    /// From what was read at [`Self::keys`].
    pub(crate) fn of(
        id: Ulid,
        me: &Handle,
        found: &mut impl Iterator<Item = Option<Item>>,
    ) -> Result<Self, TableError> {
        let group = groups::parse(found.next().flatten())?;
        let member = found.next().flatten().map(Item::parse).transpose()?;
        let counts = found.next().flatten().map(Item::parse).transpose()?.unwrap_or_default();
        Ok(Self { id, me: me.clone(), within: Within { group, member }, counts })
    }

    /// The group that a body names, in one read with the items at `more`.
    pub(crate) async fn read(
        cx: &Context,
        me: &Handle,
        text: &str,
        more: Vec<(Table, Key)>,
    ) -> Result<(Self, std::vec::IntoIter<Option<Item>>), Failure> {
        let id = id(text)?;
        let keys: Vec<_> = Self::keys(id, me).into_iter().chain(more).collect();
        let mut found = cx.tables.get_many(&keys).await?.into_iter();
        Ok((Self::of(id, me, &mut found)?, found))
    }

    /// The group, for who may know of it.
    pub(crate) fn seen(&self) -> Result<&Group, Failure> {
        let group = self.within.group.as_ref().filter(|_| sight::may_see_group(&self.within));
        group.ok_or_else(no_such_group)
    }

    /// Refuses who may know of the group and may not see who and what is in it.
    pub(crate) fn inside(&self) -> Result<(), Failure> {
        self.seen()?;
        if sight::may_see_inside(&self.within) {
            return Ok(());
        }
        Err(Failure::reject(ErrorCode::Forbidden, "only members see who and what is in this group"))
    }

    /// Refuses who is no member with this role or a higher one.
    pub(crate) fn at_least(&self, role: MemberRole) -> Result<&Group, Failure> {
        let group = self.seen()?;
        if self.within.is_at_least(role) {
            return Ok(group);
        }
        let whom = match role {
            MemberRole::Member => "members of this group",
            MemberRole::Moderator => "moderators of this group",
            MemberRole::Owner => "owners of this group",
        };
        Err(Failure::reject(ErrorCode::Forbidden, format!("that is for {whom} only")))
    }

    /// What the sender is in it.
    pub(crate) fn mine(&self) -> Membership {
        Membership::known(self.id, &self.me, self.within.member.clone())
    }

    /// Checks that make a transaction fail when the group, or what the sender is in it, has changed since it was read.
    pub(crate) fn unchanged(&self) -> Vec<Write> {
        self.within.unchanged(self.id, &self.me)
    }

    /// The first of them: for a transaction that changes what the sender is.
    pub(crate) fn group_unchanged(&self) -> Option<Write> {
        let group = self.within.group.as_ref()?;
        Some(Write::check(Table::Entities, groups::key(self.id), group.as_read()))
    }
}

/// How many groups a user has, as it was read.
pub(crate) fn taken(found: Option<Item>) -> Result<Taken, TableError> {
    Ok(found.map(Item::parse).transpose()?.unwrap_or_default())
}

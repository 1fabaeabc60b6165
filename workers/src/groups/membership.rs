//! What a user is in a group, and what messages make of it.
//!
//! Queues do not order, so two of a user's own messages are in order of their `mid`, and two of others about them in order
//! of theirs (`decided`). What ends a membership ends what was sent before it, too: an older message of the user's that
//! arrives late does not bring it back. An answer or a role does not outrun a user who leaves.

use soundoff_common::model::accounts::{self, attribute};
use soundoff_common::model::groups::{
    self, Counts, Entry, Joined, MAX_GROUPS, MAX_MEMBERS, MAX_MODERATORS, MAX_OWNERS, Member, MemberRole,
    MemberState, Row, Taken, counted, taken,
};
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::ports::tables::{Change, Condition, Item, Key, Table, TableError, Write};
use soundoff_common::protocol::{ErrorCode, Handle};
use ulid::Ulid;

/// What a user is in a group, as it was read.
#[derive(Debug)]
pub(crate) struct Membership {
    group: Ulid,
    user: Handle,
    seen: Option<Member>,
}

/// What a message makes of it.
#[derive(Debug)]
pub(crate) struct Turn {
    group: Ulid,
    user: Handle,
    before: Option<Member>,
    after: Member,
    /// Whether there is anything to write: no later message has been applied.
    counts: bool,
}

impl Membership {
    pub(crate) fn of(group: Ulid, user: &Handle, found: Option<Item>) -> Result<Self, TableError> {
        let seen = found.map(Item::parse).transpose()?;
        Ok(Self { group, user: user.clone(), seen })
    }

    /// That of a user who was read already.
    pub(crate) fn known(group: Ulid, user: &Handle, seen: Option<Member>) -> Self {
        Self { group, user: user.clone(), seen }
    }

    pub(crate) fn state(&self) -> MemberState {
        self.seen.as_ref().map(|seen| seen.state).unwrap_or_default()
    }

    /// What they may do, while they are in.
    pub(crate) fn role(&self) -> Option<MemberRole> {
        self.seen.as_ref().filter(|seen| seen.state == MemberState::In).map(|seen| seen.role)
    }

    /// Whether a message of theirs comes after all of theirs that were applied.
    fn is_next(&self, mid: Ulid) -> bool {
        self.seen.as_ref().is_none_or(|seen| mid > seen.mid)
    }

    /// Whether a message of somebody else's comes after all about them that were applied.
    fn is_decision(&self, mid: Ulid) -> bool {
        self.seen.as_ref().and_then(|seen| seen.decided).is_none_or(|decided| mid > decided)
    }

    /// Whether a message came after what they are now began.
    fn is_about_now(&self, mid: Ulid) -> bool {
        self.seen.as_ref().is_none_or(|seen| mid > seen.since)
    }

    /// The one who makes the group.
    pub(crate) fn found(self, mid: Ulid) -> Turn {
        let mut turn = self.becomes(MemberState::In, mid);
        (turn.after.mid, turn.after.role) = (mid, MemberRole::Owner);
        turn
    }

    /// They join, ask to, or accept an invitation.
    pub(crate) fn join(self, mid: Ulid, entry: Entry) -> Result<Turn, Failure> {
        if !self.is_next(mid) {
            return Ok(self.stays());
        }
        let state = match (self.state(), entry) {
            (MemberState::In | MemberState::Invited, _) | (_, Entry::Open) => MemberState::In,
            (_, Entry::Ask) => MemberState::Asked,
            (_, Entry::Invite) => {
                let message = "this group is for who is invited: ask one of its moderators to invite you";
                return Err(Failure::reject(ErrorCode::Forbidden, message));
            }
        };
        let mut turn = self.becomes(state, mid);
        turn.after.mid = mid;
        Ok(turn)
    }

    /// They leave, take their request back, or decline an invitation.
    pub(crate) fn leave(self, mid: Ulid) -> Turn {
        if !self.is_next(mid) {
            return self.stays();
        }
        let mut turn = self.becomes(MemberState::Out, mid);
        turn.after.mid = mid;
        turn
    }

    /// `by` invites them. Who asks already is let in by that, where `by` moderates the group.
    pub(crate) fn invite(self, mid: Ulid, by: &Handle, moderates: bool) -> Result<Turn, Failure> {
        let state = match self.state() {
            MemberState::Barred => {
                let message = "this user is barred: take that back first (group.bar with barred false)";
                return Err(Failure::reject(ErrorCode::Conflict, message));
            }
            MemberState::Asked if moderates => MemberState::In,
            MemberState::Out => MemberState::Invited,
            _ => return Ok(self.stays()),
        };
        if !self.is_next(mid) || !self.is_decision(mid) {
            return Ok(self.stays());
        }
        let mut turn = self.becomes(state, mid);
        turn.after.decided = Some(mid);
        turn.after.by = (state == MemberState::Invited).then(|| by.clone());
        Ok(turn)
    }

    /// A moderator answers who asks, or takes an invitation back.
    pub(crate) fn answer(self, mid: Ulid, accept: bool) -> Result<Turn, Failure> {
        match (self.state(), accept) {
            (MemberState::Asked, _) | (MemberState::Invited, false) => {}
            (MemberState::In | MemberState::Invited, true) => return Ok(self.stays()),
            _ => {
                let message = "this user has not asked to join this group";
                return Err(Failure::reject(ErrorCode::NotFound, message));
            }
        }
        if !self.is_decision(mid) || !self.is_about_now(mid) {
            return Ok(self.stays());
        }
        let mut turn = self.becomes(if accept { MemberState::In } else { MemberState::Out }, mid);
        turn.after.decided = Some(mid);
        if !accept {
            turn.after.mid = turn.after.mid.max(mid);
        }
        Ok(turn)
    }

    /// They are barred, or no longer. It holds whatever they have sent meanwhile.
    pub(crate) fn bar(self, mid: Ulid, barred: bool) -> Turn {
        if !self.is_decision(mid) {
            return self.stays();
        }
        let before = self.state();
        let state = match (barred, before) {
            (true, _) => MemberState::Barred,
            (false, MemberState::Barred) => MemberState::Out,
            (false, state) => state,
        };
        let mut turn = self.becomes(state, mid);
        turn.after.decided = Some(mid);
        if state != before {
            turn.after.mid = turn.after.mid.max(mid);
        }
        turn
    }

    /// An owner gives them a role, or a member one of their own up.
    pub(crate) fn give(self, mid: Ulid, role: MemberRole) -> Result<Turn, Failure> {
        if self.state() != MemberState::In {
            return Err(Failure::reject(ErrorCode::NotFound, "this user is no member of this group"));
        }
        if !self.is_decision(mid) || !self.is_about_now(mid) {
            return Ok(self.stays());
        }
        let mut turn = self.becomes(MemberState::In, mid);
        (turn.after.role, turn.after.decided) = (role, Some(mid));
        Ok(turn)
    }

    /// The group is gone: the writes that leave nothing of it.
    pub(crate) fn gone(self) -> Result<Vec<Write>, Failure> {
        self.becomes(MemberState::Out, Ulid::nil()).remains()
    }

    fn stays(self) -> Turn {
        let state = self.state();
        Turn { counts: false, ..self.becomes(state, Ulid::nil()) }
    }

    /// This state, as of the message `named` if it is another one.
    fn becomes(self, state: MemberState, named: Ulid) -> Turn {
        let Self { group, user, seen: before } = self;
        let mut after = before.clone().unwrap_or(Member {
            state: MemberState::Out,
            role: MemberRole::Member,
            mid: Ulid::nil(),
            since: named,
            decided: None,
            by: None,
            notified: false,
            told: false,
        });
        if after.state != state {
            (after.state, after.role, after.since, after.by) = (state, MemberRole::Member, named, None);
        }
        Turn { group, user, before, after, counts: true }
    }
}

/// A number of which one more or one fewer is counted, and the most that there may be.
struct Counter(&'static str, i64, u64, u64);

impl Turn {
    pub(crate) fn state(&self) -> MemberState {
        self.after.state
    }

    /// What they may do afterwards, while they are in.
    pub(crate) fn role(&self) -> Option<MemberRole> {
        (self.after.state == MemberState::In).then_some(self.after.role)
    }

    /// What they were before.
    pub(crate) fn before(&self) -> MemberState {
        self.before.as_ref().map(|before| before.state).unwrap_or_default()
    }

    /// Whether it makes them this.
    pub(crate) fn begins(&self, state: MemberState) -> bool {
        self.before() != state && self.after.state == state
    }

    /// Whether it ends that they are this.
    fn ends(&self, state: MemberState) -> bool {
        self.before() == state && self.after.state != state
    }

    /// Whether their role is another one.
    pub(crate) fn is_new_role(&self) -> bool {
        self.before.as_ref().is_some_and(|before| before.role != self.after.role)
    }

    /// Who had invited them, when they are in by that.
    pub(crate) fn inviter(&self) -> Option<&Handle> {
        let before = self.before.as_ref().filter(|_| self.begins(MemberState::In))?;
        before.by.as_ref()
    }

    /// Whether the moderators are notified that they ask, which happens once.
    pub(crate) fn tell_moderators(&mut self) -> bool {
        let news = self.begins(MemberState::Asked) && !self.after.notified;
        self.after.notified |= news;
        news
    }

    /// Whether they are notified that they are invited, which happens once.
    pub(crate) fn tell_user(&mut self) -> bool {
        let news = self.begins(MemberState::Invited) && !self.after.told;
        self.after.told |= news;
        news
    }

    /// The writes of it all: the state, the rows of lists, and the counts of the group and of the user.
    pub(crate) fn writes(&self, counts: Counts, has: Taken) -> Result<Vec<Write>, Failure> {
        if !self.counts {
            return Ok(Vec::new());
        }
        let key = groups::member_key(self.group, &self.user);
        let state = Write::put(Table::Relationships, key, Item::of(&self.after));
        let mut writes = vec![state.when(groups::as_read(self.before.as_ref()))];
        self.rows(&mut writes);
        writes.extend(self.count_group(counts)?);
        writes.extend(self.count_user(has)?);
        writes.extend(self.reads());
        Ok(writes)
    }

    /// The writes of it in a new group, whose counts are written with it.
    pub(crate) fn founding(&self, has: Taken) -> Result<Vec<Write>, Failure> {
        let counts = Counts { members: 1, owners: 1, ..Counts::default() };
        let (key, counts) = (groups::count_key(self.group), Item::of(&counts));
        let count = Write::put(Table::Entities, key, counts).when(Condition::Missing);
        let state = groups::member_key(self.group, &self.user);
        let state = Write::put(Table::Relationships, state, Item::of(&self.after)).when(Condition::Missing);
        let mut writes = vec![count, state];
        self.rows(&mut writes);
        writes.extend(self.count_user(has)?);
        writes.extend(self.reads());
        Ok(writes)
    }

    fn remains(&self) -> Result<Vec<Write>, Failure> {
        let key = groups::member_key(self.group, &self.user);
        let mut writes =
            vec![Write::delete(Table::Relationships, key).when(groups::as_read(self.before.as_ref()))];
        self.rows(&mut writes);
        writes.extend(self.count_user(Taken::default())?);
        writes.extend(self.reads());
        Ok(writes)
    }

    fn rows(&self, writes: &mut Vec<Write>) {
        if self.before() != self.after.state {
            let ended = self.before.as_ref().map(|before| (before.state, before.since));
            let begun = (self.after.state, self.after.since);
            for (is_new, (state, since)) in
                ended.map(|ended| (false, ended)).into_iter().chain([(true, begun)])
            {
                for (key, row) in self.rows_of(state, since) {
                    writes.push(match is_new {
                        true => Write::put(Table::Relationships, key, row),
                        false => Write::delete(Table::Relationships, key),
                    });
                }
            }
        }
        let moderates = |role: Option<MemberRole>| role.is_some_and(|role| role >= MemberRole::Moderator);
        let before = self.before.as_ref().filter(|before| before.state == MemberState::In);
        let (was, is) = (moderates(before.map(|before| before.role)), moderates(self.role()));
        let key = groups::moderator_key(self.group, &self.user);
        match (was, is) {
            (false, true) => writes.push(Write::put(Table::Relationships, key, Item::new())),
            (true, false) => writes.push(Write::delete(Table::Relationships, key)),
            _ => {}
        }
    }

    /// The row in the group's list of those who are in this state, and that in the user's list of groups.
    fn rows_of(&self, state: MemberState, since: Ulid) -> Vec<(Key, Item)> {
        let sk = format!("{}{since}", groups::PREFIX);
        let row = Item::of(&Row { who: self.user.clone() });
        let listed = groups::list(self.group, state).map(|pk| (Key::new(pk, sk), row));
        let row = Item::of(&Joined { group: self.group, state });
        let joined = takes(state).map(|_| (groups::of_user_key(&self.user, since), row));
        listed.into_iter().chain(joined).collect()
    }

    fn count_group(&self, counts: Counts) -> Result<Option<Write>, Failure> {
        let before = self.before.as_ref().filter(|before| before.state == MemberState::In).map(|b| b.role);
        let after = self.role();
        let by = |what: fn(MemberRole) -> bool| {
            i64::from(after.is_some_and(what)) - i64::from(before.is_some_and(what))
        };
        let counters = [
            Counter(counted::MEMBERS, by(|_| true), counts.members, MAX_MEMBERS),
            Counter(
                counted::MODERATORS,
                by(|r| r == MemberRole::Moderator),
                counts.moderators,
                MAX_MODERATORS,
            ),
            Counter(counted::OWNERS, by(|r| r == MemberRole::Owner), counts.owners, MAX_OWNERS),
        ];
        let mut conditions = vec![Condition::Exists];
        if counters[2].1 < 0 {
            if counts.owners < 2 {
                let message =
                    "a group has an owner: make another member one first (group.role), or delete the group";
                return Err(Failure::reject(ErrorCode::Conflict, message));
            }
            conditions.push(Condition::Equals(counted::OWNERS, counts.owners.into()));
        }
        let changes =
            changes(&counters, &mut conditions, |name, most| format!("a group has at most {most} {name}"))?;
        let write = Write::update(Table::Entities, groups::count_key(self.group), changes.clone());
        Ok((!changes.is_empty()).then(|| write.when(Condition::All(conditions))))
    }

    /// The write by which timelines learn that the user reads one group more or fewer.
    fn reads(&self) -> Option<Write> {
        let by = i64::from(self.begins(MemberState::In)) - i64::from(self.ends(MemberState::In));
        let changes = vec![Change::Add(attribute::GROUPS, by), Change::Add(attribute::FOLLOWS_VERSION, 1)];
        let write = Write::update(Table::Users, accounts::key(&self.user), changes);
        (by != 0).then(|| write.when(Condition::Exists))
    }

    fn count_user(&self, has: Taken) -> Result<Option<Write>, Failure> {
        let (before, after) = (takes(self.before()), takes(self.after.state));
        let by = |name| i64::from(after == Some(name)) - i64::from(before == Some(name));
        let counters = [
            Counter(taken::N, by(taken::N), has.n, MAX_GROUPS),
            Counter(taken::INVITED, by(taken::INVITED), has.invited, MAX_GROUPS),
        ];
        let mut conditions = Vec::new();
        let changes = changes(&counters, &mut conditions, |name, most| match name {
            taken::N => {
                format!("nobody is in more than {most} groups, counted with those that they ask to join")
            }
            _ => format!("nobody has more than {most} invitations"),
        })?;
        let write = Write::update(Table::Relationships, groups::taken_key(&self.user), changes.clone());
        Ok((!changes.is_empty()).then(|| write.when(Condition::All(conditions))))
    }
}

/// What of a user's counts a state takes a part of.
fn takes(state: MemberState) -> Option<&'static str> {
    match state {
        MemberState::In | MemberState::Asked => Some(taken::N),
        MemberState::Invited => Some(taken::INVITED),
        MemberState::Out | MemberState::Barred => None,
    }
}

fn changes(
    counters: &[Counter],
    conditions: &mut Vec<Condition>,
    full: impl Fn(&str, u64) -> String,
) -> Result<Vec<Change>, Failure> {
    let mut changes = Vec::new();
    for Counter(name, by, has, most) in counters {
        if *by > 0 {
            if has >= most {
                return Err(Failure::reject(ErrorCode::Conflict, full(name, *most)));
            }
            conditions.push(Condition::Below(name, *most));
        }
        if *by != 0 {
            changes.push(Change::Add(name, *by));
        }
    }
    Ok(changes)
}

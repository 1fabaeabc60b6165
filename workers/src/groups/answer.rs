//! `group.answer`: a moderator answers who asks to join, or takes an invitation back; who is invited answers their own
//! invitation.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::groups::{self, MemberRole, MemberState};
use soundoff_common::model::sight::{Act, Reading};
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request, Told};
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::{ErrorCode, Handle};

use crate::groups::about::{self, About};
use crate::groups::group::{self, OneMember, Place};

/// Which group, whom, and what.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct GroupAnswer {
    /// The group's id.
    group: String,
    /// Who asks to join, or is invited; the sender, who is invited, when absent.
    user: Option<Handle>,
    /// Whether they become a member.
    accept: bool,
}

impl GroupAnswer {
    fn group(&self) -> &str {
        &self.group
    }
}

impl MessageType for GroupAnswer {
    const TYPE: &'static str = "group.answer";
    const SUMMARY: &'static str = "Answers a user who asks to join a group, who gets the push `group.joined` when they are \
                                   in, or takes an invitation back; for its moderators. Without `user`, or with the \
                                   sender's own handle, it answers the sender's invitation, and who invited them gets \
                                   the push. `not_found` when nobody asks and nobody is invited.";
    const TELLS: &'static [Told] = &[group::JOINED];
    const HOT: Option<fn(&Self) -> &str> = Some(Self::group);
    type Body = Self;
    type Reply = OneMember;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OneMember>, Failure> {
        let Self { group, user, accept } = &request.body;
        let me = &request.from;
        let Some(user) = user.as_ref().filter(|user| *user != me) else { return own(cx, request).await };
        let About { place, theirs, taken, mut met } = about::read(cx, me, group, user).await?;
        place.at_least(MemberRole::Moderator)?;
        if *accept {
            met.may_do(cx, Act::Notice).await?;
        }
        let turn = theirs.answer(request.mid, *accept)?;
        let mut writes = turn.writes(place.counts, taken)?;
        writes.extend(place.unchanged());
        if *accept {
            writes.extend(met.unchanged());
        }
        let outcome = Outcome::effect(OneMember::after(place.id, user, &turn), writes);
        // They are themselves the sender of the push: no block between them and the moderator hides it.
        let is_in = turn.begins(MemberState::In);
        Ok(if is_in { outcome.push(group::joined(user, place.id, user)) } else { outcome })
    }
}

/// Who is invited answers.
async fn own(cx: &Context, request: &Request<GroupAnswer>) -> Result<Outcome<OneMember>, Failure> {
    let (me, mid, accept) = (&request.from, request.mid, request.body.accept);
    let taken = vec![(Table::Relationships, groups::taken_key(me))];
    let (place, mut found) = Place::read(cx, me, &request.body.group, taken).await?;
    let entry = place.seen()?.entry;
    let is_answered = place.within.member.as_ref().is_some_and(|member| mid <= member.mid);
    if place.within.state() != MemberState::Invited && !is_answered {
        return Err(Failure::reject(ErrorCode::NotFound, "you are not invited into this group"));
    }
    let taken = group::taken(found.next().flatten())?;
    let mine = place.mine();
    let turn = if accept { mine.join(mid, entry)? } else { mine.leave(mid) };
    let mut writes = turn.writes(place.counts, taken)?;
    writes.extend(place.group_unchanged());
    let reply = OneMember::after(place.id, me, &turn);
    let Some(inviter) = turn.inviter() else { return Ok(Outcome::effect(reply, writes)) };
    let mut reading = Reading::new(me);
    reading.blocks(inviter);
    let sighted = reading.read(&*cx.tables).await?;
    let standing = sighted.to(inviter);
    writes.extend(standing.unchanged(me, inviter));
    let outcome = Outcome::effect(reply, writes);
    let push = group::joined(inviter, place.id, me);
    Ok(if standing.blocked { outcome } else { outcome.push(push) })
}

//! `group.invite`: the sender invites a user into a group.

use schemars::JsonSchema;
use serde::Serialize;
use soundoff_common::model::groups::{Entry, MemberRole, MemberState};
use soundoff_common::model::sight::Act;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Push, Request, Told, raw};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::protocol::Handle;

use crate::groups::about::{self, About, WhoWhere};
use crate::groups::group::{self, OneMember};
use crate::rules::people;

/// The handler.
pub(crate) struct GroupInvite;

/// The push to the invited.
#[derive(Debug, Serialize, JsonSchema)]
struct GroupInvited<'a> {
    /// The group's id.
    group: String,
    /// Who invites.
    by: &'a Handle,
}

impl MessageType for GroupInvite {
    const TYPE: &'static str = "group.invite";
    const SUMMARY: &'static str = "Invites a user into a group, who gets the push `group.invited`, once per group; for its \
                                   moderators, and for all members where its `entry` is `open` or `ask`. Who asks to \
                                   join is let in by a moderator's invitation. Fine when the user is in.";
    const TERMS: Terms = Terms::USUAL.cost(2).at_most(60, 1_000);
    const TELLS: &'static [Told] = &[
        Told::push::<GroupInvited<'_>>("group.invited", "Somebody invites you into a group; once per group."),
        group::JOINED,
    ];
    const HOT: Option<fn(&WhoWhere) -> &str> = Some(WhoWhere::group);
    type Body = WhoWhere;
    type Reply = OneMember;

    async fn handle(cx: &Context, request: &Request<WhoWhere>) -> Result<Outcome<OneMember>, Failure> {
        let (me, WhoWhere { group, user }) = (&request.from, &request.body);
        people::not_oneself(me, user, "invites")?;
        let About { place, theirs, taken, mut met } = about::read(cx, me, group, user).await?;
        let least = match place.seen()?.entry {
            Entry::Open | Entry::Ask => MemberRole::Member,
            Entry::Invite => MemberRole::Moderator,
        };
        place.at_least(least)?;
        met.may_do(cx, Act::Notice).await?;
        let moderates = place.within.is_at_least(MemberRole::Moderator);
        let mut turn = theirs.invite(request.mid, me, moderates)?;
        let news = turn.tell_user();
        let mut writes = turn.writes(place.counts, taken)?;
        writes.extend(place.unchanged());
        writes.extend(met.unchanged());
        let outcome = Outcome::effect(OneMember::after(place.id, user, &turn), writes);
        if turn.begins(MemberState::In) {
            return Ok(outcome.push(group::joined(user, place.id, user)));
        }
        let body = raw(&GroupInvited { group: place.id.to_string(), by: me });
        let push = Push { to: user.clone(), push_type: "group.invited", by: me.clone(), body };
        Ok(if news { outcome.push(push) } else { outcome })
    }
}

//! `group.role`: an owner says what a member may do; moderators and owners give their own role up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::groups::{MemberRole, Taken};
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Push, Request, Told, raw};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::protocol::{ErrorCode, Handle};

use crate::groups::about::{self, About};
use crate::groups::group::{OneMember, Place};

/// Which group, who, and what they may do.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct GroupRole {
    /// The group's id.
    group: String,
    /// The member's handle.
    user: Handle,
    /// `member`, `moderator` or `owner`.
    role: MemberRole,
}

impl GroupRole {
    fn group(&self) -> &str {
        &self.group
    }
}

/// The push to the member.
#[derive(Debug, Serialize, JsonSchema)]
struct RoleGiven {
    /// The group's id.
    group: String,
    /// What they may do in it now.
    role: MemberRole,
}

impl MessageType for GroupRole {
    const TYPE: &'static str = "group.role";
    const SUMMARY: &'static str = "Says what a member may do, who gets the push `group.role`; for a group's owners. A group \
                                   may have several owners; what one is, only they themselves give up, and the last one \
                                   cannot (`conflict`). Moderators may give theirs up, too.";
    const TERMS: Terms = Terms::USUAL.critical();
    const TELLS: &'static [Told] =
        &[Told::push::<RoleGiven>("group.role", "What you may do in a group has changed.")];
    const HOT: Option<fn(&Self) -> &str> = Some(Self::group);
    type Body = Self;
    type Reply = OneMember;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OneMember>, Failure> {
        let (me, Self { group, user, role }) = (&request.from, &request.body);
        if user == me {
            return step_down(cx, request).await;
        }
        let About { place, theirs, .. } = about::read(cx, me, group, user).await?;
        place.at_least(MemberRole::Owner)?;
        if theirs.role() == Some(MemberRole::Owner) && *role != MemberRole::Owner {
            let message = "an owner gives that up themselves: nobody takes it from them";
            return Err(Failure::reject(ErrorCode::Forbidden, message));
        }
        let turn = theirs.give(request.mid, *role)?;
        let mut writes = turn.writes(place.counts, Taken::default())?;
        writes.extend(place.unchanged());
        let (reply, is_new) = (OneMember::after(place.id, user, &turn), turn.is_new_role());
        let body = raw(&RoleGiven { group: place.id.to_string(), role: *role });
        // They are themselves the sender of the push: it names nobody else, so no block hides it.
        let outcome = Outcome::effect(reply, writes);
        let push = Push { to: user.clone(), push_type: "group.role", by: user.clone(), body };
        Ok(if is_new { outcome.push(push) } else { outcome })
    }
}

/// The sender gives their role up.
async fn step_down(cx: &Context, request: &Request<GroupRole>) -> Result<Outcome<OneMember>, Failure> {
    let (me, GroupRole { group, role, .. }) = (&request.from, &request.body);
    let (place, _) = Place::read(cx, me, group, Vec::new()).await?;
    place.at_least(MemberRole::Member)?;
    if place.within.role() < Some(*role) {
        return Err(Failure::reject(ErrorCode::Forbidden, "only an owner of the group gives a higher role"));
    }
    let turn = place.mine().give(request.mid, *role)?;
    let mut writes = turn.writes(place.counts, Taken::default())?;
    writes.extend(place.group_unchanged());
    Ok(Outcome::effect(OneMember::after(place.id, me, &turn), writes))
}

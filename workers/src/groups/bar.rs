//! `group.bar`: a moderator bars a user from a group, or lets them come back.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::groups::MemberRole;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::protocol::{ErrorCode, Handle};

use crate::groups::about::{self, About};
use crate::groups::group::OneMember;
use crate::rules::people;

/// Which group, whom, and whether.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct GroupBar {
    /// The group's id.
    group: String,
    /// The user's handle.
    user: Handle,
    /// Whether they are barred from now on; `true` when absent.
    barred: Option<bool>,
}

impl GroupBar {
    fn group(&self) -> &str {
        &self.group
    }
}

impl MessageType for GroupBar {
    const TYPE: &'static str = "group.bar";
    const SUMMARY: &'static str = "Bars a user from a group: they are out, and for them there is no such group. With \
                                   `barred: false` they may come back. For its moderators, and of moderators for its \
                                   owners; owners are not barred. Nobody is told.";
    const TERMS: Terms = Terms::USUAL.critical();
    const HOT: Option<fn(&Self) -> &str> = Some(Self::group);
    type Body = Self;
    type Reply = OneMember;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OneMember>, Failure> {
        let (me, Self { group, user, barred }) = (&request.from, &request.body);
        people::not_oneself(me, user, "bars")?;
        let About { place, theirs, taken, .. } = about::read(cx, me, group, user).await?;
        place.at_least(MemberRole::Moderator)?;
        let is_above = place.within.role() > Some(theirs.role().unwrap_or_default());
        if !is_above {
            let message = "only an owner bars a moderator, and nobody bars an owner";
            return Err(Failure::reject(ErrorCode::Forbidden, message));
        }
        let turn = theirs.bar(request.mid, barred.unwrap_or(true));
        let mut writes = turn.writes(place.counts, taken)?;
        writes.extend(place.unchanged());
        Ok(Outcome::effect(OneMember::after(place.id, user, &turn), writes))
    }
}

//! `group.leave`: the sender is a member no longer, takes their request back, or declines an invitation.

use soundoff_common::model::groups;
use soundoff_common::model::groups::MemberState;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::Table;

use crate::groups::group::{self, OneMember, Place, Which};

/// The handler.
pub(crate) struct GroupLeave;

impl MessageType for GroupLeave {
    const TYPE: &'static str = "group.leave";
    const SUMMARY: &'static str = "Leaves a group, takes a request back, or declines an invitation; fine when the sender \
                                   is out. `conflict` for the only owner of a group.";
    const TERMS: Terms = Terms::USUAL.critical();
    const HOT: Option<fn(&Which) -> &str> = Some(Which::group);
    type Body = Which;
    type Reply = OneMember;

    async fn handle(cx: &Context, request: &Request<Which>) -> Result<Outcome<OneMember>, Failure> {
        let me = &request.from;
        let taken = vec![(Table::Relationships, groups::taken_key(me))];
        let (place, mut found) = Place::read(cx, me, &request.body.group, taken).await?;
        if place.within.group.is_none() || place.within.state() != MemberState::Asked {
            // A request can be taken back although the group has become secret.
            place.seen()?;
        }
        let taken = group::taken(found.next().flatten())?;
        let turn = place.mine().leave(request.mid);
        let mut writes = turn.writes(place.counts, taken)?;
        writes.extend(place.group_unchanged());
        Ok(Outcome::effect(OneMember::after(place.id, me, &turn), writes))
    }
}

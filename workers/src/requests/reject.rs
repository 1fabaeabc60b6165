//! `request.reject`: the sender refuses a request, or ends a follow of themselves. Nobody is told.

use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::Table;

use crate::follows::follow::{self, FollowState, Moves, Whom};
use crate::requests::answer::Answered;
use crate::rules::people;
use crate::rules::toggles::Toggle;

/// The handler.
pub(crate) struct RequestReject;

impl MessageType for RequestReject {
    const TYPE: &'static str = "request.reject";
    const SUMMARY: &'static str = "Refuses a user who has asked to follow the sender, and ends their follow if they do. \
                                   Nobody is told. They may ask again.";
    const TERMS: Terms = Terms::USUAL.critical();
    type Body = Whom;
    type Reply = Answered;

    async fn handle(cx: &Context, request: &Request<Whom>) -> Result<Outcome<Answered>, Failure> {
        let (me, user) = (&request.from, &request.body.user);
        people::not_oneself(me, user, "follows")?;
        let key = follow::key(user, me);
        let mut found = people::find(cx, user, vec![(Table::Relationships, key.clone())]).await?;
        let follow = Toggle::of(key, found.pop().flatten())?;
        let mut moves = Moves::default();
        if follow.on() || follow.asked() {
            moves.add(user, me, follow.answer(false));
        }
        let reply = Answered { user: user.clone(), state: FollowState::None };
        Ok(Outcome::effect(reply, moves.writes()))
    }
}

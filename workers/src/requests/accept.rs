//! `request.accept`: the sender lets a user follow them who has asked.

use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request, Told};
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::ErrorCode;

use crate::follows::follow::{self, FollowState, Moves, Whom};
use crate::requests::answer::{self, Answered};
use crate::rules::people;
use crate::rules::toggles::Toggle;

/// The handler.
pub(crate) struct RequestAccept;

impl MessageType for RequestAccept {
    const TYPE: &'static str = "request.accept";
    const SUMMARY: &'static str = "Lets a user follow the sender who has asked; they get the push `follow.accepted`. \
                                   Fine when they follow already; `not_found` when they have not asked.";
    const TELLS: &'static [Told] = answer::TELLS;
    type Body = Whom;
    type Reply = Answered;

    async fn handle(cx: &Context, request: &Request<Whom>) -> Result<Outcome<Answered>, Failure> {
        let (me, user) = (&request.from, &request.body.user);
        people::not_oneself(me, user, "follows")?;
        let key = follow::key(user, me);
        let mut found = people::find(cx, user, vec![(Table::Relationships, key.clone())]).await?;
        let follow = Toggle::of(key, found.pop().flatten())?;
        let reply = Answered { user: user.clone(), state: FollowState::Following };
        if follow.on() {
            return Ok(Outcome::effect(reply, Vec::new()));
        }
        if !follow.asked() {
            return Err(Failure::reject(ErrorCode::NotFound, "this user has not asked to follow you"));
        }
        let mut moves = Moves::default();
        moves.add(user, me, follow.answer(true));
        Ok(Outcome::effect(reply, moves.writes()).push(answer::told(user, me)))
    }
}

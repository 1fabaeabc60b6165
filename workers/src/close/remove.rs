//! `close.remove`: a user is not close to the sender any more, or never was.

use soundoff_common::model::close;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::Table;

use crate::close::named::{self, Named};
use crate::follows::follow::Whom;
use crate::rules::people;
use crate::rules::toggles::Toggle;

/// The handler.
pub(crate) struct CloseRemove;

impl MessageType for CloseRemove {
    const TYPE: &'static str = "close.remove";
    const SUMMARY: &'static str = "Names a user as close no longer; fine when the sender did not. From the reply on they \
                                   see none of the posts for close friends, old ones included.";
    const TERMS: Terms = Terms::USUAL.critical();
    type Body = Whom;
    type Reply = Named;

    async fn handle(cx: &Context, request: &Request<Whom>) -> Result<Outcome<Named>, Failure> {
        let (me, user) = (&request.from, &request.body.user);
        people::not_oneself(me, user, "is close to")?;
        let key = close::key(me, user);
        let mut found = people::find(cx, user, vec![(Table::Relationships, key.clone())]).await?;
        let turn = Toggle::of(key, found.pop().flatten())?.turn(false, request.mid, false);
        let reply = Named { user: user.clone(), close: turn.on };
        Ok(Outcome::effect(reply, named::writes(me, user, turn)))
    }
}

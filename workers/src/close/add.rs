//! `close.add`: the sender names a user as close. The last writer wins by `mid`; nobody is told.

use soundoff_common::model::close;
use soundoff_common::model::sight::Act;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::ports::tables::Table;

use crate::close::named::{self, Named};
use crate::follows::follow::Whom;
use crate::rules::people;
use crate::rules::toggles::Toggle;

/// The handler.
pub(crate) struct CloseAdd;

impl MessageType for CloseAdd {
    const TYPE: &'static str = "close.add";
    const SUMMARY: &'static str = "Names a user as close: they see the sender's posts of the audience `close`. They are \
                                   not told.";
    type Body = Whom;
    type Reply = Named;

    async fn handle(cx: &Context, request: &Request<Whom>) -> Result<Outcome<Named>, Failure> {
        let (me, user) = (&request.from, &request.body.user);
        people::not_oneself(me, user, "is close to")?;
        let key = close::key(me, user);
        let (mut met, mut found) =
            people::meet(cx, me, user, vec![(Table::Relationships, key.clone())]).await?;
        met.may_do(cx, Act::Notice).await?;
        let turn = Toggle::of(key, found.pop().flatten())?.turn(true, request.mid, false);
        let reply = Named { user: user.clone(), close: turn.on };
        Ok(Outcome::effect(reply, named::writes(me, user, turn)))
    }
}

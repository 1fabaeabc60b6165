//! `typing`: a live sign that the sender writes to somebody. It is not stored, and lost when the other user is offline.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::sight::Act;
use soundoff_common::pipeline::handler::{Context, Event, Failure, MessageType, Outcome, Request, Told, raw};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::protocol::Handle;

use crate::rules::people;

/// To whom.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Typing {
    /// The user who sees it.
    to: Handle,
}

/// Nothing to say.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Noted {}

/// What the other user sees.
#[derive(Serialize, JsonSchema)]
struct TypingEvent<'a> {
    /// Who writes.
    from: &'a Handle,
}

impl MessageType for Typing {
    const TYPE: &'static str = "typing";
    const SUMMARY: &'static str = "Tells a user, as the event `typing`, that the sender is writing to them.";
    const TERMS: Terms = Terms::USUAL.sheddable();
    const TELLS: &'static [Told] = &[Told::event::<TypingEvent<'_>>("typing", "Somebody writes to you.")];
    type Body = Self;
    type Reply = Noted;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<Noted>, Failure> {
        let (from, to) = (&request.from, &request.body.to);
        people::not_oneself(from, to, "writes to")?;
        let (mut met, _) = people::meet(cx, from, to, Vec::new()).await?;
        met.exists()?;
        let outcome = Outcome::read(Noted {});
        // Who may not write to somebody is not told by this that they may not.
        match met.may_do(cx, Act::Message).await {
            Ok(()) => {}
            Err(Failure::Reject(_)) => return Ok(outcome),
            Err(failure) => return Err(failure),
        }
        let body = raw(&TypingEvent { from });
        Ok(outcome.event(Event { to: vec![to.clone()], event_type: "typing", body }))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::world::World;
    use serde_json::json;
    use soundoff_common::protocol::ErrorCode;

    #[tokio::test]
    async fn the_recipient_gets_an_event_and_nothing_is_stored() {
        let world = World::with(&["alice", "bobby"]).await;
        let before = world.tables.all();
        let done = world.done("alice", "typing", json!({ "to": "bobby" })).await;
        assert_eq!(crate::testing::world::reply(&done), json!({}));
        assert_eq!(done.events.len(), 1);
        assert_eq!((done.events[0].event_type, done.events[0].body.get()), ("typing", r#"{"from":"alice"}"#));
        assert_eq!(done.events[0].to, [crate::testing::world::user("bobby")]);
        assert_eq!(before, world.tables.all());
        assert_eq!(world.refused("alice", "typing", json!({ "to": "alice" })).await, ErrorCode::BadMessage);
        assert_eq!(world.refused("alice", "typing", json!({ "to": "nobody" })).await, ErrorCode::NotFound);
    }
}

//! `dm.send`: a direct message, to the recipient's inbox and to the sender's other devices.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::affinity::{self, Deed};
use soundoff_common::model::sight::Act;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Push, Request, Told, raw};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::{Condition, Item, Table, Write};
use soundoff_common::protocol::Handle;

use crate::dms::dm::{self, OneMessage, Stored};
use crate::{rules::people, rules::texts};

/// A direct message.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct DmSend {
    /// To whom.
    to: Handle,
    /// What it says.
    #[schemars(length(min = 1, max = 4000))]
    text: String,
}

impl MessageType for DmSend {
    const TYPE: &'static str = "dm.send";
    const SUMMARY: &'static str =
        "Writes to a user, who gets the push `dm.received`; the sender's devices get `dm.sent`.";
    const TERMS: Terms = Terms::USUAL.at_most(120, 10_000);
    const TELLS: &'static [Told] = &[
        Told::push::<OneMessage>("dm.received", "Somebody has written to you."),
        Told::push::<OneMessage>("dm.sent", "You have written to somebody, on whichever device."),
    ];
    const HOT: Option<fn(&Self) -> &str> = Some(|dm| dm.to.as_str());
    type Body = Self;
    type Reply = OneMessage;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OneMessage>, Failure> {
        let Self { to, text } = &request.body;
        let (from, id) = (&request.from, request.mid);
        people::not_oneself(from, to, "writes to")?;
        texts::message(text, texts::MAX_DM)?;
        let (mut met, _) = people::meet(cx, from, to, Vec::new()).await?;
        met.may_do(cx, Act::Message).await?;
        let stored =
            Stored { from: from.clone(), to: to.clone(), text: text.clone(), created_at: request.at };
        let key = dm::key(from, to, id);
        let mut writes = vec![Write::put(Table::Entities, key, Item::of(&stored)).when(Condition::Missing)];
        writes.push(affinity::count(from, to, Deed::Message, request.at));
        writes.extend(met.unchanged());
        let reply = OneMessage { message: stored.shown(id) };
        let body = raw(&reply);
        let push = |to: &Handle, push_type| {
            let (to, by, body) = (to.clone(), from.clone(), body.clone());
            Push { to, push_type, by, body }
        };
        let pushes = [push(to, "dm.received"), push(from, "dm.sent")];
        Ok(pushes.into_iter().fold(Outcome::effect(reply, writes), Outcome::push))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::world::World;
    use serde_json::json;
    use soundoff_common::protocol::ErrorCode;

    #[tokio::test]
    async fn a_message_reaches_both_inboxes_and_the_list() {
        let world = World::with(&["alice", "bobby"]).await;
        let reply = world.ok("bobby", "dm.send", json!({ "to": "alice", "text": "psst" })).await;
        let message = &reply["message"];
        assert_eq!((&message["from"], &message["to"]), (&json!("bobby"), &json!("alice")));
        assert_eq!(world.inbox("alice"), [("dm.received".to_owned(), reply.clone())]);
        assert_eq!(world.inbox("bobby"), [("dm.sent".to_owned(), reply.clone())]);
        let list = world.ok("alice", "dm.list", json!({ "with": "bobby" })).await;
        assert_eq!(list["items"][0], *message);
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_refused() {
        let world = World::with(&["alice", "bobby"]).await;
        for (body, code) in [
            (json!({ "to": "alice", "text": "me" }), ErrorCode::BadMessage),
            (json!({ "to": "no", "text": "x" }), ErrorCode::BadMessage),
            (json!({ "to": "bobby", "text": "" }), ErrorCode::BadMessage),
            (json!({ "to": "nobody", "text": "x" }), ErrorCode::NotFound),
            (json!({ "to": "bobby", "text": "x".repeat(4001) }), ErrorCode::TooLarge),
        ] {
            assert_eq!(world.refused("alice", "dm.send", body).await, code);
        }
    }
}

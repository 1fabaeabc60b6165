//! `block.remove`: takes a block back. Follows that it ended stay ended.

use soundoff_common::model::blocks;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::Table;

use crate::blocks::block::Blocked;
use crate::follows::follow::Whom;
use crate::rules::people;
use crate::rules::toggles::Toggle;

/// The handler.
pub(crate) struct BlockRemove;

impl MessageType for BlockRemove {
    const TYPE: &'static str = "block.remove";
    const SUMMARY: &'static str = "Takes a block back; fine when there is none. Follows do not come back.";
    const TERMS: Terms = Terms::USUAL.critical();
    type Body = Whom;
    type Reply = Blocked;

    async fn handle(cx: &Context, request: &Request<Whom>) -> Result<Outcome<Blocked>, Failure> {
        let (from, to) = (&request.from, &request.body.user);
        people::not_oneself(from, to, "blocks")?;
        let key = blocks::key(from, to);
        let mut found = people::find(cx, to, vec![(Table::Relationships, key.clone())]).await?;
        let turn = Toggle::of(key, found.pop().flatten())?.turn(false, request.mid, false);
        Ok(Outcome::effect(Blocked { user: to.clone(), blocked: turn.on }, Vec::from_iter(turn.write)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::world::World;

    #[tokio::test]
    async fn taking_back_what_is_not_there_is_fine_and_beats_an_older_block() {
        let world = World::with(&["alice", "bobby"]).await;
        let body = json!({ "user": "bobby" });
        let late = world.message("alice", "block.add", &body);
        let removed = json!({ "user": "bobby", "blocked": false });
        assert_eq!(world.ok("alice", "block.remove", body.clone()).await, removed);
        world.run(&late).await.unwrap();
        assert!(!world.is_on("block", "alice", "bobby"));
        let late = world.message("alice", "block.remove", &body);
        world.ok("alice", "block.add", body).await;
        let reply = crate::testing::world::reply(&world.run(&late).await.unwrap());
        assert_eq!(reply, json!({ "user": "bobby", "blocked": true }), "it came before the block");
    }
}

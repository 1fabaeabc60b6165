//! `block.add`: from then on nothing of one user reaches the other, in both directions, and neither follows the other.

use soundoff_common::model::blocks;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::Table;

use crate::blocks::block::Blocked;
use crate::follows::follow::{self, Moves, Whom};
use crate::rules::people;
use crate::rules::toggles::Toggle;

/// The handler.
pub(crate) struct BlockAdd;

impl MessageType for BlockAdd {
    const TYPE: &'static str = "block.add";
    const SUMMARY: &'static str =
        "Blocks a user: nothing of one reaches the other, and neither follows the other any longer.";
    const TERMS: Terms = Terms::USUAL.critical();
    type Body = Whom;
    type Reply = Blocked;

    async fn handle(cx: &Context, request: &Request<Whom>) -> Result<Outcome<Blocked>, Failure> {
        let (from, to, mid) = (&request.from, &request.body.user, request.mid);
        people::not_oneself(from, to, "blocks")?;
        let state = blocks::key(from, to);
        let pairs = [(from, to), (to, from)];
        let mut keys = vec![(Table::Relationships, state.clone())];
        keys.extend(pairs.map(|(a, b)| (Table::Relationships, follow::key(a, b))));
        let mut found = people::find(cx, to, keys).await?.into_iter();
        let block = Toggle::of(state, found.next().flatten())?.turn(true, mid, false);
        let mut moves = Moves::default();
        for ((a, b), item) in pairs.into_iter().zip(found) {
            let follow = Toggle::of(follow::key(a, b), item)?;
            // A later `block.remove` may have taken this block back already. It still ends the follows that came before
            // it, and no others.
            let turn = if block.on { follow.sever(mid) } else { follow.turn(false, mid, false) };
            moves.add(a, b, turn);
        }
        let reply = Blocked { user: to.clone(), blocked: block.on };
        let mut writes = Vec::from_iter(block.write);
        writes.extend(moves.writes());
        Ok(Outcome::effect(reply, writes))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::world::World;
    use serde_json::json;
    use soundoff_common::protocol::ErrorCode;

    #[tokio::test]
    async fn a_block_ends_the_follows_of_both_and_fixes_their_counts() {
        let world = World::with(&["alice", "bobby"]).await;
        let late = world.message("bobby", "follow.add", &json!({ "user": "alice" }));
        world.ok("alice", "follow.add", json!({ "user": "bobby" })).await;
        world.ok("bobby", "follow.add", json!({ "user": "alice" })).await;
        let body = json!({ "user": "bobby" });
        for _ in 0..2 {
            let reply = world.ok("alice", "block.add", body.clone()).await;
            assert_eq!(reply, json!({ "user": "bobby", "blocked": true }));
        }
        world.audit();
        for who in ["alice", "bobby"] {
            let profile = world.ok(who, "profile.get", json!({})).await;
            assert_eq!(
                (&profile["user"]["followers"], &profile["user"]["following"]),
                (&json!(0), &json!(0))
            );
        }
        world.ok("alice", "block.remove", body).await;
        world.run(&late).await.unwrap();
        assert!(!world.is_on("follow", "bobby", "alice"), "an older follow that arrives late stays off");
    }

    #[tokio::test]
    async fn a_block_taken_back_before_it_arrives_still_ends_older_follows() {
        let world = World::with(&["alice", "bobby"]).await;
        world.ok("bobby", "follow.add", json!({ "user": "alice" })).await;
        let block = world.message("alice", "block.add", &json!({ "user": "bobby" }));
        world.ok("alice", "block.remove", json!({ "user": "bobby" })).await;
        let reply = crate::testing::world::reply(&world.run(&block).await.unwrap());
        assert_eq!(
            reply,
            json!({ "user": "bobby", "blocked": false }),
            "nobody is told of a block that is not"
        );
        assert!(!world.is_on("block", "alice", "bobby"));
        assert!(!world.is_on("follow", "bobby", "alice"));
        world.audit();
    }

    #[tokio::test]
    async fn nobody_blocks_themselves() {
        let world = World::with(&["alice"]).await;
        let code = world.refused("alice", "block.add", json!({ "user": "alice" })).await;
        assert_eq!(code, ErrorCode::BadMessage);
    }
}

//! `follow.remove`: the sender no longer follows a user, or never did.

use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::ports::tables::Table;

use crate::follows::follow::{self, Followed, Moves, Whom};
use crate::rules::people;
use crate::rules::toggles::Toggle;

/// The handler.
pub(crate) struct FollowRemove;

impl MessageType for FollowRemove {
    const TYPE: &'static str = "follow.remove";
    const SUMMARY: &'static str =
        "Follows a user no longer, and asks no longer to follow them; fine when the sender did not.";
    const HOT: Option<fn(&Whom) -> &str> = Some(Whom::user);
    type Body = Whom;
    type Reply = Followed;

    async fn handle(cx: &Context, request: &Request<Whom>) -> Result<Outcome<Followed>, Failure> {
        let (from, to) = (&request.from, &request.body.user);
        people::not_oneself(from, to, "follows")?;
        let key = follow::key(from, to);
        let mut found = people::find(cx, to, vec![(Table::Relationships, key.clone())]).await?;
        let mut moves = Moves::default();
        let turn = Toggle::of(key, found.pop().flatten())?.turn(false, request.mid, false);
        let reply = Followed::after(to, &turn);
        moves.add(from, to, turn);
        Ok(Outcome::effect(reply, moves.writes()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::world::World;

    #[tokio::test]
    async fn both_counts_fall_once() {
        let world = World::with(&["alice", "bobby"]).await;
        let body = json!({ "user": "bobby" });
        world.ok("alice", "follow.remove", body.clone()).await;
        world.ok("alice", "follow.add", body.clone()).await;
        let late = world.message("alice", "follow.remove", &body);
        for _ in 0..2 {
            let reply = world.ok("alice", "follow.remove", body.clone()).await;
            assert_eq!(reply, json!({ "user": "bobby", "following": false, "state": "none" }));
        }
        let profile = world.ok("alice", "profile.get", body.clone()).await;
        assert_eq!(profile["user"]["followers"], 0);
        world.ok("alice", "follow.add", body).await;
        let reply = crate::testing::world::reply(&world.run(&late).await.unwrap());
        assert_eq!(
            reply,
            json!({ "user": "bobby", "following": true, "state": "following" }),
            "it came before the last one"
        );
        world.audit();
    }
}

//! `follow.remove`: the sender no longer follows a user, or never did.

use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::ports::tables::Table;

use crate::follows::follow::{self, Moves, User, Whom};
use crate::rules::people;
use crate::rules::toggles::Toggle;

/// The handler.
pub(crate) struct FollowRemove;

impl MessageType for FollowRemove {
    const TYPE: &'static str = "follow.remove";
    const SUMMARY: &'static str = "Follows a user no longer; fine when the sender did not.";
    const HOT: Option<fn(&Whom) -> &str> = Some(Whom::user);
    type Body = Whom;
    type Reply = User;

    async fn handle(cx: &Context, request: &Request<Whom>) -> Result<Outcome<User>, Failure> {
        let (from, to) = (&request.from, &request.body.user);
        people::not_oneself(from, to, "follows")?;
        let key = follow::key(from, to);
        let mut found = people::find(cx, to, vec![(Table::Relationships, key.clone())]).await?;
        let mut moves = Moves::default();
        moves.add(from, to, Toggle::of(key, found.pop().flatten())?.turn(false, request.mid, false));
        Ok(Outcome::effect(User { user: to.clone() }, moves.writes()))
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
        for _ in 0..2 {
            assert_eq!(world.ok("alice", "follow.remove", body.clone()).await, body);
        }
        let profile = world.ok("alice", "profile.get", body).await;
        assert_eq!(profile["user"]["followers"], 0);
        world.audit();
    }
}

//! `follow.add`: the sender follows a user. The last writer wins by `mid`; the followed user gets one push for each
//! follower.

use schemars::JsonSchema;
use serde::Serialize;
use soundoff_common::model::sight::Act;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Push, Request, Told, raw};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::Handle;

use crate::follows::follow::{self, Followed, Moves, Whom};
use crate::rules::people;
use crate::rules::toggles::Toggle;

/// The handler.
pub(crate) struct FollowAdd;

/// The push to the followed user, or to the one who is asked.
#[derive(Debug, Serialize, JsonSchema)]
struct FollowAdded<'a> {
    /// Who follows, or wants to.
    by: &'a Handle,
}

impl MessageType for FollowAdd {
    const TYPE: &'static str = "follow.add";
    const SUMMARY: &'static str = "Follows a user, who gets the push `follow.added`, once per follower. A private user is \
                                   asked, by the push `follow.requested`, and `state` is `requested`.";
    const TERMS: Terms = Terms::USUAL.cost(2).at_most(60, 2_000);
    const TELLS: &'static [Told] = &[
        Told::push::<FollowAdded<'_>>("follow.added", "Somebody follows you; once per follower."),
        Told::push::<FollowAdded<'_>>("follow.requested", "Somebody asks to follow you; once per user."),
    ];
    const HOT: Option<fn(&Whom) -> &str> = Some(Whom::user);
    type Body = Whom;
    type Reply = Followed;

    async fn handle(cx: &Context, request: &Request<Whom>) -> Result<Outcome<Followed>, Failure> {
        let (from, to) = (&request.from, &request.body.user);
        people::not_oneself(from, to, "follows")?;
        let key = follow::key(from, to);
        let (mut met, mut found) =
            people::meet(cx, from, to, vec![(Table::Relationships, key.clone())]).await?;
        met.may_do(cx, Act::Notice).await?;
        let toggle = Toggle::of(key, found.pop().flatten())?;
        let turn = match met.is_private() {
            true => toggle.ask(request.mid),
            false => toggle.turn(true, request.mid, true),
        };
        let (news, reply) = (turn.news, Followed::after(to, &turn));
        let mut moves = Moves::default();
        moves.add(from, to, turn);
        let mut writes = moves.writes();
        writes.extend(met.unchanged());
        let push_type = if reply.following { "follow.added" } else { "follow.requested" };
        let outcome = Outcome::effect(reply, writes);
        if !news {
            return Ok(outcome);
        }
        let body = raw(&FollowAdded { by: from });
        Ok(outcome.push(Push { to: to.clone(), push_type, by: from.clone(), body }))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::world::World;
    use serde_json::json;
    use soundoff_common::protocol::ErrorCode;

    #[tokio::test]
    async fn both_counts_rise_and_the_followed_hears_once() {
        let world = World::with(&["alice", "bobby"]).await;
        let body = json!({ "user": "bobby" });
        let followed = json!({ "user": "bobby", "following": true, "state": "following" });
        for _ in 0..2 {
            assert_eq!(world.ok("alice", "follow.add", body.clone()).await, followed);
        }
        world.ok("alice", "follow.remove", body.clone()).await;
        world.ok("alice", "follow.add", body.clone()).await;
        assert_eq!(world.inbox("bobby"), [("follow.added".to_owned(), json!({ "by": "alice" }))]);
        let profile = world.ok("alice", "profile.get", body).await;
        assert_eq!(profile["user"]["followers"], 1);
        world.audit();
    }

    #[tokio::test]
    async fn a_follow_that_comes_after_its_end_says_so() {
        let world = World::with(&["alice", "bobby"]).await;
        let body = json!({ "user": "bobby" });
        let late = world.message("alice", "follow.add", &body);
        world.ok("alice", "follow.remove", body).await;
        let reply = crate::testing::world::reply(&world.run(&late).await.unwrap());
        assert_eq!(reply, json!({ "user": "bobby", "following": false, "state": "none" }));
        assert!(!world.is_on("follow", "alice", "bobby"));
    }

    #[tokio::test]
    async fn nobody_follows_themselves() {
        let world = World::with(&["alice"]).await;
        let code = world.refused("alice", "follow.add", json!({ "user": "alice" })).await;
        assert_eq!(code, ErrorCode::BadMessage);
    }
}

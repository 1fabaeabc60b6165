//! `like.remove`: takes a like back; fine when there is none. A block does not prevent it: the like is the sender's
//! own.

use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};

use crate::likes::like::{self, Liked, Likes};
use crate::posts::post;

/// The handler.
pub(crate) struct LikeRemove;

impl MessageType for LikeRemove {
    const TYPE: &'static str = "like.remove";
    const SUMMARY: &'static str = "Takes the sender's like of a post back; fine when there is none.";
    const HOT: Option<fn(&Liked) -> &str> = Some(Liked::post);
    type Body = Liked;
    type Reply = Likes;

    async fn handle(cx: &Context, request: &Request<Liked>) -> Result<Outcome<Likes>, Failure> {
        let id = post::id(&request.body.post)?;
        let (post, like) = like::read(cx, &request.from, id).await?;
        let turn = like.turn(false, request.mid, false);
        let liked = turn.on;
        let (writes, likes) = like::writes(id, post.likes, turn);
        Ok(Outcome::effect(Likes { post: id.to_string(), likes, liked }, writes))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::world::World;

    #[tokio::test]
    async fn taking_back_what_is_not_there_is_fine_and_beats_an_older_like() {
        let world = World::with(&["alice", "bobby"]).await;
        let body = json!({ "post": world.post("alice", "hi").await });
        let late = world.message("bobby", "like.add", &body);
        assert_eq!(world.ok("bobby", "like.remove", body.clone()).await["likes"], 0);
        let done = world.run(&late).await.unwrap();
        let reply = crate::testing::world::reply(&done);
        assert_eq!((&reply["likes"], &reply["liked"]), (&json!(0), &json!(false)));
        assert_eq!(world.inbox("alice"), []);
        world.audit();
    }

    #[tokio::test]
    async fn a_block_does_not_keep_ones_own_like_where_it_is() {
        let world = World::with(&["alice", "bobby"]).await;
        let body = json!({ "post": world.post("alice", "hi").await });
        world.ok("bobby", "like.add", body.clone()).await;
        world.ok("alice", "block.add", json!({ "user": "bobby" })).await;
        assert_eq!(world.ok("bobby", "like.remove", body).await["likes"], 0);
        world.audit();
    }
}

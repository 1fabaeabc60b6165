//! `like.remove`: takes a like back; fine when there is none. That the post is hidden from the sender does not prevent
//! it: the like is their own. But it tells nothing of a post that is hidden.

use schemars::JsonSchema;
use serde::Serialize;
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};

use crate::likes::like::{self, Liked};
use crate::posts::post;

/// The handler.
pub(crate) struct LikeRemove;

/// A post's likes after one was taken back.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LikesLeft {
    /// The post's id.
    post: String,
    /// How many like it now; missing where the sender may not see the post.
    #[serde(skip_serializing_if = "Option::is_none")]
    likes: Option<u64>,
    /// Whether the sender likes it now. A later message of the sender's may have come first.
    liked: bool,
}

impl MessageType for LikeRemove {
    const TYPE: &'static str = "like.remove";
    const SUMMARY: &'static str = "Takes the sender's like of a post back; fine when there is none. Where the sender may \
                                   not see the post, the reply has no `likes`, and without a like it is `not_found`.";
    const ARCHIVED: Archived = Archived::Whole;
    const HOT: Option<fn(&Liked) -> &str> = Some(Liked::post);
    type Body = Liked;
    type Reply = LikesLeft;

    async fn handle(cx: &Context, request: &Request<Liked>) -> Result<Outcome<LikesLeft>, Failure> {
        let (from, id) = (&request.from, post::id(&request.body.post)?);
        let (post, like) = like::read(cx, from, id).await?;
        // Not checked again by the transaction: it decides what is told, as with `post.get`, and not what is done.
        let is_hidden = !post::approached(cx, from, &post).await?.is_seen;
        if is_hidden && !like.on() {
            return Err(post::no_such_post());
        }
        let turn = like.turn(false, request.mid, false);
        let liked = turn.on;
        let (writes, likes) = like::writes(id, post.likes, turn, post::live());
        let reply = LikesLeft { post: id.to_string(), likes: (!is_hidden).then_some(likes), liked };
        Ok(Outcome::effect(reply, writes))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use soundoff_common::protocol::ErrorCode;

    use crate::testing::world::{World, reply};

    #[tokio::test]
    async fn taking_back_what_is_not_there_is_fine_and_beats_an_older_like() {
        let world = World::with(&["alice", "bobby"]).await;
        let body = json!({ "post": world.post("alice", "hi").await });
        let late = world.message("bobby", "like.add", &body);
        assert_eq!(world.ok("bobby", "like.remove", body.clone()).await["likes"], 0);
        let done = world.run(&late).await.unwrap();
        let said = reply(&done);
        assert_eq!((&said["likes"], &said["liked"]), (&json!(0), &json!(false)));
        assert_eq!(world.inbox("alice"), []);
        world.audit();
    }

    #[tokio::test]
    async fn across_a_block_ones_own_like_can_be_taken_back_and_no_count_is_told() {
        for blocker in ["alice", "bobby"] {
            let world = World::with(&["alice", "bobby", "carol"]).await;
            let post = world.post("alice", "hi").await;
            let body = json!({ "post": post });
            for liker in ["bobby", "carol"] {
                world.ok(liker, "like.add", body.clone()).await;
            }
            let blocked = if blocker == "alice" { "bobby" } else { "alice" };
            world.ok(blocker, "block.add", json!({ "user": blocked })).await;
            let back = world.message("bobby", "like.remove", &body);
            let taken = json!({ "post": post, "liked": false });
            assert_eq!(reply(&world.run(&back).await.unwrap()), taken);
            assert_eq!(world.refused("bobby", "like.remove", body.clone()).await, ErrorCode::NotFound);
            assert_eq!(reply(&world.run(&back).await.unwrap()), taken, "the same message again");
            let seen = world.ok("alice", "post.get", body).await;
            assert_eq!(seen["post"]["likes"], 1, "carol's");
            world.audit();
        }
    }

    #[tokio::test]
    async fn across_a_block_a_later_like_stays_and_no_count_is_told() {
        let world = World::with(&["alice", "bobby"]).await;
        let post = world.post("alice", "hi").await;
        let body = json!({ "post": post });
        let late = world.message("bobby", "like.remove", &body);
        world.ok("bobby", "like.add", body).await;
        world.ok("alice", "block.add", json!({ "user": "bobby" })).await;
        assert_eq!(reply(&world.run(&late).await.unwrap()), json!({ "post": post, "liked": true }));
        world.audit();
    }
}

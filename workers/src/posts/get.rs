//! `post.get`: one post, and whether the sender likes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::ports::tables::Table;

use crate::likes::like;
use crate::posts::post::{self, Post};
use crate::rules::toggles::Toggle;

/// Which post.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PostGet {
    /// The post's id.
    post: String,
}

/// A post as the sender sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PostSeen {
    /// The post.
    post: Post,
    /// Whether the sender likes it.
    liked: bool,
}

impl MessageType for PostGet {
    const TYPE: &'static str = "post.get";
    const SUMMARY: &'static str =
        "A post. `not_found` when it is deleted, across a block, or not for the sender.";
    const ARCHIVED: Archived = Archived::Whole;
    const READS: bool = true;
    type Body = Self;
    type Reply = PostSeen;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<PostSeen>, Failure> {
        let id = post::id(&request.body.post)?;
        let key = like::key(id, &request.from);
        let keys = [(Table::Entities, post::key(id)), (Table::Relationships, key.clone())];
        let mut found = cx.tables.get_many(&keys).await?.into_iter();
        let post = post::undeleted(found.next().flatten())?;
        let liked = Toggle::of(key, found.next().flatten())?.on();
        let opened = post::opened(cx, &request.from, post, std::iter::empty()).await?;
        Ok(Outcome::read(PostSeen { post: opened.shown(id, &cx.pictures), liked }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::world::World;

    #[tokio::test]
    async fn shows_the_post_and_whether_the_sender_likes_it() {
        let world = World::with(&["alice", "bobby"]).await;
        let post = world.post("alice", "hi").await;
        world.ok("bobby", "like.add", json!({ "post": post })).await;
        for (reader, liked) in [("alice", false), ("bobby", true)] {
            let seen = world.ok(reader, "post.get", json!({ "post": post })).await;
            assert_eq!((&seen["liked"], &seen["post"]["likes"]), (&json!(liked), &json!(1)), "{reader}");
            assert_eq!(seen["post"]["text"], "hi");
        }
    }
}

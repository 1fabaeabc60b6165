//! `post.delete`: the sender's own post becomes a tombstone without text, for everybody and for good.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::protocol::ErrorCode;

use crate::posts::post::OnePost;
use crate::posts::takedown::{self, Takedown};

/// Which post.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PostDelete {
    /// The id of a post of the sender.
    post: String,
}

impl MessageType for PostDelete {
    const TYPE: &'static str = "post.delete";
    const SUMMARY: &'static str =
        "Deletes a post of the sender's. Online followers get the event `post.deleted`.";
    const ARCHIVED: Archived = Archived::Whole;
    const TERMS: Terms = Terms::USUAL.critical();
    const CAUSES: &'static [&'static str] = takedown::CAUSES;
    type Body = Self;
    type Reply = OnePost;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OnePost>, Failure> {
        let mut takedown = Takedown::of(cx, request, &request.body.post).await?;
        if *takedown.author() != request.from {
            return Err(Failure::reject(ErrorCode::Forbidden, "only its author deletes a post"));
        }
        let (writes, news) = (takedown.writes(cx, request).await?, takedown.news(cx));
        Ok(news.into_iter().fold(Outcome::effect(takedown.reply(cx), writes), Outcome::then))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::world::World;
    use serde_json::json;
    use soundoff_common::protocol::ErrorCode;

    #[tokio::test]
    async fn the_author_gets_the_post_as_it_was_and_followers_are_told() {
        let world = World::with(&["alice", "bobby"]).await;
        let post = world.post("alice", "hi").await;
        world.ok("bobby", "like.add", json!({ "post": post })).await;
        assert_eq!(
            world.refused("bobby", "post.delete", json!({ "post": post })).await,
            ErrorCode::Forbidden
        );
        let done = world.done("alice", "post.delete", json!({ "post": post })).await;
        let reply = crate::testing::world::reply(&done);
        assert_eq!((&reply["post"]["text"], &reply["post"]["likes"]), (&json!("hi"), &json!(1)));
        assert_eq!(done.follow_ups.len(), 1);
        assert_eq!(world.refused("alice", "post.delete", json!({ "post": post })).await, ErrorCode::NotFound);
        let profile = world.ok("alice", "profile.get", json!({})).await;
        assert_eq!(profile["user"]["posts"], 0);
        world.audit();
    }
}

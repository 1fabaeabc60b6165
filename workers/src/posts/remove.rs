//! `post.remove`: a moderator takes anybody's post down, as its author could.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Push, Request, Told, raw};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::protocol::Role;

use crate::posts::post::{self, OnePost};
use crate::posts::takedown::Takedown;

/// Which post.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PostRemove {
    /// The id of anybody's post.
    post: String,
}

/// The push to the author.
#[derive(Debug, Serialize, JsonSchema)]
struct Removed {
    /// The id of their post.
    post: String,
}

impl MessageType for PostRemove {
    const TYPE: &'static str = "post.remove";
    const SUMMARY: &'static str = "Takes anybody's post down; for moderators. The author gets the push `post.removed`, online followers the event `post.deleted`.";
    const ARCHIVED: Archived = Archived::Whole;
    const TERMS: Terms = Terms::USUAL.critical();
    const ROLE: Role = Role::Moderator;
    const TELLS: &'static [Told] =
        &[Told::push::<Removed>("post.removed", "A moderator has taken your post down.")];
    const CAUSES: &'static [&'static str] = &[post::FANOUT];
    type Body = Self;
    type Reply = OnePost;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OnePost>, Failure> {
        let takedown = Takedown::of(cx, request, &request.body.post).await?;
        let (writes, news) = (takedown.writes(cx, request).await?, takedown.news());
        // The author counts as the sender of the push: no block between author and moderator hides it.
        let author = takedown.author().clone();
        let body = raw(&Removed { post: takedown.id.to_string() });
        let push = Push { to: author.clone(), push_type: "post.removed", by: author, body };
        let pushes = (!takedown.is_done).then_some(push);
        let outcome = Outcome::effect(takedown.reply(), writes).then(news);
        Ok(pushes.into_iter().fold(outcome, Outcome::push))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::world::{World, user};
    use serde_json::json;
    use soundoff_common::protocol::ErrorCode;

    #[tokio::test]
    async fn a_post_goes_its_author_hears_and_so_do_their_followers() {
        let world = World::with(&["alice", "modmo"]).await;
        world.ok("alice", "block.add", json!({ "user": "modmo" })).await;
        let post = world.post("alice", "no").await;
        let done = world.done("modmo", "post.remove", json!({ "post": post })).await;
        assert_eq!(done.pushes.len(), 1);
        let push = done.pushes[0].push.as_ref().unwrap();
        assert_eq!((push.push_type, &push.by), ("post.removed", &user("alice")), "no block withholds it");
        assert_eq!(done.follow_ups[0].about, Some(user("alice")));
        assert_eq!(world.refused("alice", "post.get", json!({ "post": post })).await, ErrorCode::NotFound);
        assert_eq!(world.refused("modmo", "post.remove", json!({ "post": post })).await, ErrorCode::NotFound);
        let profile = world.ok("alice", "profile.get", json!({})).await;
        assert_eq!(profile["user"]["posts"], 0);
        world.audit();
    }
}

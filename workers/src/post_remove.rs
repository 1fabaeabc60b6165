//! `post.remove`: a moderator takes anybody's post down, as its author would.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::handler::{Context, Failure, Message, Outcome, Push, Request, raw};
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::Role;

use crate::post_delete::Takedown;
use crate::posts::{self, OnePost};

/// Which post.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PostRemove {
    /// The id of anybody's post.
    post: String,
}

/// What the author hears.
#[derive(Debug, Serialize)]
struct Removed {
    post: String,
}

impl Message for PostRemove {
    const TYPE: &'static str = "post.remove";
    const SUMMARY: &'static str = "Takes anybody's post down; for moderators. The author gets the push `post.removed`, online followers the event `post.deleted`.";
    const ROLE: Role = Role::Moderator;
    type Body = Self;
    type Reply = OnePost;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OnePost>, Failure> {
        let id = posts::id(&request.body.post)?;
        let found = cx.tables.get(Table::Entities, posts::key(id)).await?;
        let post = posts::parse(found)?.ok_or_else(posts::no_such_post)?;
        let author = post.author.clone();
        let told = posts::tell_followers_of(&author, id);
        if post.deleted {
            // As `post.delete`: a run that was cut off after its commit only owes the followers their news.
            let by_this = post.deleted_by == Some(request.mid);
            let reply = OnePost { post: post.shown(id) };
            return if by_this {
                Ok(Outcome::effect(reply, Vec::new()).then(told))
            } else {
                Err(posts::no_such_post())
            };
        }
        let takedown = Takedown { id, author: &author, media: &post.media };
        let writes = takedown.writes(cx, request).await?;
        let body = raw(&Removed { post: id.to_string() });
        // By the author: no block between author and moderator hides it.
        let push = Push { to: author.clone(), push_type: "post.removed", by: author, body };
        let reply = OnePost { post: post.shown(id) };
        Ok(Outcome::effect(reply, writes).push(push).then(told))
    }
}

#[cfg(test)]
mod tests {
    use crate::world::{World, user};
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

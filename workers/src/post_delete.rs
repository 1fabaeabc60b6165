//! `post.delete`: the sender's own post becomes a tombstone without text, for everybody and for good.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::accounts;
use soundoff_common::handler::{Context, Failure, Message, Outcome, Request};
use soundoff_common::ports::tables::{Change, Condition, Table, Write};
use soundoff_common::posts::News;
use soundoff_common::protocol::ErrorCode;

use crate::posts::{self, OnePost};

/// Which post.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PostDelete {
    /// The id of a post of the sender.
    post: String,
}

impl Message for PostDelete {
    const TYPE: &'static str = "post.delete";
    const SUMMARY: &'static str =
        "Deletes a post of the sender's. Online followers get the event `post.deleted`.";
    type Body = Self;
    type Reply = OnePost;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OnePost>, Failure> {
        let id = posts::id(&request.body.post)?;
        let found = cx.tables.get(Table::Entities, posts::key(id)).await?;
        let post = posts::parse(found)?.ok_or_else(posts::no_such_post)?;
        let deleted_by_this = post.deleted_by == Some(request.mid);
        if post.deleted && !deleted_by_this {
            return Err(posts::no_such_post());
        }
        if post.author != request.from {
            return Err(Failure::reject(ErrorCode::Forbidden, "only its author deletes a post"));
        }
        let tombstone = vec![
            Change::Set("deleted", true.into()),
            Change::Set("deleted_by", request.mid.to_string().into()),
            Change::Remove("text"),
        ];
        let count = vec![Change::Add("posts", -1)];
        let writes = vec![
            Write::update(Table::Entities, posts::key(id), tombstone).when(posts::live()),
            Write::delete(Table::Entities, posts::row_key(&post.author, id)),
            Write::update(Table::Users, accounts::key(&post.author), count).when(Condition::Exists),
        ];
        // A run that was cut off after its commit meets its own tombstone: nothing is left to write, but followers may not know yet.
        let writes = if deleted_by_this { Vec::new() } else { writes };
        let reply = OnePost { post: post.shown(id) };
        Ok(Outcome::effect(reply, writes).then(posts::tell_followers(News::Deleted, id)))
    }
}

#[cfg(test)]
mod tests {
    use crate::world::World;
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
        let reply = crate::world::reply(&done);
        assert_eq!((&reply["post"]["text"], &reply["post"]["likes"]), (&json!("hi"), &json!(1)));
        assert_eq!(done.follow_ups.len(), 1);
        assert_eq!(world.refused("alice", "post.delete", json!({ "post": post })).await, ErrorCode::NotFound);
        let profile = world.ok("alice", "profile.get", json!({})).await;
        assert_eq!(profile["user"]["posts"], 0);
        world.audit();
    }
}

//! `post.delete`: the sender's own post becomes a tombstone without text, for everybody and for good.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::accounts;
use soundoff_common::handler::{Context, Failure, Message, Outcome, Request};
use soundoff_common::ports::tables::{Change, Condition, Table, TableError, Write};
use soundoff_common::posts::{Attached, News};
use soundoff_common::protocol::{ErrorCode, Handle};
use ulid::Ulid;

use crate::attached;
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
        let takedown = Takedown { id, author: &post.author, media: &post.media };
        // A run that was cut off after its commit meets its own tombstone: nothing is left to write, but followers may not know yet.
        let writes = if deleted_by_this { Vec::new() } else { takedown.writes(cx, request).await? };
        let reply = OnePost { post: post.shown(id) };
        Ok(Outcome::effect(reply, writes).then(posts::tell_followers(News::Deleted, id)))
    }
}

/// A post on its way out.
pub(crate) struct Takedown<'a> {
    pub(crate) id: Ulid,
    pub(crate) author: &'a Handle,
    pub(crate) media: &'a [Attached],
}

impl Takedown<'_> {
    /// The writes that leave its tombstone, and nothing of it in any list.
    pub(crate) async fn writes<B>(
        &self,
        cx: &Context,
        request: &Request<B>,
    ) -> Result<Vec<Write>, TableError> {
        let tombstone = vec![
            Change::Set("deleted", true.into()),
            Change::Set("deleted_by", request.mid.to_string().into()),
            Change::Remove("text"),
            Change::Remove("media"),
        ];
        let count = vec![Change::Add("posts", -1)];
        let mut writes = vec![
            Write::update(Table::Entities, posts::key(self.id), tombstone).when(posts::live()),
            Write::delete(Table::Entities, posts::row_key(self.author, self.id)),
            Write::update(Table::Users, accounts::key(self.author), count).when(Condition::Exists),
        ];
        writes.extend(attached::released(cx, self.author, self.media).await?);
        Ok(writes)
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

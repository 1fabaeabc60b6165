//! `post.list`: a user's posts, newest first.

use futures_util::future::try_join;
use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::Handle;

use crate::posts::listing;
use crate::posts::post::{self, Post};
use crate::rules::paging::{List, Pages, Window};
use crate::rules::people;

/// Whose posts, and which part of the list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PostList {
    /// The author; the sender when absent.
    user: Option<Handle>,
    /// The `next` of an earlier page.
    before: Option<String>,
    /// The most items; 20 when absent.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

impl MessageType for PostList {
    const TYPE: &'static str = "post.list";
    const SUMMARY: &'static str = "A user's posts, newest first, without those in groups. `not_found` across a block; `forbidden` when the user is private and the sender does not follow them.";
    const TERMS: Terms = Terms::USUAL.cost(2);
    const READS: bool = true;
    type Body = Self;
    type Reply = List<Post>;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<List<Post>>, Failure> {
        let Self { user, before, limit } = &request.body;
        let window = Window::of(before.as_deref(), *limit)?;
        let author = user.as_ref().unwrap_or(&request.from);
        let mut pages = Pages::new(Table::Entities, post::list_partition(author), "", window);
        let standing = people::meet(cx, &request.from, author, Vec::new());
        let ((mut met, _), rows) = try_join(standing, pages.read(&*cx.tables)).await?;
        met.may_see_lists(cx).await?;
        listing::shown(cx, pages, rows, met.into_sighted()).await.map(Outcome::read)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::world::World;

    #[tokio::test]
    async fn newest_first_in_pages_that_join() {
        let world = World::with(&["alice", "bobby"]).await;
        let mut posts = Vec::new();
        for n in 0..7 {
            posts.push(world.post("alice", &n.to_string()).await);
        }
        world.ok("alice", "post.delete", json!({ "post": posts.remove(3) })).await;
        posts.reverse();
        let first = world.ok("bobby", "post.list", json!({ "user": "alice", "limit": 4 })).await;
        let rest = json!({ "user": "alice", "limit": 4, "before": first["next"] });
        let rest = world.ok("bobby", "post.list", rest).await;
        let ids = [&first, &rest].into_iter().flat_map(|page| page["items"].as_array().unwrap());
        let ids: Vec<_> = ids.map(|post| post["id"].as_str().unwrap()).collect();
        assert_eq!(ids, posts);
        assert_eq!(rest["next"], serde_json::Value::Null);
        let none = world.ok("bobby", "post.list", json!({})).await;
        assert_eq!(none, json!({ "items": [], "next": null }));
    }

    #[tokio::test]
    async fn a_post_deleted_after_the_list_was_read_is_not_shown() {
        use soundoff_common::ports::tables::{Item, Tables as _, Write};
        let world = World::with(&["alice"]).await;
        let kept = world.post("alice", "kept").await;
        let gone = world.post("alice", "gone").await;
        world.ok("alice", "post.delete", json!({ "post": gone })).await;
        // The row as a list that was read before the deletion has it.
        let row = super::post::row_key(&crate::testing::world::user("alice"), gone.parse().unwrap());
        world.tables.write(vec![Write::put(super::Table::Entities, row, Item::new())]).await.unwrap();
        let list = world.ok("alice", "post.list", json!({ "limit": 1 })).await;
        assert_eq!(list["items"][0]["id"], kept.as_str());
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
    }
}

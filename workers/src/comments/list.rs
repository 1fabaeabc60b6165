//! `comment.list`: a post's comments, newest first, without those across a block.

use futures_util::future::try_join;
use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::sight::Reading;
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::{Item, Table, TableError};
use ulid::Ulid;

use crate::comments::comment::{self, Comment, Stored};
use crate::posts::post;
use crate::rules::paging::{List, Pages, Window};

/// Which post's comments, and which part of the list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct CommentList {
    /// The post's id.
    post: String,
    /// The `next` of an earlier page.
    before: Option<String>,
    /// The most items; 20 when absent.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

impl MessageType for CommentList {
    const TYPE: &'static str = "comment.list";
    const SUMMARY: &'static str =
        "A post's comments, newest first, without those of users across a block from the sender.";
    const ARCHIVED: Archived = Archived::Whole;
    const TERMS: Terms = Terms::USUAL.cost(2);
    const READS: bool = true;
    type Body = Self;
    type Reply = List<Comment>;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<List<Comment>>, Failure> {
        let Self { post, before, limit } = &request.body;
        let (me, post) = (&request.from, post::id(post)?);
        let window = Window::of(before.as_deref(), *limit)?;
        let mut pages = Pages::new(Table::Entities, post::partition(post), comment::PREFIX, window);
        let about = cx.tables.get(Table::Entities, post::key(post));
        let (about, rows) = try_join(about, pages.read(&*cx.tables)).await?;
        let about = post::undeleted(about)?;
        let mut found = parsed(rows)?;
        // The post's author is looked up together with those of the first comments: one read for both.
        let authors = found.iter().map(|(_, comment)| &comment.author);
        let mut sighted = post::opened(cx, me, about, authors).await?.sighted;
        loop {
            let shown = found.into_iter().map(|(id, comment)| {
                let comment = (!sighted.is_blocked(&comment.author)).then(|| comment.shown(post, id));
                (id, comment)
            });
            if !pages.keep(shown) {
                return Ok(Outcome::read(pages.list()));
            }
            found = parsed(pages.read(&*cx.tables).await?)?;
            let mut reading = Reading::new(me);
            found.iter().for_each(|(_, comment)| reading.blocks(&comment.author));
            sighted.add(reading.read(&*cx.tables).await?);
        }
    }
}

fn parsed(rows: Vec<(Ulid, Item)>) -> Result<Vec<(Ulid, Stored)>, TableError> {
    rows.into_iter().map(|(id, item)| Ok((id, Stored::parse(item)?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::world::World;

    #[tokio::test]
    async fn comments_across_a_block_are_left_out_without_shortening_pages() {
        let world = World::with(&["alice", "bobby", "carol"]).await;
        let post = world.post("alice", "hi").await;
        for n in 0..30 {
            let from = if n % 3 == 0 { "carol" } else { "bobby" };
            world.ok(from, "comment.create", json!({ "post": post, "text": n.to_string() })).await;
        }
        world.ok("carol", "block.add", json!({ "user": "bobby" })).await;
        let (mut texts, mut before) = (Vec::new(), json!(null));
        loop {
            let page = json!({ "post": post, "limit": 4, "before": before });
            let page = world.ok("carol", "comment.list", page).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() == 4 || page["next"].is_null());
            texts.extend(items.iter().map(|c| c["text"].as_str().unwrap().parse::<u32>().unwrap()));
            assert!(texts.len() <= 10, "a list without end");
            before = page["next"].clone();
            if before.is_null() {
                break;
            }
        }
        assert!(texts.into_iter().eq((0..30).rev().filter(|n| n % 3 == 0)));
        let all = world.ok("alice", "comment.list", json!({ "post": post, "limit": 100 })).await;
        assert_eq!(all["items"].as_array().unwrap().len(), 30);
    }
}

//! `comment.list`: a post's comments, newest first, without those across a block.

use futures_util::future::try_join;
use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::handler::{Context, Failure, Message, Outcome, Request};
use soundoff_common::ports::tables::{Table, TableError};

use crate::comments::{self, Comment, Stored};
use crate::paging::{List, Pages, Window};
use crate::{people, posts};

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

impl Message for CommentList {
    const TYPE: &'static str = "comment.list";
    const SUMMARY: &'static str =
        "A post's comments, newest first, without those of users across a block from the sender.";
    type Body = Self;
    type Reply = List<Comment>;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<List<Comment>>, Failure> {
        let Self { post, before, limit } = &request.body;
        let (me, post) = (&request.from, posts::id(post)?);
        let window = Window::of(before.as_deref(), *limit)?;
        let mut pages = Pages::new(Table::Entities, posts::partition(post), comments::PREFIX, window);
        let about = cx.tables.get(Table::Entities, posts::key(post));
        let (about, mut rows) = try_join(about, pages.read(&*cx.tables)).await?;
        let about = posts::undeleted(about)?;
        loop {
            let parsed = rows.into_iter().map(|(id, item)| Ok((id, Stored::parse(item)?)));
            let found = parsed.collect::<Result<Vec<_>, TableError>>()?;
            // The post's author is asked for together with the comments': one read for both.
            let authors = found.iter().map(|(_, comment)| &comment.author).chain([&about.author]);
            let hidden = people::hidden(&*cx.tables, me, authors).await?;
            if hidden.contains(&about.author) {
                return Err(posts::no_such_post());
            }
            let shown = found.into_iter().map(|(id, comment)| {
                let comment = (!hidden.contains(&comment.author)).then(|| comment.shown(post, id));
                (id, comment)
            });
            if !pages.keep(shown) {
                return Ok(Outcome::read(pages.list()));
            }
            rows = pages.read(&*cx.tables).await?;
        }
    }
}

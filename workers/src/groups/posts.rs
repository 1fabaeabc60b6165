//! `group.posts`: what is posted in a group, newest first.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::groups;
use soundoff_common::model::posts::Post;
use soundoff_common::model::sight::Sighted;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::Table;

use crate::groups::group::Place;
use crate::posts::listing;
use crate::rules::paging::{List, Pages, Window};

/// Of which group, and which part of the list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct GroupPosts {
    /// The group's id.
    group: String,
    /// The `next` of an earlier page.
    before: Option<String>,
    /// The most items; 20 when absent.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

impl MessageType for GroupPosts {
    const TYPE: &'static str = "group.posts";
    const SUMMARY: &'static str = "A group's posts, newest first, without those of users across a block from the sender; \
                                   `forbidden` to who is not in, unless the group is public.";
    const TERMS: Terms = Terms::USUAL.cost(2);
    const READS: bool = true;
    type Body = Self;
    type Reply = List<Post>;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<List<Post>>, Failure> {
        let Self { group, before, limit } = &request.body;
        let (me, window) = (&request.from, Window::of(before.as_deref(), *limit)?);
        let (place, _) = Place::read(cx, me, group, Vec::new()).await?;
        place.inside()?;
        let mut pages = Pages::new(Table::Entities, groups::posts(place.id), "", window);
        let rows = pages.read(&*cx.tables).await?;
        listing::shown(cx, pages, rows, Sighted::new(me)).await.map(Outcome::read)
    }
}

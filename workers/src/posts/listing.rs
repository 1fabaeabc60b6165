//! A page of some list of posts, as its reader sees it.

use soundoff_common::model::sight::{self, Door, Sighted};
use soundoff_common::pipeline::handler::{Context, Failure};
use soundoff_common::ports::tables::{Item, Table};
use ulid::Ulid;

use crate::posts::post::{self, Post, Stored};
use crate::rules::paging::{List, Pages};

/// Reads on from the first `rows` until the page is full.
pub(crate) async fn shown(
    cx: &Context,
    mut pages: Pages<Post>,
    mut rows: Vec<(Ulid, Item)>,
    mut sighted: Sighted,
) -> Result<List<Post>, Failure> {
    loop {
        let keys: Vec<_> = rows.iter().map(|(id, _)| (Table::Entities, post::key(*id))).collect();
        let items = if keys.is_empty() { Vec::new() } else { cx.tables.get_many(&keys).await? };
        let mut found = Vec::with_capacity(rows.len());
        for ((id, _), item) in rows.into_iter().zip(items) {
            found.push((id, post::parse(item)?));
        }
        sight::look(&*cx.tables, &mut sighted, found.iter().filter_map(|(_, post)| post.as_ref())).await?;
        let shown = |(id, post): (Ulid, Option<Stored>)| {
            (id, post.and_then(|post| sighted.post(post, id, Door::List, &cx.pictures)))
        };
        if !pages.keep(found.into_iter().map(shown)) {
            return Ok(pages.list());
        }
        rows = pages.read(&*cx.tables).await?;
    }
}

//! Lists of people: of each row the user whom it names, without those across a block from the reader.

use soundoff_common::model::follows::Row;
use soundoff_common::model::sight;
use soundoff_common::pipeline::handler::{Context, Failure};
use soundoff_common::ports::tables::{Item, TableError};
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::rules::paging::{List, Pages};

/// Reads on from the first `rows` until the page is full.
pub(crate) async fn people(
    cx: &Context,
    reader: &Handle,
    mut pages: Pages<Handle>,
    mut rows: Vec<(Ulid, Item)>,
) -> Result<List<Handle>, Failure> {
    loop {
        let parsed = rows.into_iter().map(|(id, item)| Ok((id, item.parse::<Row>()?.who)));
        let found = parsed.collect::<Result<Vec<_>, TableError>>()?;
        let hidden = sight::hidden(&*cx.tables, reader, found.iter().map(|(_, who)| who)).await?;
        let shown = found.into_iter().map(|(id, who)| (id, (!hidden.contains(&who)).then_some(who)));
        if !pages.keep(shown) {
            return Ok(pages.list());
        }
        rows = pages.read(&*cx.tables).await?;
    }
}

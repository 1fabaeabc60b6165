//! `close.list`: whom the sender has named as close, newest first.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::close;
use soundoff_common::model::sight;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::{Table, TableError};
use soundoff_common::protocol::Handle;

use crate::follows::follow::{PREFIX, Row};
use crate::rules::paging::{List, Pages, Window};

/// Which part of the list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct CloseList {
    /// The `next` of an earlier page.
    before: Option<String>,
    /// The most items; 20 when absent.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

impl MessageType for CloseList {
    const TYPE: &'static str = "close.list";
    const SUMMARY: &'static str =
        "Handles of those whom the sender has named as close, newest first, without users across a block.";
    const TERMS: Terms = Terms::USUAL.cost(2);
    const READS: bool = true;
    type Body = Self;
    type Reply = List<Handle>;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<List<Handle>>, Failure> {
        let Self { before, limit } = &request.body;
        let (me, window) = (&request.from, Window::of(before.as_deref(), *limit)?);
        let mut pages = Pages::new(Table::Relationships, close::partition(me), PREFIX, window);
        loop {
            let rows = pages.read(&*cx.tables).await?;
            let parsed = rows.into_iter().map(|(id, item)| Ok((id, item.parse::<Row>()?.who)));
            let found = parsed.collect::<Result<Vec<_>, TableError>>()?;
            let hidden = sight::hidden(&*cx.tables, me, found.iter().map(|(_, who)| who)).await?;
            let shown = found.into_iter().map(|(id, who)| (id, (!hidden.contains(&who)).then_some(who)));
            if !pages.keep(shown) {
                return Ok(Outcome::read(pages.list()));
            }
        }
    }
}

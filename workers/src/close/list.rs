//! `close.list`: whom the sender has named as close, newest first.

use soundoff_common::model::close;
use soundoff_common::model::follows::PREFIX;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::Handle;

use crate::rules::listed;
use crate::rules::paging::{List, Pages, Part};

/// The handler.
pub(crate) struct CloseList;

impl MessageType for CloseList {
    const TYPE: &'static str = "close.list";
    const SUMMARY: &'static str =
        "Handles of those whom the sender has named as close, newest first, without users across a block.";
    const TERMS: Terms = Terms::USUAL.cost(2);
    const READS: bool = true;
    type Body = Part;
    type Reply = List<Handle>;

    async fn handle(cx: &Context, request: &Request<Part>) -> Result<Outcome<List<Handle>>, Failure> {
        let me = &request.from;
        let mut pages =
            Pages::new(Table::Relationships, close::partition(me), PREFIX, request.body.window()?);
        let rows = pages.read(&*cx.tables).await?;
        listed::people(cx, me, pages, rows).await.map(Outcome::read)
    }
}

//! `request.list`: who has asked to follow the sender, newest first.

use soundoff_common::model::follows::{self, PREFIX};
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::Handle;

use crate::rules::listed;
use crate::rules::paging::{List, Pages, Part};

/// The handler.
pub(crate) struct RequestList;

impl MessageType for RequestList {
    const TYPE: &'static str = "request.list";
    const SUMMARY: &'static str = "Handles of those who have asked to follow the sender, newest first.";
    const TERMS: Terms = Terms::USUAL.cost(2);
    const READS: bool = true;
    type Body = Part;
    type Reply = List<Handle>;

    async fn handle(cx: &Context, request: &Request<Part>) -> Result<Outcome<List<Handle>>, Failure> {
        let me = &request.from;
        let mut pages =
            Pages::new(Table::Relationships, follows::requests(me), PREFIX, request.body.window()?);
        let rows = pages.read(&*cx.tables).await?;
        listed::people(cx, me, pages, rows).await.map(Outcome::read)
    }
}

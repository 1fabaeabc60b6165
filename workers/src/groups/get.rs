//! `group.get`: a group, and what the sender is in it.

use soundoff_common::model::sight;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};

use crate::groups::group::{self, OneGroup, Place, Which};

/// The handler.
pub(crate) struct GroupGet;

impl MessageType for GroupGet {
    const TYPE: &'static str = "group.get";
    const SUMMARY: &'static str = "A group, and what the sender is in it. `not_found` when it is deleted, when the sender \
                                   is barred from it, and when it is secret and they are neither in nor invited.";
    const READS: bool = true;
    type Body = Which;
    type Reply = OneGroup;

    async fn handle(cx: &Context, request: &Request<Which>) -> Result<Outcome<OneGroup>, Failure> {
        let (place, _) = Place::read(cx, &request.from, &request.body.group, Vec::new()).await?;
        let Place { id, me, within, counts } = place;
        let group = sight::look_at_group(&*cx.tables, &me, &within, id, counts).await?;
        let group = group.ok_or_else(group::no_such_group)?;
        Ok(Outcome::read(OneGroup { group, state: within.state(), role: within.role() }))
    }
}

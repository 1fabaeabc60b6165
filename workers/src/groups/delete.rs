//! `group.delete`: an owner deletes a group, for everybody and for good. It becomes a tombstone at once; what was in it
//! is removed page by page after that.

use schemars::JsonSchema;
use serde::Serialize;
use soundoff_common::model::groups::{self, Group, MemberRole};
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::{Item, Table, Write};

use crate::groups::group::{self, Place, Which};
use crate::groups::{clearing, naming};

/// The handler.
pub(crate) struct GroupDelete;

/// What was deleted.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Gone {
    /// The group's id.
    group: String,
}

impl MessageType for GroupDelete {
    const TYPE: &'static str = "group.delete";
    const SUMMARY: &'static str = "Deletes a group for everybody and for good; for its owners. Its posts are seen by their \
                                   authors only. Nobody is told.";
    const TERMS: Terms = Terms::USUAL.critical();
    const CAUSES: &'static [&'static str] = &[clearing::TYPE];
    type Body = Which;
    type Reply = Gone;

    async fn handle(cx: &Context, request: &Request<Which>) -> Result<Outcome<Gone>, Failure> {
        let id = group::id(&request.body.group)?;
        let found = cx.tables.get_many(&Place::keys(id, &request.from)).await?;
        let stored = found[0].clone().map(Item::parse::<Group>).transpose()?;
        let reply = Gone { group: id.to_string() };
        if stored.is_some_and(|group| group.deleted_by == Some(request.mid)) {
            // Its first run was cut off after the commit: what was in it may not be removed yet.
            return Ok(Outcome::effect(reply, Vec::new()).then(clearing::next(id)));
        }
        let place = Place::of(id, &request.from, &mut found.into_iter())?;
        let before = place.at_least(MemberRole::Owner)?;
        let tombstone = Group {
            name: String::new(),
            about: String::new(),
            v: before.v + 1,
            deleted: true,
            deleted_by: Some(request.mid),
            ..before.clone()
        };
        let item = Item::of(&tombstone);
        let mut writes = vec![Write::put(Table::Entities, groups::key(id), item).when(before.as_read())];
        let owner = groups::as_read(place.within.member.as_ref());
        writes.push(Write::check(Table::Relationships, groups::member_key(id, &place.me), owner));
        writes.extend(naming::moved(id, Some(before), None));
        Ok(Outcome::effect(reply, writes).then(clearing::next(id)))
    }
}

//! `group.update`: an owner changes what a group is. Each field is last-writer-wins by `mid`. After its reply nobody sees
//! or does what it forbids: every act in a group checks in its transaction that the group is as it was read.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::groups::{self, Entry, MemberRole, Sight};
use soundoff_common::model::sight;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::{Item, Table, Write};
use soundoff_common::protocol::ErrorCode;

use crate::groups::group::{OneGroup, Place};
use crate::groups::naming;
use crate::rules::latest::set;
use crate::rules::texts;

/// Which group, and what to change: at least one of the fields.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct GroupUpdate {
    /// The group's id.
    group: String,
    /// What it is called: one line of 2 characters and more.
    #[schemars(length(min = 2, max = 50))]
    name: Option<String>,
    /// What it is about.
    #[schemars(length(max = 500))]
    about: Option<String>,
    /// Who sees it: `public`, `closed` or `secret`.
    sight: Option<Sight>,
    /// How somebody becomes a member: `open`, `ask` or `invite`. Who asks already stays one who asks.
    entry: Option<Entry>,
}

impl MessageType for GroupUpdate {
    const TYPE: &'static str = "group.update";
    const SUMMARY: &'static str = "Changes what a group is; for its owners. From the reply on it holds for everything, \
                                   what was posted before included.";
    const TERMS: Terms = Terms::USUAL.critical();
    type Body = Self;
    type Reply = OneGroup;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OneGroup>, Failure> {
        let Self { group, name, about, sight, entry } = &request.body;
        if name.is_none() && about.is_none() && sight.is_none() && entry.is_none() {
            let message = "name a field to change: name, about, sight or entry";
            return Err(Failure::reject(ErrorCode::BadMessage, message));
        }
        let name = name.as_deref().map(naming::name).transpose()?;
        let about = about.as_deref().map(texts::about).transpose()?;
        let (place, _) = Place::read(cx, &request.from, group, Vec::new()).await?;
        let before = place.at_least(MemberRole::Owner)?;
        let (mut after, mid) = (before.clone(), request.mid);
        let mut changed = set(&mut after.name, &mut after.name_mid, name, mid);
        changed |= set(&mut after.about, &mut after.about_mid, about, mid);
        changed |= set(&mut after.sight, &mut after.sight_mid, *sight, mid);
        changed |= set(&mut after.entry, &mut after.entry_mid, *entry, mid);
        let mut writes = Vec::new();
        if changed {
            after.v += 1;
            let item = Item::of(&after);
            writes.push(Write::put(Table::Entities, groups::key(place.id), item).when(before.as_read()));
            let owner = groups::as_read(place.within.member.as_ref());
            let key = groups::member_key(place.id, &place.me);
            writes.push(Write::check(Table::Relationships, key, owner));
            writes.extend(naming::moved(place.id, Some(before), Some(&after)));
        }
        let group = sight::own_group(&after, place.id, place.counts);
        let (state, role) = (place.within.state(), place.within.role());
        Ok(Outcome::effect(OneGroup { group, state, role }, writes))
    }
}

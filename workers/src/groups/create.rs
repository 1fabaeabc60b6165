//! `group.create`: a group, whose first owner is the sender.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::groups::{self, Counts, Entry, Group, Sight};
use soundoff_common::model::sight;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::{Condition, Item, Table, Write};

use crate::groups::group::{self, OneGroup};
use crate::groups::membership::Membership;
use crate::groups::naming;
use crate::rules::texts;

/// A new group.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct GroupCreate {
    /// What it is called: one line of 2 characters and more.
    #[schemars(length(min = 2, max = 50))]
    name: String,
    /// What it is about; empty when absent.
    #[serde(default)]
    #[schemars(length(max = 500))]
    about: String,
    /// Who sees it: `public`, `closed` or `secret`.
    sight: Sight,
    /// How somebody becomes a member: `open`, `ask` or `invite`.
    entry: Entry,
}

impl MessageType for GroupCreate {
    const TYPE: &'static str = "group.create";
    const SUMMARY: &'static str = "Makes a group, whose owner is the sender.";
    const TERMS: Terms = Terms::USUAL.cost(4).at_most(5, 20);
    type Body = Self;
    type Reply = OneGroup;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OneGroup>, Failure> {
        let Self { name, about, sight, entry } = &request.body;
        let (id, me) = (request.mid, &request.from);
        let group = Group {
            name: naming::name(name)?,
            about: texts::about(about)?,
            sight: *sight,
            entry: *entry,
            created_at: request.at,
            v: 1,
            name_mid: None,
            about_mid: None,
            sight_mid: None,
            entry_mid: None,
            deleted: false,
            deleted_by: None,
        };
        let taken = group::taken(cx.tables.get(Table::Relationships, groups::taken_key(me)).await?)?;
        let turn = Membership::known(id, me, None).found(id);
        let mut writes = turn.founding(taken)?;
        let item = Item::of(&group);
        writes.push(Write::put(Table::Entities, groups::key(id), item).when(Condition::Missing));
        writes.extend(naming::moved(id, None, Some(&group)));
        let counts = Counts { members: 1, owners: 1, ..Counts::default() };
        let group = sight::own_group(&group, id, counts);
        Ok(Outcome::effect(OneGroup { group, state: turn.state(), role: turn.role() }, writes))
    }
}

//! `group.find`: public and closed groups whose name begins with some text, in order of their names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::groups::{self, Counts, GroupSeen};
use soundoff_common::model::ids;
use soundoff_common::model::sight::{self, Reading};
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::{Item, Query, Table, TableError};
use soundoff_common::protocol::ErrorCode;
use ulid::Ulid;

use crate::groups::naming::FEWEST;
use crate::rules::texts;

/// The most groups that are found.
const MOST: usize = 20;

/// How a name begins.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct GroupFind {
    /// At least 2 characters; small and capital letters are one.
    #[schemars(length(min = 2, max = 50))]
    name: String,
}

/// What was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Found {
    /// At most 20 groups, in order of their names. A longer text finds others.
    groups: Vec<GroupSeen>,
}

impl MessageType for GroupFind {
    const TYPE: &'static str = "group.find";
    const SUMMARY: &'static str = "Up to 20 public and closed groups whose name begins with a text, in order of their \
                                   names; those that the sender may know of.";
    const TERMS: Terms = Terms::USUAL.cost(2).sheddable();
    const READS: bool = true;
    type Body = Self;
    type Reply = Found;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<Found>, Failure> {
        let name = groups::folded(&request.body.name);
        let length = name.chars().count();
        if !(FEWEST..=2 * texts::MAX_NAME).contains(&length) || name.contains('\0') {
            let message =
                format!("name is {FEWEST} to {} characters that a name begins with", texts::MAX_NAME);
            return Err(Failure::reject(ErrorCode::BadMessage, message));
        }
        let page = cx.tables.query(Query::prefix(Table::Entities, groups::names(&name), &name, MOST)).await?;
        let id = |sk: &str| sk.rsplit_once('#').and_then(|(_, id)| ids::parse(id));
        let ids = page.items.iter().map(|(sk, _)| {
            id(sk).ok_or_else(|| TableError::Corrupt(format!("not the row of a group's name: {sk}")))
        });
        let ids: Vec<Ulid> = ids.collect::<Result<_, _>>()?;
        let mut reading = Reading::new(&request.from);
        ids.iter().for_each(|id| reading.group(*id));
        let counts = ids.iter().map(|id| (Table::Entities, groups::count_key(*id))).collect();
        let (sighted, counts) = reading.read_with(&*cx.tables, counts).await?;
        let found = ids.into_iter().zip(counts).filter_map(|(id, counts)| {
            let counts: Result<Counts, _> = counts.map_or_else(|| Ok(Counts::default()), Item::parse);
            counts.map(|counts| sight::group(sighted.within(id), id, counts)).transpose()
        });
        Ok(Outcome::read(Found { groups: found.collect::<Result<_, _>>()? }))
    }
}

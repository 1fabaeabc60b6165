//! `group.list`: the sender's groups, newest first.

use soundoff_common::model::groups::{self, Counts, Joined, MemberState, PREFIX};
use soundoff_common::model::sight::{self, Reading};
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::{Item, Table, TableError};
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::groups::group::OneGroup;
use crate::rules::paging::{List, Pages, Part};

/// The handler.
pub(crate) struct GroupList;

impl MessageType for GroupList {
    const TYPE: &'static str = "group.list";
    const SUMMARY: &'static str =
        "Groups that the sender is in, asks to join, or is invited to, the newest of these states first.";
    const TERMS: Terms = Terms::USUAL.cost(2);
    const READS: bool = true;
    type Body = Part;
    type Reply = List<OneGroup>;

    async fn handle(cx: &Context, request: &Request<Part>) -> Result<Outcome<List<OneGroup>>, Failure> {
        let (me, window) = (&request.from, request.body.window()?);
        let mut pages = Pages::new(Table::Relationships, groups::of_user(me), PREFIX, window);
        loop {
            let rows = pages.read(&*cx.tables).await?;
            let parsed = rows.into_iter().map(|(at, item)| Ok((at, item.parse::<Joined>()?.group)));
            let found = parsed.collect::<Result<Vec<_>, TableError>>()?;
            let shown = read(cx, me, &found).await?;
            if !pages.keep(found.into_iter().map(|(at, _)| at).zip(shown)) {
                return Ok(Outcome::read(pages.list()));
            }
        }
    }
}

/// The groups as the sender sees them: what they are in each is what it is now.
async fn read(
    cx: &Context,
    me: &Handle,
    found: &[(Ulid, Ulid)],
) -> Result<Vec<Option<OneGroup>>, TableError> {
    let mut reading = Reading::new(me);
    found.iter().for_each(|(_, group)| reading.group(*group));
    let counts = found.iter().map(|(_, group)| (Table::Entities, groups::count_key(*group))).collect();
    let (sighted, counts) = reading.read_with(&*cx.tables, counts).await?;
    let shown = found.iter().zip(counts).map(|((_, id), counts)| {
        let counts: Counts = counts.map(Item::parse).transpose()?.unwrap_or_default();
        let within = sighted.within(*id);
        let (state, role) = (within.state(), within.role());
        let group = sight::group(within, *id, counts).filter(|_| state != MemberState::Out);
        Ok(group.map(|group| OneGroup { group, state, role }))
    });
    shown.collect()
}

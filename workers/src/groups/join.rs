//! `group.join`: the sender becomes a member, asks to become one, or accepts an invitation, as the group's `entry` says.

use futures_util::future::OptionFuture;
use schemars::JsonSchema;
use serde::Serialize;
use soundoff_common::model::groups::{self, MODERATORS};
use soundoff_common::model::sight::Reading;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Push, Request, Told, raw};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::{Query, Table, TableError, Write};
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::groups::group::{self, OneMember, Place, Which};

/// The most moderators who are notified of one who asks.
const MODERATORS_TOLD: usize = 20;

/// The handler.
pub(crate) struct GroupJoin;

/// The push to the moderators.
#[derive(Debug, Serialize, JsonSchema)]
struct GroupAsked<'a> {
    /// The group's id.
    group: String,
    /// Who asks to become a member.
    by: &'a Handle,
}

impl MessageType for GroupJoin {
    const TYPE: &'static str = "group.join";
    const SUMMARY: &'static str = "Becomes a member of a group whose `entry` is `open` or to which the sender is invited. \
                                   Where it is `ask`, the sender asks: up to 20 moderators get the push `group.asked`, \
                                   once per user. `forbidden` where it is `invite`.";
    const TERMS: Terms = Terms::USUAL.cost(2).at_most(30, 500);
    const TELLS: &'static [Told] = &[
        Told::push::<GroupAsked<'_>>(
            "group.asked",
            "Somebody asks to join a group that you moderate; once per user.",
        ),
        group::JOINED,
    ];
    const HOT: Option<fn(&Which) -> &str> = Some(Which::group);
    type Body = Which;
    type Reply = OneMember;

    async fn handle(cx: &Context, request: &Request<Which>) -> Result<Outcome<OneMember>, Failure> {
        let me = &request.from;
        let taken = vec![(Table::Relationships, groups::taken_key(me))];
        let (place, mut found) = Place::read(cx, me, &request.body.group, taken).await?;
        let entry = place.seen()?.entry;
        let taken = group::taken(found.next().flatten())?;
        let mut turn = place.mine().join(request.mid, entry)?;
        let news = turn.tell_moderators();
        let mut writes = turn.writes(place.counts, taken)?;
        writes.extend(place.group_unchanged());
        let reply = OneMember::after(place.id, me, &turn);
        let listeners = match turn.inviter() {
            Some(inviter) => vec![inviter.clone()],
            None => OptionFuture::from(news.then(|| moderators(cx, place.id)))
                .await
                .transpose()?
                .unwrap_or_default(),
        };
        let (listeners, checks) = unblocked(cx, me, listeners).await?;
        writes.extend(checks);
        let body = raw(&GroupAsked { group: place.id.to_string(), by: me });
        let push = |to: Handle| match news {
            true => Push { to, push_type: "group.asked", by: me.clone(), body: body.clone() },
            false => group::joined(&to, place.id, me),
        };
        Ok(listeners.into_iter().map(push).fold(Outcome::effect(reply, writes), Outcome::push))
    }
}

/// Those of the group's moderators and owners who are notified.
async fn moderators(cx: &Context, group: Ulid) -> Result<Vec<Handle>, Failure> {
    let query = Query::prefix(Table::Relationships, groups::members(group), MODERATORS, MODERATORS_TOLD);
    let page = cx.tables.query(query).await?;
    let handle = |sk: &str| sk.strip_prefix(MODERATORS).and_then(|handle| handle.parse().ok());
    let handles = page
        .items
        .iter()
        .map(|(sk, _)| handle(sk).ok_or_else(|| TableError::Corrupt(format!("not a moderator's row: {sk}"))));
    Ok(handles.collect::<Result<_, _>>()?)
}

/// Those of `others` from whom no block parts the sender, and the checks that it stays so.
async fn unblocked(
    cx: &Context,
    me: &Handle,
    others: Vec<Handle>,
) -> Result<(Vec<Handle>, Vec<Write>), Failure> {
    let mut reading = Reading::new(me);
    others.iter().for_each(|other| reading.blocks(other));
    let sighted = reading.read(&*cx.tables).await?;
    let told: Vec<Handle> =
        others.into_iter().filter(|other| other != me && !sighted.is_blocked(other)).collect();
    let checks = told.iter().flat_map(|other| sighted.to(other).unchanged(me, other)).collect();
    Ok((told, checks))
}

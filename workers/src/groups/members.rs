//! `group.members`: who is in a group, and for its moderators who asks, is invited, or is barred; newest first.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::groups::{self, Member, MemberRole, MemberState, PREFIX, Row};
use soundoff_common::model::sight::Reading;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::{Item, Table, TableError};
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::groups::group::Place;
use crate::rules::paging::{List, Pages, Window};

/// Of which group, who, and which part of the list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct GroupMembers {
    /// The group's id.
    group: String,
    /// `in` when absent; `asked`, `invited` and `barred` are for the group's moderators.
    state: Option<Among>,
    /// The `next` of an earlier page.
    before: Option<String>,
    /// The most items; 20 when absent.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

/// Which users of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Among {
    /// Its members.
    #[default]
    In,
    /// Who asks to become one.
    Asked,
    /// Who is invited.
    Invited,
    /// Who is barred.
    Barred,
}

/// One of them.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OneOf {
    /// Who.
    user: Handle,
    /// What they may do; missing when they are not in.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<MemberRole>,
}

impl Among {
    fn state(self) -> MemberState {
        match self {
            Self::In => MemberState::In,
            Self::Asked => MemberState::Asked,
            Self::Invited => MemberState::Invited,
            Self::Barred => MemberState::Barred,
        }
    }
}

impl MessageType for GroupMembers {
    const TYPE: &'static str = "group.members";
    const SUMMARY: &'static str = "Who is in a group, newest first, without users across a block from the sender; \
                                   `forbidden` to who is not in, unless the group is public. For its moderators also who \
                                   asks to join, who is invited, and who is barred.";
    const TERMS: Terms = Terms::USUAL.cost(2);
    const READS: bool = true;
    type Body = Self;
    type Reply = List<OneOf>;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<List<OneOf>>, Failure> {
        let Self { group, state, before, limit } = &request.body;
        let (me, window) = (&request.from, Window::of(before.as_deref(), *limit)?);
        let (place, _) = Place::read(cx, me, group, Vec::new()).await?;
        let state = state.unwrap_or_default().state();
        match state {
            MemberState::In => place.inside()?,
            _ => {
                place.at_least(MemberRole::Moderator)?;
            }
        }
        // Nobody is listed as out.
        let partition = groups::list(place.id, state).unwrap_or_default();
        let mut pages = Pages::new(Table::Relationships, partition, PREFIX, window);
        loop {
            let rows = pages.read(&*cx.tables).await?;
            let parsed = rows.into_iter().map(|(at, item)| Ok((at, item.parse::<Row>()?.who)));
            let found = parsed.collect::<Result<Vec<_>, TableError>>()?;
            let shown = read(cx, &place, state, &found).await?;
            if !pages.keep(found.into_iter().map(|(at, _)| at).zip(shown)) {
                return Ok(Outcome::read(pages.list()));
            }
        }
    }
}

/// Those who may be shown, each as what they are now.
async fn read(
    cx: &Context,
    place: &Place,
    listed: MemberState,
    found: &[(Ulid, Handle)],
) -> Result<Vec<Option<OneOf>>, TableError> {
    let mut reading = Reading::new(&place.me);
    // Whom a moderator has barred they see whatever stands between the two, to take it back.
    if listed != MemberState::Barred {
        found.iter().for_each(|(_, user)| reading.blocks(user));
    }
    let states = found.iter().map(|(_, user)| (Table::Relationships, groups::member_key(place.id, user)));
    let (sighted, states) = reading.read_with(&*cx.tables, states.collect()).await?;
    let shown = found.iter().zip(states).map(|((_, user), item)| {
        let member: Option<Member> = item.map(Item::parse).transpose()?;
        let is_hidden = listed != MemberState::Barred && sighted.is_blocked(user);
        let member = member.filter(|member| member.state == listed && !is_hidden);
        Ok(member.map(|member| OneOf {
            user: user.clone(),
            role: (listed == MemberState::In).then_some(member.role),
        }))
    });
    shown.collect()
}

//! `group.clear`, an internal message: removes who was in a deleted group and the list of its posts, a page at a time.
//! The posts stay: their authors see them.

use soundoff_common::model::groups::{self, Group, STATES};
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Nothing, Outcome, Request, Source};
use soundoff_common::ports::tables::{Item, Key, Query, Table, TableError, Write};
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::groups::clearing::{self, Page};
use crate::groups::group;
use crate::groups::membership::Membership;

/// How many users one message looks at: each takes up to six writes of a transaction.
const USERS_AT_ONCE: usize = 12;

/// How many posts one message removes from the list.
const POSTS_AT_ONCE: usize = 90;

/// The handler.
pub(crate) struct Clear;

impl MessageType for Clear {
    const TYPE: &'static str = clearing::TYPE;
    const SUMMARY: &'static str = "Removes what was in a group that is deleted.";
    const SOURCE: Source = Source::Internal;
    const ARCHIVED: Archived = Archived::Not;
    const CAUSES: &'static [&'static str] = &[clearing::TYPE];
    type Body = Page;
    type Reply = Nothing;

    async fn handle(cx: &Context, request: &Request<Page>) -> Result<Outcome<Nothing>, Failure> {
        let id = group::id(&request.body.group)?;
        let stored = cx.tables.get(Table::Entities, groups::key(id)).await?;
        let stored = stored.map(Item::parse::<Group>).transpose()?;
        if !stored.is_some_and(|group| group.deleted) {
            return Ok(Outcome::read(Nothing {}));
        }
        let mut writes = users(cx, id).await?;
        if writes.is_empty() {
            writes = posts(cx, id).await?;
        }
        if writes.is_empty() {
            return Ok(Outcome::read(Nothing {}));
        }
        Ok(Outcome::effect(Nothing {}, writes).then(clearing::next(id)))
    }
}

/// The writes that remove what some users were in the group, with their rows and counts.
async fn users(cx: &Context, id: Ulid) -> Result<Vec<Write>, Failure> {
    let query = Query::prefix(Table::Relationships, groups::members(id), STATES, USERS_AT_ONCE);
    let mut writes = Vec::new();
    for (sk, item) in cx.tables.query(query).await?.items {
        let user: Option<Handle> = sk.strip_prefix(STATES).and_then(|handle| handle.parse().ok());
        let user = user.ok_or_else(|| TableError::Corrupt(format!("not a member's state: {sk}")))?;
        writes.extend(Membership::known(id, &user, Some(item.parse()?)).gone()?);
    }
    Ok(writes)
}

async fn posts(cx: &Context, id: Ulid) -> Result<Vec<Write>, TableError> {
    let pk = groups::posts(id);
    let page =
        cx.tables.query(Query::prefix(Table::Entities, pk.clone(), "", POSTS_AT_ONCE).above("0")).await?;
    let delete = |(sk, _)| Write::delete(Table::Entities, Key::new(pk.clone(), sk));
    Ok(page.items.into_iter().map(delete).collect())
}

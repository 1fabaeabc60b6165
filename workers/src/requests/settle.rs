//! `request.settle`: accepts the requests of a user who is private no longer, a page at a time, so that none stays for
//! ever.

use soundoff_common::model::follows;
use soundoff_common::model::privacy::{self, Privacy};
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::handler::{
    Context, Failure, MessageType, Nothing, Outcome, Request, Source, Told,
};
use soundoff_common::ports::tables::{Query, Table, TableError};
use soundoff_common::protocol::Handle;

use crate::follows::follow::{self, Moves, PREFIX, Row};
use crate::requests::answer;
use crate::requests::sweep::{self, Page};
use crate::rules::toggles::Toggle;

/// How many requests one message accepts: each takes up to nine writes of a transaction, its push included.
const REQUESTS_AT_ONCE: usize = 8;

/// The handler.
pub(crate) struct Settle;

impl MessageType for Settle {
    const TYPE: &'static str = sweep::TYPE;
    const SUMMARY: &'static str = "Accepts the requests of a user who is private no longer.";
    const SOURCE: Source = Source::Internal;
    const ARCHIVED: Archived = Archived::Not;
    const TELLS: &'static [Told] = answer::TELLS;
    const CAUSES: &'static [&'static str] = &[sweep::TYPE];
    type Body = Page;
    type Reply = Nothing;

    async fn handle(cx: &Context, request: &Request<Page>) -> Result<Outcome<Nothing>, Failure> {
        let me = &request.from;
        let query = Query::prefix(Table::Relationships, follows::requests(me), PREFIX, REQUESTS_AT_ONCE);
        let page = cx.tables.query(query).await?;
        let asking: Result<Vec<Handle>, TableError> =
            page.items.into_iter().map(|(_, item)| Ok(item.parse::<Row>()?.who)).collect();
        let asking = asking?;
        if asking.is_empty() {
            return Ok(Outcome::read(Nothing {}));
        }
        let mut keys = vec![(Table::Relationships, privacy::key(me))];
        keys.extend(asking.iter().map(|user| (Table::Relationships, follow::key(user, me))));
        let mut found = cx.tables.get_many(&keys).await?.into_iter();
        let settings = Privacy::parse(found.next().flatten())?;
        if settings.private {
            return Ok(Outcome::read(Nothing {}));
        }
        let mut moves = Moves::default();
        let mut accepted = Vec::new();
        for (user, item) in asking.iter().zip(found) {
            let follow = Toggle::of(follow::key(user, me), item)?;
            if follow.asked() {
                moves.add(user, me, follow.answer(true));
                accepted.push(answer::told(user, me));
            }
        }
        if accepted.is_empty() {
            return Ok(Outcome::read(Nothing {}));
        }
        let mut writes = moves.writes();
        writes.push(settings.unchanged(me));
        let outcome = accepted.into_iter().fold(Outcome::effect(Nothing {}, writes), Outcome::push);
        Ok(outcome.then(sweep::next()))
    }
}

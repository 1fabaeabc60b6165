//! Pages of a user's timeline: from the computed one, repaired to what is true now.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use soundoff_common::model::accounts::{self, Account};
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::lists;
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::cache::Cache;
use soundoff_common::ports::tables::{Table, Tables};
use soundoff_common::protocol::{ErrorCode, Handle, now_ms, rfc3339, steady_ms};
use soundoff_common::telemetry::Metrics;
use ulid::Ulid;

use crate::affinities::affinities;
use crate::cursor::{Cursor, MOST_LISTED, mark};
use crate::format::{Kind, Timeline};
use crate::gather::{Gatherer, ITEMS};
use crate::hydrator::{Hydrator, Place};
use crate::listing::Listing;
use crate::measure::{looked_up, stage};
use crate::memory::Memory;
use crate::messages::{COMPUTE, in_batches, queue};
use crate::page::{Fetch, Page};
use crate::ranker::{Ranker, Scratch};
use crate::repair::Repairer;
use crate::rings::Rings;
use crate::store::{lease, ranked_key};

/// How long a list is kept for its next pages.
const LIST_TTL: Duration = Duration::from_secs(3_600);
/// How long a user whose timeline is missing is not queued again.
const LEASE: Duration = Duration::from_secs(10);
/// How many candidates are gathered to find those of a lost list.
const LOST_LIST_ITEMS: usize = 1_000;

/// Makes pages.
pub(crate) struct Pager {
    ranker: Arc<Ranker>,
    gatherer: Gatherer,
    repairer: Repairer,
    hydrator: Hydrator,
    tables: Arc<dyn Tables>,
    cache: Arc<dyn Cache>,
    outward: Outward,
    metrics: Metrics,
    clock_skew_ms: u64,
}

impl Pager {
    pub(crate) fn new(memory: &Arc<Memory>, ranker: &Arc<Ranker>, world: &World) -> anyhow::Result<Self> {
        let World { tables, cache, outward, metrics, .. } = world.clone();
        Ok(Self {
            ranker: ranker.clone(),
            gatherer: Gatherer::new(memory, world),
            repairer: Repairer::new(memory, ranker, world),
            hydrator: Hydrator::new(memory, world)?,
            tables,
            cache,
            outward,
            metrics,
            clock_skew_ms: memory.clock_skew_ms,
        })
    }

    /// One page.
    pub(crate) async fn page(&self, user: &Handle, asked: &Fetch) -> Result<Page, Failure> {
        let limit = lists::limit(asked.limit)?;
        self.metrics.timeline_fetches.inc();
        let (mut place, is_kept) = match &asked.before {
            None => (self.first(user).await?, false),
            Some(before) => {
                let cursor = Cursor::parse(before).ok_or_else(lists::bad_cursor)?;
                self.later(user, cursor).await?
            }
        };
        let _time = stage(&self.metrics, "hydrate");
        let items = self.hydrator.show(user, &mut place, limit).await?;
        let computed_at = rfc3339(place.listing.computed_at);
        let at_end = usize::from(place.cursor.offset) >= place.listing.entries.len();
        if !at_end && !is_kept {
            let entry = (list_key(user, place.cursor.list), place.listing.write().bytes().clone());
            self.cache.put_many(vec![entry], LIST_TTL).await?;
        }
        let next = (!at_end).then(|| place.cursor.to_string());
        Ok(Page { items, next, computed_at })
    }

    /// The list that a first page is taken from.
    async fn first(&self, user: &Handle) -> Result<Place, Failure> {
        let listing = self.newest(user).await?;
        let posts = || listing.entries.iter().map(|entry| entry.post);
        let (newest, oldest) = (posts().max().unwrap_or_default(), posts().min().unwrap_or_default());
        let cursor = Cursor { list: new_list(), newest, oldest, offset: 0, shown: Vec::new() };
        Ok(Place { listing, cursor })
    }

    async fn newest(&self, user: &Handle) -> Result<Listing, Failure> {
        let time = stage(&self.metrics, "read");
        let now = steady_ms();
        let account = self.tables.get(Table::Users, accounts::key(user)).await?;
        let missing = || Failure::reject(ErrorCode::NotFound, "you have no account");
        let account: Account = account.ok_or_else(missing)?.parse()?;
        let rings = Rings::read(&*self.cache).await?;
        let cached = self.cache.get_many(&[ranked_key(user)]).await?.pop().flatten();
        let stored = cached.and_then(|cached| Timeline::read(cached.value, Kind::Ranked));
        let was_there = stored.is_some();
        let since = rings.all_since().saturating_add(self.clock_skew_ms);
        let usable = stored.filter(|timeline| is_usable(timeline, account.follows_version, since));
        looked_up(&self.metrics, "timelines", usize::from(usable.is_some()), usize::from(usable.is_none()));
        drop(time);
        if let Some(timeline) = usable {
            let _time = stage(&self.metrics, "repair");
            return self.repairer.repaired(user, &account, &timeline, &rings, now).await;
        }
        self.metrics.timeline_fallbacks.inc();
        // At the same time: the reader need not wait until the queue has the request.
        let (asked, gathered, affinities) = tokio::join!(
            self.ask_for(user),
            self.gather_one(user, ITEMS),
            affinities(&*self.tables, user, now_ms())
        );
        asked?;
        let (Some(timeline), affinities) = (gathered?, affinities?) else { return Err(missing()) };
        if !was_there {
            return Ok(self.ranker.scored(&timeline, &affinities));
        }
        // Computed before, but with other follows or before the rings: the reader is used to a ranked order.
        Ok(Listing::of(&self.ranker.ranked(&timeline, &affinities, &mut Scratch::default())))
    }

    async fn gather_one(&self, user: &Handle, items: usize) -> Result<Option<Timeline>, Failure> {
        let _time = stage(&self.metrics, "fallback");
        let gathered = self.gatherer.gather(std::slice::from_ref(user), items).await?;
        Ok(gathered.into_iter().next().map(|(_, timeline)| timeline))
    }

    /// Queues a user whose timeline is missing, once however many fetches ask for it.
    async fn ask_for(&self, user: &Handle) -> Result<(), Failure> {
        if lease(&*self.cache, format!("l:{user}"), LEASE).await? {
            queue(&self.outward, in_batches(COMPUTE, std::slice::from_ref(user))).await?;
        }
        Ok(())
    }

    /// The list that a later page is taken from, and whether the cache has it.
    async fn later(&self, user: &Handle, cursor: Cursor) -> Result<(Place, bool), Failure> {
        let kept = self.cache.get_many(&[list_key(user, cursor.list)]).await?.pop().flatten();
        if let Some(kept) = kept.and_then(|kept| Timeline::read(kept.value, Kind::Ranked)) {
            return Ok((Place { listing: Listing::of(&kept), cursor }, true));
        }
        let mut listing = match self.gather_one(user, LOST_LIST_ITEMS).await? {
            Some(timeline) => {
                let affinities = affinities(&*self.tables, user, now_ms()).await?;
                self.ranker.scored(&timeline, &affinities)
            }
            None => Listing::default(),
        };
        let shown: HashSet<u64> = cursor.shown.iter().copied().collect();
        let was_there = |post: Ulid| (cursor.oldest..=cursor.newest).contains(&post);
        listing.entries.retain(|entry| was_there(entry.post) && !shown.contains(&mark(entry.post)));
        listing.entries.truncate(MOST_LISTED.saturating_sub(shown.len()));
        let cursor = Cursor { list: new_list(), offset: 0, ..cursor };
        Ok((Place { listing, cursor }, false))
    }
}

/// Whether a computed timeline can be repaired: it was made from the current follows, and the rings have all that is
/// new since then.
fn is_usable(timeline: &Timeline, follows_version: u64, rings_since: u64) -> bool {
    timeline.follows_version() == follows_version && rings_since <= timeline.version()
}

/// Names a list. The message's id would not do: when the message is delivered again, another list would replace the one
/// that the first reply leads through.
fn new_list() -> Ulid {
    Ulid::generate()
}

/// The cache key of the list of a first page.
fn list_key(user: &Handle, list: Ulid) -> String {
    format!("v:{user}:{list}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Writer;

    #[test]
    fn a_timeline_of_other_follows_or_from_before_the_rings_is_not_used() {
        let timeline = Writer::new(Kind::Ranked, 50, 7, 0).finish();
        assert!(is_usable(&timeline, 7, 50));
        assert!(!is_usable(&timeline, 7, 51), "a note in between may have been lost with an older ring");
        assert!(!is_usable(&timeline, 8, 50) && !is_usable(&timeline, 6, 50));
    }
}

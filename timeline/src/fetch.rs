//! `timeline.fetch` and `user_session`: the computed timeline, repaired to what is true now, a page at a time.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::accounts::{self, Account};
use soundoff_common::model::posts::{News, Post};
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::lists;
use soundoff_common::ports::tables::{Change, Condition, Item, Table, TableError, Write};
use soundoff_common::protocol::{ErrorCode, Handle, now_ms, rfc3339};
use ulid::Ulid;

use crate::candidates::ITEMS;
use crate::cursor::{Cursor, MOST_LISTED, mark};
use crate::format::{Kind, Timeline};
use crate::jobs::{COMPUTE, in_batches, key};
use crate::listing::{Entry, Listing, Ranking, scored};
use crate::recent::Rings;
use crate::sources::{FOLLOWED, OWN};
use crate::timelines::Timelines;
use crate::weights::{Parts, unit};

/// How long a list is kept for its next pages.
const LIST_TTL: Duration = Duration::from_secs(3_600);
/// How long a user whose timeline is missing is not asked for again.
const LEASE: Duration = Duration::from_secs(10);
/// How far `active_at` may be behind before it is written, in milliseconds.
const ACTIVE_MS: u64 = 600_000;
/// How many candidates are looked through for those that a lost list had.
const LOST_LIST_ITEMS: usize = 1_000;

/// Which part of the timeline.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct Fetch {
    /// The `next` of an earlier page.
    pub(crate) before: Option<String>,
    /// The most items; 20 when absent.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) limit: Option<u32>,
}

/// What an item's score is made of. The parts sum to the score exactly.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Why {
    /// For being new.
    age: f64,
    /// For how much the reader turns to its author.
    affinity: f64,
    /// For likes and comments.
    popularity: f64,
}

/// One post of a timeline.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Shown {
    /// The post as it is now.
    pub(crate) post: Post,
    /// What ranked it, as of `computed_at`.
    score: f64,
    /// The parts of the score.
    why: Why,
}

impl Shown {
    fn new(post: Post, parts: Parts) -> Self {
        let of = |part: u16| unit(u32::from(part));
        let why = Why { age: of(parts.age), affinity: of(parts.affinity), popularity: of(parts.popularity) };
        Self { post, score: unit(parts.score()), why }
    }
}

/// A page of a timeline.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Page {
    /// The items, in the order in which they are to be shown.
    pub(crate) items: Vec<Shown>,
    /// Give it as `before` for the page after this one; null at the end.
    pub(crate) next: Option<String>,
    /// As of when the scores are, RFC 3339 UTC with milliseconds.
    computed_at: String,
}

impl Timelines {
    /// The first page for a user who has said hello, and a note that they are active.
    pub(crate) async fn welcome(&self, envelope: &Envelope) -> Result<Page, Failure> {
        let user = &envelope.from;
        let page = self.fetch(user, &Fetch::default()).await?;
        let account = self.deps.tables.get(Table::Users, accounts::key(user)).await?;
        let active_at = account.and_then(|account| account.number("active_at")).unwrap_or(0);
        if envelope.at > active_at + ACTIVE_MS {
            let change = vec![Change::Set("active_at", envelope.at.into())];
            let write = Write::update(Table::Users, accounts::key(user), change).when(Condition::Exists);
            match self.deps.tables.write(vec![write]).await {
                Ok(()) | Err(TableError::ConditionFailed { .. } | TableError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(page)
    }

    /// One page.
    pub(crate) async fn fetch(&self, user: &Handle, asked: &Fetch) -> Result<Page, Failure> {
        let limit = lists::limit(asked.limit)?;
        self.deps.metrics.timeline_fetches.inc();
        let mut place = match &asked.before {
            None => {
                let listing = self.first(user).await?;
                let posts = || listing.entries.iter().map(|entry| entry.post);
                let (newest, oldest) = (posts().max().unwrap_or_default(), posts().min().unwrap_or_default());
                let cursor = Cursor { list: new_list(), newest, oldest, offset: 0, shown: Vec::new() };
                Place { listing, cursor, is_kept: false }
            }
            Some(before) => {
                let cursor = Cursor::parse(before).ok_or_else(lists::bad_cursor)?;
                self.later(user, cursor).await?
            }
        };
        let _time = self.stage("hydrate");
        let items = self.show(user, &mut place, limit).await?;
        let computed_at = rfc3339(place.listing.computed_at);
        let at_end = usize::from(place.cursor.offset) >= place.listing.entries.len();
        if !at_end && !place.is_kept {
            let entry = (list_key(user, place.cursor.list), place.listing.write().bytes().clone());
            self.deps.cache.put_many(vec![entry], LIST_TTL).await?;
        }
        let next = (!at_end).then(|| place.cursor.to_string());
        Ok(Page { items, next, computed_at })
    }

    /// The list that a first page is cut from.
    async fn first(&self, user: &Handle) -> Result<Listing, Failure> {
        let time = self.stage("read");
        let now = now_ms();
        let account = self.deps.tables.get(Table::Users, accounts::key(user)).await?;
        let missing = || Failure::reject(ErrorCode::NotFound, "you have no account");
        let account: Account = account.ok_or_else(missing)?.parse()?;
        let rings = Rings::read(&*self.deps.cache).await?;
        let cached = self.deps.cache.get_many(&[key(user)]).await?.pop().flatten();
        let stored = cached.and_then(|cached| Timeline::read(cached.value, Kind::Ranked));
        let was_there = stored.is_some();
        let since = rings.all_since().saturating_add(self.skew_ms());
        let usable = stored.filter(|timeline| is_usable(timeline, account.follows_version, since));
        self.looked_up("timelines", usize::from(usable.is_some()), usize::from(usable.is_none()));
        drop(time);
        if let Some(timeline) = usable {
            let _time = self.stage("repair");
            return self.repaired(user, &account, &timeline, &rings, now).await;
        }
        self.deps.metrics.timeline_fallbacks.inc();
        // Asking waits for a queue, which is no reason for the reader to wait.
        let (asked, gathered, affinities) =
            tokio::join!(self.ask_for(user), self.gather_one(user, ITEMS), self.affinities(user, now));
        asked?;
        let (Some(timeline), affinities) = (gathered?, affinities?) else { return Err(missing()) };
        if !was_there {
            return Ok(scored(&timeline, &affinities, &self.scorer));
        }
        // Computed once, but of other follows, or before the rings: an order the reader knows.
        let in_a_row = self.config.weights.in_a_row;
        Ok(Listing::of(&Ranking::default().ranked(&timeline, &affinities, &self.scorer, in_a_row)))
    }

    async fn gather_one(&self, user: &Handle, items: usize) -> Result<Option<Timeline>, Failure> {
        let _time = self.stage("fallback");
        let gathered = self.gather(std::slice::from_ref(user), items).await?;
        Ok(gathered.into_iter().next().map(|(_, timeline)| timeline))
    }

    /// Queues a user whose timeline is missing, once however many ask.
    async fn ask_for(&self, user: &Handle) -> Result<(), Failure> {
        if self.lease(format!("l:{user}"), LEASE).await? {
            self.queue(in_batches(COMPUTE, std::slice::from_ref(user))).await?;
        }
        Ok(())
    }

    /// The computed list with what is new put in. What is gone is left out when it is shown.
    async fn repaired(
        &self,
        user: &Handle,
        account: &Account,
        timeline: &Timeline,
        rings: &Rings,
        now: u64,
    ) -> Result<Listing, Failure> {
        let mut listing = Listing::of(timeline);
        let since = timeline.version().saturating_sub(self.skew_ms());
        let known: HashSet<Ulid> = listing.entries.iter().map(|entry| entry.post).collect();
        let gone = rings.notes(since).filter(|(_, _, news)| *news == News::Deleted);
        let gone: HashSet<Ulid> = gone.map(|(_, post, _)| post).collect();
        // A full timeline has no room for what is older than all of it, whether the computation saw that or not.
        let oldest = listing.entries.iter().map(|entry| entry.post).min();
        let oldest = oldest.filter(|_| listing.entries.len() >= ITEMS);
        let is_new = |post: &Ulid| !known.contains(post) && !gone.contains(post) && oldest < Some(*post);
        let fresh = rings.notes(since).filter(|(_, post, _)| is_new(post));
        let fresh: Vec<(Handle, Ulid)> =
            fresh.filter_map(|(author, post, _)| Some((author.parse().ok()?, post))).collect();
        if fresh.is_empty() {
            return Ok(listing);
        }
        let authors = fresh.iter().map(|(author, _)| author);
        let followed = self.followed(user, account.follows_version, authors, now).await?;
        let source = |author: &Handle| match author == user {
            true => Some(OWN),
            false => followed.contains(author).then_some(FOLLOWED),
        };
        let fresh = fresh.into_iter().filter_map(|(author, post)| Some((source(&author)?, author, post)));
        let mut fresh: Vec<(u8, Handle, Ulid)> = fresh.collect();
        if fresh.is_empty() {
            return Ok(listing);
        }
        // More than a list holds are no use, whoever's they are.
        fresh.sort_unstable_by_key(|(_, _, post)| Reverse(*post));
        fresh.truncate(MOST_LISTED);
        let affinities = self.affinities(user, timeline.version()).await?;
        let mut numbers: HashMap<Handle, u16> =
            listing.authors.iter().map(|author| author.handle.clone()).zip(0..).collect();
        for (source, author, post) in fresh {
            let age_ms = timeline.version().saturating_sub(post.timestamp_ms());
            let parts = self.scorer.parts(age_ms, affinities.get(&author).copied().unwrap_or(0), 0);
            let number =
                *numbers.entry(author).or_insert_with_key(|author| listing.add_author(author, source));
            listing.entries.push(Entry { post, author: number, parts });
        }
        if listing.entries.len() > MOST_LISTED {
            listing.entries.sort_unstable_by_key(|entry| Reverse(entry.post));
            listing.entries.truncate(MOST_LISTED);
        }
        listing.arrange(self.config.weights.in_a_row);
        Ok(listing)
    }

    /// Whom of some authors the user follows, by the account of `now`.
    pub(crate) async fn followed<'a>(
        &self,
        user: &Handle,
        follows_version: u64,
        authors: impl Iterator<Item = &'a Handle>,
        now: u64,
    ) -> Result<HashSet<Handle>, Failure> {
        let _numbers_hold = self.numbers.read().await;
        let follows = self.know_follows(&[(user.clone(), follows_version)], now).await?;
        let follows = follows.first().and_then(|follows| follows.all.as_deref()).unwrap_or_default();
        let graph = self.graph();
        let is_followed =
            |author: &&Handle| graph.known(author).is_some_and(|slot| follows.binary_search(&slot).is_ok());
        Ok(authors.filter(is_followed).cloned().collect())
    }

    /// The list that a later page is cut from.
    async fn later(&self, user: &Handle, cursor: Cursor) -> Result<Place, Failure> {
        let kept = self.deps.cache.get_many(&[list_key(user, cursor.list)]).await?.pop().flatten();
        if let Some(kept) = kept.and_then(|kept| Timeline::read(kept.value, Kind::Ranked)) {
            return Ok(Place { listing: Listing::of(&kept), cursor, is_kept: true });
        }
        let mut listing = match self.gather_one(user, LOST_LIST_ITEMS).await? {
            Some(timeline) => {
                let affinities = self.affinities(user, now_ms()).await?;
                scored(&timeline, &affinities, &self.scorer)
            }
            None => Listing::default(),
        };
        let shown: HashSet<u64> = cursor.shown.iter().copied().collect();
        let was_there = |post: Ulid| (cursor.oldest..=cursor.newest).contains(&post);
        listing.entries.retain(|entry| was_there(entry.post) && !shown.contains(&mark(entry.post)));
        listing.entries.truncate(MOST_LISTED.saturating_sub(shown.len()));
        let cursor = Cursor { list: new_list(), offset: 0, ..cursor };
        Ok(Place { listing, cursor, is_kept: false })
    }
}

/// Whether a computed timeline can be made right: it is of the follows of now, and all that is new since it is in the rings.
fn is_usable(timeline: &Timeline, follows_version: u64, rings_since: u64) -> bool {
    timeline.follows_version() == follows_version && rings_since <= timeline.version()
}

/// Names a list. The message's id would not do: when the message comes again, another list would take the place of the one that its
/// first answer leads through.
fn new_list() -> Ulid {
    Ulid::generate()
}

/// Where the list of a first page is kept.
fn list_key(user: &Handle, list: Ulid) -> String {
    format!("v:{user}:{list}")
}

/// A list, and how far into it a client is.
pub(crate) struct Place {
    pub(crate) listing: Listing,
    pub(crate) cursor: Cursor,
    is_kept: bool,
}

pub(crate) fn shown(item: Option<Item>, entry: &Entry) -> Result<Option<Shown>, TableError> {
    let post = soundoff_common::model::posts::parse(item)?.filter(|post| !post.deleted);
    Ok(post.map(|post| Shown::new(post.shown(entry.post), entry.parts)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Writer;

    #[test]
    fn a_timeline_of_other_follows_or_from_before_the_rings_is_not_used() {
        let timeline = Writer::new(Kind::Ranked, 50, 7, 0).finish();
        assert!(is_usable(&timeline, 7, 50));
        assert!(!is_usable(&timeline, 7, 51), "a note in between may have gone with an older ring");
        assert!(!is_usable(&timeline, 8, 50) && !is_usable(&timeline, 6, 50));
    }
}

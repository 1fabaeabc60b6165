//! Puts what is new into a computed timeline.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use soundoff_common::model::accounts::Account;
use soundoff_common::model::posts::News;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::tables::Tables;
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::accounts::Reads;
use crate::affinities::affinities;
use crate::cursor::MOST_LISTED;
use crate::follow_lists::FollowLists;
use crate::format::Timeline;
use crate::gather::ITEMS;
use crate::listing::{Entry, Listing};
use crate::memory::Memory;
use crate::name::Name;
use crate::ranker::Ranker;
use crate::rings::Rings;
use crate::sources::{FOLLOWED, GROUPS, OWN};

/// Repairs timelines.
pub(crate) struct Repairer {
    ranker: Arc<Ranker>,
    follows: FollowLists,
    tables: Arc<dyn Tables>,
    clock_skew_ms: u64,
}

/// A post that a timeline lacks.
struct Fresh {
    /// The tag of the source that names its author.
    source: u8,
    author: Name,
    post: Ulid,
}

impl Repairer {
    pub(crate) fn new(memory: &Arc<Memory>, ranker: &Arc<Ranker>, world: &World) -> Self {
        let follows = FollowLists::new(memory, world);
        let (ranker, tables) = (ranker.clone(), world.tables.clone());
        Self { ranker, follows, tables, clock_skew_ms: memory.clock_skew_ms }
    }

    /// The computed list with what is new put in. Deleted posts are left out later, when the list is shown.
    pub(crate) async fn repaired(
        &self,
        user: &Handle,
        account: &Account,
        timeline: &Timeline,
        rings: &Rings,
        now: u64,
    ) -> Result<Listing, Failure> {
        let mut listing = Listing::of(timeline);
        let noted = self.noted(timeline, &listing, rings);
        if noted.is_empty() {
            return Ok(listing);
        }
        let mut fresh = self.of_readers_authors(user, account, noted, now).await?;
        if fresh.is_empty() {
            return Ok(listing);
        }
        // More than a list holds are of no use.
        fresh.sort_unstable_by_key(|fresh| Reverse(fresh.post));
        fresh.truncate(MOST_LISTED);
        let affinities = affinities(&*self.tables, user, timeline.version()).await?;
        let mut numbers: HashMap<Name, u16> =
            listing.authors.iter().map(|author| author.name.clone()).zip(0..).collect();
        for Fresh { source, author, post } in fresh {
            let age_ms = timeline.version().saturating_sub(post.timestamp_ms());
            let parts =
                self.ranker.scorer.parts(age_ms, affinities.get(author.as_str()).copied().unwrap_or(0), 0);
            let number =
                *numbers.entry(author).or_insert_with_key(|author| listing.add_author(author, source));
            listing.entries.push(Entry { post, author: number, parts });
        }
        if listing.entries.len() > MOST_LISTED {
            listing.entries.sort_unstable_by_key(|entry| Reverse(entry.post));
            listing.entries.truncate(MOST_LISTED);
        }
        listing.arrange(self.ranker.in_a_row);
        Ok(listing)
    }

    /// Posts of anybody that were noted since the timeline was computed, that still exist, and for which it has room.
    fn noted(&self, timeline: &Timeline, listing: &Listing, rings: &Rings) -> Vec<(Name, Ulid)> {
        let since = timeline.version().saturating_sub(self.clock_skew_ms);
        let known: HashSet<Ulid> = listing.entries.iter().map(|entry| entry.post).collect();
        let gone = rings.notes(since).filter(|(_, _, news)| *news == News::Deleted);
        let gone: HashSet<Ulid> = gone.map(|(_, post, _)| post).collect();
        // A full timeline has no room for posts that are older than all of its own, whether the computation saw them or
        // not.
        let oldest = listing.entries.iter().map(|entry| entry.post).min();
        let oldest = oldest.filter(|_| listing.entries.len() >= ITEMS);
        let is_new = |post: &Ulid| !known.contains(post) && !gone.contains(post) && oldest < Some(*post);
        let fresh = rings.notes(since).filter(|(_, post, _)| is_new(post));
        fresh.filter_map(|(author, post, _)| Some((Name::parse(author)?, post))).collect()
    }

    /// Of some posts those that the reader or somebody whom the reader follows has made, and those in the reader's groups.
    async fn of_readers_authors(
        &self,
        user: &Handle,
        account: &Account,
        noted: Vec<(Name, Ulid)>,
        now: u64,
    ) -> Result<Vec<Fresh>, Failure> {
        let authors = noted.iter().map(|(author, _)| author);
        let reads = Reads { version: account.follows_version, has_groups: account.groups > 0 };
        let read = self.follows.read_by(user, reads, authors, now).await?;
        let source = |author: &Name| match author {
            Name::User(handle) if handle == user => Some(OWN),
            Name::User(_) => read.contains(author).then_some(FOLLOWED),
            Name::Group(..) => read.contains(author).then_some(GROUPS),
        };
        let fresh = noted
            .into_iter()
            .filter_map(|(author, post)| Some(Fresh { source: source(&author)?, author, post }));
        Ok(fresh.collect())
    }
}

//! TLC: the newest candidates of a batch of users, as chronological timelines in the cache.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use rayon::iter::ParallelIterator as _;
use rayon::slice::ParallelSlice as _;
use soundoff_common::model::accounts;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::ports::cache::{Cache, Swap};
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::{Handle, now_ms};

use crate::follow_lists::Wanted;
use crate::format::{Kind, Record, Timeline, Writer, version_of};
use crate::graph::{Follows, Graph};
use crate::merge::{Scratch, newest};
use crate::recent::Rings;
use crate::shelf::{Listed, MAX_LISTED, Shelf, Slot};
use crate::sources::{SOURCES, Source};
use crate::timelines::{Timelines, millis};

/// How many items a timeline has.
pub(crate) const ITEMS: usize = 100;
/// How long a timeline is kept when nobody computes it anew.
pub(crate) const TIMELINE_TTL: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How old the times may be that posts are counted by: a fifth of the shortest of them.
const CALIBRATE_MS: u64 = 60_000;
/// How many users a thread merges in one go.
const READERS_AT_ONCE: usize = 32;
/// How often storing timelines is tried again when others are at them.
const STORE_TRIES: usize = 10;

/// Where a user's chronological timeline lies in the cache.
pub(crate) fn key(user: &Handle) -> String {
    format!("c:{user}")
}

/// A user and whom they read.
struct Reader {
    slot: Slot,
    follows_version: u64,
    /// Those whose whole lists are candidates come first: so many.
    whole: usize,
    authors: Vec<Slot>,
    /// The tag of the source that named each.
    sources: Vec<u8>,
    /// Of the others: how many posts of each are candidates.
    newest: Vec<usize>,
}

impl Reader {
    /// The authors of all sources, for a user with these follows, and what hints at relevance no older than `oldest`.
    fn new(graph: &Graph, slot: Slot, follows: &Follows, oldest: u64) -> Self {
        let (mut authors, mut sources, mut newest) = (Vec::new(), Vec::new(), Vec::new());
        let mut named = |source: &Source| {
            match graph.suggested(slot, source.tag, follows.version, oldest) {
                Some(suggested) => authors.extend_from_slice(suggested),
                None => (source.authors)(graph, slot, follows, &mut authors),
            }
            sources.resize(authors.len(), source.tag);
            authors.len()
        };
        let takes_all = |source: &&Source| source.newest >= MAX_LISTED;
        let whole = SOURCES.iter().filter(takes_all).map(&mut named).last().unwrap_or(0);
        for source in SOURCES.iter().filter(|source| !takes_all(source)) {
            newest.resize(named(source) - whole, source.newest);
        }
        Self { slot, follows_version: follows.version, whole, authors, sources, newest }
    }

    /// Adds the posts of authors of whom little is taken.
    fn add_few(&self, shelf: &Shelf, picks: &mut Vec<(Listed, usize)>) {
        for (author, newest) in (self.whole..).zip(&self.newest) {
            let listed = (0..*newest).map_while(|position| shelf.get(self.authors[author], position));
            picks.extend(listed.map(|listed| (listed, author)));
        }
    }
}

impl Timelines {
    /// The version of whom each user follows; `None` for users without an account.
    pub(crate) async fn follows_versions(&self, users: &[Handle]) -> Result<Vec<Option<u64>>, Failure> {
        let keys: Vec<_> = users.iter().map(|user| (Table::Users, accounts::key(user))).collect();
        let found = self.deps.tables.get_many(&keys).await?;
        let version =
            |item: soundoff_common::ports::tables::Item| item.number("follows_version").unwrap_or(0);
        Ok(found.into_iter().map(|item| item.map(version)).collect())
    }

    /// The chronological timelines of users, `items` long at most, as of now; users without an account have none.
    pub(crate) async fn gather(
        &self,
        users: &[Handle],
        items: usize,
    ) -> Result<Vec<(Handle, Timeline)>, Failure> {
        if self.graph().is_full() {
            let _nobody_counts_on_numbers = self.numbers.write().await;
            self.graph_mut().make_room();
        }
        let _numbers_hold = self.numbers.read().await;
        if users.len() > 1 {
            self.calibrate(now_ms());
        }
        // Before anything else is read: what comes later is in the rings from then on.
        let rings = Rings::read(&*self.deps.cache).await?;
        let started = rings.read_at;
        let wanted = {
            let _time = self.stage("accounts");
            let versions = self.follows_versions(users).await?;
            let wanted = users.iter().cloned().zip(versions);
            wanted.filter_map(|(user, version)| Some((user, version?))).collect::<Vec<Wanted>>()
        };
        let readers = self.readers(&wanted, started).await?;
        let authors = readers.iter().flat_map(|reader| reader.authors.iter().copied());
        let authors = self.graph().distinct(authors);
        {
            let _time = self.stage("authors");
            self.know_lists(&authors, &rings).await?;
        }
        let _time = self.stage("merge");
        let merged = || {
            // The memory is held for a few users at a time, so that nobody who fetches a page waits for a whole batch.
            let merge = |scratch: &mut Scratch, readers: &[Reader]| {
                merge(&self.graph(), readers, started, items, scratch)
            };
            readers.par_chunks(READERS_AT_ONCE).map_init(Scratch::default, merge).flatten().collect()
        };
        // One user's is done before another thread has woken up.
        Ok(if readers.len() > 1 { off_the_runtime(merged) } else { merged() })
    }

    /// Sets the times anew that posts are counted by, now and then. One user's timeline must not wait for it.
    fn calibrate(&self, now: u64) {
        let is_due = |graph: &Graph| now.saturating_sub(graph.shelf().calibrated_ms()) > CALIBRATE_MS;
        if is_due(&self.graph()) {
            let mut graph = self.graph_mut();
            if is_due(&graph) {
                graph.calibrate(now);
            }
        }
    }

    /// The users with their sources' authors, from follows that are as their accounts say.
    async fn readers(&self, wanted: &[Wanted], started: u64) -> Result<Vec<Reader>, Failure> {
        let _time = self.stage("follows");
        let all_follows = self.know_follows(wanted, started).await?;
        let users: Vec<(Slot, Arc<Follows>)> = {
            let graph = self.graph();
            let users = wanted.iter().zip(all_follows);
            users.filter_map(|((user, _), follows)| Some((graph.known(user)?, follows))).collect()
        };
        let oldest = started.saturating_sub(millis(self.config.hints_age));
        for source in &SOURCES {
            if let Some(whom) = source.hints {
                self.know_suggested(source, whom, &users, (started, oldest)).await?;
            }
        }
        let graph = self.graph();
        Ok(users.iter().map(|(slot, follows)| Reader::new(&graph, *slot, follows, oldest)).collect())
    }

    /// Has the memory know the authors whom a source that only hints names for some users, named later than `oldest`.
    async fn know_suggested(
        &self,
        source: &Source,
        whom: fn(&Follows) -> &[Slot],
        users: &[(Slot, Arc<Follows>)],
        (started, oldest): (u64, u64),
    ) -> Result<(), Failure> {
        let (stale, friends) = {
            let graph: &Graph = &self.graph();
            let is_stale = |(slot, follows): &&(Slot, Arc<Follows>)| {
                graph.suggested(*slot, source.tag, follows.version, oldest).is_none()
            };
            let stale: Vec<_> = users.iter().filter(is_stale).collect();
            let friends = graph.distinct(stale.iter().flat_map(|(_, follows)| whom(follows)).copied());
            (stale, friends)
        };
        if stale.is_empty() {
            return Ok(());
        }
        self.know_friends(&friends, started).await?;
        let mut graph = self.graph_mut();
        for (slot, follows) in stale {
            let mut authors = Vec::new();
            (source.authors)(&graph, *slot, follows, &mut authors);
            graph.suggest(*slot, source.tag, follows.version, started, authors);
        }
        Ok(())
    }
}

/// Stores timelines, each only where what is stored is older.
pub(crate) async fn store_newer(
    cache: &dyn Cache,
    mut timelines: Vec<(String, Timeline)>,
) -> Result<(), Failure> {
    for _ in 0..STORE_TRIES {
        let keys: Vec<String> = timelines.iter().map(|(key, _)| key.clone()).collect();
        let found = cache.get_many(&keys).await?;
        let mut swaps = Vec::with_capacity(timelines.len());
        let mut tried = Vec::with_capacity(timelines.len());
        for ((key, timeline), found) in timelines.into_iter().zip(found) {
            let stored = found.as_ref().and_then(|found| version_of(&found.value));
            if stored.is_none_or(|stored| stored < timeline.version()) {
                let seen = found.map(|found| found.stamp);
                swaps.push(Swap { key: key.clone(), seen, value: timeline.bytes().clone() });
                tried.push((key, timeline));
            }
        }
        if swaps.is_empty() {
            return Ok(());
        }
        let mut stored = cache.swap_many(swaps, TIMELINE_TTL).await?.into_iter();
        tried.retain(|_| stored.next() != Some(true));
        timelines = tried;
    }
    if timelines.is_empty() {
        return Ok(());
    }
    Err(Failure::Retry(anyhow::anyhow!("lost {STORE_TRIES} races for {} timelines", timelines.len())))
}

/// Runs what keeps a core busy for long without holding up what else runs on this thread.
pub(crate) fn off_the_runtime<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// Merges the authors' lists of some users.
fn merge(
    graph: &Graph,
    readers: &[Reader],
    version: u64,
    items: usize,
    scratch: &mut Scratch,
) -> Vec<(Handle, Timeline)> {
    let shelf = graph.shelf();
    let whole: Vec<&[Slot]> = readers.iter().map(|reader| &reader.authors[..reader.whole]).collect();
    let mut timelines = Vec::with_capacity(readers.len());
    let mut picks: Vec<(Listed, usize)> = Vec::new();
    newest(shelf, &whole, items, scratch, |at, merged| {
        let reader = &readers[at];
        picks.clear();
        picks.extend(merged.iter().map(|pick| (pick.post, usize::from(pick.author))));
        reader.add_few(shelf, &mut picks);
        if picks.len() > merged.len() {
            picks.sort_unstable_by_key(|(listed, _)| Reverse(listed.id));
            picks.truncate(items);
        }
        timelines.push((graph.handle(reader.slot).clone(), write(graph, reader, version, &picks)));
    });
    timelines
}

fn write(graph: &Graph, reader: &Reader, version: u64, picks: &[(Listed, usize)]) -> Timeline {
    let mut writer = Writer::new(Kind::Chronological, version, reader.follows_version, picks.len());
    // Authors are numbered as they appear; u16::MAX: not yet.
    let mut numbers = vec![u16::MAX; reader.authors.len()];
    let mut named = Vec::new();
    for (Listed { id, engagement }, author) in picks {
        if numbers[*author] == u16::MAX {
            numbers[*author] = u16::try_from(named.len()).expect("fewer authors than items");
            named.push(*author);
        }
        writer.record(Record::chronological(*id, numbers[*author], *engagement));
    }
    for author in named {
        writer.author(reader.sources[author], graph.handle(reader.authors[author]).as_str());
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::test_cache::TestCache;

    fn of(version: u64) -> (String, Timeline) {
        ("t:alice".to_owned(), Writer::new(Kind::Ranked, version, 0, 0).finish())
    }

    #[tokio::test]
    async fn of_two_timelines_the_newer_stays_whoever_comes_last() {
        let cache = Arc::new(TestCache::default());
        let stored = || version_of(&cache.at("t:alice").unwrap());
        for (version, expected) in [(5, 5), (7, 7), (6, 7)] {
            store_newer(&*cache, vec![of(version)]).await.unwrap();
            assert_eq!(stored(), Some(expected));
        }
        for (meanwhile, version, expected) in [(9, 8, 9), (10, 11, 11)] {
            let other = cache.clone();
            cache.meanwhile(async move { store_newer(&*other, vec![of(meanwhile)]).await.unwrap() });
            store_newer(&*cache, vec![of(version)]).await.unwrap();
            assert_eq!(stored(), Some(expected), "{meanwhile} came between the look and the write");
        }
        let other = ("t:bob".to_owned(), of(3).1);
        store_newer(&*cache, vec![of(4), other]).await.unwrap();
        assert_eq!((stored(), version_of(&cache.at("t:bob").unwrap())), (Some(11), Some(3)));
    }
}

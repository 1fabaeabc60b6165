//! TLC: gathers the newest candidates of users into chronological timelines.

use std::cmp::Reverse;
use std::sync::Arc;

use rayon::iter::ParallelIterator as _;
use rayon::slice::ParallelSlice as _;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::cache::Cache;
use soundoff_common::ports::tables::Tables;
use soundoff_common::protocol::{Handle, steady_ms};
use soundoff_common::telemetry::Metrics;

use crate::accounts::what_they_read;
use crate::author_lists::AuthorLists;
use crate::follow_lists::Wanted;
use crate::format::{Kind, Record, Timeline, Writer};
use crate::graph::Graph;
use crate::measure::stage;
use crate::memory::Memory;
use crate::merge::{Scratch, newest};
use crate::readers::{Reader, Readers};
use crate::rings::Rings;
use crate::shelf::{Listed, Slot};

/// The most items of a timeline.
pub(crate) const ITEMS: usize = 100;
/// How old the shelf's set times may be: a fifth of the shortest of them.
const CALIBRATE_MS: u64 = 60_000;
/// How many users a thread merges in one go.
const READERS_AT_ONCE: usize = 32;

/// Gathers candidates.
pub(crate) struct Gatherer {
    memory: Arc<Memory>,
    readers: Readers,
    authors: AuthorLists,
    tables: Arc<dyn Tables>,
    cache: Arc<dyn Cache>,
    metrics: Metrics,
}

impl Gatherer {
    pub(crate) fn new(memory: &Arc<Memory>, world: &World) -> Self {
        let (readers, authors) = (Readers::new(memory, world), AuthorLists::new(memory, world));
        let World { tables, cache, metrics, .. } = world.clone();
        Self { memory: memory.clone(), readers, authors, tables, cache, metrics }
    }

    /// The chronological timelines of users as of now, with at most `items` items each; users without an account have
    /// none.
    pub(crate) async fn gather(
        &self,
        users: &[Handle],
        items: usize,
    ) -> Result<Vec<(Handle, Timeline)>, Failure> {
        self.memory.make_room().await;
        let _numbers_stay = self.memory.keep_numbers().await;
        if users.len() > 1 {
            self.calibrate(steady_ms());
        }
        // Read before anything else: whatever happens later is in the rings.
        let rings = Rings::read(&*self.cache).await?;
        let started = rings.read_at;
        let wanted = {
            let _time = stage(&self.metrics, "accounts");
            let versions = what_they_read(&*self.tables, users).await?;
            let wanted = users.iter().cloned().zip(versions);
            wanted.filter_map(|(user, version)| Some((user, version?))).collect::<Vec<Wanted>>()
        };
        let readers = self.readers.of(&wanted, started).await?;
        let authors = readers.iter().flat_map(|reader| reader.authors.iter().copied());
        let authors = self.memory.graph().distinct(authors);
        {
            let _time = stage(&self.metrics, "authors");
            self.authors.know(&authors, &rings).await?;
        }
        let _time = stage(&self.metrics, "merge");
        let merged = || {
            // The lock is held for a few users at a time, so that nobody who fetches a page waits for a whole batch.
            let merge = |scratch: &mut Scratch, readers: &[Reader]| {
                merge(&self.memory.graph(), readers, started, items, scratch)
            };
            readers.par_chunks(READERS_AT_ONCE).map_init(Scratch::default, merge).flatten().collect()
        };
        // One user's timeline is done before another thread has woken up; many keep this thread busy for long.
        Ok(if readers.len() > 1 { tokio::task::block_in_place(merged) } else { merged() })
    }

    /// Renews the set times that posts are counted by, now and then. One user's timeline must not wait for it.
    fn calibrate(&self, now: u64) {
        let is_due = |graph: &Graph| now.saturating_sub(graph.shelf().calibrated_ms()) > CALIBRATE_MS;
        if is_due(&self.memory.graph()) {
            let mut graph = self.memory.graph_mut();
            if is_due(&graph) {
                graph.calibrate(now);
            }
        }
    }
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
        // Readers are people.
        if let Some(user) = graph.name(reader.slot).user() {
            timelines.push((user.clone(), write(graph, reader, version, &picks)));
        }
    });
    timelines
}

fn write(graph: &Graph, reader: &Reader, version: u64, picks: &[(Listed, usize)]) -> Timeline {
    let mut writer = Writer::new(Kind::Chronological, version, reader.follows_version, picks.len());
    // Authors are numbered as they appear; u16::MAX stands for no number yet.
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
        writer.author(reader.sources[author], graph.name(reader.authors[author]).as_str());
    }
    writer.finish()
}

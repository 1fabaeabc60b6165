//! The newest posts of authors and groups: from memory, from the cache, from the tables, in this order, and corrected by the
//! rings.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use soundoff_common::model::ids;
use soundoff_common::model::posts::{self, Stored};
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::cache::{Cache, Cached};
use soundoff_common::ports::tables::{Item, Query, Table, TableError, Tables};
use soundoff_common::protocol::steady_ms;
use soundoff_common::telemetry::Metrics;
use ulid::Ulid;

use crate::graph::ListRead;
use crate::measure::looked_up;
use crate::memory::Memory;
use crate::name::Name;
use crate::reads::few_at_once;
use crate::rings::Rings;
use crate::shelf::{Listed, MAX_LISTED, Slot};

const TTL: Duration = Duration::from_secs(24 * 3_600);
/// How many lists are read before they are stored.
const LISTS_AT_ONCE: usize = 1_000;
/// How many posts are read in one call.
const POSTS_AT_ONCE: usize = 200;
/// How often one call reads lists that have become stale meanwhile.
const ROUNDS: usize = 2;
/// Bytes of an entry in the cache: the post's id (u128) and its engagement (u32).
const ENTRY: usize = 20;

fn key(author: &Name) -> String {
    format!("a:{}", author.as_str())
}

/// When the tables were read (u64), and the items, newest first.
fn encode(read_at: u64, posts: &[Listed]) -> Bytes {
    let mut bytes = read_at.to_le_bytes().to_vec();
    for Listed { id, engagement } in posts {
        bytes.extend_from_slice(&id.0.to_le_bytes());
        bytes.extend_from_slice(&engagement.to_le_bytes());
    }
    bytes.into()
}

fn decode(bytes: &[u8]) -> Option<(u64, Vec<Listed>)> {
    let (head, items) = bytes.split_first_chunk::<8>()?;
    let item = |bytes: &[u8]| {
        let (id, engagement) = bytes.split_first_chunk::<16>()?;
        let id = Ulid(u128::from_le_bytes(*id));
        Some(Listed { id, engagement: u32::from_le_bytes(engagement.try_into().ok()?) })
    };
    let posts: Option<Vec<Listed>> = items.chunks(ENTRY).map(item).collect();
    let valid = |posts: &Vec<Listed>| posts.len() <= MAX_LISTED && posts.is_sorted_by(|a, b| a.id > b.id);
    Some((u64::from_le_bytes(*head), posts.filter(valid)?))
}

/// The engagement of a post: its likes, and its comments twice.
fn engagement(post: &Stored) -> u32 {
    u32::try_from(post.likes.saturating_add(post.comments.saturating_mul(2))).unwrap_or(u32::MAX)
}

/// The posts of one list; `posts` begins with their items.
fn listed(ids: Vec<Ulid>, posts: &mut impl Iterator<Item = Option<Item>>) -> Result<Vec<Listed>, TableError> {
    let mut listed = Vec::with_capacity(ids.len());
    for id in ids {
        // A row whose post has been deleted will be deleted soon.
        let post = posts::parse(posts.next().flatten())?.filter(|post| !post.deleted);
        listed.extend(post.map(|post| Listed { id, engagement: engagement(&post) }));
    }
    Ok(listed)
}

/// Reads author lists into the memory.
pub(crate) struct AuthorLists {
    memory: Arc<Memory>,
    tables: Arc<dyn Tables>,
    cache: Arc<dyn Cache>,
    metrics: Metrics,
}

impl AuthorLists {
    pub(crate) fn new(memory: &Arc<Memory>, world: &World) -> Self {
        let World { tables, cache, metrics, .. } = world.clone();
        Self { memory: memory.clone(), tables, cache, metrics }
    }

    /// Brings the authors' lists into the memory, correct as of when `rings` were read.
    pub(crate) async fn know(&self, authors: &[Slot], rings: &Rings) -> Result<(), Failure> {
        let oldest = rings.read_at.saturating_sub(self.memory.hints_age_ms);
        self.memory.graph_mut().correct(rings, self.memory.clock_skew_ms);
        let missing = self.without_list(authors, oldest);
        self.cached_lists(&missing, oldest).await?;
        let mut read = 0;
        // Repeated, because a full list that has lost a post meanwhile must be read again.
        for _ in 0..ROUNDS {
            let missing = self.without_list(authors, oldest);
            for part in missing.chunks(LISTS_AT_ONCE) {
                self.read_lists(part).await?;
            }
            read += missing.len();
            if missing.is_empty() {
                break;
            }
        }
        looked_up(&self.metrics, "authors", authors.len().saturating_sub(read), read);
        Ok(())
    }

    fn without_list(&self, authors: &[Slot], oldest: u64) -> Vec<(Slot, Name)> {
        let graph = self.memory.graph();
        let missing = graph.without_list(authors, oldest).into_iter();
        missing.map(|slot| (slot, graph.name(slot).clone())).collect()
    }

    /// Takes lists from the cache that the rings can correct.
    async fn cached_lists(&self, missing: &[(Slot, Name)], oldest: u64) -> Result<(), Failure> {
        for part in missing.chunks(10 * LISTS_AT_ONCE) {
            let keys: Vec<String> = part.iter().map(|(_, author)| key(author)).collect();
            let cached = self.cache.get_many(&keys).await?;
            let mut graph = self.memory.graph_mut();
            let list = |((author, _), cached): (&(Slot, Name), Option<Cached>)| {
                let (read_at, posts) = decode(&cached?.value)?;
                let is_good =
                    read_at >= oldest && graph.can_be_corrected(*author, read_at, self.memory.clock_skew_ms);
                is_good.then_some(ListRead { author: *author, posts, read_at })
            };
            let lists: Vec<ListRead> = part.iter().zip(cached).filter_map(list).collect();
            graph.set_lists(&lists, self.memory.clock_skew_ms);
        }
        Ok(())
    }

    /// Reads lists from the tables, and stores them in the cache.
    async fn read_lists(&self, missing: &[(Slot, Name)]) -> Result<(), Failure> {
        let read_at = steady_ms();
        let ids = few_at_once(missing.iter().map(|(_, author)| self.read_ids(author)).collect()).await?;
        let all: Vec<Ulid> = ids.iter().flatten().copied().collect();
        let parts = all.chunks(POSTS_AT_ONCE).map(|ids| async move {
            let keys: Vec<_> = ids.iter().map(|id| (Table::Entities, posts::key(*id))).collect();
            self.tables.get_many(&keys).await
        });
        let mut posts = few_at_once(parts.collect()).await?.into_iter().flatten();
        let (mut lists, mut entries) = (Vec::new(), Vec::new());
        for ((slot, author), ids) in missing.iter().zip(ids) {
            let listed = listed(ids, &mut posts)?;
            entries.push((key(author), encode(read_at, &listed)));
            lists.push(ListRead { author: *slot, posts: listed, read_at });
        }
        self.memory.graph_mut().set_lists(&lists, self.memory.clock_skew_ms);
        Ok(self.cache.put_many(entries, TTL).await?)
    }

    /// The ids of an author's newest posts, newest first.
    async fn read_ids(&self, author: &Name) -> Result<Vec<Ulid>, Failure> {
        let query = Query::prefix(Table::Entities, author.partition(), "", MAX_LISTED);
        // Every id is above "0"; not every adapter allows an empty bound.
        let page = self.tables.query(query.above("0").newest_first()).await?;
        let ids = page.items.iter().map(|(sk, _)| {
            ids::parse(sk).ok_or_else(|| TableError::Corrupt(format!("not a post's id: {sk}")))
        });
        Ok(ids.collect::<Result<_, _>>()?)
    }
}

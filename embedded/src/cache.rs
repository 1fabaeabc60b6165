//! A cache inside one process, bounded in bytes.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quick_cache::sync::{Cache as Entries, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use soundoff_common::lock::lock;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::cache::{Cache, Cached, Stamp, Swap};
use tokio::time::Instant;

const MAX_KEY_BYTES: usize = 200;
const MAX_VALUE_BYTES: usize = 1024 * 1024;

/// About how many writes of different keys may run at once.
const WRITERS: usize = 64;

/// The bytes that an entry takes beside its key and value: the map's slot, the allocations' headers.
const ENTRY_BYTES: usize = 128;

#[derive(Debug, Clone)]
struct Entry {
    value: Bytes,
    stamp: Stamp,
    deadline: Option<Instant>,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<Box<str>, Entry> for ByBytes {
    fn weight(&self, key: &Box<str>, entry: &Entry) -> u64 {
        (ENTRY_BYTES + key.len() + entry.value.len()) as u64
    }
}

/// [`Cache`] in this process's memory.
#[derive(Debug)]
pub struct LocalCache {
    entries: Entries<Box<str>, Entry, ByBytes>,
    stamps: AtomicU64,
    /// Writers of a key hold one of these, so that a swap reads and writes in one step. Readers need none.
    turns: [Mutex<()>; WRITERS],
    hasher: RandomState,
}

impl LocalCache {
    /// An empty cache that holds at most `max_bytes` bytes: keys, values and the overhead of each entry.
    ///
    /// # Panics
    /// If it would not hold one value of the largest size: a cache that refuses valid values is a mistake in the
    /// configuration.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        let largest = MAX_VALUE_BYTES + MAX_KEY_BYTES + ENTRY_BYTES;
        assert!(
            max_bytes >= largest,
            "a cache of {max_bytes} bytes cannot hold a value of {MAX_VALUE_BYTES}"
        );
        // Each shard has an equal part of the bytes, and must have room for several values of the largest size.
        let shards = (max_bytes / (8 * largest)).clamp(1, 64);
        // Rounded down to a power of two: the map would round up, which halves the bytes of a shard.
        let shards = 1 << shards.ilog2();
        let options = OptionsBuilder::new()
            .estimated_items_capacity((max_bytes / 4_096).max(64))
            .weight_capacity(max_bytes as u64)
            .shards(shards)
            .build()
            .expect("every option is given");
        let hasher = DefaultHashBuilder::default();
        Self {
            entries: Entries::with_options(options, ByBytes, hasher, DefaultLifecycle::default()),
            stamps: AtomicU64::new(0),
            turns: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }

    /// The bytes held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.weight()
    }
}

fn is_valid(key: &str) -> bool {
    (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
}

fn check_key(key: &str) -> Result<(), Unavailable> {
    if is_valid(key) {
        return Ok(());
    }
    let rule = format!("a cache key must be 1 to {MAX_KEY_BYTES} printable ASCII characters, not {key:?}");
    Err(Unavailable(rule))
}

fn check(key: &str, value: &Bytes) -> Result<(), Unavailable> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(Unavailable(format!(
            "a cache value of {} bytes; {MAX_VALUE_BYTES} at most",
            value.len()
        )));
    }
    check_key(key)
}

impl LocalCache {
    fn turn(&self, key: &str) -> MutexGuard<'_, ()> {
        let writer = self.hasher.hash_one(key) as usize % WRITERS;
        lock(&self.turns[writer])
    }

    /// The entry of a key, unless it has expired.
    fn read(&self, key: &str, now: Instant) -> Option<Entry> {
        let entry = self.entries.get(key)?;
        if entry.deadline.is_none_or(|at| at > now) {
            return Some(entry);
        }
        // Only if it is still the expired one: another caller may have put a new value in between.
        self.entries.remove_if(key, |e| e.deadline.is_some_and(|at| at <= now));
        None
    }

    fn write(&self, key: String, value: &Bytes, deadline: Option<Instant>) {
        let stamp = Stamp(self.stamps.fetch_add(1, Ordering::Relaxed));
        // Copied: a slice keeps the whole buffer that it was cut from, and the bound is on what is kept.
        let entry = Entry { value: Bytes::copy_from_slice(value), stamp, deadline };
        self.entries.insert(key.into_boxed_str(), entry);
    }
}

#[async_trait]
impl Cache for LocalCache {
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Cached>>, Unavailable> {
        let now = Instant::now();
        let value = |key: &String| {
            check_key(key)?;
            let entry = self.read(key, now);
            Ok(entry.map(|Entry { value, stamp, .. }| Cached { value, stamp }))
        };
        keys.iter().map(value).collect()
    }

    async fn put_many(&self, entries: Vec<(String, Bytes)>, ttl: Duration) -> Result<(), Unavailable> {
        entries.iter().try_for_each(|(key, value)| check(key, value))?;
        let deadline = Instant::now().checked_add(ttl);
        for (key, value) in entries {
            let _turn = self.turn(&key);
            self.write(key, &value, deadline);
        }
        Ok(())
    }

    async fn swap_many(&self, swaps: Vec<Swap>, ttl: Duration) -> Result<Vec<bool>, Unavailable> {
        swaps.iter().try_for_each(|swap| check(&swap.key, &swap.value))?;
        let now = Instant::now();
        let deadline = now.checked_add(ttl);
        let swapped = swaps.into_iter().map(|Swap { key, seen, value }| {
            let _turn = self.turn(&key);
            let holds = self.read(&key, now).map(|entry| entry.stamp) == seen;
            if holds {
                self.write(key, &value, deadline);
            }
            holds
        });
        Ok(swapped.collect())
    }
}

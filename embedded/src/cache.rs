//! A cache inside one process, bounded in bytes.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quick_cache::sync::{Cache as Entries, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::cache::Cache;
use tokio::time::Instant;

const MAX_KEY_BYTES: usize = 200;
const MAX_VALUE_BYTES: usize = 1024 * 1024;

/// What an entry costs beside its key and value: the map's slot, the allocations' headers.
const ENTRY_BYTES: usize = 128;

#[derive(Debug, Clone)]
struct Entry {
    value: Bytes,
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
}

impl LocalCache {
    /// An empty cache that holds at most so many bytes: keys, values and what keeping them costs.
    ///
    /// # Panics
    /// If it would not hold one value of the largest size: a cache that refuses lawful values is a mistake in the configuration.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        let largest = MAX_VALUE_BYTES + MAX_KEY_BYTES + ENTRY_BYTES;
        assert!(
            max_bytes >= largest,
            "a cache of {max_bytes} bytes cannot hold a value of {MAX_VALUE_BYTES}"
        );
        // Each shard has its share of the bytes, and must take the largest value several times over.
        let shards = (max_bytes / (8 * largest)).clamp(1, 64);
        // Rounded down to a power of two: the map would round up, and halve the shards' shares.
        let shards = 1 << shards.ilog2();
        let options = OptionsBuilder::new()
            .estimated_items_capacity((max_bytes / 4_096).max(64))
            .weight_capacity(max_bytes as u64)
            .shards(shards)
            .build()
            .expect("every option is given");
        let hasher = DefaultHashBuilder::default();
        Self { entries: Entries::with_options(options, ByBytes, hasher, DefaultLifecycle::default()) }
    }

    /// The bytes held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.weight()
    }
}

fn lawful(key: &str) -> bool {
    (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
}

fn unlawful(key: &str) -> Unavailable {
    Unavailable(format!("a cache key must be 1 to {MAX_KEY_BYTES} printable ASCII characters, not {key:?}"))
}

#[async_trait]
impl Cache for LocalCache {
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>, Unavailable> {
        let now = Instant::now();
        let value = |key: &String| {
            if !lawful(key) {
                return Err(unlawful(key));
            }
            let Some(entry) = self.entries.get(key.as_str()) else { return Ok(None) };
            if entry.deadline.is_none_or(|at| at > now) {
                return Ok(Some(entry.value));
            }
            // Only if it is still the expired one: another may have put a fresh value in between.
            self.entries.remove_if(key.as_str(), |e| e.deadline.is_some_and(|at| at <= now));
            Ok(None)
        };
        keys.iter().map(value).collect()
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), Unavailable> {
        if !lawful(key) {
            return Err(unlawful(key));
        }
        if value.len() > MAX_VALUE_BYTES {
            return Err(Unavailable(format!(
                "a cache value of {} bytes; {MAX_VALUE_BYTES} at most",
                value.len()
            )));
        }
        // Copied, as a slice keeps all of the buffer it was cut from, and that is what must be bounded.
        let entry =
            Entry { value: Bytes::copy_from_slice(&value), deadline: Instant::now().checked_add(ttl) };
        self.entries.insert(key.into(), entry);
        Ok(())
    }
}

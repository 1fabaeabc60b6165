use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::lock::lock;
use crate::ports::Unavailable;
use crate::ports::cache::{Cache, Cached, Stamp, Swap};

const MAX_KEY_BYTES: usize = 200;
const MAX_VALUE_BYTES: usize = 1024 * 1024;

/// A cache in memory. It holds few values in a test, so its memory is not bounded.
#[derive(Default)]
pub struct MemoryCache(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    entries: HashMap<String, (Cached, Instant)>,
    written: u64,
}

impl MemoryCache {
    /// The value of a key.
    pub fn peek(&self, key: &str) -> Option<Bytes> {
        lock(&self.0).get(key).map(|cached| cached.value)
    }
}

impl Entries {
    fn get(&self, key: &str) -> Option<Cached> {
        let (cached, until) = self.entries.get(key)?;
        (*until > Instant::now()).then(|| cached.clone())
    }

    fn put(&mut self, key: String, value: Bytes, ttl: Duration) {
        self.written += 1;
        let cached = Cached { value, stamp: Stamp(self.written) };
        self.entries.insert(key, (cached, Instant::now() + ttl));
    }
}

fn check_key(key: &str) -> Result<(), Unavailable> {
    let valid = (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if valid { Ok(()) } else { Err(Unavailable(format!("not a cache key: {key:?}"))) }
}

fn check(key: &str, value: &Bytes) -> Result<(), Unavailable> {
    check_key(key)?;
    if value.len() > MAX_VALUE_BYTES {
        return Err(Unavailable(format!("a value of {} bytes; at most {MAX_VALUE_BYTES}", value.len())));
    }
    Ok(())
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Cached>>, Unavailable> {
        keys.iter().try_for_each(|key| check_key(key))?;
        let entries = lock(&self.0);
        Ok(keys.iter().map(|key| entries.get(key)).collect())
    }

    async fn put_many(&self, new: Vec<(String, Bytes)>, ttl: Duration) -> Result<(), Unavailable> {
        new.iter().try_for_each(|(key, value)| check(key, value))?;
        let mut entries = lock(&self.0);
        new.into_iter().for_each(|(key, value)| entries.put(key, value, ttl));
        Ok(())
    }

    async fn swap_many(&self, swaps: Vec<Swap>, ttl: Duration) -> Result<Vec<bool>, Unavailable> {
        swaps.iter().try_for_each(|swap| check(&swap.key, &swap.value))?;
        let mut entries = lock(&self.0);
        let swapped = swaps.into_iter().map(|Swap { key, seen, value }| {
            let is_as_seen = entries.get(&key).map(|cached| cached.stamp) == seen;
            if is_as_seen {
                entries.put(key, value, ttl);
            }
            is_as_seen
        });
        Ok(swapped.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ports::cache::contract::{self, Harness};

    struct Fresh;

    #[async_trait]
    impl Harness for Fresh {
        async fn open(&self) -> Arc<dyn Cache> {
            Arc::new(MemoryCache::default())
        }

        async fn open_small(&self) -> Option<(Arc<dyn Cache>, usize)> {
            None
        }

        async fn pass(&self, time: Duration) {
            tokio::time::sleep(time).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_the_laws_of_caches() {
        contract::values_are_what_was_put(&Fresh).await;
        contract::values_expire(&Fresh).await;
        contract::get_many_answers_in_order(&Fresh).await;
        contract::invalid_calls_are_refused(&Fresh).await;
        contract::a_swap_holds_only_as_seen(&Fresh).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_laws_of_caches_when_many_call() {
        contract::never_half_a_value(&Fresh).await;
        contract::swaps_that_race_lose_nothing(&Fresh).await;
    }
}

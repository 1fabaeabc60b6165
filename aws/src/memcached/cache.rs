//! [`Cache`] on memcached: one key for each, and its CAS numbers are the stamps.
//!
//! **What a write without an answer means.** It counts as done and then dropped, which a cache may do with any value at
//! any time: no work fails because a cache is away. To keep this true, the key is deleted before the node is asked
//! anything else. So a node that was cut off cannot bring back its old value. A swap of a value that was *seen* returns
//! `false` instead: its caller reads again, finds nothing, and swaps against nothing. So while a node is away, several
//! callers may hold a lease whose key it has.
//!
//! What remains: a process that ends while a node is away forgets which of its writes were lost. At most 100,000 lost
//! writes are remembered. Until the node is back for the process that lost a write, processes for which it never was
//! away read the older value. A write that the network delayed may be done late. Callers for which this matters must
//! write versions into their values.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use memcache::exp::{Get, Meta, MutationResult, Set, Ttl};
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::cache::{Cache, Cached, Stamp, Swap};

use super::cluster::Memcached;

/// The copy of a key: what a cache loses is made again, so a second would cost more than it saves.
const ONLY: usize = 0;
const MAX_KEY_BYTES: usize = 200;
const MAX_VALUE_BYTES: usize = 1024 * 1024;
/// Longer makes no difference, and memcached's own clock ends in 2038.
const MAX_TTL_SECS: u64 = 365 * 24 * 3_600;

/// [`Cache`] on memcached.
#[derive(Debug, Clone)]
pub struct MemcachedCache {
    memcached: Memcached,
}

impl MemcachedCache {
    /// The cache on these nodes, which may hold other data too.
    #[must_use]
    pub fn new(memcached: Memcached) -> Self {
        Self { memcached }
    }
}

/// The name of the key on the node. Keys of sessions begin with another letter.
fn named(key: &str) -> Result<String, Unavailable> {
    if (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(format!("c:{key}"));
    }
    let rule = format!("a cache key must be 1 to {MAX_KEY_BYTES} printable ASCII characters, not {key:?}");
    Err(Unavailable(rule))
}

/// A store, and the name of its key.
fn set(key: &str, value: &Bytes, ttl: Ttl) -> Result<(String, Set), Unavailable> {
    if value.len() > MAX_VALUE_BYTES {
        let rule = format!("a cache value of {} bytes; {MAX_VALUE_BYTES} at most", value.len());
        return Err(Unavailable(rule));
    }
    let key = named(key)?;
    let set = Set::new(&key, value).ttl(ttl);
    Ok((key, set))
}

/// A time to live in memcached's unit. A part of a second is rounded up, as zero would be forever.
pub(super) fn whole_seconds(ttl: Duration) -> Ttl {
    let rest = u64::from(ttl.subsec_nanos() > 0);
    let secs = ttl.as_secs().saturating_add(rest).clamp(1, MAX_TTL_SECS);
    // For more than 30 days the client sends a point in time, as memcached takes larger numbers for one.
    Ttl::secs(u32::try_from(secs).unwrap_or(u32::MAX))
}

#[async_trait]
impl Cache for MemcachedCache {
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Cached>>, Unavailable> {
        let get = |key: &String| Ok(Get::new(named(key)?).meta(Meta::NONE.cas()));
        let gets = keys.iter().map(get).collect::<Result<Vec<Get>, Unavailable>>()?;
        let found = self.memcached.run(ONLY, gets).await;
        let cached = |found: Option<memcache::exp::GetResult>| {
            let found = found.filter(memcache::exp::GetResult::hit)?;
            Some(Cached { value: found.value?.into(), stamp: Stamp(found.item.cas?) })
        };
        Ok(found.into_iter().map(cached).collect())
    }

    async fn put_many(&self, entries: Vec<(String, Bytes)>, ttl: Duration) -> Result<(), Unavailable> {
        let ttl = whole_seconds(ttl);
        let sets = entries.iter().map(|(key, value)| set(key, value, ttl));
        let (keys, sets): (Vec<String>, Vec<Set>) =
            sets.collect::<Result<Vec<_>, Unavailable>>()?.into_iter().unzip();
        let done = self.memcached.run(ONLY, sets).await;
        keys.into_iter()
            .zip(done)
            .filter(|(_, done)| done.is_none())
            .for_each(|(key, _)| self.memcached.distrust(ONLY, key));
        Ok(())
    }

    async fn swap_many(&self, swaps: Vec<Swap>, ttl: Duration) -> Result<Vec<bool>, Unavailable> {
        let ttl = whole_seconds(ttl);
        let (mut keys, mut sets) = (Vec::with_capacity(swaps.len()), Vec::with_capacity(swaps.len()));
        for swap in &swaps {
            let (key, set) = set(&swap.key, &swap.value, ttl)?;
            keys.push(key);
            sets.push(match swap.seen {
                None => set.add(),
                Some(Stamp(cas)) => set.compare_cas(cas),
            });
        }
        let done = self.memcached.run(ONLY, sets).await;
        let answer = |((swap, key), done): ((&Swap, String), Option<MutationResult>)| {
            done.as_ref().map_or_else(
                || {
                    self.memcached.distrust(ONLY, key);
                    swap.seen.is_none()
                },
                MutationResult::applied,
            )
        };
        Ok(swaps.iter().zip(keys).zip(done).map(answer).collect())
    }
}

//! [`Cache`] on memcached: a key each, stamps are its CAS numbers.
//!
//! **What a write without an answer means.** It counts as done and dropped at once, which a cache may do with anything at any time: nobody's
//! work fails for want of a cache. So that this stays true, the key is deleted before the node is asked anything else: a node that was
//! cut off, and holds what was there before, does not bring it back. A swap of what was *seen* answers `false` instead: its caller looks
//! again, finds nothing, and swaps for nothing. While a node is away, several may so hold one lease that is a key of it.
//!
//! What remains: a process that ends while a node is away forgets which of its writes were lost; more than 100,000 of them are not
//! remembered; until the node is back for the process that lost a write, others for whom it never was away read the older value; and a
//! write the network held back may be done late. Those who cannot bear that write versions into their values.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use memcache::exp::{Get, Meta, MutationResult, Set, Ttl};
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::cache::{Cache, Cached, Stamp, Swap};

use super::Memcached;

const MAX_KEY_BYTES: usize = 200;
const MAX_VALUE_BYTES: usize = 1024 * 1024;
/// Longer is as good as for ever, and memcached's own clock ends in 2038.
const MAX_TTL_SECS: u64 = 365 * 24 * 3_600;

/// [`Cache`] on memcached.
#[derive(Debug, Clone)]
pub struct MemcachedCache {
    memcached: Memcached,
}

impl MemcachedCache {
    /// The cache on these nodes, beside whatever else is on them.
    #[must_use]
    pub fn new(memcached: Memcached) -> Self {
        Self { memcached }
    }
}

/// What the key is called on the node. Sessions begin otherwise.
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

/// A time to live in memcached's unit; the part of a second rounds up, as zero would be for ever.
pub(super) fn whole_seconds(ttl: Duration) -> Ttl {
    let rest = u64::from(ttl.subsec_nanos() > 0);
    let secs = ttl.as_secs().saturating_add(rest).clamp(1, MAX_TTL_SECS);
    // Over 30 days the client makes it a point in time, which memcached takes anything longer for.
    Ttl::secs(u32::try_from(secs).unwrap_or(u32::MAX))
}

#[async_trait]
impl Cache for MemcachedCache {
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Cached>>, Unavailable> {
        let get = |key: &String| Ok(Get::new(named(key)?).meta(Meta::NONE.cas()));
        let gets = keys.iter().map(get).collect::<Result<Vec<Get>, Unavailable>>()?;
        let found = self.memcached.run(gets).await;
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
        let done = self.memcached.run(sets).await;
        keys.into_iter()
            .zip(done)
            .filter(|(_, done)| done.is_none())
            .for_each(|(key, _)| self.memcached.distrust(key));
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
        let done = self.memcached.run(sets).await;
        let answer = |((swap, key), done): ((&Swap, String), Option<MutationResult>)| {
            done.as_ref().map_or_else(
                || {
                    self.memcached.distrust(key);
                    swap.seen.is_none()
                },
                MutationResult::applied,
            )
        };
        Ok(swaps.iter().zip(keys).zip(done).map(answer).collect())
    }
}

//! Bytes under a key for a while. Losing all of it costs time, never data.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::Unavailable;

/// The suite that every adapter of [`Cache`] must pass.
#[cfg(any(test, feature = "contract"))]
pub mod contract;

/// Names one write of one key: two writes never have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(pub u64);

/// A value as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// The bytes.
    pub value: Bytes,
    /// The write that stored it, for [`Cache::swap_many`].
    pub stamp: Stamp,
}

/// A write that holds only if nobody else was faster.
#[derive(Debug, Clone)]
pub struct Swap {
    /// The key.
    pub key: String,
    /// The stamp that was read there; `None` when nothing was there.
    pub seen: Option<Stamp>,
    /// The new value.
    pub value: Bytes,
}

/// A cache.
///
/// Laws, each in the contract suite:
/// 1. A value is what the last write of its key stored, or absent: never another key's, never half.
/// 2. It is absent once its `ttl` has passed.
/// 3. `get_many` returns one value for each key, in order.
/// 4. Its memory is bounded: old entries make room.
/// 5. `swap_many` writes where the key is still as it was read, in one step with the check, and returns for each
///    whether it wrote. Of two callers that read the same, one writes.
///
/// Keys are 1 to 200 printable ASCII characters without spaces; values at most 1 MiB (memcached's limits).
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// Values by key.
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Cached>>, Unavailable>;

    /// Stores values for `ttl`, whatever is there.
    async fn put_many(&self, entries: Vec<(String, Bytes)>, ttl: Duration) -> Result<(), Unavailable>;

    /// Stores each value for `ttl` if its key is as it was read; returns in order which were stored.
    async fn swap_many(&self, swaps: Vec<Swap>, ttl: Duration) -> Result<Vec<bool>, Unavailable>;
}

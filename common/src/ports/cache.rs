//! Bytes under a key for a while. Losing all of it costs time, never data.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::Unavailable;

/// The suite that every adapter of [`Cache`] must pass.
#[cfg(feature = "contract")]
pub mod contract;

/// A cache.
///
/// Laws, each in the contract suite:
/// 1. A value is what the last `put` of its key said, or absent: never another key's, never half.
/// 2. It is absent once its `ttl` has passed.
/// 3. `get_many` answers one value a key, in order.
/// 4. Its memory is bounded: old entries make room.
///
/// Keys are 1 to 200 printable ASCII characters without spaces; values at most 1 MiB (memcached's limits).
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// Values by key.
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>, Unavailable>;

    /// Stores a value for `ttl`.
    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), Unavailable>;
}

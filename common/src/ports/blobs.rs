//! Media bytes by id.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use super::Unavailable;

/// The suite that every adapter of [`Blobs`] must pass.
#[cfg(feature = "contract")]
pub mod contract;

/// Blobs.
///
/// Laws, each in the contract suite:
/// 1. A blob is whole or absent, and durable once `put` answered `Ok`.
/// 2. `get` of a range answers those bytes, cut at the blob's end.
/// 3. `delete` is idempotent.
///
/// Ids are 1 to 100 letters, digits, `-`, `_` and `.`, not starting with `.`; anything else is refused, so that no id names a path.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Stores a blob, replacing one of the same id.
    async fn put(&self, id: &str, bytes: Bytes) -> Result<(), Unavailable>;

    /// A blob's bytes, all or a range of them (none, if it starts at or after the end); `None` when there is no such blob.
    async fn get(&self, id: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>, Unavailable>;

    /// Removes a blob.
    async fn delete(&self, id: &str) -> Result<(), Unavailable>;
}

//! Media bytes by id.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use super::Unavailable;

/// What every adapter checks of an id.
pub mod rules;

/// The suite that every adapter of [`Blobs`] must pass.
#[cfg(any(test, feature = "contract"))]
pub mod contract;

/// Blobs.
///
/// Laws, each in the contract suite:
/// 1. A blob is whole or absent, and durable once `put` or [`BlobWriter::finish`] returned `Ok`; a writer that is
///    dropped leaves nothing.
/// 2. `get` of a range returns those bytes, cut at the blob's end.
/// 3. `delete` is idempotent.
/// 4. `size` is the length of what `get` returns.
///
/// Ids are 1 to 100 letters, digits, `-`, `_` and `.`, not starting with `.`; anything else is refused, so that no id
/// names a path.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Begins a blob that comes in parts, and replaces one of the same id when it is finished.
    async fn create(&self, id: &str) -> Result<Box<dyn BlobWriter>, Unavailable>;

    /// Stores a blob, replacing one of the same id.
    async fn put(&self, id: &str, bytes: Bytes) -> Result<(), Unavailable> {
        let mut writer = self.create(id).await?;
        writer.write(bytes).await?;
        writer.finish().await
    }

    /// How many bytes a blob has; `None` when there is no such blob.
    async fn size(&self, id: &str) -> Result<Option<u64>, Unavailable>;

    /// A blob's bytes, all or a range of them (none, if it starts at or after the end); `None` when there is no such
    /// blob.
    async fn get(&self, id: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>, Unavailable>;

    /// Removes a blob.
    async fn delete(&self, id: &str) -> Result<(), Unavailable>;
}

/// A blob that comes in parts. When it is dropped before it is finished, nothing is stored.
#[async_trait]
pub trait BlobWriter: Send {
    /// Takes the next bytes.
    async fn write(&mut self, bytes: Bytes) -> Result<(), Unavailable>;

    /// Makes the whole blob visible.
    async fn finish(self: Box<Self>) -> Result<(), Unavailable>;
}

//! The blobs behind a breaker.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::breaker::Breaker;
use crate::ports::Unavailable;
use crate::ports::blobs::{BlobWriter, Blobs};

/// Blobs that refuse at once while their engine is away. A blob that was begun is not judged: how long its parts take
/// depends on the one who sends them.
pub struct GuardedBlobs {
    blobs: Arc<dyn Blobs>,
    breaker: Arc<Breaker>,
}

impl GuardedBlobs {
    /// Puts a breaker before `blobs`.
    #[must_use]
    pub fn new(blobs: Arc<dyn Blobs>, breaker: Arc<Breaker>) -> Self {
        Self { blobs, breaker }
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, Unavailable>>) -> Result<T, Unavailable> {
        self.breaker.call(call, |_| true, Unavailable).await
    }
}

#[async_trait]
impl Blobs for GuardedBlobs {
    async fn create(&self, id: &str) -> Result<Box<dyn BlobWriter>, Unavailable> {
        self.call(self.blobs.create(id)).await
    }

    async fn put(&self, id: &str, bytes: Bytes) -> Result<(), Unavailable> {
        self.call(self.blobs.put(id, bytes)).await
    }

    async fn size(&self, id: &str) -> Result<Option<u64>, Unavailable> {
        self.call(self.blobs.size(id)).await
    }

    async fn get(&self, id: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>, Unavailable> {
        self.call(self.blobs.get(id, range)).await
    }

    async fn delete(&self, id: &str) -> Result<(), Unavailable> {
        self.call(self.blobs.delete(id)).await
    }
}

//! The archive behind a breaker.

use std::sync::Arc;

use async_trait::async_trait;

use super::breaker::Breaker;
use crate::ports::Unavailable;
use crate::ports::archive::{Archive, Record};

/// An archive that refuses at once while its engine is away.
pub struct GuardedArchive {
    archive: Arc<dyn Archive>,
    breaker: Arc<Breaker>,
}

impl GuardedArchive {
    /// Puts a breaker before `archive`.
    #[must_use]
    pub fn new(archive: Arc<dyn Archive>, breaker: Arc<Breaker>) -> Self {
        Self { archive, breaker }
    }
}

#[async_trait]
impl Archive for GuardedArchive {
    async fn put(&self, records: Vec<Record>) -> Result<(), Unavailable> {
        self.breaker.call(self.archive.put(records), |_| true, Unavailable).await
    }

    async fn flush(&self) -> Result<(), Unavailable> {
        self.archive.flush().await
    }
}

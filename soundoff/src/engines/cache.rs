//! The engines of the cache.

use std::sync::Arc;

use soundoff_common::ports::cache::Cache;
use soundoff_embedded::cache::LocalCache;

use super::opening::Opening;

/// One of them.
pub(super) enum Engine {
    /// This process's memory.
    Memory { bytes: usize },
    /// memcached.
    #[cfg(feature = "aws")]
    Memcached,
}

impl Engine {
    #[cfg_attr(not(feature = "aws"), expect(clippy::unnecessary_wraps, reason = "managed engines can fail"))]
    pub(super) fn open(&self, _opening: &Opening) -> anyhow::Result<Arc<dyn Cache>> {
        match self {
            Self::Memory { bytes } => Ok(Arc::new(LocalCache::new(*bytes))),
            #[cfg(feature = "aws")]
            Self::Memcached => {
                let memcached = _opening.managed()?.memcached.clone();
                Ok(Arc::new(soundoff_aws::memcached::MemcachedCache::new(memcached)))
            }
        }
    }
}

//! A cache for tests: something can happen between a read and the write that depends on it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::cache::{Cache, Cached, Stamp, Swap};

/// What happens before a write.
type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A cache that keeps everything.
#[derive(Default)]
pub(crate) struct TestCache {
    entries: Mutex<HashMap<String, Cached>>,
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl TestCache {
    /// Runs `what` once, before the next swap.
    pub(crate) fn meanwhile(&self, what: impl Future<Output = ()> + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::pin(what));
    }

    /// The value of a key.
    pub(crate) fn at(&self, key: &str) -> Option<Bytes> {
        self.entries.lock().unwrap().get(key).map(|cached| cached.value.clone())
    }
}

#[async_trait]
impl Cache for TestCache {
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Cached>>, Unavailable> {
        let entries = self.entries.lock().unwrap();
        Ok(keys.iter().map(|key| entries.get(key).cloned()).collect())
    }

    async fn put_many(&self, _: Vec<(String, Bytes)>, _: Duration) -> Result<(), Unavailable> {
        unreachable!("what is tested with it swaps")
    }

    async fn swap_many(&self, swaps: Vec<Swap>, _: Duration) -> Result<Vec<bool>, Unavailable> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
        let mut entries = self.entries.lock().unwrap();
        let swapped = swaps.into_iter().map(|Swap { key, seen, value }| {
            let known = entries.get(&key).map(|cached| cached.stamp);
            if known == seen {
                let stamp = Stamp(known.map_or(1, |stamp| stamp.0 + 1));
                entries.insert(key, Cached { value, stamp });
            }
            known == seen
        });
        Ok(swapped.collect())
    }
}

//! The in-process cache, by the port's laws.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use soundoff_common::ports::cache::Cache;
use soundoff_common::ports::cache::contract::{self, Harness};
use soundoff_embedded::cache::LocalCache;

struct Local;

#[async_trait]
impl Harness for Local {
    async fn open(&self) -> Arc<dyn Cache> {
        Arc::new(LocalCache::new(64 * 1024 * 1024))
    }

    async fn open_small(&self) -> Option<(Arc<dyn Cache>, usize)> {
        let bytes = 4 * 1024 * 1024;
        Some((Arc::new(LocalCache::new(bytes)), bytes))
    }

    async fn pass(&self, time: Duration) {
        tokio::time::advance(time).await;
    }
}

#[tokio::test(start_paused = true)]
async fn values_are_what_was_put() {
    contract::values_are_what_was_put(&Local).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn never_half_a_value() {
    contract::never_half_a_value(&Local).await;
}

#[tokio::test(start_paused = true)]
async fn values_expire() {
    contract::values_expire(&Local).await;
}

#[tokio::test(start_paused = true)]
async fn get_many_answers_in_order() {
    contract::get_many_answers_in_order(&Local).await;
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded() {
    contract::memory_is_bounded(&Local).await;
}

#[tokio::test(start_paused = true)]
async fn a_swap_holds_only_as_seen() {
    contract::a_swap_holds_only_as_seen(&Local).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn swaps_that_race_lose_nothing() {
    contract::swaps_that_race_lose_nothing(&Local).await;
}

#[tokio::test(start_paused = true)]
async fn invalid_calls_are_refused() {
    contract::invalid_calls_are_refused(&Local).await;
}

#[tokio::test(start_paused = true)]
async fn small_values_are_bounded_with_their_overhead() {
    let bytes = 2 * 1024 * 1024;
    let cache = LocalCache::new(bytes);
    for n in 0..50_000 {
        cache.put_many(vec![(format!("k{n}"), "v".into())], Duration::from_secs(60)).await.unwrap();
        assert!(cache.bytes() <= bytes as u64, "after {n} entries");
    }
    assert!(cache.bytes() > bytes as u64 / 2, "the room is used: {}", cache.bytes());
}

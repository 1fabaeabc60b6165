//! The ports' suites, on two nodes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use soundoff_aws::memcached::{Memcached, MemcachedCache, MemcachedOptions, MemcachedSessions};
use soundoff_common::ports::cache::{self, Cache};
use soundoff_common::ports::sessions::{self, Sessions};
use soundoff_common::telemetry::Metrics;

use super::nodes::{Node, client};

pub(crate) struct Real {
    memcached: Memcached,
    _nodes: [Node; 2],
}

impl Real {
    fn start() -> Self {
        let nodes = [Node::start(), Node::start()];
        Self::of(client(&[&nodes[0], &nodes[1]]), nodes)
    }

    pub(crate) fn of(memcached: Memcached, nodes: [Node; 2]) -> Self {
        Self { memcached, _nodes: nodes }
    }
}

#[async_trait]
impl cache::contract::Harness for Real {
    async fn open(&self) -> Arc<dyn Cache> {
        Arc::new(MemcachedCache::new(self.memcached.clone()))
    }

    async fn open_small(&self) -> Option<(Arc<dyn Cache>, usize)> {
        None
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[async_trait]
impl sessions::contract::Harness for Real {
    async fn open(&self) -> Arc<dyn Sessions> {
        Arc::new(MemcachedSessions::new(self.memcached.clone()))
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn values_are_what_was_put() {
    cache::contract::values_are_what_was_put(&Real::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn never_half_a_value() {
    cache::contract::never_half_a_value(&Real::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn values_expire() {
    cache::contract::values_expire(&Real::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn get_many_answers_in_order() {
    cache::contract::get_many_answers_in_order(&Real::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn invalid_calls_are_refused() {
    cache::contract::invalid_calls_are_refused(&Real::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn a_swap_holds_only_as_seen() {
    cache::contract::a_swap_holds_only_as_seen(&Real::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn swaps_that_race_lose_nothing() {
    cache::contract::swaps_that_race_lose_nothing(&Real::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn sessions_a_handle_has_many_registrations() {
    sessions::contract::a_handle_has_many_registrations(&Real::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn sessions_only_its_own_token_removes() {
    sessions::contract::only_its_own_token_removes(&Real::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn sessions_each_expires_on_its_own() {
    sessions::contract::each_expires_on_its_own(&Real::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn sessions_get_many_answers_in_order() {
    sessions::contract::get_many_answers_in_order(&Real::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn a_registration_keeps_its_device() {
    sessions::contract::a_registration_keeps_its_device(&Real::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn sessions_many_edges_at_once() {
    sessions::contract::many_edges_at_once(&Real::start()).await;
}

const LARGEST: usize = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn the_largest_value_is_kept_or_dropped_but_never_an_error_and_never_the_old_one() {
    for (limit, is_kept) in [("2m", true), ("1m", false)] {
        let node = Node::sized(limit);
        let cache = MemcachedCache::new(client(&[&node]));
        let ttl = Duration::from_secs(60);
        let put = |value: Vec<u8>| cache.put_many(vec![("large".into(), value.into())], ttl);
        put(vec![1; 10]).await.unwrap();
        put(vec![2; LARGEST]).await.unwrap();
        let found = cache.get_many(&["large".into()]).await.unwrap().remove(0).map(|cached| cached.value);
        let expected = is_kept.then(|| Bytes::from(vec![2; LARGEST]));
        assert!(found == expected, "with -I {limit}: {:?} bytes", found.map(|value| value.len()));
        // Other values of the same call are not lost with it.
        let mut entries: Vec<(String, Bytes)> = (0..20).map(|n| (format!("k{n}"), "v".into())).collect();
        entries.insert(10, ("large".into(), vec![3; LARGEST].into()));
        cache.put_many(entries, ttl).await.unwrap();
        let keys: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
        let found = cache.get_many(&keys).await.unwrap();
        assert_eq!(found.iter().flatten().count(), 20, "with -I {limit}");
    }
}

#[test]
fn invalid_clusters_are_refused() {
    let connect = |nodes: &[&str]| {
        let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        Memcached::connect(&nodes, &MemcachedOptions::default(), &Metrics::new())
    };
    for nodes in
        [&[][..], &["host"], &["host:"], &[":11211"], &["host:0"], &["host:99999"], &["a:1", "b:1", "a:1"]]
    {
        assert!(connect(nodes).is_err(), "{nodes:?}");
    }
    assert!(
        connect(&["nobody.invalid:11211", "127.0.0.1:1"]).is_ok(),
        "it does not matter which nodes are up"
    );
    let options = MemcachedOptions { timeout: Duration::ZERO, ..MemcachedOptions::default() };
    assert!(Memcached::connect(&["a:1".to_owned()], &options, &Metrics::new()).is_err());
}

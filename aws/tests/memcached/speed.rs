//! Prints how fast it is, with limits that only a mistake would exceed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use soundoff_aws::memcached::{Memcached, MemcachedCache, MemcachedSessions};
use soundoff_common::ports::cache::Cache as _;
use soundoff_common::ports::sessions::{Registration, Sessions as _};
use soundoff_common::protocol::Handle;

use super::nodes::{Node, client};

const COUNT: usize = 5_000;
const TTL: Duration = Duration::from_secs(90);

fn report(what: &str, since: Instant) {
    let took = since.elapsed();
    println!("{what} of {COUNT}: {took:?}, {:.0}/s", COUNT as f64 / took.as_secs_f64());
    assert!(took < Duration::from_secs(3), "{what} takes {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn thousands_at_once() {
    let nodes = [Node::start(), Node::start()];
    measure(client(&[&nodes[0], &nodes[1]])).await;
}

pub(crate) async fn measure(memcached: Memcached) {
    let sessions = MemcachedSessions::new(memcached.clone());
    let registration = |n: usize| Registration {
        edge: "10.0.0.1:7000".into(),
        boot: "01JD0000000000000000000000".into(),
        connection: n as u64,
        device: None,
    };
    let entries: Vec<(Handle, Registration)> =
        (0..COUNT).map(|n| (format!("user{n}").parse().unwrap(), registration(n))).collect();
    let handles: Vec<Handle> = entries.iter().map(|(handle, _)| handle.clone()).collect();
    for what in ["first put_many (sessions)", "put_many again (sessions)"] {
        let since = Instant::now();
        sessions.put_many(&entries, TTL).await.unwrap();
        report(what, since);
    }
    let since = Instant::now();
    let found = sessions.get_many(&handles).await.unwrap();
    report("get_many (sessions)", since);
    assert!(found.iter().all(|list| list.len() == 1), "all are there");

    let cache = MemcachedCache::new(memcached);
    let keys: Vec<String> = (0..COUNT).map(|n| format!("a:user{n}")).collect();
    let entries = keys.iter().map(|key| (key.clone(), Bytes::from(vec![1; 200]))).collect();
    let since = Instant::now();
    cache.put_many(entries, TTL).await.unwrap();
    report("put_many (cache, 200 bytes)", since);
    let since = Instant::now();
    let found = cache.get_many(&keys).await.unwrap();
    report("get_many (cache, 200 bytes)", since);
    assert_eq!(found.iter().flatten().count(), COUNT);
}

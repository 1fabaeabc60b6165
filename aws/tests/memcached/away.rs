//! Nodes that die, hang, are flushed, or answer late.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use soundoff_aws::memcached::{Memcached, MemcachedCache, MemcachedOptions, MemcachedSessions};
use soundoff_common::ports::cache::{Cache as _, Swap};
use soundoff_common::ports::sessions::{Registration, Sessions as _};
use soundoff_common::protocol::Handle;
use soundoff_common::telemetry::Metrics;

use super::nodes::{Between, Node, client};

const TTL: Duration = Duration::from_secs(600);

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("key{n}")).collect()
}

fn entries(keys: &[String], round: u64) -> Vec<(String, Bytes)> {
    keys.iter().map(|key| (key.clone(), format!("{key} {round}").into())).collect()
}

async fn values(cache: &MemcachedCache, keys: &[String]) -> Vec<Option<String>> {
    let found = cache.get_many(keys).await.expect("never an error");
    found.into_iter().map(|c| c.map(|c| String::from_utf8(c.value.to_vec()).expect("text"))).collect()
}

async fn held(cache: &MemcachedCache, keys: &[String]) -> usize {
    values(cache, keys).await.iter().flatten().count()
}

fn user(n: usize) -> Handle {
    format!("user{n:05}").parse().expect("a valid handle")
}

fn socket(edge: u64, connection: u64) -> Registration {
    Registration {
        edge: format!("10.0.0.{edge}:7000").into(),
        boot: format!("boot{edge}").into(),
        connection,
        device: None,
    }
}

/// Puts, swaps and gets at random until the test stops it. Each task has its own keys, so that it knows which values
/// they must have.
async fn load(cache: MemcachedCache, task: u64, stop: Arc<AtomicBool>, calls: Arc<AtomicU64>) {
    let mut random = StdRng::seed_from_u64(task);
    let mut last: HashMap<String, u64> = HashMap::new();
    for round in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let keys: Vec<String> = (0..8).map(|_| format!("t{task}k{}", random.random_range(0..64))).collect();
        let key = keys[0].clone();
        let found = cache.get_many(&keys).await.expect("never an error");
        for (key, found) in keys.iter().zip(&found) {
            let Some(found) = found else { continue };
            let expected = last.get(key).map(|round| format!("{key} {round}"));
            assert_eq!(
                Some(&found.value[..]),
                expected.as_ref().map(String::as_bytes),
                "the value of the last write of its key"
            );
        }
        let value = Bytes::from(format!("{key} {round}"));
        if random.random() {
            cache.put_many(vec![(key.clone(), value)], TTL).await.expect("never an error");
            last.insert(key, round);
        } else {
            let seen = found[0].as_ref().map(|cached| cached.stamp);
            let swap = Swap { key: key.clone(), seen, value };
            if cache.swap_many(vec![swap], TTL).await.expect("never an error")[0] {
                last.insert(key, round);
            }
        }
        calls.fetch_add(2, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn a_node_that_dies_under_load_costs_misses_and_comes_back() {
    let (mut one, other) = (Node::start(), Node::start());
    let memcached = client(&[&one, &other]);
    let cache = MemcachedCache::new(memcached.clone());
    let sessions = MemcachedSessions::new(memcached);
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> =
        (0..8).map(|task| tokio::spawn(load(cache.clone(), task, stop.clone(), calls.clone()))).collect();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let before = calls.load(Ordering::Relaxed);
    one.kill();
    let keys = keys(200);
    cache.put_many(entries(&keys, 1), TTL).await.unwrap();
    let left = held(&cache, &keys).await;
    assert!((60..140).contains(&left), "the other node's half is there: {left}");
    let everyone: Vec<_> = (0..200).map(|n| (user(n), socket(1, 1))).collect();
    sessions.put_many(&everyone, TTL).await.unwrap();
    let handles: Vec<_> = everyone.iter().map(|(handle, _)| handle.clone()).collect();
    let there = sessions.get_many(&handles).await.unwrap().iter().filter(|list| !list.is_empty()).count();
    assert_eq!(there, 200, "registrations are on two nodes");
    for (handle, socket) in &everyone[..20] {
        sessions.remove(handle, socket).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let dead = calls.load(Ordering::Relaxed);
    assert!(dead > before + 200, "the load goes on: {} calls", dead - before);
    one.restart();
    let restarted = Instant::now();
    loop {
        cache.put_many(entries(&keys, 2), TTL).await.unwrap();
        if held(&cache, &keys).await == keys.len() {
            break;
        }
        assert!(restarted.elapsed() < Duration::from_secs(5), "the node is found again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!(
        "restarted node used again after {:?}; calls while dead: {}",
        restarted.elapsed(),
        dead - before
    );
    sessions.put_many(&everyone, TTL).await.unwrap();
    let there = sessions.get_many(&handles).await.unwrap().iter().filter(|list| !list.is_empty()).count();
    assert_eq!(there, 200, "putting again heals");
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no task saw a wrong value or an error");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn a_flushed_node_is_healed_by_putting_again() {
    let node = Node::start();
    let memcached = client(&[&node]);
    let (cache, sessions) = (MemcachedCache::new(memcached.clone()), MemcachedSessions::new(memcached));
    let keys = keys(50);
    let entry = [(user(1), socket(1, 1))];
    for round in 0..2 {
        cache.put_many(entries(&keys, round), TTL).await.unwrap();
        sessions.put_many(&entry, TTL).await.unwrap();
        assert_eq!(held(&cache, &keys).await, 50);
        assert_eq!(sessions.get_many(&[user(1)]).await.unwrap(), [[socket(1, 1)]]);
        node.flush();
        // A flush works by whole seconds: values stored within the same second may be removed a moment later.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(held(&cache, &keys).await, 0);
        assert_eq!(sessions.get_many(&[user(1)]).await.unwrap(), [[]]);
        assert!(!sessions.remove(&user(1), &socket(1, 1)).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn a_node_that_hangs_is_waited_for_twice_and_comes_back_without_its_old_values() {
    let (hung, other) = (Node::start(), Node::start());
    let cache = MemcachedCache::new(client(&[&hung, &other]));
    let keys = keys(200);
    cache.put_many(entries(&keys, 1), TTL).await.unwrap();
    assert_eq!(held(&cache, &keys).await, 200);
    let rare: Vec<String> = (0..200).map(|n| format!("rare{n}")).collect();
    cache.put_many(entries(&rare, 1), TTL).await.unwrap();

    hung.hang();
    let since = Instant::now();
    let mut slow = 0;
    let normal_after = loop {
        let call = Instant::now();
        cache.put_many(entries(&keys, 2), TTL).await.unwrap();
        let took = call.elapsed();
        assert!(took < Duration::from_millis(700), "a call waits for one timeout, about: {took:?}");
        if took < Duration::from_millis(50) {
            break since.elapsed();
        }
        slow += 1;
        assert!(slow < 5, "not every call waits for the node");
    };
    assert!(normal_after < Duration::from_millis(1_200), "{normal_after:?}");
    let mut took: Vec<Duration> = Vec::new();
    while since.elapsed() < Duration::from_secs(4) {
        let call = Instant::now();
        let left = held(&cache, &keys).await;
        took.push(call.elapsed());
        assert!((60..140).contains(&left), "the other half is there: {left}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    took.sort_unstable();
    let waited = took.iter().filter(|took| **took > Duration::from_millis(100)).count();
    assert!(waited <= 5, "one call a second waits, not {waited} of {}", took.len());
    println!(
        "hung: {slow} slow calls, normal after {normal_after:?}, then p50 {:?}, {waited} of {} waited",
        took[took.len() / 2],
        took.len()
    );

    hung.go_on();
    let since = Instant::now();
    loop {
        for (key, value) in keys.iter().zip(values(&cache, &keys).await) {
            assert_ne!(value, Some(format!("{key} 1")), "an overwritten value does not come back");
        }
        if held(&cache, &rare).await == 200 {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(4), "it comes back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("it is used again {:?} after it goes on", since.elapsed());
    cache.put_many(entries(&keys, 3), TTL).await.unwrap();
    assert_eq!(held(&cache, &keys).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn swaps_on_a_node_that_is_away_end_the_loops_of_their_callers() {
    let mut node = Node::start();
    let cache = MemcachedCache::new(client(&[&node]));
    let key = ["counted".to_owned()];
    cache.put_many(vec![(key[0].clone(), "1".into())], TTL).await.unwrap();
    let mut seen = cache.get_many(&key).await.unwrap().remove(0).map(|cached| cached.stamp);
    assert!(seen.is_some());
    node.kill();
    let mut tries = 0;
    loop {
        tries += 1;
        assert!(tries < 5, "a caller that reads again and tries again succeeds");
        let swap = Swap { key: key[0].clone(), seen, value: "2".into() };
        if cache.swap_many(vec![swap], TTL).await.unwrap()[0] {
            break;
        }
        seen = cache.get_many(&key).await.unwrap().remove(0).map(|cached| cached.stamp);
    }
    assert_eq!(tries, 2, "the seen value is gone, and then a swap against nothing holds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn a_late_answer_is_never_another_keys() {
    let node = Node::start();
    let between = Between::start(&node).await;
    // The node never counts as away, and there is one connection: an answer that is left in it would reach the next
    // call.
    let pause = Duration::from_millis(1);
    let timeout = Duration::from_millis(100);
    let options = MemcachedOptions { timeout, connections: 1, pause, ..MemcachedOptions::default() };
    let node = std::slice::from_ref(&between.address);
    let memcached = Memcached::connect(node, &options, &Metrics::new()).unwrap();
    let cache = MemcachedCache::new(memcached);
    let keys = keys(40);
    cache.put_many(entries(&keys, 1), TTL).await.unwrap();
    assert_eq!(held(&cache, &keys).await, 40);
    let (mut missed, mut found) = (0, 0);
    for round in 0..40 {
        between.delay(Duration::from_millis(if round % 2 == 0 { 150 } else { 0 }));
        // Some calls return before the late answer has arrived, some after.
        tokio::time::sleep(Duration::from_millis(7 * (round % 11))).await;
        for key in &keys[usize::try_from(round).unwrap() % 30..][..4] {
            match values(&cache, std::slice::from_ref(key)).await.remove(0) {
                Some(value) => assert_eq!((value, found += 1), (format!("{key} 1"), ()), "round {round}"),
                None => missed += 1,
            }
        }
    }
    assert!(missed >= 40 && found >= 40, "both happened: {missed} missed, {found} found");
    // A call that its caller cancels leaves nothing in the connection either.
    for round in 0..20 {
        between.delay(Duration::from_millis(40));
        let given_up = tokio::time::timeout(Duration::from_millis(15), values(&cache, &keys[..5])).await;
        assert!(given_up.is_err(), "round {round}: it was under way");
        between.delay(Duration::ZERO);
        let value = values(&cache, &keys[10..11]).await.remove(0);
        assert_eq!(value, Some("key10 1".to_owned()), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn two_edges_race_and_none_removes_the_others_socket() {
    let node = Node::start();
    let clients: Vec<_> = (0..2).map(|_| MemcachedSessions::new(client(&[&node]))).collect();
    for round in 0..500 {
        let user = user(round);
        let (old, new) = (socket(1, 1), socket(2, 2));
        clients[0].put_many(&[(user.clone(), old.clone())], TTL).await.unwrap();
        let entry = [(user.clone(), new.clone())];
        // The old edge notices that its socket is gone while the user comes back at the new one.
        let (removed, put) = tokio::join!(clients[0].remove(&user, &old), clients[1].put_many(&entry, TTL));
        put.unwrap();
        assert!(removed.unwrap(), "round {round}: it was there");
        let left = clients[0].get_many(&[user]).await.unwrap();
        assert_eq!(left, [[new]], "round {round}: the new edge's stays, alone");
    }
}

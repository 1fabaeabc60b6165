//! The suite of [`Cache`](super::Cache): a function for each law, for every adapter.
//!
//! Times to live are whole seconds where it matters, which is all that memcached knows, and one second more or less is
//! allowed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ulid::Ulid;

use super::{Cache, Stamp, Swap};
use crate::ports::Unavailable;

const LONG: Duration = Duration::from_secs(600);

/// How a test gets the adapter.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The cache, with room for a few thousand small values at least. It may hold other tests' values.
    async fn open(&self) -> Arc<dyn Cache>;

    /// A small cache and its size in bytes, for the law that memory is bounded. `None` when we cannot set the engine's
    /// size.
    async fn open_small(&self) -> Option<(Arc<dyn Cache>, usize)>;

    /// Lets this much time pass by the engine's clock: moves a paused clock on, waits for a real one.
    async fn pass(&self, time: Duration);
}

fn key(name: &str) -> String {
    format!("{name}:{}", Ulid::generate())
}

async fn get(cache: &dyn Cache, key: &str) -> Option<Bytes> {
    let mut values = cache.get_many(&[key.to_owned()]).await.expect("law 3: a get is Ok");
    assert_eq!(values.len(), 1, "law 3: one value a key");
    values.remove(0).map(|cached| cached.value)
}

async fn stamp(cache: &dyn Cache, key: &str) -> Option<Stamp> {
    let mut values = cache.get_many(&[key.to_owned()]).await.expect("law 3: a get is Ok");
    values.remove(0).map(|cached| cached.stamp)
}

async fn try_put(cache: &dyn Cache, key: &str, value: Bytes, ttl: Duration) -> Result<(), Unavailable> {
    cache.put_many(vec![(key.to_owned(), value)], ttl).await
}

async fn swap(cache: &dyn Cache, key: &str, seen: Option<Stamp>, value: &'static str) -> bool {
    let swap = Swap { key: key.to_owned(), seen, value: value.into() };
    let swapped = cache.swap_many(vec![swap], LONG).await.expect("law 5: a swap is Ok");
    assert_eq!(swapped.len(), 1, "law 5: one answer a swap");
    swapped[0]
}

/// Puts until it is there. A cache may drop anything at any time, but one that drops all of it caches nothing.
async fn put(cache: &dyn Cache, key: &str, value: Bytes, ttl: Duration) {
    for _ in 0..5 {
        try_put(cache, key, value.clone(), ttl).await.expect("law 1: a put is Ok");
        if let Some(found) = get(cache, key).await {
            assert_eq!(found, value, "law 1: a value is what the last put said");
            return;
        }
    }
    panic!("law 1: {key} was put five times and never found");
}

/// Law 1: a value is what was last put under its key, byte for byte, however large.
pub async fn values_are_what_was_put(harness: &impl Harness) {
    let cache = harness.open().await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let values = [
        Bytes::new(),
        Bytes::from_static(b"x"),
        Bytes::from_static(b"two\r\nlines\r\nEND\r\n"),
        Bytes::from(every_byte),
        Bytes::from(vec![7; 100_000]),
        Bytes::from(vec![9; 1024 * 1024 - 1_000]),
    ];
    let name = key("value");
    for value in values {
        put(&*cache, &name, value, LONG).await;
    }
    let longest = format!("{:~<200}", key("longest!\"#$%&'()*+,-./:;<=>?@[]^_`{|}"));
    put(&*cache, &longest, Bytes::from_static(b"long"), LONG).await;
    let (one, other) = (key("k"), key("k"));
    put(&*cache, &one, Bytes::from_static(b"1"), LONG).await;
    let found = get(&*cache, &other).await;
    assert_eq!(found, None, "law 1: never another key's value");
    put(&*cache, &other, Bytes::from_static(b"2"), Duration::from_secs(60 * 24 * 3_600)).await;
    let found = get(&*cache, &one).await;
    assert!(found.is_none_or(|v| v == "1"), "law 1: another key's put changes nothing");
}

/// Law 1 while many write the same key: always one of the values, whole.
pub async fn never_half_a_value(harness: &impl Harness) {
    let cache = harness.open().await;
    let name = key("raced");
    let mut tasks = Vec::new();
    for task in 0..8u8 {
        let (cache, name) = (cache.clone(), name.clone());
        tasks.push(tokio::spawn(async move {
            for round in 0..50 {
                let value = vec![task; 1_000 + 100 * usize::from(task)];
                try_put(&*cache, &name, value.into(), LONG).await.expect("law 1: a put is Ok");
                let Some(found) = get(&*cache, &name).await else { continue };
                let writer = found[0];
                let whole =
                    found.len() == 1_000 + 100 * usize::from(writer) && found.iter().all(|b| *b == writer);
                assert!(whole, "law 1: round {round} found {} bytes that nobody put", found.len());
            }
        }));
    }
    for task in tasks {
        task.await.expect("law 1 holds in every task");
    }
}

/// Law 2: absent once its time has passed, there before it; a new put starts the time again.
pub async fn values_expire(harness: &impl Harness) {
    let cache = harness.open().await;
    let ttl = Duration::from_secs(6);
    let (fading, renewed, instant, stale) = (key("fading"), key("renewed"), key("instant"), key("stale"));
    let value = || Bytes::from_static(b"v");
    put(&*cache, &fading, value(), ttl).await;
    put(&*cache, &renewed, value(), ttl).await;
    put(&*cache, &stale, value(), LONG).await;
    put(&*cache, &stale, value(), ttl).await;
    // Less than the engine's unit: it must not be rounded to "never".
    try_put(&*cache, &instant, value(), Duration::from_millis(300)).await.expect("law 1: a put is Ok");
    harness.pass(Duration::from_secs(4)).await;
    assert_eq!(get(&*cache, &instant).await, None, "law 2: a time below a second passes too");
    assert_eq!(get(&*cache, &fading).await, Some(value()), "law 2: not absent before its time");
    put(&*cache, &renewed, value(), ttl).await;
    harness.pass(Duration::from_secs(4)).await;
    assert_eq!(get(&*cache, &fading).await, None, "law 2: absent once its time has passed");
    assert_eq!(get(&*cache, &stale).await, None, "law 2: the last put's time counts, not the longest");
    assert_eq!(get(&*cache, &renewed).await, Some(value()), "law 2: a new put starts the time again");
    harness.pass(Duration::from_secs(4)).await;
    assert_eq!(get(&*cache, &renewed).await, None, "law 2: absent once its time has passed");
}

/// Law 3: one value a key, in order, with repeated and unknown keys among them.
pub async fn get_many_answers_in_order(harness: &impl Harness) {
    let cache = harness.open().await;
    let keys: Vec<_> = (0..250).map(|n| key(&format!("o{n}"))).collect();
    for key in keys.iter().step_by(2) {
        put(&*cache, key, Bytes::from(key.clone()), LONG).await;
    }
    let asked: Vec<_> = keys.iter().rev().chain(&keys[..3]).cloned().collect();
    let values = cache.get_many(&asked).await.expect("law 3: a get is Ok");
    assert_eq!(values.len(), asked.len(), "law 3: one value a key");
    let put: std::collections::HashSet<_> = keys.iter().step_by(2).collect();
    let mut found = 0;
    for (key, value) in asked.iter().zip(values) {
        found += usize::from(value.is_some());
        let expected = put.contains(key).then(|| Bytes::from(key.clone()));
        let value = value.map(|cached| cached.value);
        assert!(value.is_none() || value == expected, "law 3: in order: {key} has {value:?}");
    }
    assert!(found > 100, "law 3: what was put is found, in its place: {found} of 127");
    assert_eq!(cache.get_many(&[]).await.expect("Ok"), [], "law 3: none asked, none answered");
}

/// Law 4: old entries make room, and the newest stay.
pub async fn memory_is_bounded(harness: &impl Harness) {
    let Some((cache, bytes)) = harness.open_small().await else { return };
    let size = 100_000;
    let count = 5 * bytes / size;
    let keys: Vec<_> = (0..count).map(|n| key(&format!("b{n}"))).collect();
    for key in &keys {
        try_put(&*cache, key, vec![1; size].into(), LONG).await.expect("law 4: a full cache takes more");
    }
    let values = cache.get_many(&keys).await.expect("law 3: a get is Ok");
    let held = values.iter().flatten().count() * size;
    assert!(held <= bytes, "law 4: {held} bytes are held where {bytes} may be");
    assert!(held >= bytes / 4, "law 4: the room is used: {held} of {bytes} bytes");
    put(&*cache, &key("last"), vec![2; size].into(), LONG).await;
}

/// Every adapter refuses what memcached could not take, so that nothing works on a laptop only.
pub async fn invalid_calls_are_refused(harness: &impl Harness) {
    let cache = harness.open().await;
    let long = "k".repeat(201);
    for key in ["", "a b", "a\nb", "a\0b", "é", "\u{7f}", &long] {
        let put = try_put(&*cache, key, Bytes::from_static(b"v"), LONG).await;
        assert!(put.is_err(), "an invalid key is refused by put: {key:?}");
        let swap = Swap { key: key.to_owned(), seen: None, value: Bytes::new() };
        assert!(
            cache.swap_many(vec![swap], LONG).await.is_err(),
            "an invalid key is refused by swap: {key:?}"
        );
        let get = cache.get_many(&["fine".to_owned(), key.to_owned()]).await;
        assert!(get.is_err(), "an invalid key is refused by get_many: {key:?}");
    }
    let name = key("large");
    let put = try_put(&*cache, &name, vec![0; 1024 * 1024 + 1].into(), LONG).await;
    assert!(put.is_err(), "a value over 1 MiB is refused");
    assert_eq!(get(&*cache, &name).await, None, "a refused value is not stored");
}

/// Law 5: a swap writes where nothing came between, and nowhere else.
pub async fn a_swap_holds_only_as_seen(harness: &impl Harness) {
    let cache = harness.open().await;
    let name = key("swapped");
    assert!(swap(&*cache, &name, None, "first").await, "law 5: nothing was there, as seen");
    assert!(!swap(&*cache, &name, None, "late").await, "law 5: something is there");
    let seen = stamp(&*cache, &name).await;
    assert!(swap(&*cache, &name, seen, "second").await, "law 5: nobody came between");
    assert!(!swap(&*cache, &name, seen, "late").await, "law 5: one's own write came between");
    assert_eq!(get(&*cache, &name).await, Some("second".into()), "law 5: a refused swap changes nothing");
    let seen = stamp(&*cache, &name).await;
    put(&*cache, &name, "second".into(), LONG).await;
    assert!(!swap(&*cache, &name, seen, "late").await, "law 5: a put of the same bytes is another write");
    let seen = stamp(&*cache, &name).await;
    put(&*cache, &name, "fading".into(), Duration::from_secs(2)).await;
    harness.pass(Duration::from_secs(4)).await;
    assert!(!swap(&*cache, &name, seen, "late").await, "law 5: what was seen is gone");
    assert!(swap(&*cache, &name, None, "third").await, "law 5: what has expired is not there");
    let (one, other) = (key("one"), key("other"));
    put(&*cache, &other, "there".into(), LONG).await;
    let swaps = [&one, &other, &one].map(|key| Swap { key: key.clone(), seen: None, value: "v".into() });
    let swapped = cache.swap_many(swaps.to_vec(), LONG).await.expect("law 5: a swap is Ok");
    assert_eq!(swapped, [true, false, false], "law 5: each is judged by itself, in order");
}

/// Law 5 while many count in one value: no count is lost.
pub async fn swaps_that_race_lose_nothing(harness: &impl Harness) {
    let cache = harness.open().await;
    let name = key("counted");
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let (cache, name) = (cache.clone(), name.clone());
        tasks.push(tokio::spawn(async move {
            for _ in 0..50 {
                loop {
                    let mut found = cache.get_many(std::slice::from_ref(&name)).await.expect("Ok");
                    let found = found.remove(0);
                    let count = found.as_ref().map_or(0, |c| {
                        std::str::from_utf8(&c.value).expect("text").parse::<u32>().expect("a count")
                    });
                    let value = (count + 1).to_string().into();
                    let swap = Swap { key: name.clone(), seen: found.map(|c| c.stamp), value };
                    if cache.swap_many(vec![swap], LONG).await.expect("Ok")[0] {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
        }));
    }
    for task in tasks {
        task.await.expect("law 5 holds in every task");
    }
    assert_eq!(get(&*cache, &name).await, Some("400".into()), "law 5: of two who saw the same one writes");
}

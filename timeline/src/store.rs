//! What the stages keep in the cache: timelines, of which the newer one stays, and leases.

use std::time::Duration;

use soundoff_common::pipeline::handler::Failure;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::cache::{Cache, Swap};
use soundoff_common::protocol::{Handle, is_ahead};

use crate::format::{Timeline, version_of};

/// How long a timeline is kept when nobody computes it again.
const TIMELINE_TTL: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How often storing timelines is tried again when others write them at the same time.
const TRIES: usize = 10;
/// The shortest lease.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

/// The cache key of a user's chronological timeline.
pub(crate) fn chronological_key(user: &Handle) -> String {
    format!("c:{user}")
}

/// The cache key of a user's ranked timeline.
pub(crate) fn ranked_key(user: &Handle) -> String {
    format!("t:{user}")
}

/// Takes what only one process may have for a while; `false` when another process has it.
pub(crate) async fn lease(cache: &dyn Cache, key: String, ttl: Duration) -> Result<bool, Unavailable> {
    let swap = Swap { key, seen: None, value: "1".into() };
    Ok(cache.swap_many(vec![swap], ttl.max(SHORTEST_LEASE)).await? == [true])
}

/// Stores timelines, each only where what is stored is older.
pub(crate) async fn store_newer(
    cache: &dyn Cache,
    mut timelines: Vec<(String, Timeline)>,
) -> Result<(), Failure> {
    for _ in 0..TRIES {
        let keys: Vec<String> = timelines.iter().map(|(key, _)| key.clone()).collect();
        let found = cache.get_many(&keys).await?;
        let mut swaps = Vec::with_capacity(timelines.len());
        let mut tried = Vec::with_capacity(timelines.len());
        for ((key, timeline), found) in timelines.into_iter().zip(found) {
            let stored = found.as_ref().and_then(|found| version_of(&found.value));
            // One from the future was computed when the clock was wrong.
            let newer = |stored| stored < timeline.version() || is_ahead(stored, timeline.version());
            if stored.is_none_or(newer) {
                let seen = found.map(|found| found.stamp);
                swaps.push(Swap { key: key.clone(), seen, value: timeline.bytes().clone() });
                tried.push((key, timeline));
            }
        }
        if swaps.is_empty() {
            return Ok(());
        }
        let mut stored = cache.swap_many(swaps, TIMELINE_TTL).await?.into_iter();
        tried.retain(|_| stored.next() != Some(true));
        timelines = tried;
    }
    if timelines.is_empty() {
        return Ok(());
    }
    Err(Failure::Wait(anyhow::anyhow!("lost {TRIES} races for {} timelines", timelines.len())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use soundoff_common::protocol::CLOCKS_APART_MS;

    use super::*;
    use crate::format::{Kind, Writer};
    use crate::testing::TestCache;

    fn of(version: u64) -> (String, Timeline) {
        ("t:alice".to_owned(), Writer::new(Kind::Ranked, version, 0, 0).finish())
    }

    #[tokio::test]
    async fn the_newer_of_two_timelines_stays_in_whatever_order_they_come() {
        let cache = Arc::new(TestCache::default());
        let stored = || version_of(&cache.at("t:alice").unwrap());
        for (version, expected) in [(5, 5), (7, 7), (6, 7)] {
            store_newer(&*cache, vec![of(version)]).await.unwrap();
            assert_eq!(stored(), Some(expected));
        }
        for (meanwhile, version, expected) in [(9, 8, 9), (10, 11, 11)] {
            let other = cache.clone();
            cache.meanwhile(async move { store_newer(&*other, vec![of(meanwhile)]).await.unwrap() });
            store_newer(&*cache, vec![of(version)]).await.unwrap();
            assert_eq!(stored(), Some(expected), "{meanwhile} came between the look and the write");
        }
        store_newer(&*cache, vec![of(12 + CLOCKS_APART_MS)]).await.unwrap();
        store_newer(&*cache, vec![of(11)]).await.unwrap();
        assert_eq!(stored(), Some(11), "one from the future tells of a clock that was wrong");
        let other = ("t:bob".to_owned(), of(3).1);
        store_newer(&*cache, vec![of(4), other]).await.unwrap();
        assert_eq!((stored(), version_of(&cache.at("t:bob").unwrap())), (Some(11), Some(3)));
    }
}

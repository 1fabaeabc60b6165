//! Works on the pages of a scan: each page queues the users who are due, and the page after it.
//!
//! A page is a message, so a scan continues where it was when the process dies.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use soundoff_common::lock::lock;
use soundoff_common::model::accounts;
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::job::EnvelopeJob;
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::cache::Cache;
use soundoff_common::ports::tables::{Key, Table, Tables};
use soundoff_common::protocol::{Handle, now_ms, steady_ms};
use soundoff_common::telemetry::Metrics;

use crate::config::Tiers;
use crate::format::version_of;
use crate::messages::{COMPUTE, SEGMENTS, Scan, in_batches, queue};
use crate::store::ranked_key;

/// How many accounts one message looks at.
const ACCOUNTS_AT_ONCE: usize = 1_000;

/// What the pages of one tick have seen of the first tier's timelines.
#[derive(Debug, Default)]
struct Seen {
    tick: u64,
    /// The version of the oldest timeline, in milliseconds since 1970.
    oldest: Option<u64>,
    missing: i64,
}

/// Queues the users who are due.
pub(crate) struct Schedule {
    tiers: Tiers,
    seen: Mutex<Seen>,
    tables: Arc<dyn Tables>,
    cache: Arc<dyn Cache>,
    outward: Outward,
    metrics: Metrics,
}

impl Schedule {
    pub(crate) fn new(tiers: Tiers, world: &World) -> Self {
        let World { tables, cache, outward, metrics, .. } = world.clone();
        Self { tiers, seen: Mutex::default(), tables, cache, outward, metrics }
    }

    /// Keeps the metrics of how old the first tier's timelines are.
    async fn look_at_ages(&self, tick: u64, active: &[Handle], now: u64) -> Result<(), Failure> {
        let keys: Vec<String> = active.iter().map(ranked_key).collect();
        let stored = self.cache.get_many(&keys).await?;
        let versions = stored.iter().map(|cached| version_of(&cached.as_ref()?.value));
        let (there, missing): (Vec<_>, Vec<_>) = versions.partition(Option::is_some);
        let mut seen = lock(&self.seen);
        if seen.tick != tick {
            *seen = Seen { tick, ..Seen::default() };
        }
        seen.missing += i64::try_from(missing.len()).unwrap_or(i64::MAX);
        seen.oldest = seen.oldest.into_iter().chain(there.into_iter().flatten()).min();
        let age_ms = seen.oldest.map_or(0, |oldest| now.saturating_sub(oldest));
        self.metrics.timeline_oldest_seconds.set(i64::try_from(age_ms / 1000).unwrap_or(i64::MAX));
        self.metrics.timeline_missing.set(seen.missing);
        Ok(())
    }
}

#[async_trait]
impl EnvelopeJob for Schedule {
    type Body = Scan;

    async fn work(&self, _: &Envelope, scan: Scan) -> Result<(), Failure> {
        let after = scan.after.as_ref().map(accounts::key);
        let items = self.tables.scan(Table::Users, scan.segment, SEGMENTS, after, ACCOUNTS_AT_ONCE).await?;
        let Some((last, _)) = items.last() else { return Ok(()) };
        let next = handle(last)?;
        let now = now_ms();
        let (mut due, mut active) = (Vec::new(), Vec::new());
        for (key, item) in &items {
            let user = handle(key)?;
            let (tier, every) = self.tiers.of(item.number(accounts::attribute::ACTIVE_AT).unwrap_or(0), now);
            if tier == 0 {
                active.push(user.clone());
            }
            if scan.everybody || is_due(&user, every, scan.since, scan.tick) {
                due.push(user);
            }
        }
        self.look_at_ages(scan.tick, &active, steady_ms()).await?;
        let mut messages = in_batches(COMPUTE, &due);
        messages.push(Scan { after: Some(next), ..scan }.message());
        queue(&self.outward, messages).await
    }
}

/// Whether a user whose tier is due at every `every`-th tick is due at a tick after `since` and up to `tick`.
fn is_due(user: &Handle, every: u64, since: u64, tick: u64) -> bool {
    // By user, so that not all users of a tier are due at the same tick.
    let turn = u64::from(crc32fast::hash(user.as_str().as_bytes()));
    (tick + turn) / every > (since + turn) / every
}

fn handle(key: &Key) -> Result<Handle, Failure> {
    let handle = key.pk.strip_prefix("user#").and_then(|handle| handle.parse().ok());
    handle.ok_or_else(|| Failure::Retry(anyhow::anyhow!("not an account's key: {key:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_due_once_in_a_tiers_ticks_even_when_some_are_skipped() {
        let users: Vec<Handle> = (0..600).map(|n| format!("user_{n}").parse().unwrap()).collect();
        for every in [1, 2, 10, 60] {
            let due = |since, tick| users.iter().filter(|user| is_due(user, every, since, tick)).count();
            let one_by_one: Vec<usize> = (1_000..1_000 + every).map(|tick| due(tick - 1, tick)).collect();
            assert_eq!(one_by_one.iter().sum::<usize>(), users.len(), "every {every}th");
            assert!(
                one_by_one.iter().all(|due| *due > 0 && *due < 4 * 600 / every as usize),
                "{one_by_one:?}"
            );
            assert_eq!(due(1_000, 1_000 + every), users.len(), "all others were skipped");
            // Every other tick is skipped: nobody's turn is lost between them.
            let every_other = (0..every).map(|n| due(998 + 2 * n, 1_000 + 2 * n));
            assert_eq!(every_other.sum::<usize>(), users.len() * every.min(2) as usize);
        }
    }
}

//! Who is due when: a tick queues a scan of the user table in parallel segments, and each page of it queues the users who are due.
//!
//! A page is a message that queues the page after it, so a scan goes on where it was when the process dies.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::pipeline::handler::{Failure, raw};
use soundoff_common::pipeline::worker::Own;
use soundoff_common::ports::cache::Swap;
use soundoff_common::ports::queues::{QueueError, QueueName};
use soundoff_common::ports::tables::{Key, Table};
use soundoff_common::protocol::{Handle, now_ms};
use tokio_util::sync::CancellationToken;

use crate::format::version_of;
use crate::jobs::{COMPUTE, SCHEDULE, in_batches, key};
use crate::timelines::{Timelines, millis};

/// Into how many parts the user table is cut.
const SEGMENTS: u32 = 4;
/// How many accounts one message looks at.
const ACCOUNTS_AT_ONCE: usize = 1_000;
/// The queues that must be empty before a tick adds to them.
const QUEUES: [&str; 3] = ["schedule_q", "precompute_q", "personalize_q"];

/// One page of a scan.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Scan {
    /// The tick: time over interval.
    tick: u64,
    /// The last tick before it that was not skipped: who was due between the two is due now.
    since: u64,
    /// Everybody is due, whatever their tier.
    everybody: bool,
    /// Which part of the user table, from 0.
    segment: u32,
    /// The user after whom the page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Handle>,
}

/// What the pages of one tick have seen of the first tier's timelines.
#[derive(Debug, Default)]
pub(crate) struct Tick {
    tick: u64,
    /// The version of the oldest, in milliseconds since 1970.
    oldest: Option<u64>,
    missing: i64,
}

/// Whether somebody whose tier is due at every so many ticks is due at one after `since` and up to `tick`.
fn is_due(user: &Handle, every: u64, since: u64, tick: u64) -> bool {
    // So that not all of a tier are due at the same tick.
    let turn = u64::from(crc32fast::hash(user.as_str().as_bytes()));
    (tick + turn) / every > (since + turn) / every
}

impl Timelines {
    /// Ticks at every interval until `stop`.
    pub async fn run_schedule(self: Arc<Self>, stop: CancellationToken) {
        if self.config.interval.is_zero() {
            return stop.cancelled().await;
        }
        let mut timer = tokio::time::interval(self.config.interval);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut last = None;
        loop {
            tokio::select! { biased; () = stop.cancelled() => return, _ = timer.tick() => {} }
            if let Err(error) = self.tick(now_ms(), &mut last).await {
                tracing::warn!(%error, "a tick of the timelines' schedule failed; the next one will do");
            }
        }
    }

    /// One tick, unless an earlier one's work is still queued or another process was first. `last` is the last that was not skipped.
    async fn tick(&self, now: u64, last: &mut Option<u64>) -> Result<(), Failure> {
        let metrics = &self.deps.metrics;
        if self.backlog().await.map_err(|error| Failure::Retry(error.into()))? > 0 {
            metrics.timeline_ticks_skipped.inc();
            return Ok(());
        }
        let tick = now / millis(self.config.interval).max(1);
        if self.lease(format!("k:{tick}"), self.config.interval * 2).await? {
            let since = last.unwrap_or(tick.saturating_sub(1));
            self.queue_scan(tick, since, false).await?;
            metrics.timeline_ticks.inc();
        }
        *last = Some(tick);
        Ok(())
    }

    /// How many messages of the schedule's work are queued or in progress.
    pub(crate) async fn backlog(&self) -> Result<u64, QueueError> {
        let mut backlog = 0;
        for name in QUEUES {
            let depth = self.deps.queues.depth(&QueueName::new(name)).await?;
            backlog += depth.visible + depth.in_flight;
        }
        Ok(backlog)
    }

    /// Takes what only one process is to have for a while; `false` when another has it.
    pub(crate) async fn lease(&self, key: String, ttl: Duration) -> Result<bool, Failure> {
        let swap = Swap { key, seen: None, value: "1".into() };
        Ok(self.deps.cache.swap_many(vec![swap], ttl.max(Duration::from_secs(1))).await? == [true])
    }

    /// Queues users at once, whatever their tier: those named, or everybody. Answers who of them has no account; then nobody is queued.
    ///
    /// # Errors
    /// When tables or queues do not answer.
    pub async fn tick_now(&self, users: &[Handle]) -> Result<Vec<Handle>, Failure> {
        if users.is_empty() {
            self.queue_scan(0, 0, true).await?;
            return Ok(Vec::new());
        }
        let mut users = users.to_vec();
        users.sort_unstable();
        users.dedup();
        let versions = self.follows_versions(&users).await?;
        let unknown = users.iter().zip(versions).filter(|(_, version)| version.is_none());
        let unknown: Vec<Handle> = unknown.map(|(user, _)| user.clone()).collect();
        if unknown.is_empty() {
            self.queue(in_batches(COMPUTE, &users)).await?;
        }
        Ok(unknown)
    }

    async fn queue_scan(&self, tick: u64, since: u64, everybody: bool) -> Result<(), Failure> {
        let first = |segment| page(&Scan { tick, since, everybody, segment, after: None });
        let pages = (0..SEGMENTS).map(first);
        self.queue(pages.collect()).await
    }

    /// Queues who is due on one page, and the page after it.
    pub(crate) async fn scan(&self, scan: Scan) -> Result<(), Failure> {
        let after = scan.after.as_ref().map(soundoff_common::model::accounts::key);
        let tables = &self.deps.tables;
        let items = tables.scan(Table::Users, scan.segment, SEGMENTS, after, ACCOUNTS_AT_ONCE).await?;
        let Some((last, _)) = items.last() else { return Ok(()) };
        let next = handle(last)?;
        let now = now_ms();
        let (mut due, mut active) = (Vec::new(), Vec::new());
        for (key, item) in &items {
            let user = handle(key)?;
            let (tier, every) = self.config.tiers.of(item.number("active_at").unwrap_or(0), now);
            if tier == 0 {
                active.push(user.clone());
            }
            if scan.everybody || is_due(&user, every, scan.since, scan.tick) {
                due.push(user);
            }
        }
        self.look_at_ages(scan.tick, &active, now).await?;
        let mut messages = in_batches(COMPUTE, &due);
        messages.push(page(&Scan { after: Some(next), ..scan }));
        self.queue(messages).await
    }

    /// Keeps the metrics of how old the first tier's timelines are.
    async fn look_at_ages(&self, tick: u64, active: &[Handle], now: u64) -> Result<(), Failure> {
        let keys: Vec<String> = active.iter().map(key).collect();
        let stored = self.deps.cache.get_many(&keys).await?;
        let versions = stored.iter().map(|cached| version_of(&cached.as_ref()?.value));
        let (there, missing): (Vec<_>, Vec<_>) = versions.partition(Option::is_some);
        let mut seen = self.tick.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if seen.tick != tick {
            *seen = Tick { tick, ..Tick::default() };
        }
        seen.missing += i64::try_from(missing.len()).unwrap_or(i64::MAX);
        seen.oldest = seen.oldest.into_iter().chain(there.into_iter().flatten()).min();
        let age_ms = seen.oldest.map_or(0, |oldest| now.saturating_sub(oldest));
        self.deps.metrics.timeline_oldest_seconds.set(i64::try_from(age_ms / 1000).unwrap_or(i64::MAX));
        self.deps.metrics.timeline_missing.set(seen.missing);
        Ok(())
    }
}

fn page(scan: &Scan) -> Own {
    // Nobody's message causes a scan; a name is needed all the same.
    let about = scan.after.clone().unwrap_or_else(|| "everybody".parse().expect("a lawful handle"));
    Own { message_type: SCHEDULE, about, body: raw(scan) }
}

fn handle(key: &Key) -> Result<Handle, Failure> {
    let handle = key.pk.strip_prefix("user#").and_then(|handle| handle.parse().ok());
    handle.ok_or_else(|| Failure::Retry(anyhow::anyhow!("not an account's key: {key:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_due_once_in_so_many_ticks_whichever_are_skipped() {
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
            // Every other tick is skipped: nobody's turn falls between them for ever.
            let every_other = (0..every).map(|n| due(998 + 2 * n, 1_000 + 2 * n));
            assert_eq!(every_other.sum::<usize>(), users.len() * every.min(2) as usize);
        }
    }
}

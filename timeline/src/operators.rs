//! What operators see of timelines, and ask of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use soundoff_common::model::accounts;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::cache::Cache;
use soundoff_common::ports::queues::Queues;
use soundoff_common::ports::tables::{Table, Tables};
use soundoff_common::protocol::{Handle, now_ms, steady_ms};
use soundoff_common::telemetry::{Metrics, StageLabel};

use crate::accounts::what_they_read;
use crate::config::Tiers;
use crate::format::version_of;
use crate::messages::{COMPUTE, Scan, backlog, in_batches, queue};
use crate::store::ranked_key;

/// The stages of a computation, in order.
const COMPUTING: &[&str] =
    &["accounts", "follows", "authors", "merge", "store chronological", "affinities", "rank", "store ranked"];
/// The stages of a fetch.
const FETCHING: &[&str] = &["read", "repair", "fallback", "hydrate"];
/// What is looked up in caches.
const LOOKED_UP: &[&str] = &["follows", "friends", "authors", "timelines"];
/// How many accounts are read at once.
const ACCOUNTS_AT_ONCE: usize = 1_000;

/// The state of timelines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// How many users there are.
    pub users: u64,
    /// How many of them are in the first tier.
    pub active: u64,
    /// How many of the active have no computed timeline.
    pub missing: u64,
    /// The age of the oldest timeline of an active user, in milliseconds.
    pub oldest_ms: u64,
    /// Messages of the schedule's work that are queued or in progress.
    pub backlog: u64,
    /// Timelines computed by this process.
    pub computed: u64,
    /// Timelines per second that a core spent on computing them.
    pub computed_per_second: f64,
    /// Pages shown by this process.
    pub fetches: u64,
    /// First pages for which there was no usable computed timeline.
    pub fallbacks: u64,
    /// Ticks that queued work.
    pub ticks: u64,
    /// Ticks that found work of an earlier tick still queued.
    pub ticks_skipped: u64,
    /// Each stage and its seconds, summed over threads.
    pub stages: Vec<(String, f64)>,
    /// What was looked up, its hits, its misses.
    pub caches: Vec<(String, u64, u64)>,
}

/// What operators may do with timelines.
pub struct Operators {
    tiers: Tiers,
    tables: Arc<dyn Tables>,
    cache: Arc<dyn Cache>,
    queues: Arc<dyn Queues>,
    outward: Outward,
    metrics: Metrics,
}

impl Operators {
    /// Works on a world that may scan and read the users, and queue every stage.
    #[must_use]
    pub fn new(tiers: Tiers, world: &World) -> Self {
        let World { tables, cache, queues, outward, metrics, .. } = world.clone();
        Self { tiers, tables, cache, queues, outward, metrics }
    }

    /// Queues users at once, whatever their tier: the named ones, or everybody when none is named. Returns those who
    /// have no account; if there are any, nobody is queued.
    ///
    /// # Errors
    /// When tables or queues fail.
    pub async fn tick_now(&self, users: &[Handle]) -> Result<Vec<Handle>, Failure> {
        if users.is_empty() {
            queue(&self.outward, Scan::first_pages(0, 0, true)).await?;
            return Ok(Vec::new());
        }
        let mut users = users.to_vec();
        users.sort_unstable();
        users.dedup();
        let versions = what_they_read(&*self.tables, &users).await?;
        let unknown = users.iter().zip(versions).filter(|(_, version)| version.is_none());
        let unknown: Vec<Handle> = unknown.map(|(user, _)| user.clone()).collect();
        if unknown.is_empty() {
            queue(&self.outward, in_batches(COMPUTE, &users)).await?;
        }
        Ok(unknown)
    }

    /// Looks at every user, and at this process's counters.
    ///
    /// # Errors
    /// When tables, cache or queues fail.
    pub async fn status(&self) -> Result<Status, Failure> {
        let metrics = &self.metrics;
        let backlog = backlog(&*self.queues).await?;
        let seconds = |stage: &'static str| {
            (stage.to_owned(), metrics.timeline_stage_seconds.get_or_create(&StageLabel { stage }).get())
        };
        let computing: f64 = COMPUTING.iter().map(|stage| seconds(stage).1).sum();
        let computed = metrics.timeline_computed.get();
        let lookups = |stage: &'static str| {
            let label = StageLabel { stage };
            let hits = metrics.timeline_cache_hits.get_or_create(&label).get();
            (stage.to_owned(), hits, metrics.timeline_cache_misses.get_or_create(&label).get())
        };
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown to a few digits")]
        let computed_per_second = if computing > 0.0 { computed as f64 / computing } else { 0.0 };
        let mut status = Status {
            users: 0,
            active: 0,
            missing: 0,
            oldest_ms: 0,
            backlog,
            computed,
            computed_per_second,
            fetches: metrics.timeline_fetches.get(),
            fallbacks: metrics.timeline_fallbacks.get(),
            ticks: metrics.timeline_ticks.get(),
            ticks_skipped: metrics.timeline_ticks_skipped.get(),
            stages: COMPUTING.iter().chain(FETCHING).copied().map(seconds).collect(),
            caches: LOOKED_UP.iter().copied().map(lookups).collect(),
        };
        self.look_at_everybody(&mut status).await?;
        Ok(status)
    }

    async fn look_at_everybody(&self, status: &mut Status) -> Result<(), Failure> {
        let now = now_ms();
        let mut after = None;
        loop {
            let page = self.tables.scan(Table::Users, 0, 1, after, ACCOUNTS_AT_ONCE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            status.users += page.len() as u64;
            let active = page.iter().filter(|(_, item)| {
                self.tiers.of(item.number(accounts::attribute::ACTIVE_AT).unwrap_or(0), now).0 == 0
            });
            let active: Vec<String> = active
                .filter_map(|(at, _)| at.pk.strip_prefix("user#")?.parse::<Handle>().ok())
                .map(|user| ranked_key(&user))
                .collect();
            status.active += active.len() as u64;
            for stored in self.cache.get_many(&active).await? {
                match stored.and_then(|stored| version_of(&stored.value)) {
                    Some(version) => {
                        status.oldest_ms = status.oldest_ms.max(steady_ms().saturating_sub(version))
                    }
                    None => status.missing += 1,
                }
            }
        }
    }
}

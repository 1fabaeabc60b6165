//! Ticks: at every interval one process begins a scan of the user table.

use std::sync::Arc;
use std::time::Duration;

use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::cache::Cache;
use soundoff_common::ports::queues::Queues;
use soundoff_common::protocol::{millis, now_ms};
use soundoff_common::telemetry::Metrics;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::messages::{Scan, backlog, queue};
use crate::store::lease;

/// Begins scans.
pub(crate) struct Ticker {
    /// Zero: never.
    interval: Duration,
    cache: Arc<dyn Cache>,
    queues: Arc<dyn Queues>,
    outward: Outward,
    metrics: Metrics,
}

impl Ticker {
    pub(crate) fn new(interval: Duration, world: &World) -> Self {
        let World { cache, queues, outward, metrics, .. } = world.clone();
        Self { interval, cache, queues, outward, metrics }
    }

    /// Ticks at every interval until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        if self.interval.is_zero() {
            return stop.cancelled().await;
        }
        let mut timer = tokio::time::interval(self.interval);
        timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut last = None;
        loop {
            tokio::select! { biased; () = stop.cancelled() => return, _ = timer.tick() => {} }
            if let Err(error) = self.tick(now_ms(), &mut last).await {
                tracing::warn!(%error, "a tick of the timelines' schedule failed; the next tick makes up for it");
            }
        }
    }

    /// One tick, unless an earlier tick's work is still queued or another process was first. `last` is the last that
    /// was not skipped.
    async fn tick(&self, now: u64, last: &mut Option<u64>) -> Result<(), Failure> {
        if backlog(&*self.queues).await? > 0 {
            self.metrics.timeline_ticks_skipped.inc();
            return Ok(());
        }
        let tick = now / millis(self.interval).max(1);
        if lease(&*self.cache, format!("k:{tick}"), self.interval * 2).await? {
            let since = last.unwrap_or(tick.saturating_sub(1));
            queue(&self.outward, Scan::first_pages(tick, since, false)).await?;
            self.metrics.timeline_ticks.inc();
        }
        *last = Some(tick);
        Ok(())
    }
}

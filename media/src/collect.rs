//! Collects media that no post shows: old drafts, uploads that were never finished, and media whose last post was
//! deleted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use soundoff_common::model::media::{self, LOOSE_SHARDS, State};
use soundoff_common::model::removal::Removals;
use soundoff_common::pipeline::handler::raw;
use soundoff_common::pipeline::purge::{MediaPurge, PURGE};
use soundoff_common::pipeline::worker::{Outward, Own};
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::blobs::Blobs;
use soundoff_common::ports::tables::{Table, TableError, Tables, Write};
use soundoff_common::protocol::{Handle, millis, now_ms};
use soundoff_common::telemetry::Metrics;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::{blob, items};

/// How many media are looked up at once.
const AT_ONCE: usize = 200;
/// The longest pause between two rounds.
const PAUSE: Duration = Duration::from_secs(60);

/// Collects media.
pub(crate) struct Collector {
    /// How long media are kept that no post shows.
    kept: Duration,
    /// Whether caches in front are told what to forget.
    purges: bool,
    outward: Outward,
    tables: Arc<dyn Tables>,
    blobs: Arc<dyn Blobs>,
    metrics: Metrics,
}

impl Collector {
    pub(crate) fn new(kept: Duration, purges: bool, world: &World) -> anyhow::Result<Self> {
        let blobs = world.blobs()?;
        let World { outward, tables, metrics, .. } = world.clone();
        Ok(Self { kept, purges, outward, tables, blobs, metrics })
    }

    /// Collects until `stop`. Several processes may do so: each step may be repeated.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut removals = Removals::begin(now_ms(), Instant::now());
        let pause = (self.kept / 4).clamp(Duration::from_millis(100), PAUSE);
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            let now = removals.now(now_ms(), Instant::now());
            for shard in 0..LOOSE_SHARDS {
                if let Err(error) = self.collect_shard(shard, now).await {
                    tracing::warn!("cannot look for loose media; will try again: {error:#}");
                }
            }
        }
    }

    async fn collect_shard(&self, shard: u8, now: u64) -> anyhow::Result<()> {
        let mut rows = media::loose_rows(shard, now.saturating_sub(millis(self.kept)).max(1), AT_ONCE);
        loop {
            let page = self.tables.query(rows.clone()).await?;
            for (sk, _) in &page.items {
                let Some((id, since)) = media::loose_id(sk) else {
                    tracing::error!(sk, "a row of loose media that names no medium");
                    continue;
                };
                // A medium that cannot be collected must not hold up the others.
                if let Err(error) = self.collect(id, since).await {
                    tracing::warn!(%id, "cannot collect a medium; will try again: {error:#}");
                }
            }
            match page.items.last() {
                Some((last, _)) if page.more => rows = rows.above(last.as_str()),
                _ => return Ok(()),
            }
        }
    }

    async fn collect(&self, id: Ulid, since: u64) -> anyhow::Result<()> {
        let stored = items::read(&*self.tables, id).await?;
        let Some(mut stored) = stored.filter(|stored| stored.loose == Some(since)) else {
            // A post shows it, or it is gone: only the row is left.
            let row = Write::delete(Table::Entities, media::loose_key(id, since));
            return Ok(self.tables.write(vec![row]).await?);
        };
        if stored.state != State::Gone {
            // First no post can show it any more; then its bytes are deleted.
            let gone = vec![State::Gone.set()];
            match self.tables.write(vec![media::change(id, &stored, gone)]).await {
                Ok(()) => stored.state = State::Gone,
                // A post was faster, or another collector.
                Err(TableError::ConditionFailed { .. } | TableError::Conflict) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        for name in blob::all(id) {
            self.blobs.delete(&name).await?;
        }
        if self.purges && since == 0 {
            self.purge(id, &stored.owner).await?;
        }
        match self.tables.write(media::end(id, &stored)).await {
            Ok(()) => self.metrics.media_collected.inc(),
            // Another collector was faster.
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }

    /// Has caches forget a medium that a post has shown. Who deleted the post asked for it already, unless its process was
    /// killed just then; and an answer that was on its way to a cache at that time has arrived by now.
    async fn purge(&self, id: Ulid, owner: &Handle) -> anyhow::Result<()> {
        let body = raw(&MediaPurge::Media(vec![id.to_string()]));
        let own = Own { message_type: PURGE, about: owner.clone(), user: Some(owner.clone()), body };
        Ok(self.outward.queue(vec![own], now_ms()).await?)
    }
}

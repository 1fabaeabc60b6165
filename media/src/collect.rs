//! Collects media that no post shows: drafts of a day ago, uploads that were never finished, and what its last post let go of.

use std::sync::Arc;
use std::time::Duration;

use soundoff_common::model::media::{self, LOOSE_SHARDS, State};
use soundoff_common::ports::tables::{Table, TableError, Write};
use soundoff_common::protocol::now_ms;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::blob;
use crate::service::Media;

/// How many media are looked up at once.
const AT_ONCE: usize = 200;
/// The longest pause between two rounds.
const PAUSE: Duration = Duration::from_secs(60);

impl Media {
    /// Collects until `stop`. Several processes may: each step is one that may be repeated.
    pub async fn run_collector(self: Arc<Self>, stop: CancellationToken) {
        let pause = (self.config.kept / 4).clamp(Duration::from_millis(100), PAUSE);
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            for shard in 0..LOOSE_SHARDS {
                if let Err(error) = self.collect_shard(shard, now_ms()).await {
                    tracing::warn!("cannot look for loose media; will try again: {error:#}");
                }
            }
        }
    }

    async fn collect_shard(&self, shard: u8, now: u64) -> anyhow::Result<()> {
        let kept = u64::try_from(self.config.kept.as_millis()).unwrap_or(u64::MAX);
        let mut rows = media::loose_rows(shard, now.saturating_sub(kept).max(1), AT_ONCE);
        loop {
            let page = self.deps.tables.query(rows.clone()).await?;
            for (sk, _) in &page.items {
                let Some((id, since)) = media::loose_id(sk) else {
                    tracing::error!(sk, "a row of loose media that names none");
                    continue;
                };
                // One that cannot be collected must not keep the others.
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
        let stored = self.read(id).await?;
        let Some(mut stored) = stored.filter(|stored| stored.loose == Some(since)) else {
            // A post shows it, or it is gone: the row is left over.
            let row = Write::delete(Table::Entities, media::loose_key(id, since));
            return Ok(self.deps.tables.write(vec![row]).await?);
        };
        if stored.state != State::Gone {
            // First nobody can come to need it; then its bytes go.
            let gone = vec![State::Gone.set()];
            match self.deps.tables.write(vec![media::change(id, &stored, gone)]).await {
                Ok(()) => stored.state = State::Gone,
                // A post was faster, or another collector.
                Err(TableError::ConditionFailed { .. } | TableError::Conflict) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        for name in blob::all(id) {
            self.deps.blobs.delete(&name).await?;
        }
        match self.deps.tables.write(media::end(id, &stored)).await {
            Ok(()) => self.deps.metrics.media_collected.inc(),
            // Another collector was faster.
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }
}

//! Keeps the gauges of the queues' depth fresh.

use std::sync::Arc;
use std::time::{Duration, Instant};

use soundoff_common::ports::queues::{QueueName, Queues};
use soundoff_common::telemetry::Depths;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often this machine's own queues are looked at: that costs a lock each.
const EVERY: Duration = Duration::from_secs(1);
/// How often those of a deployment are, while somebody watches: that costs two requests each.
const EVERY_WATCHED: Duration = Duration::from_secs(10);
/// How long somebody who was seen watching counts as doing so.
const WATCHED: Duration = Duration::from_secs(60);

/// The queues that a process tells about.
pub(super) struct Looked {
    pub(super) queues: Arc<dyn Queues>,
    pub(super) names: Vec<QueueName>,
    pub(super) depths: Depths,
}

impl Looked {
    async fn look(&self) {
        for queue in &self.names {
            match self.queues.depth(queue).await {
                Ok(depth) => self.depths.show(queue, &depth),
                Err(error) => {
                    tracing::debug!(%queue, %error, "its depth cannot be seen");
                    self.depths.forget(queue);
                }
            }
        }
    }

    /// Looks again and again until `stop`.
    pub(super) async fn always(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            self.look().await;
        }
    }

    /// Looks for as long as somebody watches, until `stop`. What nobody watches has no gauges.
    pub(super) async fn while_watched(self, mut watched: watch::Receiver<Instant>, stop: CancellationToken) {
        while stop.run_until_cancelled(watched.changed()).await.is_some_and(|changed| changed.is_ok()) {
            while watched.borrow_and_update().elapsed() < WATCHED {
                self.look().await;
                if stop.run_until_cancelled(tokio::time::sleep(EVERY_WATCHED)).await.is_none() {
                    return;
                }
            }
            self.names.iter().for_each(|queue| self.depths.forget(queue));
        }
    }
}

//! Keeps the gauges of the queues' depth fresh.

use std::sync::Arc;
use std::time::Duration;

use soundoff_common::ports::queues::{QueueName, Queues};
use soundoff_common::telemetry::Depths;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// How often this machine's own queues are looked at: that costs one lock each.
const EVERY: Duration = Duration::from_secs(1);
/// How often a deployment's queues are looked at while somebody watches: that costs two requests each.
const EVERY_WATCHED: Duration = Duration::from_secs(10);
/// For how long somebody who was seen watching counts as still watching.
const WATCHED: Duration = Duration::from_secs(60);

/// The queues whose depths a process reports.
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
                    tracing::debug!(%queue, %error, "cannot read the depth");
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

    /// Looks for as long as somebody watches, until `stop`. While nobody watches there are no gauges.
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

#[cfg(test)]
mod tests {
    use soundoff_common::telemetry::Metrics;
    use soundoff_embedded::queues::{EmbeddedQueues, Options};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn queues_are_asked_while_somebody_watches_and_a_minute_longer() {
        let dir = tempfile::tempdir().unwrap();
        let names = vec![QueueName::main()];
        let queues = EmbeddedQueues::open(dir.path(), &names, Options::default()).unwrap();
        let metrics = Metrics::new();
        let (seen, watched) = watch::channel(Instant::now());
        let looked = Looked { queues, names, depths: metrics.depths.clone() };
        let stop = CancellationToken::new();
        let looking = tokio::spawn(looked.while_watched(watched, stop.clone()));
        let are_there = || metrics.text().contains("soundoff_queue_visible{queue=\"main_q\"} 0");
        let later = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        later(1000).await;
        assert!(!are_there(), "nobody has watched yet");
        for _ in 0..3 {
            seen.send_replace(Instant::now());
            later(50).await;
            assert!(are_there());
        }
        later(30).await;
        assert!(!are_there(), "80 s after somebody was seen");
        seen.send_replace(Instant::now());
        later(1).await;
        assert!(are_there());
        stop.cancel();
        looking.await.unwrap();
    }
}

//! Keeps the gauges of the queues' depth fresh.

use std::sync::Arc;
use std::time::Duration;

use soundoff_common::ports::queues::{QueueName, Queues};
use soundoff_common::telemetry::Depths;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often they are looked at: on this machine's own queues that costs a lock each.
const EVERY: Duration = Duration::from_secs(1);

/// Looks at the queues again and again until `stop`.
pub(crate) async fn keep(
    queues: Arc<dyn Queues>,
    names: Vec<QueueName>,
    depths: Depths,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        for queue in &names {
            match queues.depth(queue).await {
                Ok(depth) => depths.show(queue, &depth),
                Err(error) => {
                    tracing::debug!(%queue, %error, "its depth cannot be seen");
                    depths.forget(queue);
                }
            }
        }
    }
}

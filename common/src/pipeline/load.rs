//! How far behind the queues are, told by those that pull them to those that take messages in: through the cache, where
//! a figure lives for some seconds. What nobody pulls has no figure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::ports::Unavailable;
use crate::ports::cache::Cache;
use crate::ports::queues::{QueueName, Queues};
use crate::protocol::now_ms;
use crate::telemetry::Lags;

/// How often figures are told, and read.
pub const EVERY: Duration = Duration::from_secs(1);
/// From this lag on a queue is far behind.
pub const FAR: Duration = Duration::from_secs(2);
/// How long a figure lives.
const LIVES: Duration = Duration::from_secs(4);
/// A shorter lag is not told: it is what a queue has that is well.
const WORTH_TELLING: Duration = Duration::from_millis(500);

/// How far behind a queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Behind {
    /// The wait of the message in the middle of those that were received in the last second.
    pub lag: Duration,
    /// How many messages wait, of a queue that is far behind. The lag tells what was taken in some time ago, and this
    /// what is taken in now.
    pub waiting: Option<u64>,
}

/// A queue's figure in the cache.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Figure {
    lag_ms: u64,
    /// Messages that waited, and when that was, in milliseconds since 1970.
    waiting: Option<(u64, u64)>,
}

fn key(queue: &QueueName) -> String {
    format!("load:{queue}")
}

/// Tells the lags of a process's queues, until `stop`.
pub async fn tell(lags: Lags, queues: Arc<dyn Queues>, cache: Arc<dyn Cache>, stop: CancellationToken) {
    let telling = async {
        loop {
            tokio::time::sleep(EVERY).await;
            let far: HashMap<_, _> =
                lags.look().into_iter().filter(|(_, lag)| *lag >= WORTH_TELLING).collect();
            if far.is_empty() {
                continue;
            }
            if let Err(error) = put(far, &*queues, &*cache).await {
                tracing::debug!(%error, "cannot tell how far behind the queues are");
            }
        }
    };
    stop.run_until_cancelled(telling).await;
}

async fn put(
    far: HashMap<QueueName, Duration>,
    queues: &dyn Queues,
    cache: &dyn Cache,
) -> Result<(), Unavailable> {
    let names: Vec<_> = far.keys().cloned().collect();
    let mut told = Vec::new();
    for ((queue, lag), before) in far.into_iter().zip(figures(cache, &names).await?) {
        let waiting = if lag < FAR { None } else { waiting(queues, &queue, before).await };
        let figure = Figure { lag_ms: u64::try_from(lag.as_millis()).unwrap_or(u64::MAX), waiting };
        told.push((key(&queue), Bytes::from(serde_json::to_vec(&figure).expect("numbers are JSON"))));
    }
    cache.put_many(told, LIVES).await
}

/// How many messages wait. Each look costs requests on SQS: one process's does for all.
async fn waiting(queues: &dyn Queues, queue: &QueueName, before: Option<Figure>) -> Option<(u64, u64)> {
    let now = now_ms();
    let known = before.and_then(|figure| figure.waiting);
    if let Some((_, at)) = known
        && now.saturating_sub(at) < EVERY.as_millis() as u64 * 9 / 10
    {
        return known;
    }
    let looked = tokio::time::timeout(EVERY, queues.depth(queue)).await;
    looked.ok()?.ok().map(|depth| (depth.visible, now))
}

async fn figures(cache: &dyn Cache, queues: &[QueueName]) -> Result<Vec<Option<Figure>>, Unavailable> {
    let keys: Vec<_> = queues.iter().map(key).collect();
    let found = cache.get_many(&keys).await?;
    Ok(found.into_iter().map(|found| serde_json::from_slice(&found?.value).ok()).collect())
}

/// How far behind each of these queues is, as far as somebody told; not at all where nobody did.
///
/// # Errors
/// As the cache.
pub async fn read(cache: &dyn Cache, queues: &[QueueName]) -> Result<Vec<Behind>, Unavailable> {
    let behind = |Figure { lag_ms, waiting }| Behind {
        lag: Duration::from_millis(lag_ms),
        waiting: waiting.map(|(messages, _)| messages),
    };
    Ok(figures(cache, queues)
        .await?
        .into_iter()
        .map(|figure| figure.map(behind).unwrap_or_default())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory::{MemoryCache, MemoryQueues};
    use crate::ports::queues::Outgoing;

    #[tokio::test(start_paused = true)]
    async fn a_lag_is_known_to_others_until_it_is_over() {
        let (lags, cache, stop) =
            (Lags::default(), Arc::new(MemoryCache::default()), CancellationToken::new());
        let names = ["slow_q", "quick_q", "other_q"].map(QueueName::new);
        let queues = Arc::new(MemoryQueues::new(names.clone()));
        let body = Bytes::from_static(b"{}");
        queues.send(vec![Outgoing { queue: names[0].clone(), body, user: None }; 7]).await;
        let telling = tokio::spawn(tell(lags.clone(), queues, cache.clone(), stop.clone()));
        let known = async || {
            let known = read(&*cache, &names).await.unwrap();
            known.iter().map(|behind| (behind.lag.as_millis(), behind.waiting)).collect::<Vec<_>>()
        };
        // A few users meet nothing of it, and one has queued much; most wait as long as the one in the middle.
        [10, 60_000, 3_000, 3_100, 2_900].iter().for_each(|ms| lags.of(&names[0]).note(*ms));
        lags.of(&names[1]).note(20);
        tokio::time::sleep(EVERY + EVERY / 2).await;
        assert_eq!(known().await, [(3_072, Some(7)), (0, None), (0, None)]);
        lags.of(&names[0]).note(700);
        tokio::time::sleep(EVERY).await;
        assert_eq!(known().await, [(768, None), (0, None), (0, None)]);
        tokio::time::sleep(LIVES + EVERY).await;
        assert_eq!(known().await, [(0, None); 3]);
        stop.cancel();
        telling.await.unwrap();
    }
}

//! How far behind the queues are, told by those that pull them to those that take messages in: through the cache, where
//! a figure lives for some seconds. What nobody pulls has no figure.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::ports::Unavailable;
use crate::ports::cache::Cache;
use crate::ports::queues::QueueName;
use crate::telemetry::Lags;

/// How often figures are told, and read.
pub const EVERY: Duration = Duration::from_secs(1);
/// How long a figure lives.
const LIVES: Duration = Duration::from_secs(4);
/// A shorter lag is not told: it is what a queue has that is well.
const WORTH_TELLING: Duration = Duration::from_millis(500);

fn key(queue: &QueueName) -> String {
    format!("load:{queue}")
}

/// Tells the lags of a process's queues, until `stop`.
pub async fn tell(lags: Lags, cache: Arc<dyn Cache>, stop: CancellationToken) {
    let telling = async {
        loop {
            tokio::time::sleep(EVERY).await;
            let far = lags.look().into_iter().filter(|(_, lag)| *lag >= WORTH_TELLING);
            let figure =
                |(queue, lag): (QueueName, Duration)| (key(&queue), lag.as_millis().to_string().into());
            let figures: Vec<(String, Bytes)> = far.map(figure).collect();
            if figures.is_empty() {
                continue;
            }
            if let Err(error) = cache.put_many(figures, LIVES).await {
                tracing::debug!(%error, "cannot tell how far behind the queues are");
            }
        }
    };
    stop.run_until_cancelled(telling).await;
}

/// How far behind each of these queues is, as far as somebody told; zero where nobody did.
///
/// # Errors
/// As the cache.
pub async fn read(cache: &dyn Cache, queues: &[QueueName]) -> Result<Vec<Duration>, Unavailable> {
    let keys: Vec<_> = queues.iter().map(key).collect();
    let figures = cache.get_many(&keys).await?;
    let lag = |value: &[u8]| std::str::from_utf8(value).ok()?.parse().ok().map(Duration::from_millis);
    Ok(figures
        .into_iter()
        .map(|found| found.and_then(|found| lag(&found.value)).unwrap_or_default())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory::MemoryCache;

    #[tokio::test(start_paused = true)]
    async fn a_lag_is_known_to_others_until_it_is_over() {
        let (lags, cache, stop) =
            (Lags::default(), Arc::new(MemoryCache::default()), CancellationToken::new());
        let telling = tokio::spawn(tell(lags.clone(), cache.clone(), stop.clone()));
        let queues = ["slow_q", "quick_q", "other_q"].map(QueueName::new);
        let known = async || {
            read(&*cache, &queues).await.unwrap().iter().map(Duration::as_millis).collect::<Vec<_>>()
        };
        // A few users meet nothing of it, and one has queued much; most wait as long as the one in the middle.
        [10, 60_000, 3_000, 3_100, 2_900].iter().for_each(|ms| lags.of(&queues[0]).note(*ms));
        lags.of(&queues[1]).note(20);
        tokio::time::sleep(EVERY + EVERY / 2).await;
        assert_eq!(known().await, [3_072, 0, 0]);
        lags.of(&queues[0]).note(700);
        tokio::time::sleep(EVERY).await;
        assert_eq!(known().await, [768, 0, 0]);
        tokio::time::sleep(LIVES + EVERY).await;
        assert_eq!(known().await, [0, 0, 0]);
        stop.cancel();
        telling.await.unwrap();
    }
}

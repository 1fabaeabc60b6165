//! The consumers of the router and the workers, which are started and stopped together.

use std::sync::Arc;

use soundoff_common::guard::Weather;
use soundoff_common::pipeline::consumer::{ConsumerConfig, Job, consume};
use soundoff_common::pipeline::load;
use soundoff_common::ports::cache::Cache;
use soundoff_common::ports::queues::{QueueName, Queues};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engines::Engines;

/// One queue and what is done with it.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) queues: Arc<dyn Queues>,
    pub(crate) queue: QueueName,
    pub(crate) config: ConsumerConfig,
    pub(crate) job: Arc<dyn Job>,
}

struct Shift {
    stop: CancellationToken,
    consumers: TaskTracker,
}

/// All consumers of this process.
pub(crate) struct Pool {
    weather: Weather,
    queues: Arc<dyn Queues>,
    cache: Arc<dyn Cache>,
    benches: Vec<Bench>,
    shift: Mutex<Option<Shift>>,
}

impl Pool {
    pub(crate) fn new(engines: &Engines, benches: Vec<Bench>) -> Self {
        let (weather, queues, cache) =
            (engines.weather.clone(), engines.queues.clone(), engines.cache.clone());
        Self { weather, queues, cache, benches, shift: Mutex::default() }
    }

    /// Starts every consumer, unless they already run.
    pub(crate) async fn start(&self) {
        let mut shift = self.shift.lock().await;
        if shift.is_some() {
            return;
        }
        let (stop, consumers) = (CancellationToken::new(), TaskTracker::new());
        for Bench { queues, queue, config, job } in self.benches.clone() {
            consumers.spawn(consume(queues, queue, config, job, self.weather.clone(), stop.clone()));
        }
        consumers.spawn(load::tell(
            self.weather.metrics().lags.clone(),
            self.queues.clone(),
            self.cache.clone(),
            stop.clone(),
        ));
        consumers.close();
        *shift = Some(Shift { stop, consumers });
    }

    /// Stops receiving, and returns when all work in progress is done.
    pub(crate) async fn stop(&self) {
        if let Some(Shift { stop, consumers }) = self.shift.lock().await.take() {
            stop.cancel();
            consumers.wait().await;
        }
    }
}

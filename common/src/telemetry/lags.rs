//! How far behind the consumers of a process are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::QueueLabel;
use crate::lock::lock;
use crate::ports::queues::QueueName;

/// Nothing has been received.
const NOTHING: u64 = u64::MAX;

/// The shortest time that a message of a queue waited until it was received, since the last look. The shortest, because
/// queues serve users in turn: what one user has queued for long says nothing about all others. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Lag(Arc<AtomicU64>);

impl Lag {
    /// Notes that a message was received which had waited so many milliseconds.
    #[inline]
    pub fn note(&self, waited_ms: u64) {
        self.0.fetch_min(waited_ms, Ordering::Relaxed);
    }
}

/// The lags of a process's queues. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Lags {
    queues: Arc<Mutex<HashMap<QueueName, Lag>>>,
    shown: Family<QueueLabel, Gauge<f64, AtomicU64>>,
}

impl Lags {
    /// The lag of a queue.
    #[must_use]
    pub fn of(&self, queue: &QueueName) -> Lag {
        let mut queues = lock(&self.queues);
        queues.entry(queue.clone()).or_insert_with(|| Lag(Arc::new(AtomicU64::new(NOTHING)))).clone()
    }

    /// How far behind each queue is of which something was received since the last look.
    pub fn look(&self) -> Vec<(QueueName, Duration)> {
        let mut found = Vec::new();
        for (queue, lag) in &*lock(&self.queues) {
            let waited = lag.0.swap(NOTHING, Ordering::Relaxed);
            let waited = if waited == NOTHING { Duration::ZERO } else { Duration::from_millis(waited) };
            let label = QueueLabel { queue: queue.to_string() };
            self.shown.get_or_create(&label).set(waited.as_secs_f64());
            if !waited.is_zero() {
                found.push((queue.clone(), waited));
            }
        }
        found
    }

    pub(super) fn register(&self, r: &mut Registry) {
        let what = "shortest wait of a message received in the last second";
        r.register("consumer_lag_seconds", what, self.shown.clone());
    }
}

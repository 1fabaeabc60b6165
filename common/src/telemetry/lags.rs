//! How far behind the consumers of a process are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::QueueLabel;
use crate::lock::lock;
use crate::ports::queues::QueueName;

/// How many lengths of time are told apart; each is twice the one before, so that the last is half a year.
const LENGTHS: usize = 35;

/// How long the messages of a queue waited until they were received, since the last look. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Lag(Arc<[AtomicU32; LENGTHS]>);

impl Lag {
    /// Notes that a message was received which had waited so many milliseconds.
    #[inline]
    pub fn note(&self, waited_ms: u64) {
        let length = (u64::BITS - waited_ms.leading_zeros()) as usize;
        self.0[length.min(LENGTHS - 1)].fetch_add(1, Ordering::Relaxed);
    }

    /// How long the one in the middle had waited, to a half more or less, and forgets them. Queues serve users in turn, so
    /// this is what most users meet: not what one has queued for long, and not what a few meet who send little.
    fn take(&self) -> Duration {
        let counts = self.0.each_ref().map(|count| u64::from(count.swap(0, Ordering::Relaxed)));
        let half = counts.iter().sum::<u64>().div_ceil(2);
        let mut seen = 0;
        let middle = counts.iter().position(|count| {
            seen += count;
            half > 0 && seen >= half
        });
        match middle {
            None | Some(0) => Duration::ZERO,
            Some(length) => Duration::from_millis(3 << length) / 4,
        }
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
        queues
            .entry(queue.clone())
            .or_insert_with(|| Lag(Arc::new(std::array::from_fn(|_| AtomicU32::new(0)))))
            .clone()
    }

    /// How far behind each queue is of which something was received since the last look.
    pub fn look(&self) -> Vec<(QueueName, Duration)> {
        let mut found = Vec::new();
        for (queue, lag) in &*lock(&self.queues) {
            let waited = lag.take();
            let label = QueueLabel { queue: queue.to_string() };
            self.shown.get_or_create(&label).set(waited.as_secs_f64());
            if !waited.is_zero() {
                found.push((queue.clone(), waited));
            }
        }
        found
    }

    pub(super) fn register(&self, r: &mut Registry) {
        let what = "wait of the message in the middle of those received in the last second";
        r.register("consumer_lag_seconds", what, self.shown.clone());
    }
}

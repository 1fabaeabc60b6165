//! How full queues are, as far as this process looks.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::QueueLabel;
use crate::ports::queues::{Depth, QueueName};

/// The gauges of queues. A queue that nobody looks at has no gauges, instead of old values. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Depths {
    visible: Family<QueueLabel, Gauge>,
    in_flight: Family<QueueLabel, Gauge>,
    oldest_age_seconds: Family<QueueLabel, Gauge<f64, AtomicU64>>,
    dead: Family<QueueLabel, Gauge>,
}

impl Depths {
    /// Shows a queue as it was just found.
    pub fn show(&self, queue: &QueueName, depth: &Depth) {
        let label = QueueLabel { queue: queue.to_string() };
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.visible.get_or_create(&label).set(whole(depth.visible));
        self.in_flight.get_or_create(&label).set(whole(depth.in_flight));
        #[expect(clippy::cast_precision_loss, reason = "an age of 285,000 years would lose a millisecond")]
        self.oldest_age_seconds.get_or_create(&label).set(depth.oldest_age_ms as f64 / 1000.0);
        self.dead.get_or_create(&label).set(whole(depth.dead));
    }

    /// Removes a queue's gauges, until it is seen again.
    pub fn forget(&self, queue: &QueueName) {
        let label = QueueLabel { queue: queue.to_string() };
        self.visible.remove(&label);
        self.in_flight.remove(&label);
        self.oldest_age_seconds.remove(&label);
        self.dead.remove(&label);
    }

    pub(super) fn register(&self, r: &mut Registry) {
        r.register("queue_visible", "messages that a receive would find", self.visible.clone());
        r.register("queue_in_flight", "messages received and not yet acked", self.in_flight.clone());
        let oldest = self.oldest_age_seconds.clone();
        r.register("queue_oldest_age_seconds", "age of the oldest message not yet acked", oldest);
        r.register("queue_dead", "messages in the dead letters", self.dead.clone());
    }
}

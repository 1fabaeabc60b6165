//! What one queue's consumer counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::{Bill, Lag, Metrics, QueueLabel};
use crate::ports::queues::QueueName;

/// The metrics of one queue's consumer, looked up once because each counts every message.
#[derive(Debug, Clone)]
pub struct ConsumerMetrics {
    /// Messages taken from the queue.
    pub received: Counter,
    /// Messages done and acked.
    pub done: Counter,
    /// Runs that end in another try.
    pub retried: Counter,
    /// Messages given up.
    pub buried: Counter,
    /// Messages that keep their slot until an engine is back.
    pub waiting: Gauge,
    /// Messages in progress.
    pub in_flight: Gauge,
    /// Seconds from receive to verdict.
    pub run_seconds: Histogram,
    /// How far behind it is.
    pub lag: Lag,
    /// The process's bill.
    pub bill: Bill,
}

impl Metrics {
    /// How many messages have moved to this side queue.
    #[must_use]
    pub fn moved_aside(&self, side_queue: &QueueName) -> Counter {
        self.worker_moved_aside.get_or_create_owned(&QueueLabel { queue: side_queue.to_string() })
    }

    /// The metrics of a queue's consumer.
    #[must_use]
    pub fn of_consumer(&self, queue: &QueueName) -> ConsumerMetrics {
        let label = QueueLabel { queue: queue.to_string() };
        ConsumerMetrics {
            received: self.consumer_received.get_or_create_owned(&label),
            done: self.consumer_done.get_or_create_owned(&label),
            retried: self.consumer_retried.get_or_create_owned(&label),
            buried: self.consumer_buried.get_or_create_owned(&label),
            waiting: self.consumer_waiting.get_or_create_owned(&label),
            in_flight: self.consumer_in_flight.get_or_create_owned(&label),
            run_seconds: self.consumer_run_seconds.get_or_create_owned(&label),
            lag: self.lags.of(queue),
            bill: self.bill.clone(),
        }
    }
}

//! The one list of metrics, with units in their names, in the Prometheus text format.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QueueLabel {
    /// Its name.
    pub queue: String,
}

/// One reason, close code or error code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// From a fixed set, never from input.
    pub reason: &'static str,
}

/// Every metric of a process. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Open websockets, by edge process.
    pub edge_sockets: Gauge,
    /// Handshakes that became a session.
    pub edge_welcomes: Counter,
    /// Frames from clients.
    pub edge_frames_in: Counter,
    /// Frames to clients.
    pub edge_frames_out: Counter,
    /// Messages that main_q confirmed.
    pub edge_accepted: Counter,
    /// Seconds from frame to `accepted`.
    pub edge_accepted_seconds: Histogram,
    /// Refused frames, by error code.
    pub edge_refused: Family<ReasonLabel, Counter>,
    /// Sockets the edge closed, by close code.
    pub edge_closed: Family<ReasonLabel, Counter>,
    /// Events dropped because a socket's queue was full.
    pub edge_events_dropped: Counter,
    /// Deliveries taken from workers.
    pub edge_deliveries: Counter,
    /// Requests to the internal port that proved no knowledge of the key.
    pub edge_unsigned_requests: Counter,
    /// Messages taken from a queue.
    pub consumer_received: Family<QueueLabel, Counter>,
    /// Messages done and acked.
    pub consumer_done: Family<QueueLabel, Counter>,
    /// Runs that end in another try.
    pub consumer_retried: Family<QueueLabel, Counter>,
    /// Messages given up.
    pub consumer_buried: Family<QueueLabel, Counter>,
    /// Runs in progress.
    pub consumer_in_flight: Family<QueueLabel, Gauge>,
    /// Seconds from receive to verdict.
    pub consumer_run_seconds: Family<QueueLabel, Histogram>,
    /// Messages whose effect had been recorded before.
    pub worker_duplicates: Counter,
    /// POSTs to edges.
    pub reply_posts: Counter,
    /// Deliveries in those POSTs.
    pub reply_deliveries: Counter,
    /// POSTs that failed for good.
    pub reply_posts_failed: Counter,
}

/// Seconds from 50 µs to about 13 s, doubling.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 2.0, 19))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut made = Self {
            registry: Arc::default(),
            edge_sockets: Gauge::default(),
            edge_welcomes: Counter::default(),
            edge_frames_in: Counter::default(),
            edge_frames_out: Counter::default(),
            edge_accepted: Counter::default(),
            edge_accepted_seconds: seconds(),
            edge_refused: Family::default(),
            edge_closed: Family::default(),
            edge_events_dropped: Counter::default(),
            edge_deliveries: Counter::default(),
            edge_unsigned_requests: Counter::default(),
            consumer_received: Family::default(),
            consumer_done: Family::default(),
            consumer_retried: Family::default(),
            consumer_buried: Family::default(),
            consumer_in_flight: Family::default(),
            consumer_run_seconds: Family::new_with_constructor(seconds),
            worker_duplicates: Counter::default(),
            reply_posts: Counter::default(),
            reply_deliveries: Counter::default(),
            reply_posts_failed: Counter::default(),
        };
        made.registry = Arc::new(made.registered());
        made
    }

    fn registered(&self) -> Registry {
        let mut r = Registry::with_prefix("soundoff");
        r.register("edge_sockets", "open websockets", self.edge_sockets.clone());
        r.register("edge_welcomes", "handshakes that became a session", self.edge_welcomes.clone());
        r.register("edge_frames_in", "frames from clients", self.edge_frames_in.clone());
        r.register("edge_frames_out", "frames to clients", self.edge_frames_out.clone());
        r.register("edge_accepted", "messages that main_q confirmed", self.edge_accepted.clone());
        r.register("edge_accepted_seconds", "frame to accepted", self.edge_accepted_seconds.clone());
        r.register("edge_refused", "refused frames by error code", self.edge_refused.clone());
        r.register("edge_closed", "sockets closed by the edge", self.edge_closed.clone());
        r.register("edge_events_dropped", "events dropped at full sockets", self.edge_events_dropped.clone());
        r.register("edge_deliveries", "deliveries from workers", self.edge_deliveries.clone());
        r.register(
            "edge_unsigned_requests",
            "refused internal requests",
            self.edge_unsigned_requests.clone(),
        );
        r.register("consumer_received", "messages received", self.consumer_received.clone());
        r.register("consumer_done", "messages done", self.consumer_done.clone());
        r.register("consumer_retried", "runs that end in another try", self.consumer_retried.clone());
        r.register("consumer_buried", "messages given up", self.consumer_buried.clone());
        r.register("consumer_in_flight", "runs in progress", self.consumer_in_flight.clone());
        r.register("consumer_run_seconds", "receive to verdict", self.consumer_run_seconds.clone());
        r.register("worker_duplicates", "effects that had happened before", self.worker_duplicates.clone());
        r.register("reply_posts", "POSTs to edges", self.reply_posts.clone());
        r.register("reply_deliveries", "deliveries in POSTs", self.reply_deliveries.clone());
        r.register("reply_posts_failed", "POSTs that failed for good", self.reply_posts_failed.clone());
        r
    }

    /// All metrics as Prometheus text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a String cannot fail");
        text
    }
}

//! The one list of metrics, with units in their names, in the Prometheus text format.

mod bill;
mod classic;
mod consumer;
mod depths;
mod lags;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use bill::{Bill, BillLabel, RequestLabel};
pub use classic::classic;
pub use consumer::ConsumerMetrics;
pub use depths::Depths;
pub use lags::{Lag, Lags};

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QueueLabel {
    /// Its name.
    pub queue: String,
}

/// One kind of event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// From a fixed set, never from input.
    pub kind: &'static str,
}

/// One reason, close code or error code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// From a fixed set, never from input.
    pub reason: &'static str,
}

/// One stage of the timelines' work, or one kind of what it looks up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StageLabel {
    /// From a fixed set.
    pub stage: &'static str,
}

/// One kind of call, and its result.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabel {
    /// From a fixed set.
    pub call: &'static str,
    /// From a fixed set.
    pub outcome: &'static str,
}

/// One node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NodeLabel {
    /// Its `host:port`, as the configuration has it.
    pub node: String,
}

/// One kind of engine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EngineLabel {
    /// From a fixed set.
    pub engine: &'static str,
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
    /// Requests for a websocket that were refused because too many came from their address.
    pub edge_upgrades_refused: Counter,
    /// Hellos that were told to come later, because too many came together.
    pub edge_hellos_put_off: Counter,
    /// How many hellos may ask the tables at once.
    pub edge_hello_slots: Gauge,
    /// How many wait for that.
    pub edge_hellos_waiting: Gauge,
    /// Sockets and requests that were not let in, because the gate was shut for them.
    pub gate_refused: Counter,
    /// Events dropped because a socket's queue was full.
    pub edge_events_dropped: Counter,
    /// Deliveries taken from workers.
    pub edge_deliveries: Counter,
    /// Requests to the internal port that were not signed with the key.
    pub edge_unsigned_requests: Counter,
    /// Signed requests to the internal port that were taken before.
    pub edge_repeated_requests: Counter,
    /// Connections that the internal port closed: `late`, no request came in time; `crowded`, its place was needed.
    pub edge_internal_closed: Family<ReasonLabel, Counter>,
    /// How many seconds the wall clock is ahead of the other edges'.
    pub edge_clock_skew_seconds: Gauge<f64, AtomicU64>,
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
    /// Messages that keep their slot until an engine is back.
    pub consumer_waiting: Family<QueueLabel, Gauge>,
    /// How many engines of a kind do not answer.
    pub engine_away: Family<EngineLabel, Gauge>,
    /// Calls that an engine did not answer.
    pub engine_failures: Family<EngineLabel, Counter>,
    /// Calls that were refused because the engine is away.
    pub engine_refused: Family<EngineLabel, Counter>,
    /// Messages whose effect had been recorded before.
    pub worker_duplicates: Counter,
    /// Messages that moved to their type's side queue, because those about the same held their share of the slots.
    pub worker_moved_aside: Family<QueueLabel, Counter>,
    /// POSTs to edges.
    pub reply_posts: Counter,
    /// Deliveries in those POSTs.
    pub reply_deliveries: Counter,
    /// POSTs that failed for good.
    pub reply_posts_failed: Counter,
    /// Envelopes whose origin no edge of this deployment has signed.
    pub reply_origins_unsigned: Counter,
    /// Calls to the User service.
    pub users_calls: Family<CallLabel, Counter>,
    /// Texts that were not sent, by the reason.
    pub users_texts_refused: Family<ReasonLabel, Counter>,
    /// Events of the audit trail, by what happened.
    pub audit_events: Family<KindLabel, Counter>,
    /// Those that are in the log only, because main_q was away.
    pub audit_events_lost: Counter,
    /// Media that were checked, by the result.
    pub media_checked: Family<ReasonLabel, Counter>,
    /// Requests about media that were refused for want of a place or a share, by the reason.
    pub media_refused: Family<ReasonLabel, Counter>,
    /// Media that were collected.
    pub media_collected: Counter,
    /// Ranked timelines that were computed.
    pub timeline_computed: Counter,
    /// Seconds of work, by stage, summed over threads.
    pub timeline_stage_seconds: Family<StageLabel, Counter<f64, AtomicU64>>,
    /// Look-ups that the cache or this process's memory answered, by what was looked up.
    pub timeline_cache_hits: Family<StageLabel, Counter>,
    /// Look-ups that went on to the tables, by what was looked up.
    pub timeline_cache_misses: Family<StageLabel, Counter>,
    /// First pages and later ones that were shown.
    pub timeline_fetches: Counter,
    /// First pages gathered at once, because there was no computed timeline.
    pub timeline_fallbacks: Counter,
    /// Ticks that put work on the queues.
    pub timeline_ticks: Counter,
    /// Ticks that found work of an earlier one still queued.
    pub timeline_ticks_skipped: Counter,
    /// Age of the oldest timeline of a user of the first tier, as the last tick found it.
    pub timeline_oldest_seconds: Gauge,
    /// Users of the first tier without a timeline, as the last tick found it.
    pub timeline_missing: Gauge,
    /// How full queues are.
    pub depths: Depths,
    /// How far behind the process's consumers are.
    pub lags: Lags,
    /// Requests to managed services, and their cost.
    pub bill: Bill,
    /// 1 while a node of memcached does not answer and counts as empty, 0 otherwise.
    pub memcached_away: Family<NodeLabel, Gauge>,
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
            edge_upgrades_refused: Counter::default(),
            edge_hellos_put_off: Counter::default(),
            edge_hello_slots: Gauge::default(),
            edge_hellos_waiting: Gauge::default(),
            gate_refused: Counter::default(),
            edge_events_dropped: Counter::default(),
            edge_deliveries: Counter::default(),
            edge_unsigned_requests: Counter::default(),
            edge_repeated_requests: Counter::default(),
            edge_internal_closed: Family::default(),
            edge_clock_skew_seconds: Gauge::default(),
            consumer_received: Family::default(),
            consumer_done: Family::default(),
            consumer_retried: Family::default(),
            consumer_buried: Family::default(),
            consumer_in_flight: Family::default(),
            consumer_run_seconds: Family::new_with_constructor(seconds),
            consumer_waiting: Family::default(),
            engine_away: Family::default(),
            engine_failures: Family::default(),
            engine_refused: Family::default(),
            worker_duplicates: Counter::default(),
            worker_moved_aside: Family::default(),
            reply_posts: Counter::default(),
            reply_deliveries: Counter::default(),
            reply_posts_failed: Counter::default(),
            reply_origins_unsigned: Counter::default(),
            users_calls: Family::default(),
            users_texts_refused: Family::default(),
            audit_events: Family::default(),
            audit_events_lost: Counter::default(),
            media_checked: Family::default(),
            media_refused: Family::default(),
            media_collected: Counter::default(),
            timeline_computed: Counter::default(),
            timeline_stage_seconds: Family::default(),
            timeline_cache_hits: Family::default(),
            timeline_cache_misses: Family::default(),
            timeline_fetches: Counter::default(),
            timeline_fallbacks: Counter::default(),
            timeline_ticks: Counter::default(),
            timeline_ticks_skipped: Counter::default(),
            timeline_oldest_seconds: Gauge::default(),
            timeline_missing: Gauge::default(),
            depths: Depths::default(),
            lags: Lags::default(),
            bill: Bill::default(),
            memcached_away: Family::default(),
        };
        made.registry = Arc::new(made.registered());
        made
    }

    fn registered(&self) -> Registry {
        let mut r = Registry::with_prefix("soundoff");
        r.register("build", "which build this is", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        r.register("edge_sockets", "open websockets", self.edge_sockets.clone());
        r.register("edge_welcomes", "handshakes that became a session", self.edge_welcomes.clone());
        r.register("edge_frames_in", "frames from clients", self.edge_frames_in.clone());
        r.register("edge_frames_out", "frames to clients", self.edge_frames_out.clone());
        r.register("edge_accepted", "messages that main_q confirmed", self.edge_accepted.clone());
        r.register("edge_accepted_seconds", "frame to accepted", self.edge_accepted_seconds.clone());
        r.register("edge_refused", "refused frames by error code", self.edge_refused.clone());
        r.register("edge_closed", "sockets closed by the edge", self.edge_closed.clone());
        r.register("gate_refused", "sockets and requests not let in by the gate", self.gate_refused.clone());
        r.register("edge_hellos_put_off", "hellos told to come later", self.edge_hellos_put_off.clone());
        r.register(
            "edge_hello_slots",
            "hellos that may ask the tables at once",
            self.edge_hello_slots.clone(),
        );
        r.register("edge_hellos_waiting", "hellos that wait for that", self.edge_hellos_waiting.clone());
        let refused = self.edge_upgrades_refused.clone();
        r.register("edge_upgrades_refused", "websockets refused as too many of one address", refused);
        r.register("edge_events_dropped", "events dropped at full sockets", self.edge_events_dropped.clone());
        r.register("edge_deliveries", "deliveries from workers", self.edge_deliveries.clone());
        r.register(
            "edge_unsigned_requests",
            "refused internal requests",
            self.edge_unsigned_requests.clone(),
        );
        let repeated = self.edge_repeated_requests.clone();
        r.register("edge_repeated_requests", "internal requests that came a second time", repeated);
        let closed = self.edge_internal_closed.clone();
        r.register("edge_internal_closed", "connections closed by the internal port", closed);
        let skew = self.edge_clock_skew_seconds.clone();
        r.register("edge_clock_skew_seconds", "how far the clock is ahead of the other edges'", skew);
        r.register("consumer_received", "messages received", self.consumer_received.clone());
        r.register("consumer_done", "messages done", self.consumer_done.clone());
        r.register("consumer_retried", "runs that end in another try", self.consumer_retried.clone());
        r.register("consumer_buried", "messages given up", self.consumer_buried.clone());
        r.register("consumer_in_flight", "runs in progress", self.consumer_in_flight.clone());
        r.register("consumer_run_seconds", "receive to verdict", self.consumer_run_seconds.clone());
        r.register("consumer_waiting", "messages that wait for an engine", self.consumer_waiting.clone());
        r.register("engine_away", "engines that do not answer, by kind", self.engine_away.clone());
        r.register("engine_failures", "calls that an engine did not answer", self.engine_failures.clone());
        r.register("engine_refused", "calls refused for an absent engine", self.engine_refused.clone());
        r.register("worker_duplicates", "effects that had happened before", self.worker_duplicates.clone());
        let moved = self.worker_moved_aside.clone();
        r.register("worker_moved_aside", "messages moved to their type's side queue", moved);
        r.register("reply_posts", "POSTs to edges", self.reply_posts.clone());
        r.register("reply_deliveries", "deliveries in POSTs", self.reply_deliveries.clone());
        r.register("reply_posts_failed", "POSTs that failed for good", self.reply_posts_failed.clone());
        r.register(
            "reply_origins_unsigned",
            "envelopes with an edge's address that it did not sign",
            self.reply_origins_unsigned.clone(),
        );
        r.register("users_calls", "calls to the User service", self.users_calls.clone());
        r.register("media_checked", "media by what their check came to", self.media_checked.clone());
        r.register(
            "media_refused",
            "requests about media refused, by the reason",
            self.media_refused.clone(),
        );
        r.register("media_collected", "media collected", self.media_collected.clone());
        self.depths.register(&mut r);
        self.lags.register(&mut r);
        self.bill.register(&mut r);
        r.register("memcached_away", "nodes of memcached that do not answer", self.memcached_away.clone());
        self.register_timelines(&mut r);
        self.register_people(&mut r);
        r
    }

    fn register_people(&self, r: &mut Registry) {
        let unsent = self.users_texts_refused.clone();
        r.register("users_texts_refused", "texts that were not sent, by the reason", unsent);
        r.register("audit_events", "events of the audit trail, by what happened", self.audit_events.clone());
        let lost = self.audit_events_lost.clone();
        r.register("audit_events_lost", "events of the audit trail that are in the log only", lost);
    }

    fn register_timelines(&self, r: &mut Registry) {
        r.register("timeline_computed", "ranked timelines computed", self.timeline_computed.clone());
        let seconds = self.timeline_stage_seconds.clone();
        r.register("timeline_stage_seconds", "seconds of work by stage", seconds);
        r.register("timeline_cache_hits", "look-ups answered by a cache", self.timeline_cache_hits.clone());
        let misses = self.timeline_cache_misses.clone();
        r.register("timeline_cache_misses", "look-ups that went to the tables", misses);
        r.register("timeline_fetches", "pages shown", self.timeline_fetches.clone());
        r.register("timeline_fallbacks", "first pages gathered at once", self.timeline_fallbacks.clone());
        r.register("timeline_ticks", "ticks that queued work", self.timeline_ticks.clone());
        let skipped = self.timeline_ticks_skipped.clone();
        r.register("timeline_ticks_skipped", "ticks that found work still queued", skipped);
        let oldest = self.timeline_oldest_seconds.clone();
        r.register("timeline_oldest_seconds", "age of the oldest active user's timeline", oldest);
        r.register("timeline_missing", "active users without a timeline", self.timeline_missing.clone());
    }

    /// All metrics as OpenMetrics text.
    #[must_use]
    pub fn text(&self) -> String {
        self.bill.divide();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a String cannot fail");
        text
    }
}

//! What the operators' page plots: a fixed list of figures, each computed from two looks at `/metrics`.

use soundoff_common::ports::queues::QueueName;

use super::scrape::Scrape;

/// How a figure is computed from the metrics.
#[derive(Debug, Clone, Copy)]
enum Of {
    /// The value as it is now.
    Gauge(&'static str),
    /// By how much the value grew per second.
    Rate(&'static str),
    /// The quantile at this share of the observations since the earlier look, in seconds.
    Quantile(&'static str, f64),
}

const ACCEPTED_SECONDS: &str = "soundoff_edge_accepted_seconds_bucket";
const RUN_SECONDS: &str = "soundoff_consumer_run_seconds_bucket";
const DONE: &str = "soundoff_consumer_done_total";

/// The figures of the process as a whole. Those of consumers leave the router out: every message that it handles,
/// another consumer handles again.
const WHOLE: [(&str, Of); 17] = [
    ("sockets", Of::Gauge("soundoff_edge_sockets")),
    ("accepted", Of::Rate("soundoff_edge_accepted_total")),
    ("frames_out", Of::Rate("soundoff_edge_frames_out_total")),
    ("accepted_p50", Of::Quantile(ACCEPTED_SECONDS, 0.5)),
    ("accepted_p99", Of::Quantile(ACCEPTED_SECONDS, 0.99)),
    ("refused", Of::Rate("soundoff_edge_refused_total")),
    ("gate_refused", Of::Rate("soundoff_gate_refused_total")),
    ("upgrades_refused", Of::Rate("soundoff_edge_upgrades_refused_total")),
    ("done", Of::Rate(DONE)),
    ("run_p50", Of::Quantile(RUN_SECONDS, 0.5)),
    ("run_p99", Of::Quantile(RUN_SECONDS, 0.99)),
    ("retried", Of::Rate("soundoff_consumer_retried_total")),
    ("held", Of::Gauge("soundoff_consumer_waiting")),
    ("buried", Of::Rate("soundoff_consumer_buried_total")),
    ("computed", Of::Rate("soundoff_timeline_computed_total")),
    ("fetched", Of::Rate("soundoff_timeline_fetches_total")),
    ("calls", Of::Rate("soundoff_users_calls_total")),
];

/// The figures of each queue.
const EACH: [(&str, Of); 6] = [
    ("visible", Of::Gauge("soundoff_queue_visible")),
    ("in_flight", Of::Gauge("soundoff_queue_in_flight")),
    ("oldest_age", Of::Gauge("soundoff_queue_oldest_age_seconds")),
    ("dead", Of::Gauge("soundoff_queue_dead")),
    ("done", Of::Rate(DONE)),
    ("run_p99", Of::Quantile(RUN_SECONDS, 0.99)),
];

impl Of {
    fn metric(self) -> &'static str {
        match self {
            Self::Gauge(name) | Self::Rate(name) | Self::Quantile(name, _) => name,
        }
    }

    /// NaN: nothing is known.
    fn figure(self, earlier: &Scrape, now: &Scrape, seconds: f64, wanted: impl Fn(&str) -> bool) -> f64 {
        match self {
            Self::Gauge(name) => now.sum(name, wanted).unwrap_or(f64::NAN),
            // Something that has never happened has no counter.
            Self::Rate(name) => {
                let [before, after] = [earlier, now].map(|look| look.sum(name, &wanted).unwrap_or(0.0));
                (after - before) / seconds
            }
            Self::Quantile(name, share) => now.quantile(earlier, name, wanted, share).unwrap_or(f64::NAN),
        }
    }
}

/// Looks at a process's metrics.
pub(super) fn look(text: &str) -> Scrape {
    let wanted: Vec<_> = WHOLE.iter().chain(&EACH).map(|(_, of)| of.metric()).collect();
    Scrape::read(text, &wanted)
}

/// The queue and the name of each figure, in the order of [`figures`].
pub(super) fn columns(queues: &[QueueName]) -> Vec<(Option<&QueueName>, &'static str)> {
    let whole = WHOLE.iter().map(|(name, _)| (None, *name));
    let each = queues.iter().flat_map(|queue| EACH.iter().map(move |(name, _)| (Some(queue), *name)));
    whole.chain(each).collect()
}

/// All figures for the time between two looks.
pub(super) fn figures(earlier: &Scrape, now: &Scrape, seconds: f64, queues: &[QueueName]) -> Box<[f32]> {
    let main = QueueName::main();
    let routes_only = queues == [main.clone()];
    let wanted = |queue: &str| queue.is_empty() || (queue == main.as_str()) == routes_only;
    let whole = WHOLE.iter().map(|(_, of)| of.figure(earlier, now, seconds, wanted));
    let each = queues.iter().flat_map(|name| {
        EACH.iter().map(move |(_, of)| of.figure(earlier, now, seconds, |queue| queue == name.as_str()))
    });
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than a plot shows")]
    whole.chain(each).map(|figure| figure as f32).collect()
}

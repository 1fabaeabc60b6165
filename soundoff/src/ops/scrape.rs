//! Reads the text of `/metrics` back into numbers.

use std::collections::HashMap;

/// The numbers of one look, by metric and queue; a metric without a queue is under the queue "". Values that differ in
/// other labels are added up.
#[derive(Debug, Default)]
pub(super) struct Scrape {
    numbers: HashMap<&'static str, HashMap<String, f64>>,
    buckets: HashMap<&'static str, HashMap<String, Buckets>>,
}

/// A histogram's upper bounds in rising order, each with the number of observations up to it.
type Buckets = Vec<(f64, f64)>;

impl Scrape {
    /// Reads the numbers of the `wanted` metrics. A histogram is named by its buckets (`…_bucket`).
    pub(super) fn read(text: &str, wanted: &[&'static str]) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let Some(name) = wanted.iter().find(|wanted| **wanted == name) else { continue };
            let queue = label(labels, "queue").unwrap_or_default();
            match label(labels, "le").map(|bound| bound.parse().unwrap_or(f64::INFINITY)) {
                None => {
                    *scrape.numbers.entry(name).or_default().entry(queue.to_owned()).or_default() += value
                }
                Some(bound) => {
                    let buckets =
                        scrape.buckets.entry(name).or_default().entry(queue.to_owned()).or_default();
                    buckets.push((bound, value));
                }
            }
        }
        scrape
    }

    /// The sum over the wanted queues; `None` if the metric has none of them.
    pub(super) fn sum(&self, name: &str, wanted: impl Fn(&str) -> bool) -> Option<f64> {
        let numbers = self.numbers.get(name)?.iter().filter(|(queue, _)| wanted(queue));
        numbers.map(|(_, value)| *value).reduce(|one, other| one + other)
    }

    /// The quantile of the observations since an earlier look; `None` if there were none. Within a bucket they count as
    /// evenly spread, as in Prometheus' `histogram_quantile`.
    pub(super) fn quantile(
        &self,
        earlier: &Self,
        name: &str,
        wanted: impl Fn(&str) -> bool,
        share: f64,
    ) -> Option<f64> {
        let now = self.observed(name, &wanted);
        let before = earlier.observed(name, &wanted);
        let since = |at: usize| now[at].1 - before.get(at).map_or(0.0, |(_, count)| *count);
        let all = since(now.len().checked_sub(1)?);
        if all <= 0.0 {
            return None;
        }
        let rank = share * all;
        let at = (0..now.len()).find(|at| since(*at) >= rank)?;
        let (below, lower) = at.checked_sub(1).map_or((0.0, 0.0), |at| (since(at), now[at].0));
        let upper = now[at].0;
        // The last bucket has no end.
        Some(if upper.is_infinite() {
            lower
        } else {
            lower + (upper - lower) * (rank - below) / (since(at) - below)
        })
    }

    /// The buckets of the wanted queues together.
    fn observed(&self, name: &str, wanted: impl Fn(&str) -> bool) -> Buckets {
        let of_queues = self.buckets.get(name).into_iter().flatten().filter(|(queue, _)| wanted(queue));
        let mut all = Buckets::new();
        for (_, buckets) in of_queues {
            for (at, (bound, count)) in buckets.iter().enumerate() {
                match all.get_mut(at) {
                    Some((_, sum)) => *sum += count,
                    None => all.push((*bound, *count)),
                }
            }
        }
        all
    }
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = labels.trim_end_matches('}').split("\",");
    pairs
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix("=\""))
        .map(|value| value.trim_end_matches('"'))
}

#[cfg(test)]
mod tests {
    use soundoff_common::telemetry::{Metrics, QueueLabel, ReasonLabel};

    use super::*;

    const RUNS: &str = "soundoff_consumer_run_seconds_bucket";
    const WANTED: [&str; 4] =
        ["soundoff_edge_accepted_total", "soundoff_edge_refused_total", "soundoff_consumer_done_total", RUNS];

    fn queue(name: &str) -> QueueLabel {
        QueueLabel { queue: name.to_owned() }
    }

    #[test]
    fn numbers_are_what_the_metrics_counted() {
        let metrics = Metrics::new();
        metrics.edge_accepted.inc_by(7);
        metrics.consumer_done.get_or_create(&queue("main_q")).inc_by(5);
        metrics.consumer_done.get_or_create(&queue("dm_send_q")).inc_by(2);
        for reason in ["bad_message", "forbidden"] {
            metrics.edge_refused.get_or_create(&ReasonLabel { reason }).inc();
        }
        let scrape = Scrape::read(&metrics.text(), &WANTED);
        let any = |_: &str| true;
        assert_eq!(scrape.sum("soundoff_edge_accepted_total", any), Some(7.0));
        assert_eq!(scrape.sum("soundoff_edge_refused_total", any), Some(2.0), "labels are summed up");
        assert_eq!(scrape.sum("soundoff_consumer_done_total", any), Some(7.0));
        assert_eq!(scrape.sum("soundoff_consumer_done_total", |queue| queue != "main_q"), Some(2.0));
        assert_eq!(scrape.sum("soundoff_consumer_done_total", |queue| queue == "post_get_q"), None);
        assert_eq!(scrape.sum("soundoff_edge_sockets", any), None, "not wanted");
    }

    #[test]
    fn quantiles_are_of_what_came_since() {
        let metrics = Metrics::new();
        let runs = |name, seconds, count| {
            let histogram = metrics.consumer_run_seconds.get_or_create_owned(&queue(name));
            (0..count).for_each(|_| histogram.observe(seconds));
        };
        let look = || Scrape::read(&metrics.text(), &WANTED);
        runs("dm_send_q", 10.0, 1000);
        let before = look();
        let of = |queue: &'static str| move |name: &str| queue.is_empty() || name == queue;
        assert_eq!(look().quantile(&before, RUNS, of(""), 0.5), None, "nothing since");
        // Buckets end at 0.05, 0.1, 0.2 … ms. A queue that is new since then counts as well.
        runs("dm_send_q", 0.000_15, 90);
        runs("post_get_q", 0.000_7, 10);
        let now = look();
        let near = |is: Option<f64>, should: f64| {
            assert!((is.unwrap() - should).abs() < 1e-9, "{is:?}, not {should}")
        };
        near(now.quantile(&before, RUNS, of(""), 0.45), 0.000_15);
        near(now.quantile(&before, RUNS, of(""), 0.9), 0.000_2);
        near(now.quantile(&before, RUNS, of(""), 0.95), 0.000_6);
        near(now.quantile(&before, RUNS, of("post_get_q"), 0.5), 0.000_6);
        runs("post_list_q", 60.0, 1);
        near(look().quantile(&now, RUNS, of(""), 0.99), 0.000_05 * f64::from(1 << 18));
    }
}

//! The last ten minutes of a process's figures, in memory, so that a page that is opened later shows what happened
//! before.
//!
//! 300 samples of 17 figures and 6 for each queue, 4 bytes each: 250 KB with all 33 queues, however busy the process
//! is. They are lost when it ends.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::ser::{Serialize, SerializeSeq as _, Serializer};
use soundoff_common::hex::hex;
use soundoff_common::lock::lock;
use soundoff_common::ports::queues::QueueName;
use soundoff_common::protocol::{millis, now_ms};
use soundoff_common::telemetry::Metrics;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::figures::{columns, figures, look};

/// How often a sample is taken.
const EVERY: Duration = Duration::from_secs(2);
/// How many samples are kept: ten minutes.
const MOST: usize = 300;

/// The samples of one process.
pub(super) struct History {
    /// Names this process: each one counts its samples from zero.
    boot: String,
    queues: Vec<QueueName>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The number of the oldest kept sample.
    first: u64,
    samples: VecDeque<Sample>,
}

struct Sample {
    /// Milliseconds since 1970.
    at: u64,
    figures: Box<[f32]>,
}

/// All samples from a certain one on, column by column.
#[derive(serde::Serialize)]
pub(super) struct Since<'a> {
    boot: &'a str,
    every_ms: u64,
    keeps_ms: u64,
    queues: &'a [QueueName],
    /// The number of the sample to ask for next.
    next: u64,
    at: Vec<u64>,
    whole: BTreeMap<&'a str, Column>,
    /// By queue. A column of zeros is left out: most queues are empty most of the time.
    each: BTreeMap<&'a str, BTreeMap<&'a str, Column>>,
}

impl History {
    pub(super) fn new(queues: Vec<QueueName>) -> Self {
        Self { boot: hex(&rand::random::<[u8; 8]>()), queues, kept: Mutex::default() }
    }

    /// Takes samples until `stop`.
    pub(super) async fn keep(self: Arc<Self>, metrics: Metrics, stop: CancellationToken) {
        let (mut before, mut seen_at) = (look(&metrics.text()), Instant::now());
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + EVERY, EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let now = look(&metrics.text());
            let seconds = seen_at.elapsed().as_secs_f64();
            seen_at = Instant::now();
            self.add(now_ms(), figures(&before, &now, seconds, &self.queues));
            before = now;
        }
    }

    fn add(&self, at: u64, figures: Box<[f32]>) {
        let mut kept = self.kept();
        if kept.samples.len() == MOST {
            kept.samples.pop_front();
            kept.first += 1;
        }
        kept.samples.push_back(Sample { at, figures });
    }

    /// The samples from number `since` on, or all when this process has not reached that number.
    pub(super) fn since(&self, since: u64) -> Since<'_> {
        let kept = self.kept();
        let next = kept.first + kept.samples.len() as u64;
        let known = if since > next { 0 } else { since.saturating_sub(kept.first) };
        let samples = kept.samples.iter().skip(usize::try_from(known).unwrap_or(usize::MAX));
        let (mut whole, mut each) = (BTreeMap::new(), BTreeMap::<_, BTreeMap<_, _>>::new());
        for (at, (queue, name)) in columns(&self.queues).into_iter().enumerate() {
            let column = Column(samples.clone().map(|sample| sample.figures[at]).collect());
            match queue {
                None => drop(whole.insert(name, column)),
                Some(queue) => {
                    let columns = each.entry(queue.as_str()).or_default();
                    if column.0.iter().any(|figure| *figure != 0.0) {
                        columns.insert(name, column);
                    }
                }
            }
        }
        Since {
            boot: &self.boot,
            every_ms: millis(EVERY),
            keeps_ms: millis(EVERY) * MOST as u64,
            queues: &self.queues,
            next,
            at: samples.map(|sample| sample.at).collect(),
            whole,
            each,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}

/// Figures as short JSON: whole numbers as they are, others with four digits, `null` for unknown ones.
struct Column(Vec<f32>);

impl Serialize for Column {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut numbers = serializer.serialize_seq(Some(self.0.len()))?;
        for figure in self.0.iter().map(|figure| f64::from(*figure)) {
            if !figure.is_finite() {
                numbers.serialize_element(&())?;
            } else if figure.fract() == 0.0 {
                #[expect(clippy::cast_possible_truncation, reason = "no figure comes near 2^63")]
                numbers.serialize_element(&(figure as i64))?;
            } else {
                numbers.serialize_element(&to_four_digits(figure))?;
            }
        }
        numbers.end()
    }
}

fn to_four_digits(figure: f64) -> f64 {
    // Through text: only that rounds decimals so that no further digits are printed.
    format!("{figure:.3e}").parse().unwrap_or(figure)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use soundoff_common::telemetry::QueueLabel;

    use super::*;

    fn history() -> History {
        History::new(vec![QueueName::main(), QueueName::of_type("post.get")])
    }

    fn answer(history: &History, since: u64) -> Value {
        serde_json::to_value(history.since(since)).unwrap()
    }

    #[test]
    fn it_keeps_ten_minutes_and_gives_what_is_new() {
        let history = history();
        let columns = columns(&history.queues).len();
        for n in 0..MOST as u64 + 5 {
            let mut figures = vec![0.0; columns].into_boxed_slice();
            figures[0] = n as f32;
            history.add(1_000 * n, figures);
        }
        let all = answer(&history, 0);
        assert_eq!(
            (all["at"].as_array().unwrap().len(), &all["next"], &all["at"][0]),
            (MOST, &json!(305), &json!(5000))
        );
        assert_eq!(all["whole"]["sockets"][299], 304);
        assert_eq!(all["each"]["main_q"], json!({}), "zeros are left out");
        let new = answer(&history, 303);
        assert_eq!((&new["at"], &new["whole"]["sockets"]), (&json!([303_000, 304_000]), &json!([303, 304])));
        assert_eq!(answer(&history, 305)["at"], json!([]));
        // From a page that knows an earlier process; the new `boot` shows it that this is another one.
        assert_eq!(answer(&history, 306)["at"].as_array().unwrap().len(), MOST);
    }

    #[test]
    fn figures_come_of_two_looks() {
        let history = history();
        let metrics = Metrics::new();
        let before = look(&metrics.text());
        metrics.edge_sockets.set(3);
        metrics.edge_accepted.inc_by(10);
        for (queue, done) in [("main_q", 8), ("post_get_q", 1)] {
            metrics.consumer_done.get_or_create(&QueueLabel { queue: queue.to_owned() }).inc_by(done);
        }
        metrics.edge_accepted_seconds.observe(0.000_123_4);
        let now = look(&metrics.text());
        history.add(1, figures(&before, &now, 4.0, &history.queues));
        let since = answer(&history, 0);
        let whole = &since["whole"];
        assert_eq!((&whole["sockets"], &whole["accepted"]), (&json!([3]), &json!([2.5])));
        assert_eq!(
            whole["done"],
            json!([0.25]),
            "what the router did is not counted beside what it handed on"
        );
        assert_eq!(whole["accepted_p50"], json!([0.000_15]));
        assert_eq!(whole["run_p50"], json!([null]), "nothing ran");
        assert_eq!(since["each"]["main_q"]["done"], json!([2]));
        assert_eq!(since["each"]["main_q"]["visible"], json!([null]), "nobody looks how full it is");
        let router = figures(&before, &now, 4.0, &[QueueName::main()]);
        let at = columns(&[]).iter().position(|(_, name)| *name == "done").unwrap();
        assert!((router[at] - 2.0).abs() < f32::EPSILON, "a router alone shows what it routes");
    }

    #[test]
    fn numbers_are_short() {
        let column = Column(vec![0.000_123_456, 123_456.0, 33.333_33, 0.1, f32::NAN]);
        assert_eq!(serde_json::to_string(&column).unwrap(), "[0.0001235,123456,33.33,0.1,null]");
    }
}

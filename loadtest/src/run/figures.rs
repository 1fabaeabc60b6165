//! The figures of a run, as they are written to files and read from them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::mix::Mix;
use super::schedule::Arrivals;
use super::second::{Counts, Measure, Second};
use crate::report::Latencies;
use crate::report::machine::Machine;

/// The value of `what` in our files.
const WHAT: &str = "loadtest run";
/// The format of the file; each change of it gets another number.
const FORMAT: u32 = 1;

/// A run's figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Always `loadtest run`.
    what: String,
    /// The format of this file.
    format: u32,
    /// What was asked for.
    pub(crate) configuration: Configuration,
    /// What may differ between runs that are compared.
    pub(crate) circumstances: Circumstances,
    /// How it went.
    pub(crate) outcome: Outcome,
    /// Latencies in microseconds: by what was measured, and of which kind of message or of `all`.
    pub(crate) latency: BTreeMap<Measure, BTreeMap<String, Spread>>,
    /// From the due time until the message is sent, in microseconds: the generator's own share of every latency.
    pub(crate) generator: Spread,
    /// Second by second.
    pub(crate) series: Vec<Second>,
}

impl Figures {
    /// Puts them together.
    pub(super) fn new(
        configuration: Configuration,
        circumstances: Circumstances,
        outcome: Outcome,
        latency: BTreeMap<Measure, BTreeMap<String, Spread>>,
        generator: Spread,
        series: Vec<Second>,
    ) -> Self {
        let (what, format) = (WHAT.to_owned(), FORMAT);
        Self { what, format, configuration, circumstances, outcome, latency, generator, series }
    }

    /// Reads them from a file.
    ///
    /// # Errors
    /// The file cannot be read, or is not that of a run.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let file: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("{name} is not JSON"))?;
        let advice = "make one with `loadtest run --json FILE`";
        ensure!(file["what"] == WHAT, "{name} does not hold the figures of a run: {advice}");
        let format = &file["format"];
        ensure!(*format == FORMAT, "{name} is of format {format}, this loadtest reads {FORMAT}: {advice}");
        serde_json::from_value(file).with_context(|| format!("{name} is damaged"))
    }

    /// The spread of a measure over all kinds.
    pub(crate) fn all(&self, measure: Measure) -> Option<&Spread> {
        self.latency.get(&measure)?.get("all")
    }

    /// The seconds in which messages were due.
    pub(crate) fn loaded(&self) -> &[Second] {
        let seconds = self.outcome.loaded_s.floor() as usize;
        &self.series[..seconds.min(self.series.len())]
    }
}

/// What decides the load. Runs that differ in any of these fields cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Configuration {
    /// Virtual users, each on a socket of their own.
    pub(crate) users: u32,
    /// Messages per second.
    pub(crate) rate: u32,
    /// For how long they become due.
    pub(crate) duration_s: u32,
    /// Their kinds.
    pub(crate) mix: Mix,
    /// How visits follow each other.
    pub(crate) arrivals: Arrivals,
    /// Messages of a visit.
    pub(crate) visit: u32,
    /// The time between them.
    pub(crate) think: Option<String>,
}

/// Where, when and with what a run was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Circumstances {
    /// The seed of chance.
    pub(crate) seed: u64,
    /// The server.
    pub(crate) url: String,
    /// How the users' handles begin.
    pub(crate) prefix: String,
    /// When it began, RFC 3339.
    pub(crate) started_at: String,
    /// This program's version.
    pub(crate) loadtest: String,
    /// The server's version, if its metrics report it.
    pub(crate) server: Option<String>,
    /// Where the load came from.
    pub(crate) machine: Machine,
}

/// How a run went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Whether it was stopped before its time.
    pub(crate) interrupted: bool,
    /// Seconds in which messages became due.
    pub(crate) loaded_s: f64,
    /// Counts of the whole run.
    pub(crate) totals: Counts,
    /// Messages that were not sent because the generator was too slow or had no socket.
    pub(crate) not_sent: u64,
    /// Messages without a reply when an interrupted run ended. In others they are wrong.
    pub(crate) unfinished: u64,
    /// Replies, marked as duplicates, beyond those that were expected.
    pub(crate) told_again: u64,
    /// Pushes of messages that were under way together and overtook each other, as they may.
    pub(crate) overtaken: u64,
    /// Wrong answers, by what is wrong with them.
    pub(crate) wrong: BTreeMap<String, Flawed>,
}

/// Answers that are wrong in one way.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Flawed {
    /// How many.
    pub(crate) count: u64,
    /// The first few in words.
    pub(crate) examples: Vec<String>,
}

/// Latencies of a whole run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// How many.
    pub(crate) count: u64,
    /// Their mean in microseconds.
    pub(crate) mean_us: f64,
    /// Half are not slower.
    pub(crate) p50_us: u64,
    /// Nine of ten are not slower.
    pub(crate) p90_us: u64,
    /// 99 of 100.
    pub(crate) p99_us: u64,
    /// 999 of 1,000.
    pub(crate) p999_us: u64,
    /// None is slower.
    pub(crate) max_us: u64,
    /// Share, microseconds, and how many are not slower; the shares get closer towards 1.
    pub(crate) percentiles: Vec<(f64, u64, u64)>,
    /// The whole histogram, as HdrHistogram's tools read it.
    pub(crate) hdr: String,
}

impl Spread {
    /// The figures of a histogram.
    pub(super) fn of(latencies: &Latencies) -> Self {
        Self {
            count: latencies.count(),
            mean_us: latencies.mean(),
            p50_us: latencies.micros(0.5),
            p90_us: latencies.micros(0.9),
            p99_us: latencies.micros(0.99),
            p999_us: latencies.micros(0.999),
            max_us: latencies.micros(1.0),
            percentiles: latencies.percentiles(),
            hdr: latencies.encoded(),
        }
    }
}

/// A generator that is later than this is a part of what it measures.
const LATE_US: u64 = 10_000;

/// A warning about a run whose generator was late itself, judged by its own share of the latencies.
pub(crate) fn held_up(generator: &Spread) -> Option<String> {
    let ms = generator.p99_us as f64 / 1000.0;
    let why = "the machine had too much else to do, and the latencies are not only the server's";
    (generator.p99_us > LATE_US).then(|| format!("the generator itself was late (p99 {ms:.0} ms): {why}"))
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn a_file_that_is_not_of_a_run_is_named_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("figures.json");
        for (text, expected) in [
            ("p50", "is not JSON"),
            (r#"{"rate":5}"#, "does not hold the figures of a run: make one with `loadtest run --json"),
            (r#"{"what":"loadtest run","format":9}"#, "is of format 9, this loadtest reads 1"),
            (r#"{"what":"loadtest run","format":1}"#, "is damaged: missing field"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", Figures::read(&path).unwrap_err());
            assert!(error.contains("figures.json") && error.contains(expected), "{error}");
        }
    }
}

//! Latencies in HDR histograms, and the forms in which they are reported.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde_json::{Value, json};

/// Ten minutes, in microseconds.
const LONGEST: u64 = 600_000_000;

/// Latencies in microseconds up to ten minutes, to three digits.
#[derive(Debug)]
pub(crate) struct Latencies(Mutex<Histogram<u64>>);

impl Default for Latencies {
    fn default() -> Self {
        Self::to_digits(3)
    }
}

impl Latencies {
    /// A histogram to fewer digits, for when there are many histograms: two digits take a tenth of the memory.
    pub(crate) fn to_digits(digits: u8) -> Self {
        Self(Mutex::new(Histogram::new_with_bounds(1, LONGEST, digits).expect("the bounds are valid")))
    }

    /// Reads what [`Self::encoded`] has written.
    ///
    /// # Errors
    /// It is no such histogram.
    pub(crate) fn decode(text: &str) -> Result<Self> {
        let bytes = STANDARD.decode(text).context("a histogram is not in base64")?;
        let histogram = Deserializer::new().deserialize(&mut bytes.as_slice());
        Ok(Self(Mutex::new(histogram.context("a histogram cannot be read")?)))
    }

    /// As HdrHistogram's own tools read it: V2, deflated, in base64.
    pub(crate) fn encoded(&self) -> String {
        let mut bytes = Vec::new();
        let histogram = self.0.lock().expect("no thread panics while it holds the lock");
        V2DeflateSerializer::new()
            .serialize(&*histogram, &mut bytes)
            .expect("memory takes all that is written");
        STANDARD.encode(bytes)
    }

    /// Adds all latencies of another histogram.
    pub(crate) fn add(&self, other: &Self) {
        let other = other.0.lock().expect("no thread panics while it holds the lock");
        self.0
            .lock()
            .expect("no thread panics while it holds the lock")
            .add(&*other)
            .expect("the bounds are the same");
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.0.lock().expect("no thread panics while it holds the lock").reset();
    }

    /// The mean in microseconds.
    pub(crate) fn mean(&self) -> f64 {
        self.0.lock().expect("no thread panics while it holds the lock").mean()
    }

    /// Each latency there was, in microseconds and to the histogram's digits, and how often.
    pub(crate) fn counts(&self) -> Vec<(u64, u64)> {
        let histogram = self.0.lock().expect("no thread panics while it holds the lock");
        histogram.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value())).collect()
    }

    /// By percentile, closer towards the end: share, microseconds, and how many are not slower.
    pub(crate) fn percentiles(&self) -> Vec<(f64, u64, u64)> {
        let histogram = self.0.lock().expect("no thread panics while it holds the lock");
        let mut count = 0;
        let steps = histogram.iter_quantiles(5).map(|at| {
            count += at.count_since_last_iteration();
            (at.quantile_iterated_to(), at.value_iterated_to().min(histogram.max()), count)
        });
        steps.collect()
    }

    /// Takes one in.
    pub(crate) fn record(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.lock().expect("no thread panics while it holds the lock").saturating_record(micros);
    }

    /// How many latencies there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.lock().expect("no thread panics while it holds the lock").len()
    }

    /// The latency in microseconds that a share of them does not exceed; 1 is the maximum.
    pub(crate) fn micros(&self, share: f64) -> u64 {
        let histogram = self.0.lock().expect("no thread panics while it holds the lock");
        if share >= 1.0 { histogram.max() } else { histogram.value_at_quantile(share) }
    }

    /// The mean in microseconds; 0 if there are none.
    pub(crate) fn mean_micros(&self) -> f64 {
        self.0.lock().expect("no thread panics while it holds the lock").mean()
    }

    /// The figures for a file, in microseconds.
    pub(crate) fn json(&self) -> Value {
        json!({
            "p50": self.micros(0.5), "p90": self.micros(0.9), "p99": self.micros(0.99),
            "p999": self.micros(0.999), "max": self.micros(1.0),
        })
    }

    /// Such as `p50 0.61 ms  p99 1.30 ms`.
    pub(crate) fn line(&self, shares: &[f64]) -> String {
        if self.count() == 0 {
            return "none".into();
        }
        let mut line = String::new();
        for &share in shares {
            let name = if share >= 1.0 { "max".to_owned() } else { format!("p{}", share * 100.0) };
            let _ = write!(line, "{name} {:.2} ms  ", self.micros(share) as f64 / 1000.0);
        }
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_reads_the_same_and_adds_up() {
        let (first, second) = (Latencies::to_digits(2), Latencies::to_digits(2));
        (1..=900).for_each(|ms| first.record(Duration::from_millis(ms)));
        second.record(Duration::from_secs(1_000));
        first.add(&Latencies::decode(&second.encoded()).unwrap());
        assert_eq!((first.count(), first.counts().iter().map(|(_, count)| count).sum()), (901, 901));
        assert!(first.micros(1.0) >= LONGEST, "{}", first.micros(1.0));
        let table = first.percentiles();
        assert!(table.is_sorted_by_key(|(share, ..)| *share) && table.is_sorted_by_key(|(_, us, _)| *us));
        let half = table.iter().find(|(share, ..)| *share >= 0.5).unwrap();
        assert!((447_000..460_000).contains(&half.1), "{half:?}");
        assert_eq!(table.last().map(|(share, _, count)| (*share, *count)), Some((1.0, 901)));
        assert!(Latencies::decode("none").is_err() && Latencies::decode("AAAA").is_err());
    }
}

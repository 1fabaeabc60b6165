//! How far a run's figures would move if it were repeated, as far as the run itself can show: a block bootstrap of its
//! seconds.

use anyhow::{Context, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::report::Latencies;
use crate::run::figures::Figures;
use crate::run::second::{Measure, Second};

/// How often a run is drawn again from its own seconds.
const DRAWS: usize = 200;

/// The seconds of a longer run are merged until there are no more than this.
const MOST_UNITS: usize = 300;

/// A percentile needs this many messages beyond it: with fewer, single messages would decide it.
const BEYOND: f64 = 10.0;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Metric {
    /// Replies per second, as if exactly the rate had been sent: random arrivals add and take some, which is not the
    /// server's doing.
    Throughput,
    /// Sends that were refused for now or repeated, of a thousand messages.
    Errors,
    /// A latency that a share of the messages does not exceed.
    Latency(Measure, f64),
}

impl Metric {
    /// All of them.
    pub(super) fn all() -> Vec<Self> {
        let shares = [0.5, 0.9, 0.99, 0.999];
        let latencies = Measure::ALL.into_iter().flat_map(|m| shares.map(|share| Self::Latency(m, share)));
        [Self::Throughput, Self::Errors].into_iter().chain(latencies).collect()
    }

    /// Whether its changes are reported relative to the value before.
    pub(super) fn is_relative(self) -> bool {
        self != Self::Errors
    }
}

/// A stretch of a run.
#[derive(Debug, Default, Clone)]
struct Unit {
    sent: f64,
    replies: f64,
    errors: f64,
    /// By measure: positions among the run's latencies, and counts.
    latencies: [Vec<(usize, f64)>; Measure::ALL.len()],
}

/// A run, cut into the stretches that are drawn.
#[derive(Debug)]
pub(super) struct Units {
    units: Vec<Unit>,
    /// Messages per second that were asked for.
    rate: f64,
    /// By measure: the latencies that occurred, in microseconds and rising.
    values: [Vec<u64>; Measure::ALL.len()],
}

impl Units {
    /// Reads the seconds of a run in which messages were due.
    ///
    /// # Errors
    /// A histogram cannot be read.
    pub(super) fn of(figures: &Figures) -> Result<Self> {
        let seconds = figures.loaded();
        let together = seconds.len().div_ceil(MOST_UNITS).max(1);
        let rate = figures.configuration.rate.into();
        let mut units = Self { units: Vec::new(), rate, values: Default::default() };
        let mut histograms = Vec::new();
        for seconds in seconds.chunks(together) {
            let sum = |of: fn(&Second) -> u64| seconds.iter().map(of).sum::<u64>() as f64;
            units.units.push(Unit {
                sent: sum(|second| second.counts.sent),
                replies: sum(|second| second.counts.replies),
                errors: sum(|second| second.counts.refused_for_now + second.counts.repeated),
                latencies: Default::default(),
            });
            histograms.push(histograms_of(seconds)?);
        }
        for measure in Measure::ALL {
            let counts = || histograms.iter().map(|of| of[measure as usize].counts());
            let values = &mut units.values[measure as usize];
            *values = counts().flatten().map(|(value, _)| value).collect();
            values.sort_unstable();
            values.dedup();
            for (unit, counts) in units.units.iter_mut().zip(counts()) {
                let place = |value: u64| values.binary_search(&value).unwrap_or_default();
                let counts = counts.into_iter().map(|(value, count)| (place(value), count as f64));
                unit.latencies[measure as usize] = counts.collect();
            }
        }
        Ok(units)
    }

    /// The run's figures, with each stretch counted as often as `weights` says.
    fn figures(&self, weights: &[f64], metrics: &[Metric]) -> Vec<Option<f64>> {
        let sum =
            |of: fn(&Unit) -> f64| self.units.iter().zip(weights).map(|(unit, w)| w * of(unit)).sum::<f64>();
        let merged = Measure::ALL.map(|measure| {
            let mut merged = vec![0.0; self.values[measure as usize].len()];
            for (unit, weight) in self.units.iter().zip(weights).filter(|(_, weight)| **weight > 0.0) {
                for (place, count) in &unit.latencies[measure as usize] {
                    merged[*place] += weight * count;
                }
            }
            merged
        });
        let of = |metric: &Metric| match *metric {
            Metric::Throughput => Some(sum(|unit| unit.replies) / sum(|unit| unit.sent).max(1.0) * self.rate),
            Metric::Errors => Some(sum(|unit| unit.errors) / sum(|unit| unit.sent).max(1.0) * 1000.0),
            Metric::Latency(measure, share) => {
                percentile(&self.values[measure as usize], &merged[measure as usize], share)
            }
        };
        metrics.iter().map(of).collect()
    }

    /// The run's figures, and how much they would vary: the variance of each figure, or of its logarithm where changes
    /// are relative.
    pub(super) fn estimates(&self, metrics: &[Metric], seed: u64) -> Vec<Option<Estimate>> {
        let n = self.units.len();
        let values = self.figures(&vec![1.0; n], metrics);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let draws: Vec<Vec<Option<f64>>> =
            (0..DRAWS).map(|_| self.figures(&weights(n, &mut rng), metrics)).collect();
        let estimate = |(value, at): (Option<f64>, usize)| {
            let metric = metrics[at];
            let drawn: Vec<f64> =
                draws.iter().filter_map(|draw| draw[at]).map(|v| scaled(metric, v)).collect();
            Some(Estimate { value: value?, variance: variance(&drawn) })
        };
        values.into_iter().zip(0..).map(estimate).collect()
    }
}

fn histograms_of(seconds: &[Second]) -> Result<[Latencies; Measure::ALL.len()]> {
    let all = Measure::ALL.map(|_| Latencies::to_digits(2));
    for second in seconds {
        for (measure, brief) in &second.latency {
            let latencies = Latencies::decode(&brief.hdr);
            all[*measure as usize].add(&latencies.with_context(|| format!("second {}", second.t))?);
        }
    }
    Ok(all)
}

/// One run's figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    /// In its unit, such as microseconds.
    pub(super) value: f64,
    /// The variance of the value as [`scaled`].
    pub(super) variance: f64,
}

/// The scale in which changes are measured: relative changes are differences of logarithms.
pub(super) fn scaled(metric: Metric, value: f64) -> f64 {
    if metric.is_relative() { value.max(f64::MIN_POSITIVE).ln() } else { value }
}

/// Draws stretches and returns how often each was drawn: in blocks of neighbours, as a second is like the one before
/// it. The length of a block is the cube root of the count, and the end is followed by the beginning.
fn weights(n: usize, rng: &mut impl Rng) -> Vec<f64> {
    let mut weights = vec![0.0; n];
    let length = (n as f64).cbrt().ceil() as usize;
    let mut left = n;
    while left > 0 {
        let start = rng.random_range(0..n);
        let length = length.min(left);
        (start..start + length).for_each(|at| weights[at % n] += 1.0);
        left -= length;
    }
    weights
}

/// A percentile; `None` when there are too few values beyond it.
fn percentile(values: &[u64], counts: &[f64], share: f64) -> Option<f64> {
    let total: f64 = counts.iter().sum();
    if total * (1.0 - share) < BEYOND {
        return None;
    }
    let mut upto = 0.0;
    let reached = counts.iter().position(|count| {
        upto += count;
        upto >= total * share
    });
    Some(values[reached?] as f64)
}

/// The variance of a sample.
pub(super) fn variance(sample: &[f64]) -> f64 {
    let n = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / n;
    if n < 2.0 { 0.0 } else { sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_as_much_as_there_is_and_neighbours_come_together() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (mut drawn, mut together) = (0, 0);
        for _ in 0..200 {
            let weights = weights(60, &mut rng);
            assert!((weights.iter().sum::<f64>() - 60.0).abs() < 1e-9);
            for pair in weights.windows(2).filter(|pair| pair[0] > 0.0) {
                drawn += 1;
                together += usize::from(pair[1] > 0.0);
            }
        }
        // One by one it would be 63 of 100.
        assert!(together * 100 > drawn * 85, "{together} of {drawn}");
    }

    #[test]
    fn a_percentile_needs_enough_beyond_it() {
        let (values, counts) = ([10, 20, 30], [500.0, 480.0, 20.0]);
        assert_eq!(
            [0.5, 0.9, 0.99, 0.999].map(|share| percentile(&values, &counts, share)),
            [Some(10.0), Some(20.0), Some(30.0), None]
        );
        assert_eq!((percentile(&[], &[], 0.5), variance(&[1.0, 3.0]), variance(&[1.0])), (None, 2.0, 0.0));
    }
}

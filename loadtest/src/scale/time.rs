//! How long something takes: always the same, or from a distribution.

use anyhow::{Result, ensure};
use rand::Rng;
use rand_distr::{Distribution as _, Exp1, StandardNormal};
use serde::Deserialize;

/// A duration in milliseconds, as files have it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Millis {
    /// Always the same.
    Fixed(f64),
    /// Of this median, and at most this long in 99 of 100 cases (lognormal).
    Spread {
        /// The median.
        p50: f64,
        /// The 99th percentile.
        p99: f64,
    },
    /// Exponential.
    Exponential {
        /// The mean.
        mean: f64,
    },
}

/// The normal distribution's 99th percentile.
const NORMAL_P99: f64 = 2.326_347_9;

impl Millis {
    /// Refuses values that are no duration.
    ///
    /// # Errors
    /// It is negative, or the 99th percentile is below the median.
    pub(crate) fn check(self, name: &str) -> Result<()> {
        let sound = match self {
            Self::Fixed(ms) => ms >= 0.0,
            Self::Spread { p50, p99 } => p50 > 0.0 && p99 >= p50,
            Self::Exponential { mean } => mean > 0.0,
        };
        ensure!(sound, "{name}: {self:?} is no duration in milliseconds");
        Ok(())
    }

    fn sigma(p50: f64, p99: f64) -> f64 {
        (p99 / p50).ln() / NORMAL_P99
    }

    /// A random duration, in seconds.
    pub(crate) fn sample(self, rng: &mut impl Rng) -> f64 {
        let ms = match self {
            Self::Fixed(ms) => ms,
            Self::Spread { p50, p99 } => {
                let z: f64 = StandardNormal.sample(rng);
                p50 * (z * Self::sigma(p50, p99)).exp()
            }
            Self::Exponential { mean } => {
                let one: f64 = Exp1.sample(rng);
                mean * one
            }
        };
        ms / 1000.0
    }

    /// The mean, in seconds.
    pub(crate) fn mean(self) -> f64 {
        let ms = match self {
            Self::Fixed(ms) | Self::Exponential { mean: ms } => ms,
            Self::Spread { p50, p99 } => p50 * (Self::sigma(p50, p99).powi(2) / 2.0).exp(),
        };
        ms / 1000.0
    }

    /// The squared coefficient of variation.
    pub(crate) fn variation(self) -> f64 {
        match self {
            Self::Fixed(_) => 0.0,
            Self::Spread { p50, p99 } => Self::sigma(p50, p99).powi(2).exp() - 1.0,
            Self::Exponential { .. } => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::Millis;

    #[test]
    fn samples_have_the_mean_and_variation_that_are_returned() {
        let mut rng = StdRng::seed_from_u64(1);
        for time in
            [Millis::Fixed(3.0), Millis::Spread { p50: 10.0, p99: 40.0 }, Millis::Exponential { mean: 2.0 }]
        {
            let n = 400_000;
            let samples: Vec<f64> = (0..n).map(|_| time.sample(&mut rng)).collect();
            let mean = samples.iter().sum::<f64>() / f64::from(n);
            let variance = samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / f64::from(n);
            assert!((mean / time.mean() - 1.0).abs() < 0.01, "{time:?}: {mean}");
            assert!((variance / mean.powi(2) - time.variation()).abs() < 0.03, "{time:?}: {variance}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_by_name() {
        let error = Millis::Spread { p50: 2.0, p99: 1.0 }.check("reply").unwrap_err();
        assert!(error.to_string().starts_with("reply: "), "{error}");
        assert!(Millis::Fixed(-1.0).check("x").is_err() && Millis::Fixed(0.0).check("x").is_ok());
    }
}

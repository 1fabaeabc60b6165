//! Latencies of cohorts: a histogram in which a value can count for a part of a message or for a million messages.

/// The upper bound of the first bucket in seconds, and the factor from each bucket to the next.
const LEAST: f64 = 1e-5;
const GROWTH: f64 = 1.01;
/// The number of buckets: up to about eleven days.
const BUCKETS: usize = 2_600;

/// Weights of durations, to one percent.
#[derive(Debug, Clone)]
pub(crate) struct Weighted {
    buckets: Vec<f64>,
    all: f64,
    sum: f64,
}

impl Default for Weighted {
    fn default() -> Self {
        Self { buckets: vec![0.0; BUCKETS], all: 0.0, sum: 0.0 }
    }
}

impl Weighted {
    /// Counts a duration in seconds `weight` times.
    pub(crate) fn add(&mut self, seconds: f64, weight: f64) {
        let bucket = ((seconds.max(LEAST) / LEAST).ln() / GROWTH.ln()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += weight;
        self.all += weight;
        self.sum += seconds * weight;
    }

    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket += more;
        }
        self.all += other.all;
        self.sum += other.sum;
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        if self.all > 0.0 {
            self.buckets.fill(0.0);
            (self.all, self.sum) = (0.0, 0.0);
        }
    }

    /// The sum of the weights.
    #[cfg(test)]
    pub(crate) fn all(&self) -> f64 {
        self.all
    }

    /// The mean, in seconds; 0 if there is nothing.
    pub(crate) fn mean(&self) -> f64 {
        if self.all > 0.0 { self.sum / self.all } else { 0.0 }
    }

    /// The seconds that a share of all does not exceed; 0 if there is nothing.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut left = self.all * share;
        let found = self.buckets.iter().position(|weight| {
            left -= weight;
            left <= 0.0 && *weight > 0.0
        });
        // The bucket's middle.
        found.map_or(0.0, |bucket| LEAST * GROWTH.powf(bucket as f64 + 0.5))
    }
}

#[cfg(test)]
mod tests {
    use super::Weighted;

    #[test]
    fn quantiles_are_within_a_percent_and_weights_can_be_fractions() {
        let mut weighted = Weighted::default();
        assert_eq!((weighted.quantile(0.5), weighted.mean()), (0.0, 0.0));
        for n in 1..=1000 {
            weighted.add(f64::from(n) / 1000.0, 0.25);
        }
        assert!(
            (weighted.quantile(0.5) / 0.5 - 1.0).abs() < 0.01
                && (weighted.quantile(0.99) / 0.99 - 1.0).abs() < 0.01
        );
        assert!((weighted.all() - 250.0).abs() < 1e-9 && (weighted.mean() - 0.5005).abs() < 1e-9);
        let mut both = Weighted::default();
        both.add(1e9, 750.0);
        both.merge(&weighted);
        assert!(both.quantile(0.2) < 1.0 && both.quantile(0.3) > 1e5);
        both.clear();
        assert_eq!(both.all(), 0.0);
    }
}

//! One rate, and what a run at it was like: predicted or measured.

use serde::Serialize;

/// A queue with no more than this in it counts as drained.
const EMPTY: f64 = 10.0;

/// The load of one rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phase {
    /// Messages a second, at random times.
    pub(super) rate: u32,
    /// For how long.
    pub(super) seconds: u32,
    /// When workers are stopped and started again.
    pub(super) pause: Option<[u32; 2]>,
}

/// What was measured.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    /// The same figures that are predicted.
    pub(super) course: Course,
    /// Mean seconds of a run, and their squared coefficient of variation.
    pub(super) service: (f64, f64),
    /// Mean seconds to the reply.
    pub(super) reply: f64,
}

impl Phase {
    /// Its name in a table.
    pub(super) fn name(&self) -> String {
        let stopped = self.pause.map(|[from, to]| format!(", stopped {from}–{to} s")).unwrap_or_default();
        format!("{}/s for {} s{stopped}", self.rate, self.seconds)
    }
}

/// A run's figures, predicted or measured.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Course {
    /// Messages accepted and not done, by time.
    pub(super) depths: Vec<(f64, f64)>,
    /// Their mean while messages came.
    pub(super) mean_depth: f64,
    /// The most of it.
    pub(super) most: f64,
    /// Seconds to the reply.
    pub(super) p50: f64,
    /// The 99th percentile of it.
    pub(super) p99: f64,
    /// When the last backlog was gone, from the beginning; 0: there was none.
    pub(super) drained: f64,
}

impl Course {
    /// Sums up depths by time, of which messages came for the first `seconds`.
    pub(super) fn of(depths: Vec<(f64, f64)>, seconds: u32, p50: f64, p99: f64) -> Self {
        let during: Vec<f64> =
            depths.iter().filter(|(at, _)| *at <= f64::from(seconds)).map(|(_, depth)| *depth).collect();
        let mean_depth = during.iter().sum::<f64>() / during.len().max(1) as f64;
        let most = depths.iter().map(|(_, depth)| *depth).fold(0.0, f64::max);
        let last = depths.iter().rposition(|(_, depth)| *depth > EMPTY);
        let drained = last.map_or(0.0, |last| depths.get(last + 1).unwrap_or(&depths[last]).0);
        Self { depths, mean_depth, most, p50, p99, drained }
    }
}

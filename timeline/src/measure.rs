//! The timelines' metrics: seconds of each stage, hits and misses of each cache.

use std::time::Instant;

use soundoff_common::telemetry::{Metrics, StageLabel};

/// Measures one stage, from when it is made until it is dropped.
pub(crate) struct StageTime<'m> {
    metrics: &'m Metrics,
    stage: &'static str,
    begun: Instant,
}

/// Counts the time until the result is dropped as the time of a stage.
pub(crate) fn stage<'m>(metrics: &'m Metrics, stage: &'static str) -> StageTime<'m> {
    StageTime { metrics, stage, begun: Instant::now() }
}

impl Drop for StageTime<'_> {
    fn drop(&mut self) {
        let seconds = &self.metrics.timeline_stage_seconds;
        seconds.get_or_create(&StageLabel { stage: self.stage }).inc_by(self.begun.elapsed().as_secs_f64());
    }
}

/// Counts look-ups, by what was looked for.
pub(crate) fn looked_up(metrics: &Metrics, what: &'static str, hits: usize, misses: usize) {
    let label = StageLabel { stage: what };
    metrics.timeline_cache_hits.get_or_create(&label).inc_by(hits as u64);
    metrics.timeline_cache_misses.get_or_create(&label).inc_by(misses as u64);
}

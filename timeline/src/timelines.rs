//! What the timelines' jobs share.

use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use soundoff_common::pipeline::worker::Outward;
use soundoff_common::ports::cache::Cache;
use soundoff_common::ports::queues::Queues;
use soundoff_common::ports::tables::Tables;
use soundoff_common::telemetry::{Metrics, StageLabel};

use crate::config::TimelineConfig;
use crate::graph::Graph;
use crate::schedule::Tick;
use crate::weights::Scorer;

/// What timelines need from the world.
#[derive(Clone)]
pub struct TimelineDeps {
    /// Accounts, follows, posts, blocks, affinity.
    pub tables: Arc<dyn Tables>,
    /// Timelines, author lists, what is recent.
    pub cache: Arc<dyn Cache>,
    /// Looked at before a tick.
    pub queues: Arc<dyn Queues>,
    /// To the queues and the sockets.
    pub outward: Outward,
    /// The process's metrics.
    pub metrics: Metrics,
}

/// Computes timelines and shows them. One a process: it remembers follows and author lists.
pub struct Timelines {
    pub(crate) deps: TimelineDeps,
    pub(crate) config: TimelineConfig,
    pub(crate) scorer: Scorer,
    pub(crate) graph: RwLock<Graph>,
    /// Read-locked by whoever works with the memory's numbers; write-locked to begin the memory anew.
    pub(crate) numbers: tokio::sync::RwLock<()>,
    pub(crate) tick: std::sync::Mutex<Tick>,
}

impl Timelines {
    /// Ready to work.
    ///
    /// # Errors
    /// When a weight makes no sense; the text says which.
    pub fn new(config: TimelineConfig, deps: TimelineDeps) -> Result<Arc<Self>, String> {
        config.weights.validate()?;
        let scorer = Scorer::new(&config.weights);
        Ok(Arc::new(Self {
            deps,
            config,
            scorer,
            graph: RwLock::default(),
            numbers: Default::default(),
            tick: Default::default(),
        }))
    }

    /// The memory, to read. Never held across an await.
    pub(crate) fn graph(&self) -> RwLockReadGuard<'_, Graph> {
        // Whoever panicked with it left a memory that is looked at again anyway.
        self.graph.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The memory, to change. Never held across an await.
    pub(crate) fn graph_mut(&self) -> RwLockWriteGuard<'_, Graph> {
        self.graph.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn skew_ms(&self) -> u64 {
        millis(self.config.clock_skew)
    }

    /// Counts the time until it is dropped as a stage's.
    pub(crate) fn stage(&self, stage: &'static str) -> StageTime<'_> {
        StageTime { timelines: self, stage, begun: Instant::now() }
    }

    /// Counts look-ups, by what was looked for.
    pub(crate) fn looked_up(&self, what: &'static str, hits: usize, misses: usize) {
        let label = StageLabel { stage: what };
        self.deps.metrics.timeline_cache_hits.get_or_create(&label).inc_by(hits as u64);
        self.deps.metrics.timeline_cache_misses.get_or_create(&label).inc_by(misses as u64);
    }
}

/// Measures one stage.
pub(crate) struct StageTime<'a> {
    timelines: &'a Timelines,
    stage: &'static str,
    begun: Instant,
}

impl Drop for StageTime<'_> {
    fn drop(&mut self) {
        let seconds = &self.timelines.deps.metrics.timeline_stage_seconds;
        seconds.get_or_create(&StageLabel { stage: self.stage }).inc_by(self.begun.elapsed().as_secs_f64());
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

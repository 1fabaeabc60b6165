//! What the stages of one process share: the memory of follows and author lists.

use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use soundoff_common::lock;
use soundoff_common::protocol::millis;

use crate::config::TimelineConfig;
use crate::graph::Graph;

/// The graph and the locks around it. One for each process: it remembers follows and author lists.
pub(crate) struct Memory {
    graph: RwLock<Graph>,
    /// Read-locked while somebody works with the graph's numbers; write-locked to clear the graph, which makes them
    /// invalid.
    numbers: tokio::sync::RwLock<()>,
    /// How old hints of relevance may be, in milliseconds.
    pub(crate) hints_age_ms: u64,
    /// How far the clocks of the machines that share the cache may be apart, in milliseconds.
    pub(crate) clock_skew_ms: u64,
}

impl Memory {
    pub(crate) fn new(config: &TimelineConfig) -> Arc<Self> {
        Arc::new(Self {
            graph: RwLock::default(),
            numbers: Default::default(),
            hints_age_ms: millis(config.hints_age),
            clock_skew_ms: millis(config.clock_skew),
        })
    }

    /// The graph, to read. Never held across an await.
    pub(crate) fn graph(&self) -> RwLockReadGuard<'_, Graph> {
        // After a panic the graph is still usable: all of it is checked again before it is used.
        lock::read(&self.graph)
    }

    /// The graph, to change. Never held across an await.
    pub(crate) fn graph_mut(&self) -> RwLockWriteGuard<'_, Graph> {
        lock::write(&self.graph)
    }

    /// Keeps the graph's numbers valid until the guard is dropped.
    pub(crate) async fn keep_numbers(&self) -> tokio::sync::RwLockReadGuard<'_, ()> {
        self.numbers.read().await
    }

    /// Clears the graph when it is full, as soon as nobody works with its numbers.
    pub(crate) async fn make_room(&self) {
        if self.graph().is_full() {
            let _nobody_works_with_numbers = self.numbers.write().await;
            self.graph_mut().make_room();
        }
    }
}

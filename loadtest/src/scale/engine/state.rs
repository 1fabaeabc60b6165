//! What an engine is asked for, and what it reports.

use crate::scale::gathering::Wait;
use crate::scale::plan::Plan;
use crate::scale::weighted::Weighted;

/// An engine, which is advanced by one second at a time.
pub(crate) trait Engine {
    /// Simulates the next second, in which each kind arrives at its mean rate.
    fn step(&mut self, rates: &[f64], seen: &mut Seen);

    /// Sets how many tasks a tier has from now on. Tasks that are removed finish what they work on.
    fn set_tasks(&mut self, tier: usize, tasks: u32);

    /// Sets how long messages wait from now on before they are sent to a queue.
    fn set_wait(&mut self, queue: usize, wait: Wait);

    /// Removes one task of a tier at once: what it worked on comes again when it is visible again.
    fn lose_task(&mut self, tier: usize);

    /// How full a queue is now.
    fn depth(&self, queue: usize) -> Depth;
}

/// How full a queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Depth {
    /// Messages that wait to be received.
    pub(crate) visible: f64,
    /// Messages received and not done, those of lost tasks included.
    pub(crate) in_flight: f64,
    /// Seconds that the oldest visible message has waited.
    pub(crate) age: f64,
}

/// What happened since it was last cleared.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Messages that arrived, by kind, follow-ups included.
    pub(crate) arrived: Vec<f64>,
    /// Messages done, by kind.
    pub(crate) done: Vec<f64>,
    /// Messages handed to each queue, redeliveries not counted.
    pub(crate) entered: Vec<f64>,
    /// Processor seconds used, by tier.
    pub(crate) busy: Vec<f64>,
    /// Messages that became visible again because their task was lost.
    pub(crate) redelivered: f64,
    /// Seconds from arrival to reply.
    pub(crate) latency: Weighted,
}

impl Seen {
    /// An empty record.
    pub(crate) fn new(plan: &Plan) -> Self {
        let (kinds, queues, tiers) = (plan.kinds.len(), plan.queues.len(), plan.tiers.len());
        Self {
            arrived: vec![0.0; kinds],
            done: vec![0.0; kinds],
            entered: vec![0.0; queues],
            busy: vec![0.0; tiers],
            redelivered: 0.0,
            latency: Weighted::default(),
        }
    }

    /// Sets everything to zero.
    pub(crate) fn clear(&mut self) {
        for counts in [&mut self.arrived, &mut self.done, &mut self.entered, &mut self.busy] {
            counts.fill(0.0);
        }
        self.redelivered = 0.0;
        self.latency.clear();
    }
}

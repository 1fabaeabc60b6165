//! What is simulated: tiers of tasks, the queues that they pull, and the kinds of messages with their way through the
//! queues.

use super::time::Millis;

/// Tasks that share their processors among some queues.
#[derive(Debug, Clone)]
pub(crate) struct Tier {
    /// The service's name.
    pub(crate) name: String,
    /// Processors a task has.
    pub(crate) cores: u32,
    /// How fast each is, where 1 is the one that work was measured on.
    pub(crate) speed: f64,
}

/// One queue, and what a message of it needs.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    /// Its name.
    pub(crate) name: String,
    /// The tier that pulls it, as an index.
    pub(crate) tier: usize,
    /// How many messages of it a task works on at once.
    pub(crate) slots: u32,
    /// From the hand-over to the queue until a task with a free slot has it: a send and a receive.
    pub(crate) pass: Millis,
    /// Processor time, at speed 1.
    pub(crate) work: Millis,
    /// How long its slot is held beyond that, while it waits for others.
    pub(crate) hold: Millis,
    /// Whether a message goes on as soon as its work is done, while only its slot waits for the rest.
    pub(crate) early: bool,
}

/// A kind of message.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    /// The queues it passes, as indices, in the order of their tiers.
    pub(crate) path: Vec<usize>,
    /// From the last queue to the client; none where nobody waits for it: its latency is not counted.
    pub(crate) reply: Option<Millis>,
    /// Kinds that follow from one that is done, as indices, and how many of each.
    pub(crate) follow: Vec<(usize, f64)>,
}

/// A whole plan. Tiers come in the order in which messages pass them.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// All tiers.
    pub(crate) tiers: Vec<Tier>,
    /// All queues.
    pub(crate) queues: Vec<Queue>,
    /// All kinds.
    pub(crate) kinds: Vec<Kind>,
    /// Seconds that a received message stays out of sight; extended at half time while it is worked on.
    pub(crate) visibility: f64,
    /// Seconds after which long work leaves its processor to others.
    pub(crate) slice: f64,
}

/// A message's work in a queue of a tier: mean seconds of a processor as fast as the tier's.
pub(crate) fn cost(plan: &Plan, queue: usize) -> f64 {
    plan.queues[queue].work.mean() / plan.tiers[plan.queues[queue].tier].speed
}

/// One tier with one queue and one kind: what queueing theory has formulas for.
#[cfg(test)]
pub(crate) fn single(cores: u32, work: Millis) -> Plan {
    Plan {
        tiers: vec![Tier { name: "tier".into(), cores, speed: 1.0 }],
        queues: vec![Queue {
            name: "q".into(),
            tier: 0,
            slots: u32::MAX,
            pass: Millis::Fixed(0.0),
            work,
            hold: Millis::Fixed(0.0),
            early: false,
        }],
        kinds: vec![Kind { path: vec![0], reply: Some(Millis::Fixed(0.0)), follow: vec![] }],
        visibility: 30.0,
        slice: f64::INFINITY,
    }
}

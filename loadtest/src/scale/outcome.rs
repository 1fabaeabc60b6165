//! What a simulated day was like.

use serde::Serialize;

use super::dollars::Dollars;
use super::weighted::Weighted;

/// The figures of one minute.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Minute {
    /// Client messages a second.
    pub(crate) rate: f64,
    /// Sockets open.
    pub(crate) online: f64,
    /// Messages in all queues, visible or not, at most.
    pub(crate) depth: f64,
    /// Seconds that the oldest visible message of any queue has waited, at most.
    pub(crate) age: f64,
    /// Tasks running, by tier.
    pub(crate) tasks: Vec<u32>,
    /// Seconds from a client's message to its reply.
    pub(crate) p50: f64,
    /// The 99th percentile of it.
    pub(crate) p99: f64,
    /// Dollars of this minute.
    pub(crate) dollars: f64,
}

/// The figures of a day.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// The users.
    pub(crate) users: f64,
    /// The tiers' names.
    pub(crate) tiers: Vec<String>,
    /// Minute by minute.
    pub(crate) minutes: Vec<Minute>,
    /// Of the whole day.
    pub(crate) latency: Weighted,
    /// Client messages.
    pub(crate) messages: f64,
    /// Messages that could not be sent, as no edge had room for their socket.
    pub(crate) shed: f64,
    /// Redelivered after a task was lost.
    pub(crate) redelivered: f64,
    /// Messages still queued at the end.
    pub(crate) left: f64,
    /// Messages that arrived and that are done, follow-ups included.
    pub(crate) flow: [f64; 2],
    /// Seconds from the first to the last page of the longest scan of users.
    pub(crate) scan: f64,
    /// The costs.
    pub(crate) dollars: Dollars,
}

//! What both sides of a path know: the load, and the key that they sign with.

use soundoff_common::pipeline::deliver::InternalKey;

/// How many messages of one socket are in flight.
pub(crate) const IN_FLIGHT: usize = 16;

/// What the other side does to an edge.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// Pings, which the edge answers itself.
    Ping,
    /// Messages, which are accepted and forgotten.
    Publish,
    /// POSTs with this many deliveries, each to another socket.
    Deliver(usize),
    /// Messages to another user, who gets them as events.
    Pipeline,
}

/// The key that both sides sign with.
pub(crate) fn key() -> anyhow::Result<InternalKey> {
    Ok(InternalKey::new(&[7; 32])?)
}

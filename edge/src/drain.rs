//! The way down: goaway, finish what main_q has not confirmed, close, unregister, all under one deadline.

use std::sync::Arc;
use std::time::Duration;

use soundoff_common::protocol::{CloseCode, ServerFrame};
use tokio::time::{Instant, timeout_at};

use crate::connection::Connection;
use crate::edge::Edge;
use crate::state::Class;

/// How often the drain looks whether it may go on.
const LOOK: Duration = Duration::from_millis(5);

/// Tells a socket to go elsewhere.
pub(crate) fn goaway(edge: &Edge, connection: &Connection) {
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let (low, high) = edge.config.goaway;
    let frame = ServerFrame::Goaway { reconnect_after_ms: [millis(low), millis(high)] };
    edge.offer(connection, &frame, Class::Durable);
}

/// Drains an edge that takes no new sockets any more.
pub(crate) async fn drain(edge: &Arc<Edge>) {
    let begun = Instant::now();
    let deadline = begun + edge.config.drain_deadline;
    edge.start_draining();
    let joined = edge.registry.joined();
    tracing::info!(sockets = joined.len(), "draining");
    joined.iter().for_each(|connection| goaway(edge, connection));
    drop(joined);
    // Clients leave at a time of their own choice; those that wait until now are closed together.
    until(begun + edge.config.drain_window, || edge.registry.len() == 0).await;
    until(deadline, || edge.waiting.messages() == 0).await;
    let mut left = Vec::new();
    edge.registry.each(|connection| left.push(connection.clone()));
    left.iter().for_each(|connection| edge.close(connection, CloseCode::Draining));
    drop(left);
    edge.tasks.close();
    if timeout_at(deadline, edge.tasks.wait()).await.is_err() {
        edge.registry.each(|connection| connection.cut());
        // What is cut needs no peer, only a turn.
        let _ = timeout_at(Instant::now() + Duration::from_millis(500), edge.tasks.wait()).await;
        tracing::warn!(sockets = edge.registry.len(), "the drain's deadline has passed");
    }
}

async fn until(deadline: Instant, done: impl Fn() -> bool) {
    while !done() && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
}

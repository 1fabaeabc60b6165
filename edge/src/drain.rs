//! An edge's end: goaway, wait for what main_q has not confirmed, close, unregister, all under one deadline.

use std::sync::Arc;
use std::time::Duration;

use soundoff_common::protocol::CloseCode;
use tokio::time::{Instant, timeout_at};

use crate::edge::Edge;

/// How often the drain checks whether it may go on.
const LOOK: Duration = Duration::from_millis(5);

/// Drains an edge that takes no more new sockets.
pub(crate) async fn drain(edge: &Arc<Edge>) {
    let begun = Instant::now();
    let deadline = begun + edge.config.drain_deadline;
    edge.start_draining();
    let joined = edge.registry.joined();
    tracing::info!(sockets = joined.len(), "draining");
    joined.iter().for_each(|connection| edge.goaway(connection));
    drop(joined);
    // Clients leave when they choose to; those that stay longer are closed together.
    until(begun + edge.config.drain_window, || edge.registry.len() == 0).await;
    until(deadline, || edge.waiting.messages() == 0).await;
    let mut left = Vec::new();
    edge.registry.each(|connection| left.push(connection.clone()));
    left.iter().for_each(|connection| edge.close(connection, CloseCode::Draining));
    drop(left);
    edge.tasks.close();
    if timeout_at(deadline, edge.tasks.wait()).await.is_err() {
        edge.registry.each(|connection| connection.cut());
        // A socket that is cut needs no peer to end, only a turn.
        let _ = timeout_at(Instant::now() + Duration::from_millis(500), edge.tasks.wait()).await;
        tracing::warn!(sockets = edge.registry.len(), "the drain's deadline has passed");
    }
}

async fn until(deadline: Instant, done: impl Fn() -> bool) {
    while !done() && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
}

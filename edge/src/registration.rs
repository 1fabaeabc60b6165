//! Keeps the Session Cache in step with the local sockets: this edge re-asserts their registrations while they live,
//! and removes them when they end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rand::Rng as _;
use soundoff_common::pipeline::inbox;
use soundoff_common::protocol::Handle;

use crate::connection::Connection;
use crate::edge::Edge;
use crate::registry::TURNS;
use crate::state::Phase;

/// How many registrations are re-asserted in one call.
const BATCH: usize = 256;
/// How many cursors are saved at once.
const ACKS_AT_ONCE: usize = 16;

/// Re-asserts every registration once in each round, which takes a jittered third of the time to live. The sockets'
/// turns are spread over the round.
///
/// A socket is asserted at its turn of every round: one that joined after the round began waits no longer than one
/// round.
///
/// The same round compares each inbox's head with what its sockets were sent, so that a live socket recovers from a
/// lost delivery.
pub(crate) async fn reassert(edge: Arc<Edge>) {
    loop {
        let share = rand::rng().random_range(0.75..1.0);
        let pause = (edge.config.session_ttl / 3).mul_f64(share / TURNS as f64).max(Duration::from_millis(1));
        for turn in 0..TURNS {
            tokio::time::sleep(pause).await;
            for batch in edge.registry.joined_of(turn).chunks(BATCH) {
                assert_batch(&edge, batch).await;
                compare_heads(&edge, batch).await;
            }
        }
    }
}

async fn assert_batch(edge: &Edge, batch: &[Arc<Connection>]) {
    let alive = batch.iter().filter(|c| c.state().phase != Phase::Closing);
    let mut connections = Vec::new();
    let mut entries = Vec::new();
    for connection in alive {
        if let Some(identity) = connection.identity() {
            entries.push((identity.user.clone(), edge.registration(connection)));
            connections.push(connection);
        }
    }
    if entries.is_empty() {
        return;
    }
    edge.health.sessions(&edge.sessions.put_many(&entries, edge.config.session_ttl).await);
    for ((user, registration), connection) in entries.iter().zip(connections) {
        // It ended during the call: its own removal may have come first.
        if !edge.registry.holds(connection) {
            let _expires_by_itself = edge.sessions.remove(user, registration).await;
        }
    }
}

async fn compare_heads(edge: &Edge, batch: &[Arc<Connection>]) {
    let open = batch.iter().filter(|c| c.state().phase == Phase::Open);
    let open: Vec<(&Arc<Connection>, Handle)> =
        open.filter_map(|c| c.identity().map(|identity| (c, identity.user.clone()))).collect();
    let users: Vec<Handle> = open.iter().map(|(_, user)| user.clone()).collect();
    if users.is_empty() {
        return;
    }
    match inbox::heads(&*edge.tables, &users).await {
        Ok(heads) => open.iter().zip(heads).for_each(|((connection, _), head)| connection.saw_head(head)),
        Err(error) => tracing::warn!(%error, "cannot compare inbox heads; will try again"),
    }
}

/// Saves the cursors that devices have acked, at most one per socket and round.
pub(crate) async fn save_acks(edge: Arc<Edge>) {
    loop {
        tokio::time::sleep(edge.config.ack_every).await;
        let joined = edge.registry.joined();
        stream::iter(joined).for_each_concurrent(ACKS_AT_ONCE, |c| save_ack(&edge, c)).await;
    }
}

async fn save_ack(edge: &Edge, connection: Arc<Connection>) {
    let Some(identity) = connection.identity() else { return };
    let Some(device) = &identity.device else { return };
    let Some(cursor) = connection.unsaved() else { return };
    let saved = inbox::ack(&*edge.tables, &identity.user, device, cursor, edge.clock.latest_s()).await;
    if let Err(error) = saved {
        connection.not_saved();
        tracing::warn!(%error, "cannot save an ack; the device may get some pushes again");
    }
}

/// The rest of the work for a socket that ended: its registration is removed, its last ack is saved.
pub(crate) async fn leave(edge: Arc<Edge>, connection: Arc<Connection>) {
    let Some(identity) = connection.identity() else { return };
    let removed = edge.sessions.remove(&identity.user, &edge.registration(&connection)).await;
    edge.health.sessions(&removed.map(|_| ()));
    save_ack(&edge, connection).await;
}

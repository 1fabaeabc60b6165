//! Keeps the Session Cache in step with the local sockets: this edge re-asserts their registrations while they live,
//! and removes them when they end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rand::Rng as _;
use soundoff_common::pipeline::inbox;
use soundoff_common::ports::sessions::Registration;
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
        undo_if_closing(edge, connection, user, registration).await;
    }
}

/// Puts a socket into the Session Cache for the first time. A cache that fails is no reason to refuse a socket:
/// re-asserting repairs it.
pub(crate) async fn enter(edge: Arc<Edge>, connection: Arc<Connection>) {
    let Some(identity) = connection.identity() else { return };
    let entry = [(identity.user.clone(), edge.registration(&connection))];
    edge.health.sessions(&edge.sessions.put_many(&entry, edge.config.session_ttl).await);
    let [(user, registration)] = &entry;
    undo_if_closing(&edge, &connection, user, registration).await;
}

/// Takes a registration back whose socket left while it was being put: its own removal may have come first.
async fn undo_if_closing(edge: &Edge, connection: &Connection, user: &Handle, registration: &Registration) {
    if connection.is_closing() {
        let _expires_by_itself = edge.sessions.remove(user, registration).await;
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
        let save = |connection| save_ack(edge.clone(), connection);
        stream::iter(joined).for_each_concurrent(ACKS_AT_ONCE, save).await;
    }
}

/// Saves what the socket's device has acked, if that is not done.
pub(crate) async fn save_ack(edge: Arc<Edge>, connection: Arc<Connection>) {
    let Some(identity) = connection.identity() else { return };
    let Some(device) = &identity.device else { return };
    let Some(cursor) = connection.begin_saving() else { return };
    let saved = inbox::ack(&*edge.tables, &identity.user, device, cursor, edge.clock.latest_s()).await;
    connection.end_saving(saved.is_ok());
    if let Err(error) = saved {
        tracing::warn!(%error, "cannot save an ack; the device may get some pushes again");
    }
}

/// The rest of the work for a socket that begins to close: its registration is removed and its last ack is saved. Its
/// close is said after that.
pub(crate) async fn leave(edge: Arc<Edge>, connection: Arc<Connection>) {
    let Some(identity) = connection.identity() else { return };
    let registration = edge.registration(&connection);
    let save = async {
        save_ack(edge.clone(), connection.clone()).await;
        connection.release();
    };
    let (removed, ()) = tokio::join!(edge.sessions.remove(&identity.user, &registration), save);
    edge.health.sessions(&removed.map(|_| ()));
}

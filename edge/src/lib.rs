//! The edge: holds the clients' websockets, takes their messages into main_q, and brings replies, pushes and events
//! back.
//!
//! A socket is one place in a `reactor`, which alone reads and writes the network, and one `connection`, in whose
//! bounded queue all other tasks leave frames. `session` decides what frames mean, without I/O.

mod admission;
mod auth;
mod begun;
mod catch_up;
mod clock;
mod config;
mod connection;
mod deadlines;
mod deliver;
mod deps;
mod drain;
mod edge;
mod gate;
mod health;
mod hello;
mod identity;
mod internal;
mod lags;
mod load;
mod lobby;
mod mailbox;
mod mids;
mod neighbours;
mod outbound;
mod places;
mod posts;
mod public;
mod reactor;
mod reason;
mod registration;
mod registry;
mod renew;
mod session;
mod socket;
mod state;
mod sweep;
mod upgrade;
mod waiting;
mod websocket;

use std::sync::Arc;

use anyhow::Context as _;
use soundoff_common::pipeline::feature::Feature;
use soundoff_common::pipeline::grants::{Sends, Touches};
use soundoff_common::pipeline::tier::Tier;
use soundoff_common::ports::tables::Table;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use clock::Clock;
pub use config::EdgeConfig;
pub use deps::EdgeDeps;
use edge::Edge;
use reactor::Reactor;

/// What an edge touches.
#[must_use]
pub fn feature() -> Feature {
    let touches = Touches {
        reads: &[Table::Users, Table::Entities, Table::Relationships, Table::Inbox],
        writes: &[Table::Inbox],
        // Its clocks. Sign-ins and token keys are in the same table.
        own: true,
        sends: Sends::Main,
        ..Touches::default()
    };
    Feature::new("edge").touches(Tier::Edge, touches).keeps(clock::HOLDINGS)
}

/// Runs one edge until `stop`, then drains it.
///
/// `sockets` are accepted public connections that do not block: the caller accepts, and may deal them out to several
/// edges. `internal` is the bound listener for `/deliver`, `/healthz`, `/readyz` and `/metrics`; `advertise` is its
/// `ip:port` as workers reach it.
///
/// # Errors
/// When the configuration makes no sense, or when a part of the edge broke.
pub async fn run(
    mut sockets: mpsc::Receiver<std::net::TcpStream>,
    internal: TcpListener,
    advertise: String,
    config: EdgeConfig,
    deps: EdgeDeps,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    config.validate().context("the edge's configuration")?;
    let (outbound, taken) = mpsc::channel(config.waiting_messages.min(tokio::sync::Semaphore::MAX_PERMITS));
    let reactors = tokio::runtime::Handle::current().metrics().num_workers();
    let edge = Arc::new(Edge::new(advertise, config, deps, outbound, reactors));
    // Dropping it, at the end of this function, ends everything that still runs.
    let mut parts = JoinSet::new();
    for mailbox in &edge.mailboxes {
        let reactor = Reactor::new(edge.clone(), mailbox.clone())?;
        parts.spawn(async move {
            let error = reactor.await;
            tracing::error!(%error, "sockets cannot be watched any more");
        });
    }
    parts.spawn(outbound::gather(edge.clone(), taken));
    parts.spawn(internal::serve(edge.clone(), internal));
    parts.spawn(sweep::sweep(edge.clone()));
    parts.spawn(gate::watch(edge.clone()));
    parts.spawn(lags::watch(edge.clone()));
    parts.spawn(registration::reassert(edge.clone()));
    parts.spawn(registration::save_acks(edge.clone()));
    let ended = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            part = parts.join_next() => break Err(anyhow::anyhow!("a part of the edge ended: {part:?}")),
            socket = sockets.recv() => match socket {
                Some(stream) => admit(&edge, stream),
                None => {
                    stop.cancelled().await;
                    break Ok(());
                }
            },
        }
    };
    drop(sockets);
    drain::drain(&edge).await;
    edge.ended.cancel();
    ended
}

/// Begins to serve a connection. More connections than the edge can answer are dropped without an answer.
fn admit(edge: &Arc<Edge>, stream: std::net::TcpStream) {
    let most = edge.config.max_sockets + edge.config.max_sockets / 8 + 256;
    if edge.tasks.len() >= most {
        return;
    }
    // Frames must not wait for the acks of earlier ones; if this fails, they are only slower.
    let _ = stream.set_nodelay(true);
    edge.tasks.spawn(public::serve(edge.clone(), stream));
}

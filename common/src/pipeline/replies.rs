//! Gets frames from workers to sockets by POSTs to edges. Frames that gather meanwhile share one.
//!
//! Two stages, each gathering while it works (natural batching, no timer). The first finds the edges: a reply's
//! envelope says where its socket is, and one multi-get of the Session Cache finds the rest of what gathered. The
//! second is a lane for each edge process, which sends one POST for many deliveries. A lane whose edge is dead delays
//! no other lane, and a cache that is slow or away delays no reply.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use ulid::Ulid;

use crate::guard::Weather;
use crate::pipeline::deliver::{Delivery, InternalKey, Kind};
use crate::ports::sessions::{Registration, Sessions};
use crate::protocol::Handle;

mod lanes;
mod origins;
mod parcels;
mod post;
#[cfg(test)]
mod tests;

use lanes::{Lanes, Way};
use origins::Origins;
pub use parcels::Parcel;
use parcels::{EdgeProcess, Part, Ticket, Waiting};
use post::Poster;

/// The most parcels that wait for their look-up; more make their senders wait.
const PARCELS_WAITING: usize = 4096;
/// The most parcels in one look-up.
const PARCELS_AT_ONCE: usize = 512;
/// How long replies wait for the look-up of what gathered with them, so that both share a POST where they go to the
/// same edge. A look-up that takes longer goes on alone.
const TOGETHER: Duration = Duration::from_millis(10);

/// The way back to the sockets. Cloning shares it; its tasks end when the last clone is gone.
#[derive(Clone)]
pub struct Replies {
    parcels: mpsc::Sender<Waiting>,
}

impl Replies {
    /// Starts the task that finds the edges. `key` signs what is posted, and edges signed their addresses with it.
    /// `weather` shows how many edges do not answer.
    #[must_use]
    pub fn start(sessions: Arc<dyn Sessions>, key: InternalKey, weather: Weather) -> Self {
        let (parcels, waiting) = mpsc::channel(PARCELS_WAITING);
        let metrics = weather.metrics().clone();
        let origins = Origins::new(key.clone(), metrics.clone());
        let again = parcels.downgrade();
        let way = Way { sessions: sessions.clone(), metrics, key, poster: Poster::new(), weather, again };
        tokio::spawn(find_edges(sessions, origins, Lanes::new(Arc::new(way)), waiting));
        Self { parcels }
    }

    /// Delivers; returns when every part has been taken by its edge or given up.
    ///
    /// Giving up loses nothing durable: a sender repeats its `id`, an inbox is read at the next connection.
    pub async fn deliver(&self, parcels: Vec<Parcel>) {
        let (ticket, delivered) = oneshot::channel();
        let ticket = Arc::new(ticket);
        for parcel in parcels {
            let waiting = Waiting { parcel, ticket: ticket.clone() };
            if self.parcels.send(waiting).await.is_err() {
                tracing::error!("the delivery task is gone");
                return;
            }
        }
        drop(ticket);
        let _dropped_by_the_last_part = delivered.await;
    }

    /// Closes a user's sockets, or those of one sign-in, on all edges that hold them.
    pub async fn close(&self, kind: Kind, user: Handle, session: Option<Ulid>) {
        let delivery = Delivery { session, ..Delivery::of(kind, vec![user]) };
        self.deliver(vec![Parcel { delivery, origin: None }]).await;
    }

    /// Closes a user's sockets but those of one sign-in, on all edges: all others were revoked.
    pub async fn close_others(&self, user: Handle, except: Ulid) {
        let delivery = Delivery { except: Some(except), ..Delivery::of(Kind::Revoke, vec![user]) };
        self.deliver(vec![Parcel { delivery, origin: None }]).await;
    }
}

async fn find_edges(
    sessions: Arc<dyn Sessions>,
    mut origins: Origins,
    lanes: Lanes,
    mut waiting: mpsc::Receiver<Waiting>,
) {
    let lanes = Arc::new(lanes);
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, PARCELS_AT_ONCE).await > 0 {
        let (mut parts, unknown) = addressed(&mut origins, batch.drain(..));
        if !unknown.is_empty() {
            let mut looking = Box::pin(look_up(sessions.clone(), unknown));
            match timeout(TOGETHER, &mut looking).await {
                Ok(found) => parts.extend(found),
                // Callers wait for their parts, so there are never more look-ups than callers.
                Err(_) => {
                    let lanes = lanes.clone();
                    tokio::spawn(async move { lanes.take(looking.await) });
                }
            }
        }
        lanes.take(parts);
    }
}

/// The parcels whose origin says where they go, and the others.
fn addressed(
    origins: &mut Origins,
    batch: impl Iterator<Item = Waiting>,
) -> (Vec<(EdgeProcess, Part)>, Vec<Waiting>) {
    let (mut parts, mut unknown) = (Vec::with_capacity(batch.size_hint().0), Vec::new());
    for mut waiting in batch {
        let origin = waiting.parcel.origin.as_ref();
        match origin.and_then(|origin| Some((origins.edge(origin)?, origin.connection))) {
            Some((edge, connection)) => {
                waiting.parcel.delivery.connection = Some(connection);
                let Waiting { parcel: Parcel { delivery, .. }, ticket } = waiting;
                parts.push((edge, Part { delivery, registrations: Vec::new(), ticket }));
            }
            None => unknown.push(waiting),
        }
    }
    (parts, unknown)
}

/// Looks all handles up at once and cuts parcels into one part per edge.
async fn look_up(sessions: Arc<dyn Sessions>, batch: Vec<Waiting>) -> Vec<(EdgeProcess, Part)> {
    let mut handles: Vec<Handle> =
        batch.iter().flat_map(|waiting| waiting.parcel.delivery.to.iter().cloned()).collect();
    handles.sort_unstable();
    handles.dedup();
    let found = match sessions.get_many(&handles).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "no look-up in the session cache; deliveries wait in inboxes");
            return Vec::new();
        }
    };
    let online = |user: &Handle| match handles.binary_search(user) {
        Ok(at) => found.get(at).map_or(&[][..], Vec::as_slice),
        Err(_) => &[],
    };
    let mut parts = Vec::with_capacity(batch.len());
    for Waiting { parcel, ticket } in batch {
        cut(parcel, ticket, online, &mut parts);
    }
    parts
}

/// Cuts a parcel into its parts, one for each edge that has users of it.
fn cut<'a>(
    parcel: Parcel,
    ticket: Ticket,
    online: impl Fn(&Handle) -> &'a [Registration],
    parts: &mut Vec<(EdgeProcess, Part)>,
) {
    let Parcel { mut delivery, origin } = parcel;
    // A reply to a message of an edge of 0.1.0, which says where its socket is by boot and number only.
    if let (Some(origin), [user]) = (origin, delivery.to.as_slice()) {
        let is_origin = |r: &&Registration| r.boot == origin.boot && r.connection == origin.connection;
        if let Some(asked) = online(user).iter().find(is_origin) {
            let registrations = vec![(user.clone(), asked.clone())];
            delivery.connection = Some(asked.connection);
            return parts.push((asked.into(), Part { delivery, registrations, ticket }));
        }
    }
    let mut edges: HashMap<EdgeProcess, Vec<(Handle, Registration)>> = HashMap::new();
    for user in std::mem::take(&mut delivery.to) {
        for r in online(&user) {
            edges.entry(r.into()).or_default().push((user.clone(), r.clone()));
        }
    }
    parts.extend(edges.into_iter().map(|(edge, registrations)| {
        let mut to: Vec<Handle> = registrations.iter().map(|(user, _)| user.clone()).collect();
        to.dedup();
        let delivery = Delivery { to, ..delivery.clone() };
        (edge, Part { delivery, registrations, ticket: ticket.clone() })
    }));
}

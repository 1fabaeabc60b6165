//! Gets frames from workers to sockets: Session Cache look-ups and POSTs to edges. Frames that gather meanwhile share
//! both.
//!
//! Two stages, each gathering while it works (natural batching, no timer): one multi-get for the handles of many
//! parcels, then a lane per edge process that sends one POST for many deliveries. A lane whose edge is dead delays no
//! other lane.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::{mpsc, oneshot};
use ulid::Ulid;

use crate::pipeline::deliver::{
    DELIVER_PATH, DeliverAnswer, DeliverRequest, Delivery, InternalKey, Kind, SIGNATURE_HEADER, TIME_HEADER,
};
use crate::pipeline::envelope::Origin;
use crate::ports::sessions::{Registration, Sessions};
use crate::protocol::{Handle, now_ms};
use crate::telemetry::Metrics;

/// The most parcels that wait for their look-up; more make their senders wait.
const PARCELS_WAITING: usize = 4096;
/// The most parcels in one look-up.
const PARCELS_AT_ONCE: usize = 512;
/// The most deliveries that wait for one edge.
const LANE_WAITING: usize = 8192;
/// The most deliveries in one POST.
const LANE_AT_ONCE: usize = 256;
/// The most bytes of frames in one POST; the last delivery may go over it.
const LANE_BYTES: usize = 1024 * 1024;
/// A delivery to one user without its frame, or a little more.
const ABOUT_BYTES: usize = 128;
/// How long a lane to an edge is kept without a delivery.
const LANE_IDLE: Duration = Duration::from_secs(60);
/// How long one POST may take.
const POST_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a POST is tried. After that the edge counts as dead: its sockets reconnect elsewhere and read their inbox.
const POST_TRIES: u32 = 3;
/// The largest answer read from an edge, in bytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// A delivery and, for a reply, the socket that asked.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// What to deliver; `connection` is filled in later.
    pub delivery: Delivery,
    /// Deliver to this socket; to all of the user's when it is gone.
    pub origin: Option<Origin>,
}

/// Its receiver resolves when the last clone is dropped: when all parts of what a caller handed in are delivered or
/// given up.
type Ticket = Arc<oneshot::Sender<()>>;

struct Waiting {
    parcel: Parcel,
    ticket: Ticket,
}

/// A part of a parcel: the users of it who are on one edge.
struct Part {
    delivery: Delivery,
    registrations: Vec<(Handle, Registration)>,
    ticket: Ticket,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct EdgeProcess {
    address: Arc<str>,
    boot: Arc<str>,
}

struct Inner {
    sessions: Arc<dyn Sessions>,
    key: InternalKey,
    metrics: Metrics,
    client: Client<HttpConnector, Full<Bytes>>,
    again: mpsc::WeakSender<Waiting>,
}

/// The way back to the sockets. Cloning shares it; its tasks end when the last clone is gone.
#[derive(Clone)]
pub struct Replies {
    parcels: mpsc::Sender<Waiting>,
}

impl Replies {
    /// Starts the look-up task.
    #[must_use]
    pub fn start(sessions: Arc<dyn Sessions>, key: InternalKey, metrics: Metrics) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(1)));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let (parcels, waiting) = mpsc::channel(PARCELS_WAITING);
        let again = parcels.downgrade();
        let inner = Arc::new(Inner { sessions, key, metrics, client, again });
        tokio::spawn(look_up(inner, waiting));
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
        let delivery = Delivery { kind, to: vec![user], connection: None, session, seq: None, frame: None };
        self.deliver(vec![Parcel { delivery, origin: None }]).await;
    }
}

async fn look_up(inner: Arc<Inner>, mut waiting: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::new();
    let mut lanes: HashMap<EdgeProcess, Lane> = HashMap::new();
    while waiting.recv_many(&mut batch, PARCELS_AT_ONCE).await > 0 {
        let parts = split(&inner, std::mem::take(&mut batch)).await;
        let now = Instant::now();
        for (edge, part) in parts {
            let lane = lanes.entry(edge).or_insert_with_key(|edge| Lane::to(&inner, edge));
            lane.used = now;
            // A full lane means that an edge is slower than its workers: waiting here would stall every other edge.
            if let Err(error) = lane.parts.try_send(part) {
                inner.metrics.reply_posts_failed.inc();
                tracing::warn!(%error, "an edge's lane is full; its deliveries wait in inboxes");
            }
        }
        lanes.retain(|_, lane| now - lane.used < LANE_IDLE);
    }
}

/// The way to one edge process. When the lane is dropped, its task finishes what it holds and ends.
struct Lane {
    parts: mpsc::Sender<Part>,
    used: Instant,
}

impl Lane {
    fn to(inner: &Arc<Inner>, edge: &EdgeProcess) -> Self {
        let (parts, taken) = mpsc::channel(LANE_WAITING);
        tokio::spawn(run_lane(inner.clone(), edge.clone(), taken));
        Self { parts, used: Instant::now() }
    }
}

/// Looks all handles up at once and cuts parcels into one part per edge.
async fn split(inner: &Inner, batch: Vec<Waiting>) -> Vec<(EdgeProcess, Part)> {
    let mut handles: Vec<Handle> =
        batch.iter().flat_map(|waiting| waiting.parcel.delivery.to.iter().cloned()).collect();
    handles.sort_unstable();
    handles.dedup();
    let found = match inner.sessions.get_many(&handles).await {
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
    // Nearly all are replies to one user, whose socket is still there.
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

impl From<&Registration> for EdgeProcess {
    fn from(r: &Registration) -> Self {
        Self { address: r.edge.clone(), boot: r.boot.clone() }
    }
}

async fn run_lane(inner: Arc<Inner>, edge: EdgeProcess, mut parts: mpsc::Receiver<Part>) {
    let mut gathered = Vec::new();
    while parts.recv_many(&mut gathered, LANE_AT_ONCE).await > 0 {
        let mut rest = std::mem::take(&mut gathered).into_iter().peekable();
        while rest.peek().is_some() {
            let mut bytes = 0;
            let mut batch = Vec::new();
            while bytes < LANE_BYTES
                && let Some(part) = rest.next()
            {
                bytes += part.delivery.frame.as_ref().map_or(0, |frame| frame.get().len());
                batch.push(part);
            }
            post_batch(&inner, &edge, batch, bytes).await;
        }
    }
}

/// Posts deliveries. `frames` is the number of bytes of their frames in total.
async fn post_batch(inner: &Inner, edge: &EdgeProcess, batch: Vec<Part>, frames: usize) {
    let deliveries: Vec<&Delivery> = batch.iter().map(|part| &part.delivery).collect();
    let request = DeliverRequest { boot: edge.boot.clone(), deliveries };
    let mut body = Vec::with_capacity(frames + ABOUT_BYTES * (1 + batch.len()));
    serde_json::to_writer(&mut body, &request).expect("deliveries are JSON");
    let body = Bytes::from(body);
    for attempt in 1..=POST_TRIES {
        match post(inner, &edge.address, body.clone()).await {
            Ok(Answer::Taken(answer)) => {
                inner.metrics.reply_posts.inc();
                inner.metrics.reply_deliveries.inc_by(batch.len() as u64);
                return clear_missing(inner, edge, &batch, answer).await;
            }
            Ok(Answer::OtherProcess) => {
                let all = batch.iter().enumerate();
                let missing =
                    all.flat_map(|(at, part)| part.delivery.to.iter().map(move |user| (at, user.clone())));
                let answer = DeliverAnswer { missing: missing.collect() };
                return clear_missing(inner, edge, &batch, answer).await;
            }
            Err(error) if attempt == POST_TRIES => {
                inner.metrics.reply_posts_failed.inc();
                tracing::warn!(edge = &*edge.address, error = %format!("{error:#}"), "cannot deliver");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20 << attempt)).await,
        }
    }
}

enum Answer {
    Taken(DeliverAnswer),
    OtherProcess,
}

async fn post(inner: &Inner, address: &str, body: Bytes) -> anyhow::Result<Answer> {
    let (time, signature) = inner.key.sign("POST", DELIVER_PATH, &body, now_ms());
    let request = Request::post(format!("http://{address}{DELIVER_PATH}"))
        .header(TIME_HEADER, time)
        .header(SIGNATURE_HEADER, signature)
        .header("content-type", "application/json")
        .body(Full::new(body))?;
    let response = tokio::time::timeout(POST_TIMEOUT, inner.client.request(request)).await??;
    match response.status() {
        StatusCode::OK => {
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect();
            let body = tokio::time::timeout(POST_TIMEOUT, body).await?;
            let body = body.map_err(|e| anyhow::anyhow!("unreadable answer: {e}"))?.to_bytes();
            Ok(Answer::Taken(serde_json::from_slice(&body)?))
        }
        StatusCode::CONFLICT => Ok(Answer::OtherProcess),
        status => anyhow::bail!("the edge answered {status}"),
    }
}

/// Removes registrations whose sockets are gone, and sends replies whose socket is gone to the user's other sockets.
async fn clear_missing(inner: &Inner, edge: &EdgeProcess, batch: &[Part], answer: DeliverAnswer) {
    for (at, user) in answer.missing {
        let Some(part) = batch.get(at) else {
            tracing::warn!(edge = &*edge.address, "the edge names a delivery that it was not sent");
            continue;
        };
        for (_, registration) in part.registrations.iter().filter(|(handle, _)| *handle == user) {
            if let Err(error) = inner.sessions.remove(&user, registration).await {
                tracing::warn!(%error, "cannot remove a stale registration; it expires by itself");
            }
        }
        if part.delivery.kind == Kind::Reply && part.delivery.connection.is_some() {
            let delivery = Delivery { connection: None, to: vec![user], ..part.delivery.clone() };
            let waiting = Waiting { parcel: Parcel { delivery, origin: None }, ticket: part.ticket.clone() };
            if let Some(parcels) = inner.again.upgrade() {
                // When the look-ups are full, only a second chance is lost; the sender repeats its id.
                let _ = parcels.try_send(waiting);
            }
        }
    }
}

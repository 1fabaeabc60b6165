//! A lane for each edge process: what gathers for it goes in one POST.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::parcels::{EdgeProcess, Parcel, Part, Waiting};
use super::post::{Answer, Failed, Poster};
use crate::guard::{Breaker, Pass, Weather};
use crate::lock::lock;
use crate::pipeline::deliver::{DeliverAnswer, DeliverRequest, Delivery, InternalKey, Signer};
use crate::ports::sessions::Sessions;
use crate::protocol::Handle;
use crate::telemetry::Metrics;

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
/// How often a POST is tried. After that the edge counts as dead: its sockets reconnect elsewhere and read their inbox.
const POST_TRIES: u32 = 3;

/// What all lanes use.
pub(super) struct Way {
    pub(super) sessions: Arc<dyn Sessions>,
    pub(super) metrics: Metrics,
    pub(super) key: InternalKey,
    pub(super) poster: Poster,
    pub(super) weather: Weather,
    /// Takes what must be looked up after all.
    pub(super) again: mpsc::WeakSender<Waiting>,
}

/// The lanes that are in use. When it is dropped, each lane finishes what it holds and ends.
pub(super) struct Lanes {
    way: Arc<Way>,
    open: Mutex<HashMap<EdgeProcess, Lane>>,
}

/// The edge of a lane, and what the lane knows of it.
#[derive(Clone, Copy)]
struct Edge<'a> {
    address: &'a str,
    boot: &'a Arc<str>,
    signer: &'a Signer,
    breaker: &'a Breaker,
}

struct Lane {
    parts: mpsc::Sender<Part>,
    used: Instant,
}

impl Lanes {
    pub(super) fn new(way: Arc<Way>) -> Self {
        Self { way, open: Mutex::default() }
    }

    /// Puts parts on the lanes of their edges.
    pub(super) fn take(&self, parts: Vec<(EdgeProcess, Part)>) {
        let now = Instant::now();
        let mut open = lock(&self.open);
        for (edge, part) in parts {
            let lane = open.entry(edge).or_insert_with_key(|edge| Lane::to(&self.way, edge));
            lane.used = now;
            // A full lane means that an edge is slower than its workers: waiting here would stall every other edge.
            if let Err(error) = lane.parts.try_send(part) {
                self.way.metrics.reply_posts_failed.inc();
                tracing::warn!(%error, "an edge's lane is full; its deliveries wait in inboxes");
            }
        }
        open.retain(|_, lane| now - lane.used < LANE_IDLE);
    }
}

impl Lane {
    fn to(way: &Arc<Way>, edge: &EdgeProcess) -> Self {
        let (parts, taken) = mpsc::channel(LANE_WAITING);
        tokio::spawn(run(way.clone(), edge.clone(), taken));
        Self { parts, used: Instant::now() }
    }
}

async fn run(way: Arc<Way>, edge: EdgeProcess, mut parts: mpsc::Receiver<Part>) {
    let breaker = way.weather.one_of_many("edge");
    let signer = Signer::new(way.key.clone(), edge.boot.clone());
    let to = Edge { address: &edge.address, boot: &edge.boot, signer: &signer, breaker: &breaker };
    let mut trials = FuturesUnordered::new();
    let mut gathered = Vec::new();
    loop {
        let taken = tokio::select! {
            biased;
            taken = parts.recv_many(&mut gathered, LANE_AT_ONCE) => taken,
            Some(()) = trials.next() => continue,
        };
        if taken == 0 {
            break;
        }
        for batch in batches(std::mem::take(&mut gathered)) {
            match breaker.admit() {
                // As after the last try. It is no news, so it is not logged.
                None => way.give_up(&batch),
                // What comes meanwhile does not wait to see whether the edge is back.
                Some(pass) if pass.is_trial() => trials.push(way.post(to, pass, batch)),
                Some(pass) => way.post(to, pass, batch).await,
            }
        }
    }
    while trials.next().await.is_some() {}
}

/// Cuts what has gathered into POSTs.
fn batches(gathered: Vec<Part>) -> impl Iterator<Item = Vec<Part>> {
    let mut rest = gathered.into_iter();
    std::iter::from_fn(move || {
        let (mut bytes, mut batch) = (0, Vec::new());
        while bytes < LANE_BYTES
            && let Some(part) = rest.next()
        {
            bytes += part.frame_bytes();
            batch.push(part);
        }
        (!batch.is_empty()).then_some(batch)
    })
}

impl Way {
    /// Posts deliveries. A trial is not repeated: the next one comes after the breaker's pause.
    async fn post(&self, edge: Edge<'_>, pass: Pass<&Breaker>, batch: Vec<Part>) {
        let body = request(edge.boot, &batch);
        let (mut pass, tries) = if pass.is_trial() { (pass, 1) } else { (pass, POST_TRIES) };
        for attempt in 1..=tries {
            let posted = self.poster.post(edge.address, edge.signer, body.clone()).await;
            pass.end(!matches!(posted, Err(Failed::Silent(_))));
            match posted {
                Ok(Answer::Taken(answer)) => {
                    self.metrics.reply_posts.inc();
                    self.metrics.reply_deliveries.inc_by(batch.len() as u64);
                    return self.clear_missing(edge.address, &batch, answer).await;
                }
                Ok(Answer::OtherProcess) => {
                    let all = batch.iter().enumerate();
                    let missing = all
                        .flat_map(|(at, part)| part.delivery.to.iter().map(move |user| (at, user.clone())));
                    let answer = DeliverAnswer { missing: missing.collect() };
                    return self.clear_missing(edge.address, &batch, answer).await;
                }
                Err(error) if attempt == tries => {
                    tracing::warn!(edge = edge.address, %error, "cannot deliver");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20 << attempt)).await,
            }
            let Some(next) = edge.breaker.admit() else { break };
            pass = next;
        }
        self.give_up(&batch);
    }

    /// Removes registrations whose sockets are gone, and gives what was for one of them a second chance.
    async fn clear_missing(&self, edge: &str, batch: &[Part], answer: DeliverAnswer) {
        for (at, user) in answer.missing {
            let Some(part) = batch.get(at) else {
                tracing::warn!(edge, "the edge names a delivery that it was not sent");
                continue;
            };
            for (_, registration) in part.registrations.iter().filter(|(handle, _)| *handle == user) {
                if let Err(error) = self.sessions.remove(&user, registration).await {
                    tracing::warn!(%error, "cannot remove a stale registration; it expires by itself");
                }
            }
            self.look_up(part, user);
        }
    }

    /// The edge does not answer: what was for one of its sockets gets a second chance. Inboxes hold the rest.
    fn give_up(&self, batch: &[Part]) {
        self.metrics.reply_posts_failed.inc();
        for part in batch {
            part.delivery.to.iter().for_each(|user| self.look_up(part, user.clone()));
        }
    }

    /// Has a delivery for one socket go to all sockets that its user has by now.
    fn look_up(&self, part: &Part, user: Handle) {
        if part.delivery.connection.is_none() {
            return;
        }
        let delivery = Delivery { connection: None, to: vec![user], ..part.delivery.clone() };
        let waiting = Waiting { parcel: Parcel { delivery, origin: None }, ticket: part.ticket.clone() };
        if let Some(parcels) = self.again.upgrade() {
            // When the look-ups are full, only a second chance is lost; the sender repeats its id.
            let _ = parcels.try_send(waiting);
        }
    }
}

/// The body of a POST.
fn request(boot: &Arc<str>, batch: &[Part]) -> Bytes {
    let deliveries: Vec<&Delivery> = batch.iter().map(|part| &part.delivery).collect();
    let frames: usize = batch.iter().map(Part::frame_bytes).sum();
    let request = DeliverRequest { boot: Some(boot.clone()), deliveries };
    let mut body = Vec::with_capacity(frames + ABOUT_BYTES * (1 + batch.len()));
    serde_json::to_writer(&mut body, &request).expect("deliveries are JSON");
    body.into()
}

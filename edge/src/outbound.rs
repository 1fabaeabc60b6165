//! From sockets to main_q, by natural batching: the next batch gathers while earlier sends are in flight.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rand::Rng as _;
use serde_json::value::RawValue;
use soundoff_common::pipeline::envelope::{Envelope, Origin, Stamped};
use soundoff_common::pipeline::terms::Importance;
use soundoff_common::ports::queues::{ANYBODYS, MAX_BODY_BYTES, Outgoing, QueueError, QueueName, SHARES};
use soundoff_common::protocol::{ErrorBody, ErrorCode, Handle, ServerFrame, now_ms};
use tokio::sync::{Semaphore, mpsc};
use ulid::Ulid;

use crate::connection::Connection;
use crate::edge::Edge;
use crate::state::Class;
use crate::waiting::{Publish, Sender, Source, Taken};

/// The shortest time that a client should wait when main_q or the edge has no room, in milliseconds. It is drawn up to
/// twice this, so that not all come again together, and is longer the less room there is.
const OVERLOADED_MS: u64 = 1000;
/// How many times longer it is when there is no room at all.
const FULL_TIMES: f64 = 5.0;
/// The most bytes in one send; the last message may go over it.
const BATCH_BYTES: usize = 1024 * 1024;

/// Most types are taken up to this part of it; the rest is for what keeps people safe.
const NORMAL_UP_TO: f64 = 0.85;
/// What a user is told who has taken a share.
const TOO_MUCH_OF_YOURS: &str = "too many of your messages wait: send again when some of them are done";

/// A message as the socket read it.
pub(crate) struct Incoming<'a> {
    pub(crate) id: &'a str,
    pub(crate) message_type: &'a str,
    pub(crate) body: &'a RawValue,
}

fn overloaded(message: &str) -> ErrorBody {
    after(message, OVERLOADED_MS)
}

fn after(message: &str, least_ms: u64) -> ErrorBody {
    ErrorBody::new(ErrorCode::Overloaded, message).after(rand::rng().random_range(least_ms..=least_ms * 2))
}

/// Takes a message in, or returns why not. `accepted` follows when main_q has it, never before.
pub(crate) fn publish(
    edge: &Edge,
    connection: &Arc<Connection>,
    message: &Incoming<'_>,
) -> Result<(), ErrorBody> {
    let Some(identity) = connection.identity() else {
        return Err(ErrorBody::new(ErrorCode::Unauthorized, "say hello first"));
    };
    if edge.is_draining() {
        return Err(overloaded("the edge is draining: reconnect"));
    }
    let limits = &edge.config;
    if connection.unconfirmed.load(Ordering::Acquire) >= limits.unconfirmed_per_socket {
        return Err(overloaded("too many messages of this socket wait to be accepted"));
    }
    let is_crowded = edge.waiting.messages() >= limits.waiting_messages / usize::from(ANYBODYS)
        || edge.waiting.bytes() >= limits.waiting_bytes / usize::from(ANYBODYS);
    if is_crowded {
        has_room_for(edge, &identity.user, message.message_type)?;
    }
    let (mid, body) = stamped(edge, connection, &identity.user, message);
    if body.len() > MAX_BODY_BYTES {
        return Err(ErrorBody::new(
            ErrorCode::TooLarge,
            format!("a message is at most {MAX_BODY_BYTES} bytes"),
        ));
    }
    let source = Source::Client(Sender::new(connection, message.id));
    let mut publish = Publish::new(&edge.waiting, source, mid, body);
    if is_crowded {
        publish.count();
    }
    hand_over(edge, publish)
}

/// Of what is more than half taken, refuses what can be missed, and a user more than a share; what keeps people safe may
/// have the last of it.
#[cold]
fn has_room_for(edge: &Edge, user: &Handle, message_type: &str) -> Result<(), ErrorBody> {
    let most = Taken { messages: edge.config.waiting_messages, bytes: edge.config.waiting_bytes };
    let taken = Taken { messages: edge.waiting.messages(), bytes: edge.waiting.bytes() };
    let fill = taken.share_of(most);
    let route = edge.rules.catalog.route(message_type);
    let up_to = match route.map_or(Importance::Normal, |route| route.terms.importance) {
        Importance::Sheddable => 0.5,
        Importance::Normal => NORMAL_UP_TO,
        Importance::Critical => 1.0,
    };
    let longer = 1.0 + (fill - 0.5).clamp(0.0, 0.5) * 2.0 * (FULL_TIMES - 1.0);
    let refuse = |message| Err(after(message, (OVERLOADED_MS as f64 * longer) as u64));
    if fill >= up_to {
        return refuse("too many messages wait to be accepted");
    }
    if edge.waiting.of(user).reaches(most.part(SHARES.into())) {
        return refuse(TOO_MUCH_OF_YOURS);
    }
    Ok(())
}

/// An envelope that says who, where and when, and its `mid`.
fn stamped(edge: &Edge, connection: &Connection, user: &Handle, message: &Incoming<'_>) -> (Ulid, Bytes) {
    let at = now_ms();
    let mid = edge.clock.mid(at);
    let origin =
        Origin { boot: edge.boot.clone(), connection: connection.id, edge: Some(edge.signed.clone()) };
    let Incoming { id, message_type, body } = *message;
    let envelope = Stamped { mid, id, message_type, from: user, origin: Some(&origin), at, body };
    (mid, envelope.bytes())
}

/// Puts a message among those that wait for main_q.
fn hand_over(edge: &Edge, publish: Publish) -> Result<(), ErrorBody> {
    edge.outbound.try_send(publish).map_err(|_| overloaded("too many messages wait to be accepted"))
}

/// Puts `user_session` on the pipeline, so that a user who said hello gets a timeline unasked. It is a convenience: an
/// edge that is half full leaves it out, and clients may always ask.
pub(crate) fn announce(edge: &Edge, connection: &Connection, user: &Handle) {
    if edge.waiting.messages() >= edge.config.waiting_messages / 2 || edge.is_draining() {
        return;
    }
    let nothing = RawValue::from_string("{}".to_owned()).expect("an empty object is JSON");
    let message = Incoming { id: "", message_type: "user_session", body: &nothing };
    let (mid, body) = stamped(edge, connection, user, &message);
    // Full by now: left out.
    let _ = hand_over(edge, Publish::new(&edge.waiting, Source::Edge(user.clone()), mid, body));
}

/// Gathers and sends until every sending side of the channel is gone or `run` drops the task.
pub(crate) async fn gather(edge: Arc<Edge>, mut taken: mpsc::Receiver<Publish>) {
    let free = Arc::new(Semaphore::new(edge.config.sends_in_flight));
    loop {
        // The permit comes first: what arrives while all sends are in flight goes together in the next.
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        let mut batch = Vec::new();
        if taken.recv_many(&mut batch, edge.config.batch_messages).await == 0 {
            return;
        }
        let edge = edge.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let mut rest = batch.into_iter().peekable();
            while rest.peek().is_some() {
                let mut bytes = 0;
                let mut part = Vec::new();
                while bytes < BATCH_BYTES
                    && let Some(publish) = rest.next()
                {
                    bytes += publish.body.len();
                    part.push(publish);
                }
                send(&edge, part).await;
            }
        });
    }
}

async fn send(edge: &Edge, batch: Vec<Publish>) {
    let main = QueueName::main();
    let outgoing = |publish: &Publish| Outgoing {
        queue: main.clone(),
        body: publish.body.clone(),
        user: publish.user().cloned(),
    };
    let mut results = edge.queues.send(batch.iter().map(outgoing).collect()).await;
    if results.iter().any(has_no_room) {
        send_reads(edge, &batch, &mut results).await;
    }
    let mut results = results.into_iter();
    let mut failed = None;
    for publish in batch {
        // A missing result is no confirmation.
        let lost = || Err(QueueError::Unavailable("the queue lost count of its entries".to_owned()));
        let result = results.next().unwrap_or_else(lost);
        match (result, &publish.source) {
            (Ok(()), Source::Client(Sender { connection, id })) => {
                edge.metrics.edge_accepted.inc();
                edge.metrics.bill.took_message();
                edge.metrics.edge_accepted_seconds.observe(publish.came.elapsed().as_secs_f64());
                edge.offer(connection, &ServerFrame::Accepted { id, mid: publish.mid }, Class::Durable);
            }
            (Ok(()), Source::Edge(_)) => {}
            (Err(error), source) => {
                if let Source::Client(Sender { connection, id }) = source {
                    edge.refuse(connection, Some(id), &refusal(&error));
                }
                // What one user does is no failure of the queues: it fills no log.
                if !matches!(error, QueueError::Share) {
                    failed = Some(error);
                }
            }
        }
    }
    match &failed {
        // Once for an outage: its breaker logs that.
        Some(error) if edge.weather.is_calm() => {
            tracing::warn!(%error, "main_q did not take messages; their senders got errors");
        }
        Some(error) => tracing::debug!(%error, "main_q did not take messages; their senders got errors"),
        None => edge.health.queues(true),
    }
    if matches!(failed, Some(QueueError::NoRoom | QueueError::Unavailable(_) | QueueError::UnknownQueue(_))) {
        edge.health.queues(false);
    }
}

fn has_no_room(result: &Result<(), QueueError>) -> bool {
    matches!(result, Err(QueueError::NoRoom))
}

/// A full disk takes nothing new. What only reads has another way in.
async fn send_reads(edge: &Edge, batch: &[Publish], results: &mut [Result<(), QueueError>]) {
    let only_reads = |publish: &Publish| {
        let envelope = serde_json::from_slice::<Envelope>(&publish.body).ok();
        let route = envelope.and_then(|envelope| edge.rules.catalog.route(&envelope.message_type));
        route.is_some_and(|route| route.reads)
    };
    let refused = (0..results.len()).filter(|at| has_no_room(&results[*at]));
    let reads: Vec<usize> = refused.filter(|at| batch.get(*at).is_some_and(only_reads)).collect();
    let outgoing = |at: &usize| {
        let publish = &batch[*at];
        Outgoing { queue: QueueName::main(), body: publish.body.clone(), user: publish.user().cloned() }
    };
    let sent = edge.queues.send_passing(reads.iter().map(outgoing).collect()).await;
    for (at, result) in reads.into_iter().zip(sent) {
        results[at] = result;
    }
}

/// The error for a sender whose message main_q did not take.
fn refusal(error: &QueueError) -> ErrorBody {
    match error {
        QueueError::Full => overloaded("the queues are full"),
        QueueError::Share => overloaded(TOO_MUCH_OF_YOURS),
        QueueError::NoRoom => overloaded("the server's disk is full"),
        QueueError::Unavailable(_) => overloaded("the queues are unavailable"),
        QueueError::TooLarge(_) => {
            ErrorBody::new(ErrorCode::TooLarge, format!("a message is at most {MAX_BODY_BYTES} bytes"))
        }
        QueueError::UnknownQueue(_) => ErrorBody::new(ErrorCode::Internal, "the edge is wired to no main_q"),
    }
}

//! A handler as the job of its queue: envelope in, effect, replies out.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::pipeline::catalog::Catalog;
use crate::pipeline::consumer::{Job, Verdict};
use crate::pipeline::deliver::{Delivery, Kind};
use crate::pipeline::envelope::Envelope;
use crate::pipeline::handler::{Context, Done, Event, Failure, FollowUp, Pushed, Run, raw};
use crate::pipeline::replies::{Parcel, Replies};
use crate::ports::queues::{Message, Outgoing, QueueError, QueueName, Queues};
use crate::protocol::{ErrorBody, ErrorCode, Handle, ServerFrame};

/// Where outcomes go.
#[derive(Clone)]
pub struct Outward {
    /// For messages that a message causes.
    pub queues: Arc<dyn Queues>,
    /// To the sockets.
    pub replies: Replies,
    /// Names the queues of those messages.
    pub catalog: Arc<Catalog>,
}

/// A message of our own, for its type's queues.
#[derive(Debug, Clone)]
pub struct Own {
    /// An internal MessageType.
    pub message_type: &'static str,
    /// Whom it is about.
    pub about: Handle,
    /// Whose turn it takes in the queue: that of the user for whom, or because of whom, it is done; `None` for what the
    /// system does by itself.
    pub user: Option<Handle>,
    /// Its body.
    pub body: Box<RawValue>,
}

/// Runs one handler.
pub struct Worker {
    run: Run,
    cx: Context,
    outward: Outward,
}

impl Worker {
    /// The job of a handler's queue.
    #[must_use]
    pub fn new(run: Run, cx: Context, outward: Outward) -> Self {
        Self { run, cx, outward }
    }

    async fn one(&self, message: &Message) -> Verdict {
        let envelope = match Envelope::of(message) {
            Ok(envelope) => envelope,
            Err(verdict) => return verdict,
        };
        match (self.run)(&self.cx, &envelope).await {
            Ok(done) => self.outward.send(&envelope, done).await,
            Err(failure) => match failure.verdict() {
                Ok(verdict) => verdict,
                Err(error) => Verdict::Refused(error),
            },
        }
    }
}

#[async_trait]
impl Job for Worker {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        match batch {
            [message] => vec![self.one(message).await],
            _ => join_all(batch.iter().map(|message| self.one(message))).await,
        }
    }

    async fn give_up(&self, message: &Message, _reason: &str) {
        self.outward.give_up(message).await;
    }

    async fn refuse(&self, message: &Message, error: &ErrorBody) {
        self.outward.refuse(message, error).await;
    }
}

impl Outward {
    async fn send(&self, envelope: &Envelope, done: Done) -> Verdict {
        let Done { reply, duplicate, pushes, events, follow_ups } = done;
        // Queued before anything is sent: a reply promises that the messages which follow are safe.
        if let Err(failure) = self.follow(envelope, follow_ups).await {
            return failure.retried();
        }
        let mut parcels = Vec::with_capacity(1 + pushes.len() + events.len());
        let frame =
            ServerFrame::Reply { id: &envelope.id, ok: true, body: Some(&reply), error: None, duplicate };
        parcels.extend(reply_parcel(envelope, &frame));
        parcels.extend(pushes.iter().map(|pushed| push_parcel(pushed, envelope.mid)));
        parcels.extend(events.into_iter().map(event_parcel));
        self.replies.deliver(parcels).await;
        Verdict::Done
    }

    async fn follow(&self, envelope: &Envelope, follow_ups: Vec<FollowUp>) -> Result<(), Failure> {
        let own = follow_ups.into_iter().map(|FollowUp { message_type, about, body }| {
            let about = about.unwrap_or_else(|| envelope.from.clone());
            Own { message_type, user: Some(about.clone()), about, body }
        });
        let batch = self.outgoing(own.collect(), envelope.at)?;
        if batch.is_empty() { Ok(()) } else { queued(self.queues.forward(batch).await) }
    }

    /// Puts messages of our own on their types' queues; `at` is when what causes them was taken, in milliseconds since
    /// 1970.
    ///
    /// # Errors
    /// When the queues did not take all messages.
    pub async fn queue(&self, messages: Vec<Own>, at: u64) -> Result<(), Failure> {
        let batch = self.outgoing(messages, at)?;
        if batch.is_empty() { Ok(()) } else { queued(self.queues.send(batch).await) }
    }

    fn outgoing(&self, messages: Vec<Own>, at: u64) -> Result<Vec<Outgoing>, Failure> {
        let mut batch = Vec::new();
        for Own { message_type, about, user, body } in messages {
            let route = self.catalog.route(message_type);
            let route = route.ok_or_else(|| Failure::Retry(anyhow::anyhow!("no type {message_type}")))?;
            let next = Envelope {
                mid: Ulid::generate(),
                id: String::new(),
                message_type: message_type.to_owned(),
                from: about,
                origin: None,
                at,
                body,
            };
            let body = next.bytes();
            let outgoing =
                |queue: &QueueName| Outgoing { queue: queue.clone(), body: body.clone(), user: user.clone() };
            batch.extend(route.queues.iter().map(outgoing));
        }
        Ok(batch)
    }

    /// Answers a sender.
    pub async fn reply(&self, envelope: &Envelope, body: &RawValue) {
        let frame = ServerFrame::Reply {
            id: &envelope.id,
            ok: true,
            body: Some(body),
            error: None,
            duplicate: false,
        };
        self.replies.deliver(reply_parcel(envelope, &frame).into_iter().collect()).await;
    }

    /// Sends a live event to the socket that a message came from.
    pub async fn event(&self, envelope: &Envelope, event_type: &str, body: &RawValue) {
        let frame = raw(&ServerFrame::Event { event_type, body });
        let mut parcel = live(Kind::Event, vec![envelope.from.clone()], None, Some(frame));
        parcel.origin.clone_from(&envelope.origin);
        self.replies.deliver(vec![parcel]).await;
    }

    /// Answers a sender that its message was refused.
    pub async fn refuse(&self, message: &Message, error: &ErrorBody) {
        let Ok(envelope) = Envelope::of(message) else { return };
        let frame = ServerFrame::Reply {
            id: &envelope.id,
            ok: false,
            body: None,
            error: Some(error),
            duplicate: false,
        };
        self.replies.deliver(reply_parcel(&envelope, &frame).into_iter().collect()).await;
    }

    /// Answers a sender that its message is given up and is among the dead letters.
    pub async fn give_up(&self, message: &Message) {
        let text = "the message could not be processed; it is kept for the operators of this service";
        self.refuse(message, &ErrorBody::new(ErrorCode::Internal, text)).await;
    }
}

fn queued(answers: Vec<Result<(), QueueError>>) -> Result<(), Failure> {
    Ok(answers.into_iter().collect::<Result<(), _>>()?)
}

/// The reply to the sender; an internal message has no sender who waits.
fn reply_parcel(envelope: &Envelope, frame: &ServerFrame<'_>) -> Option<Parcel> {
    let origin = envelope.origin.clone()?;
    let frame = Some(raw(frame));
    let delivery = Delivery { frame, ..Delivery::of(Kind::Reply, vec![envelope.from.clone()]) };
    Some(Parcel { delivery, origin: Some(origin) })
}

fn push_parcel(pushed: &Pushed, mid: Ulid) -> Parcel {
    let frame = pushed.push.as_ref().map(|push| {
        let mid = mid.to_string();
        raw(&ServerFrame::Push { seq: pushed.seq, push_type: push.push_type, mid: &mid, body: &push.body })
    });
    live(Kind::Push, vec![pushed.to.clone()], Some(pushed.seq), frame)
}

fn event_parcel(event: Event) -> Parcel {
    let frame = ServerFrame::Event { event_type: event.event_type, body: &event.body };
    let frame = raw(&frame);
    live(Kind::Event, event.to, None, Some(frame))
}

fn live(kind: Kind, to: Vec<Handle>, seq: Option<u64>, frame: Option<Box<RawValue>>) -> Parcel {
    Parcel { delivery: Delivery { seq, frame, ..Delivery::of(kind, to) }, origin: None }
}

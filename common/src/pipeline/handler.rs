//! What a handler is: one MessageType's body, rule and effect.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::pipeline::archived::Archived;
use crate::pipeline::consumer::Verdict;
use crate::pipeline::envelope::Envelope;
use crate::pipeline::terms::{Daily, Terms};
use crate::pipeline::tier::Tier;
use crate::pipeline::turns::Turns;
use crate::ports::queues::QueueError;
use crate::ports::sessions::Sessions;
use crate::ports::tables::{TableError, Tables, Write};
use crate::ports::uploads::Uploads;
use crate::protocol::{ErrorBody, ErrorCode, Handle, Role};
use crate::telemetry::Metrics;
use crate::web::pictures::PictureKey;

/// What handlers may use.
#[derive(Clone)]
pub struct Context {
    /// Entities, relationships, inbox, dedupe.
    pub tables: Arc<dyn Tables>,
    /// Who is online where.
    pub sessions: Arc<dyn Sessions>,
    /// Where large media go.
    pub uploads: Arc<dyn Uploads>,
    /// Signs URLs of pictures that are not shown to everybody.
    pub pictures: PictureKey,
    /// Whether caches in front are told of pictures that are not shown to everybody any more.
    pub purges: bool,
    /// The process's metrics.
    pub metrics: Metrics,
    /// Keeps this process from racing itself for inboxes and counters.
    pub turns: Arc<Turns>,
    /// Of which types a user sends only so many a day.
    pub daily: Arc<Daily>,
}

/// One message as its handler sees it.
#[derive(Debug)]
pub struct Request<B> {
    /// The sender.
    pub from: Handle,
    /// The message's id: unique, and rising for each edge, so that the later of two toggles has the greater one.
    pub mid: Ulid,
    /// When the edge took it, in milliseconds since 1970.
    pub at: u64,
    /// The body that the sender sent.
    pub body: B,
}

/// Why a handler did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Bad input: the sender gets the reason, and nothing has changed.
    #[error("rejected: {0}")]
    Reject(ErrorBody),
    /// Not now: the message comes back later, a bounded number of times.
    #[error("retry: {0:#}")]
    Retry(anyhow::Error),
    /// An engine is away, or others were faster at the same items: the message waits for as long as that lasts.
    #[error("wait: {0:#}")]
    Wait(anyhow::Error),
}

impl Failure {
    /// A rejection with a message for the app's developer.
    pub fn reject(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Reject(ErrorBody::new(code, message))
    }

    /// What happens to a message whose run ended like this where nobody could hear of a rejection: it is tried again.
    #[must_use]
    pub fn retried(self) -> Verdict {
        self.verdict().unwrap_or_else(|error| Verdict::Retry(error.to_string()))
    }

    /// What happens to a message whose run ended like this; where a rejection goes depends on who waits for it.
    ///
    /// # Errors
    /// The reason of a rejection.
    pub fn verdict(self) -> Result<Verdict, ErrorBody> {
        match self {
            Self::Reject(error) => Err(error),
            Self::Retry(error) => Ok(Verdict::Retry(format!("{error:#}"))),
            Self::Wait(error) => Ok(Verdict::Wait(format!("{error:#}"))),
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Unavailable(_) | TableError::NoRoom | TableError::Conflict => {
                Self::Wait(error.into())
            }
            TableError::ConditionFailed { .. } | TableError::Invalid(_) | TableError::Corrupt(_) => {
                Self::Retry(error.into())
            }
        }
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Full | QueueError::Share | QueueError::NoRoom | QueueError::Unavailable(_) => {
                Self::Wait(error.into())
            }
            QueueError::TooLarge(_) | QueueError::UnknownQueue(_) => Self::Retry(error.into()),
        }
    }
}

impl From<crate::ports::Unavailable> for Failure {
    fn from(error: crate::ports::Unavailable) -> Self {
        Self::Wait(error.into())
    }
}

/// A durable push to be appended to a user's inbox, in the effect's transaction.
#[derive(Debug, Clone)]
pub struct Push {
    /// Whose inbox.
    pub to: Handle,
    /// What happened, such as `dm.received`.
    pub push_type: &'static str,
    /// Whose content it is: withheld from readers who block them.
    pub by: Handle,
    /// The body, as the type defines it.
    pub body: Box<RawValue>,
}

/// A live event for users who are online.
#[derive(Debug, Clone)]
pub struct Event {
    /// For whom.
    pub to: Vec<Handle>,
    /// What happened, such as `typing`.
    pub event_type: &'static str,
    /// The body, as the type defines it.
    pub body: Box<RawValue>,
}

/// A message that this one causes, put on its own type's queue after the effect.
#[derive(Debug, Clone)]
pub struct FollowUp {
    /// An internal MessageType.
    pub message_type: &'static str,
    /// Whom it is about, when not the sender of the message that causes it.
    pub about: Option<Handle>,
    /// Its body.
    pub body: Box<RawValue>,
}

/// Raw JSON of a value of our own types.
///
/// # Panics
/// If it cannot be JSON: only our own types come here.
#[must_use]
pub fn raw(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("our own types are JSON")
}

/// An empty body or reply.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Nothing {}

/// What a durable change consists of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Effect {
    pub(crate) writes: Vec<Write>,
    pub(crate) pushes: Vec<Push>,
    /// Whether the last write counts for the day.
    pub(crate) counted: bool,
}

/// What a handler decided. Nothing of it has happened yet: the runner commits it, with the dedupe record, in one
/// transaction, and asks the handler again when somebody else was faster.
#[derive(Debug)]
pub struct Outcome<R> {
    pub(crate) reply: R,
    pub(crate) effect: Option<Effect>,
    pub(crate) events: Vec<Event>,
    pub(crate) follow_ups: Vec<FollowUp>,
}

impl<R> Outcome<R> {
    /// A reply that changes nothing: it may be given any number of times.
    pub fn read(reply: R) -> Self {
        Self { reply, effect: None, events: Vec::new(), follow_ups: Vec::new() }
    }

    /// A change, once per `id`, even when `writes` is empty because the state is already as asked.
    pub fn effect(reply: R, writes: Vec<Write>) -> Self {
        let effect = Some(Effect { writes, ..Effect::default() });
        Self { reply, effect, events: Vec::new(), follow_ups: Vec::new() }
    }

    /// With a durable push, committed with the effect.
    ///
    /// # Panics
    /// On a read: a push is a change.
    #[must_use]
    pub fn push(mut self, push: Push) -> Self {
        self.effect.as_mut().expect("only an effect pushes").pushes.push(push);
        self
    }

    /// With a live event, sent after the commit, perhaps more than once, perhaps never.
    #[must_use]
    pub fn event(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }

    /// The first push, event or follow-up that a handler's `TELLS` and `CAUSES` do not name, in words.
    pub(crate) fn undeclared(&self, tells: &[Told], causes: &[&str]) -> Option<String> {
        let told = |channel, name| tells.iter().any(|t| (t.channel, t.told_type) == (channel, name));
        let mut follow_ups = self.follow_ups.iter().map(|follow_up| follow_up.message_type);
        if let Some(caused) = follow_ups.find(|caused| !causes.contains(caused)) {
            return Some(format!("causes the message {caused}, which its CAUSES does not name"));
        }
        let mut pushes = self.effect.iter().flat_map(|effect| &effect.pushes).map(|push| push.push_type);
        if let Some(push) = pushes.find(|push| !told(Channel::Push, push)) {
            return Some(format!("pushes {push}, which its TELLS does not name"));
        }
        let mut events = self.events.iter().map(|event| event.event_type);
        let event = events.find(|event| !told(Channel::Event, event))?;
        Some(format!("sends the event {event}, which its TELLS does not name"))
    }

    /// With a message of our own, queued after the commit, perhaps more than once.
    #[must_use]
    pub fn then(mut self, follow_up: FollowUp) -> Self {
        self.follow_ups.push(follow_up);
        self
    }
}

/// Who may put a type on the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Clients, through an edge.
    Client,
    /// Only our own workers and edges.
    Internal,
}

/// How users get what a message causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Through their inbox.
    Push,
    /// Live, to users who are online.
    Event,
}

/// A push or event that a message may cause, beside the reply to its sender.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// How users get it.
    pub channel: Channel,
    /// What happened, such as `dm.received`.
    pub told_type: &'static str,
    /// One line for the protocol document.
    pub summary: &'static str,
    /// The body's JSON Schema.
    pub body_schema: fn(&mut SchemaGenerator) -> Schema,
}

impl Told {
    /// A push with this body.
    #[must_use]
    pub const fn push<B: JsonSchema>(told_type: &'static str, summary: &'static str) -> Self {
        Self { channel: Channel::Push, told_type, summary, body_schema: SchemaGenerator::subschema_for::<B> }
    }

    /// An event with this body.
    #[must_use]
    pub const fn event<B: JsonSchema>(told_type: &'static str, summary: &'static str) -> Self {
        Self { channel: Channel::Event, told_type, summary, body_schema: SchemaGenerator::subschema_for::<B> }
    }
}

/// One MessageType's handler. A second reader of a type is a second handler with the same `TYPE` and a `QUEUE` of its
/// own.
pub trait MessageType: Send + Sync + 'static {
    /// The MessageType, such as `post.create`.
    const TYPE: &'static str;
    /// One line for the protocol document.
    const SUMMARY: &'static str;
    /// Its queue, when not the one named after the type.
    const QUEUE: Option<&'static str> = None;
    /// Who may send it.
    const SOURCE: Source = Source::Client;
    /// The least role of a user whose client may send it.
    const ROLE: Role = Role::User;
    /// How much of its messages the archive keeps.
    const ARCHIVED: Archived = Archived::Header;
    /// Whether it only reads: such messages are taken on a full disk, too.
    const READS: bool = false;
    /// What it costs its sender, and how many there may be.
    const TERMS: Terms = Terms::USUAL;
    /// The service that works on it.
    const TIER: Tier = Tier::Workers;
    /// All pushes and events that it may cause, beside the reply to its sender.
    const TELLS: &'static [Told] = &[];
    /// The MessageTypes of all messages that may follow it.
    const CAUSES: &'static [&'static str] = &[];
    /// What its messages are about, such as the id of a post, where those about the same wait for each other: their
    /// effects change the same items. Beyond a share of the slots they then wait in a side queue.
    const HOT: Option<fn(&Self::Body) -> &str> = None;
    /// The body that the sender sends.
    type Body: DeserializeOwned + JsonSchema + Send + Sync;
    /// What the sender gets back.
    type Reply: Serialize + JsonSchema + Send;

    /// Decides, from what the tables say now. May run more than once for one message, so it changes nothing itself.
    fn handle(
        cx: &Context,
        request: &Request<Self::Body>,
    ) -> impl Future<Output = Result<Outcome<Self::Reply>, Failure>> + Send;
}

/// An inbox entry that has been appended and must be delivered. Without a push it only says that `seq` exists.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// Whose inbox.
    pub to: Handle,
    /// Its place there.
    pub seq: u64,
    /// The entry, when it was appended just now.
    pub push: Option<Push>,
}

/// The result of running a message.
#[derive(Debug)]
pub struct Done {
    /// What the sender gets back.
    pub reply: Box<RawValue>,
    /// Another message with the same `id` had done it before.
    pub duplicate: bool,
    /// Entries to deliver.
    pub pushes: Vec<Pushed>,
    /// Events to deliver.
    pub events: Vec<Event>,
    /// Messages to queue.
    pub follow_ups: Vec<FollowUp>,
}

/// Runs a handler on an envelope, whatever its body type.
pub type Run = for<'a> fn(&'a Context, &'a Envelope) -> BoxFuture<'a, Result<Done, Failure>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_handler_has_not_declared_is_named() {
        let to: Handle = "ann".parse().unwrap();
        let push = Push { to: to.clone(), push_type: "note.made", by: to.clone(), body: raw(&1) };
        let event = Event { to: vec![to], event_type: "note.seen", body: raw(&1) };
        let then = FollowUp { message_type: "note.index", about: None, body: raw(&1) };
        let outcome = Outcome::effect((), Vec::new()).push(push).event(event).then(then);
        let (pushes, sends) = (Told::push::<u8>("note.made", ""), Told::event::<u8>("note.seen", ""));
        let swapped = [Told::event::<u8>("note.made", ""), Told::push::<u8>("note.seen", "")];
        for (tells, causes, undeclared) in [
            (&[pushes, sends][..], &["note.index"][..], None),
            (
                &[pushes, sends],
                &["note.find"],
                Some("causes the message note.index, which its CAUSES does not name"),
            ),
            (&[sends], &["note.index"], Some("pushes note.made, which its TELLS does not name")),
            (&[pushes], &["note.index"], Some("sends the event note.seen, which its TELLS does not name")),
            (&swapped, &["note.index"], Some("pushes note.made, which its TELLS does not name")),
        ] {
            assert_eq!(outcome.undeclared(tells, causes).as_deref(), undeclared);
        }
        assert_eq!(Outcome::read(()).undeclared(&[], &[]), None);
    }
}
